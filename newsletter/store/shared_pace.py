"""`PaceRecords` and `TallyRecords` on PostgreSQL: rows that all workers write, each for a moment.

Time is the server's (`clock_timestamp`), as seconds: clocks of the workers' machines do not matter.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from newsletter.delivery.pace_records import Bucket, Reserved, Tally
from newsletter.store.engine import writing
from newsletter.store.failures import failures
from newsletter.store.tables import pace, run_tally


class SqlPaceRecords:
    """The buckets of the provider account of this name; see `PaceRecords`."""

    def __init__(self, engine: sa.Engine, account: str) -> None:
        self._engine = engine
        # a statement is a transaction
        self._at_once = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._account = account

    def reserve(self, bucket: Bucket, count: float) -> Reserved:
        """See `PaceRecords`."""
        row, queued = self._one(_RESERVE, bucket, count)
        assert row is not None
        lacking = min(count, bucket.most) - row.had
        return Reserved(max(0.0, lacking / bucket.rate), max(0.0, row.held), queued)

    def reserve_at_once(self, bucket: Bucket, count: float) -> Reserved | None:
        """See `PaceRecords`."""
        row, queued = self._one(_RESERVE_AT_ONCE, bucket, count)
        return None if row is None else Reserved(0.0, 0.0, queued)

    def take_some(self, wanted: Mapping[str, tuple[Bucket, int]]) -> Mapping[str, tuple[int, float]]:
        """See `PaceRecords`."""
        found: dict[str, tuple[int, float]] = {}
        with writing(self._engine) as connection:
            for domain, (bucket, count) in sorted(wanted.items()):  # in one order: no two wait for each other
                row = connection.execute(_REFILL, self._values(domain, bucket, 0.0)).one()
                taken = max(0, min(count, int(row.had + _ROUNDING)))
                if taken:
                    connection.execute(_TAKE, {"of_account": self._account, "of_domain": domain, "taken": taken})
                found[domain] = taken, max(0.0, (1 - (row.had - taken)) / bucket.rate)
        return found

    def hold(self, bucket: Bucket, seconds: float) -> None:
        """See `PaceRecords`."""
        with failures(self._engine.url), self._at_once.connect() as connection:
            connection.execute(_HOLD, self._values("", bucket, 0.0) | {"seconds": seconds})

    def held(self) -> float:
        """See `PaceRecords`."""
        with failures(self._engine.url), self._at_once.connect() as connection:
            return max(0.0, connection.scalar(_HELD, {"account": self._account}) or 0.0)

    def _one(self, statement: sa.TextClause, bucket: Bucket, count: float) -> tuple[sa.Row[Any] | None, float]:
        """The row, and after how many seconds there was a connection to ask for it."""
        began = time.monotonic()
        with failures(self._engine.url), self._at_once.connect() as connection:
            queued = time.monotonic() - began
            return connection.execute(statement, self._values("", bucket, count)).one_or_none(), queued

    def _values(self, domain: str, bucket: Bucket, count: float) -> dict[str, object]:
        return {
            "account": self._account,
            "domain": domain,
            "rate": float(bucket.rate),
            "most": float(bucket.most),
            "count": float(count),
        }


class SqlTally:
    """The tally of the run of this number; see `TallyRecords`."""

    def __init__(self, engine: sa.Engine, run_id: int) -> None:
        self._engine = engine
        self._run_id = run_id

    def add(self, *, lost: bool, refused: int, decided: int) -> Tally:
        """See `TallyRecords`."""
        values = {"run_id": self._run_id, "lost": int(lost), "refused": refused, "decided": decided}
        with writing(self._engine) as connection:
            row = connection.execute(_COUNT, values).one()
        return Tally(row.unknown_in_a_row, row.refused, row.decided)


def forget_tally(connection: sa.Connection, run_id: int) -> None:
    """The run is taken up anew: what was before counts no more."""
    connection.execute(sa.delete(run_tally).where(run_tally.c.run_id == run_id))


_ROUNDING = 1e-9
_NOW = "extract(epoch FROM clock_timestamp())::float8"
#: What was refilled since. A clock that was set back by more than anybody waits for a row begins anew, without a gift.
_REFILLED = """least(CAST(:most AS float8),
    pace.tokens + CASE WHEN excluded.at < pace.at THEN 0 ELSE excluded.at - pace.at END * CAST(:rate AS float8))"""
_AT = "CASE WHEN excluded.at < pace.at - 60 THEN excluded.at ELSE greatest(pace.at, excluded.at) END"
_INTO = f"""INSERT INTO pace (account, domain, tokens, at, held_until)
    SELECT :account, :domain, CAST(:most AS float8) - :count, {_NOW}, 0
    ON CONFLICT (account, domain) DO UPDATE SET tokens = {_REFILLED} - :count, at = {_AT}"""
_HAD = f"tokens + :count AS had, held_until - {_NOW} AS held"
_RESERVE = sa.text(f"{_INTO} RETURNING {_HAD}")
_RESERVE_AT_ONCE = sa.text(
    f"{_INTO} WHERE {_REFILLED} >= least(CAST(:count AS float8), :most) AND pace.held_until <= {_NOW} RETURNING {_HAD}"
)
_REFILL = _RESERVE
_TAKE = (
    sa.update(pace)
    .where(pace.c.account == sa.bindparam("of_account"), pace.c.domain == sa.bindparam("of_domain"))
    .values(tokens=pace.c.tokens - sa.bindparam("taken"))
)
_HOLD = sa.text(
    f"""INSERT INTO pace (account, domain, tokens, at, held_until)
    SELECT :account, :domain, CAST(:most AS float8), {_NOW}, {_NOW} + CAST(:seconds AS float8)
    ON CONFLICT (account, domain) DO UPDATE SET held_until = greatest(pace.held_until, excluded.held_until)"""
)
_HELD = sa.text(f"SELECT held_until - {_NOW} FROM pace WHERE account = :account AND domain = ''")  # noqa: S608 - a constant
_COUNT = sa.text(
    """INSERT INTO run_tally AS t (run_id, unknown_in_a_row, refused, decided)
    VALUES (:run_id, :lost, :refused, :decided)
    ON CONFLICT (run_id) DO UPDATE SET
        unknown_in_a_row = CASE WHEN excluded.unknown_in_a_row = 0 THEN 0 ELSE t.unknown_in_a_row + 1 END,
        refused = t.refused + excluded.refused, decided = t.decided + excluded.decided
    RETURNING unknown_in_a_row, refused, decided"""
)
