"""The advisory locks of this program on PostgreSQL, all of them: their numbers must differ from each other."""

from __future__ import annotations

from enum import IntEnum, unique

import sqlalchemy as sa


@unique
class AdvisoryLock(IntEnum):
    """What is done by one at a time. The numbers are arbitrary ("news" in ASCII, and a count), and never change."""

    #: Erasing somebody, alone; imports hold it together, so that nobody who is erased meanwhile comes back.
    ERASURE = 0x6E65_7773_0001
    #: Changing the tables (`db upgrade`).
    UPGRADE = 0x6E65_7773_0002
    #: Comparing and writing what an import has read.
    IMPORT = 0x6E65_7773_0003
    #: Leading the daemons on this database: held by a session, not by a transaction (`newsletter.store.leadership`).
    LEAD = 0x6E65_7773_0004
    #: Adding a token of the API: no two in use may have the same name.
    TOKENS = 0x6E65_7773_0005


#: The first of two numbers (a space of its own on PostgreSQL); the second is a run's: see `newsletter.store.run_rows`.
RUNS = 0x6E65_7773


def hold(connection: sa.Connection, lock: AdvisoryLock, *, shared: bool = False) -> None:
    """Waits for the lock, and holds it until the transaction ends; `shared`: with all others who share it.

    SQLite has one writer at a time, and needs nothing.
    """
    if connection.dialect.name == "postgresql":
        take = sa.func.pg_advisory_xact_lock_shared if shared else sa.func.pg_advisory_xact_lock
        connection.execute(sa.select(take(lock.value)))
