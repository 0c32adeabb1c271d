"""Looking at runs and deliveries, without changing anything: the part of the ledger that `status` and `history` use."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence

import sqlalchemy as sa

from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import Balance, Delivery, RunRecord, WorkerRecord
from newsletter.delivery.states import OVER, DeliveryState
from newsletter.store import approving, deliveries, jobs, shared_runs
from newsletter.store.engine import reading
from newsletter.store.person_rows import moment
from newsletter.store.recovery import may_hold
from newsletter.store.run_rows import RunRow, balance_of, read_run, record
from newsletter.store.run_sums import count_members
from newsletter.store.senders import Senders
from newsletter.store.state_bytes import number_in
from newsletter.store.tables import batch, run, run_exclusion, test_send


class LedgerViews:
    """The reading half of `SqlLedger`; each method sees one state of the database."""

    def __init__(self, engine: sa.Engine, senders: Senders) -> None:
        self._engine = engine
        self._senders = senders

    def run(self, name: RunName) -> RunRecord | None:
        """See `Ledger`."""
        date, _, edition = name.slot.partition(".")
        found = self._records(
            sa.select(run).where(
                run.c.newsletter == name.newsletter, run.c.issue_date == date, run.c.edition == edition
            )
        )
        return found[0] if found else None

    def runs(
        self, newsletter: str | None = None, *, limit: int = 100, before: int | None = None
    ) -> Sequence[RunRecord]:
        """See `Ledger`."""
        wanted = sa.select(run).order_by(run.c.id.desc()).limit(limit)
        wanted = wanted if before is None else wanted.where(run.c.id < before)
        return self._records(wanted if newsletter is None else wanted.where(run.c.newsletter == newsletter))

    def unfinished(self) -> Sequence[RunRecord]:
        """See `Ledger`; with those that were cancelled while calls were under way, until these are settled."""
        open_yet = sa.or_(run.c.state.not_in(sorted(OVER)), run.c.sender_id.is_not(None), shared_runs.UNSETTLED)
        return self._records(sa.select(run).where(open_yet).order_by(run.c.id.desc()))

    def balance(self, run_id: int) -> Balance:
        """See `Ledger`."""
        with reading(self._engine) as connection:
            return balance_of(read_run(connection, run_id).planned, count_members(connection, run_id))

    def workers(self, run_id: int) -> Sequence[WorkerRecord]:
        """See `Ledger`."""
        with reading(self._engine) as connection:
            if not read_run(connection, run_id).shared:
                return ()
            return shared_runs.workers(connection, self._senders, run_id, dt.datetime.now(dt.UTC))

    def any_worker(self) -> bool:
        """See `Ledger`."""
        if self._engine.dialect.name != "postgresql":
            return False
        with reading(self._engine) as connection:
            return bool(connection.scalar(jobs.ANY_WORKER))

    def next_try(self, run_id: int) -> dt.datetime | None:
        """See `Ledger`."""
        waiting = DeliveryState.RETRY_WAIT
        due = sa.select(batch.c.due_at, batch.c.states).order_by(batch.c.due_at)
        due = due.where(batch.c.run_id == run_id, batch.c.due_at.is_not(None), may_hold(waiting))
        with reading(self._engine) as connection:
            rows = connection.execute(due).all()
        return next((moment(due_at) for due_at, states in rows if number_in(states, waiting)), None)

    def excluded(self, run_id: int) -> Mapping[str, int]:
        """See `Ledger`."""
        with reading(self._engine) as connection:
            rows = connection.execute(
                sa.select(run_exclusion.c.reason, run_exclusion.c.count)
                .where(run_exclusion.c.run_id == run_id)
                .order_by(run_exclusion.c.reason)
            )
            return {str(reason): int(number) for reason, number in rows}

    def delivery(self, run_id: int, key: str) -> Delivery | None:
        """See `Ledger`."""
        with reading(self._engine) as connection:
            return deliveries.delivery(connection, read_run(connection, run_id), key)

    def deliveries_of(self, subscriber_id: int) -> Sequence[Delivery]:
        """See `Ledger`."""
        with reading(self._engine) as connection:
            return deliveries.deliveries_of(connection, subscriber_id)

    def deliveries(self, run_id: int, states: Sequence[DeliveryState], *, after: int = 0) -> Iterator[Delivery]:
        """See `Ledger`. Holds its transaction until it is exhausted or closed."""
        with reading(self._engine) as connection:
            yield from deliveries.deliveries(connection, read_run(connection, run_id), states, after=after)

    def reasons(self, run_id: int) -> Mapping[tuple[DeliveryState, str], int]:
        """See `Ledger`."""
        with reading(self._engine) as connection:
            return deliveries.reasons(connection, run_id)

    def last_test(self, name: RunName) -> tuple[str, dt.datetime, Sequence[str]] | None:
        """See `Ledger`."""
        wanted = sa.select(test_send).where(test_send.c.newsletter == name.newsletter, test_send.c.slot == name.slot)
        with reading(self._engine) as connection:
            row = connection.execute(wanted.order_by(test_send.c.id.desc()).limit(1)).one_or_none()
        return (row.content_hash, moment(row.at), tuple(json.loads(row.addresses))) if row else None

    def approval(self, name: RunName) -> tuple[str, dt.datetime, str] | None:
        """See `Ledger`."""
        with reading(self._engine) as connection:
            return approving.approval(connection, name)

    def _records(self, wanted: sa.Select[tuple[object, ...]]) -> Sequence[RunRecord]:
        with reading(self._engine) as connection:
            now = dt.datetime.now(dt.UTC)
            rows = connection.execute(wanted).all()
            return [record(row, self._who(connection, row, now)) for row in rows]

    def _who(self, connection: sa.Connection, row: RunRow, now: dt.datetime) -> str:
        if row.ended_at is not None:
            return ""
        if row.shared:
            return shared_runs.living_hands(connection, self._senders, row.id, now)
        return self._senders.living(connection, row.sender_id, now)
