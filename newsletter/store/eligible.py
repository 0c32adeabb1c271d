"""Who of some hundred people who are named may be mailed at this moment: asked on each claim.

The law of `standings.everyone`, but nothing is read but their own rows, however many others there are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import compress
from typing import Any

import sqlalchemy as sa

from newsletter.audience.model import Member
from newsletter.audience.people import Selection
from newsletter.store.person_rows import MEMBER_COLUMNS, members_of
from newsletter.store.selecting import ELIGIBLE, Unindexed, fits, standing
from newsletter.store.tables import mailing_list, membership, subscriber

#: People with their standings: from SQLite their columns as JSON, in a tenth of the memory that they take.
Answer = str | Sequence[sa.Row[*tuple[Any, ...]]]


class Eligible:
    """Those of a selection who may be mailed."""

    def __init__(self, dialect: str, selection: Selection) -> None:
        self._sqlite = dialect == "sqlite"
        columns = (*MEMBER_COLUMNS, standing())
        # As one value: with each row that Python's driver fetches it may lose the interpreter to the threads that send.
        chosen = [sa.func.json_array(*map(sa.func.json_group_array, columns))] if self._sqlite else columns
        self._statement = (
            sa.select(*chosen)
            .select_from(membership)
            .join(subscriber, subscriber.c.id == membership.c.subscriber_id)
            .where(self._named(), self._on(selection.lists), *fits(selection))
        )

    def among(self, connection: sa.Connection, ids: Sequence[int], now: int) -> dict[int, Member]:
        """These people, by id, as they are now, without those who may not be mailed at `now` (in seconds)."""
        return self.read(self.ask(connection, ids, now))

    def ask(self, connection: sa.Connection, ids: Sequence[int], now: int) -> Answer:
        """One statement; what it answers is to be read."""
        if self._sqlite:
            return str(connection.scalar(self._statement, {"ids": f"[{','.join(map(str, ids))}]", "now": now}))
        return connection.execute(self._statement, {"ids": list(ids), "now": now}).all()

    def read(self, answer: Answer) -> dict[int, Member]:
        """What `among` returns, of an answer."""
        columns: Sequence[Sequence[Any]]
        columns = json.loads(answer) if isinstance(answer, str) else [*zip(*answer, strict=True)]
        if not columns:
            return {}
        *columns, standings = columns
        # a person has a row for each list: of several standings the best one counts
        if standings.count(ELIGIBLE) < len(standings):
            good = [one == ELIGIBLE for one in standings]
            columns = [[*compress(column, good)] for column in columns]
        return dict(zip(columns[0], members_of(columns), strict=True))

    def _named(self) -> sa.ColumnElement[bool]:
        """The ids are one value, so that the statement is the same for any number of people."""
        if self._sqlite:
            named = sa.func.json_each(sa.bindparam("ids")).table_valued("value")
            return membership.c.subscriber_id.in_(sa.select(named.c.value))
        return membership.c.subscriber_id == sa.any_(sa.bindparam("ids", type_=sa.ARRAY(sa.BigInteger)))

    def _on(self, lists: Sequence[str]) -> sa.ColumnElement[bool]:
        wanted = sa.select(mailing_list.c.id).where(mailing_list.c.name.in_(lists))
        if len(lists) == 1:  # found by the key of both
            return membership.c.list_id == wanted.scalar_subquery()
        return Unindexed(membership.c.list_id).in_(wanted)
