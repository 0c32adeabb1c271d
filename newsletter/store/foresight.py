"""The people of the next claims, read while the threads send what they have.

Of what an exchange takes, half is to read who may be mailed, and SQLite does most of that without the interpreter. Who
left in between must not be mailed: what was read counts only where nothing at all was written since. What others write
shows in `PRAGMA data_version`, what the connection itself writes in its count of changes, so both are kept with the
connection (https://www.sqlite.org/pragma.html#pragma_data_version). PostgreSQL has nothing of the kind, and does the
reading in a process of its own.

While threads send, each statement that the driver makes may wait some milliseconds for the interpreter: so all that can
be found out within the exchange is, and one statement is left, whose answer the next exchange reads.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from newsletter.audience.model import Member
from newsletter.errors import NewsletterError
from newsletter.store.eligible import Answer, Eligible
from newsletter.store.engine import asking
from newsletter.store.person_rows import seconds

#: For fewer it costs what it saves.
_WORTH_IT = 500


@dataclass(frozen=True, slots=True)
class _Seen:
    """A state of the database, as one connection can tell it from others: what was written by others, and by itself."""

    driver: sqlite3.Connection
    others: int
    own: int


class Foresight:
    """What is known of the next members of a run, for one exchange. Used by one thread."""

    def __init__(self, engine: sa.Engine, eligible: Eligible) -> None:
        self._engine = engine
        self._eligible = eligible
        #: who is likely to be claimed next
        self._next: Sequence[int] = ()
        #: the connection of the last exchange, and what others had written then
        self._exchanged: tuple[sqlite3.Connection, int] | None = None
        self._seen: _Seen | None = None
        self._answer: Answer = ()

    def worth_it(self, members: int) -> bool:
        """Whether to look for so many: the database can tell that nothing was written, and they are not few."""
        return members >= _WORTH_IT and self._engine.dialect.name == "sqlite"

    def known(self, connection: sa.Connection) -> Mapping[int, Member]:
        """Members who may be mailed, by id, in the state that this transaction sees. What was read is told once."""
        seen, answer = self._seen, self._answer
        self._next, self._seen, self._answer = (), None, ()
        if seen is None:
            return {}
        driver, others = _version(connection)
        return self._eligible.read(answer) if seen == _Seen(driver, others, driver.total_changes) else {}

    def look_for(self, connection: sa.Connection, ids: Sequence[int]) -> None:
        """Said within the same transaction: who is likely to be claimed next."""
        self._next, self._exchanged = ids, _version(connection)

    def look(self, *, now: dt.datetime) -> None:
        """Reads them. Where the database cannot be read nothing is known: the next exchange says what is wrong."""
        if not self._next or self._exchanged is None:
            return
        driver, others = self._exchanged
        with contextlib.suppress(NewsletterError, sa.exc.DBAPIError), asking(self._engine) as connection:
            if connection.connection.driver_connection is driver:
                own = driver.total_changes
                # whoever may not be mailed is asked about again: a pause ends without anything being written
                self._answer = self._eligible.ask(connection, self._next, seconds(now))
                self._seen = _Seen(driver, others, own)


def _version(connection: sa.Connection) -> tuple[sqlite3.Connection, int]:
    """The connection, and what tells that others wrote; within a transaction that writes nobody else does."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    [others] = driver.execute("PRAGMA data_version").fetchone()
    return driver, others
