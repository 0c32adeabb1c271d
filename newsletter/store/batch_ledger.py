"""One batch of a shared run in the hands of this process: `BatchLedger` on PostgreSQL.

It is a `RunLedger` over one batch. What a process with the whole run keeps by the run's row, this one keeps by the
batch's: its `sender_id`, read and held in each transaction, after the run's row was shared.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from newsletter.delivery.ledger import RunLost
from newsletter.delivery.run_values import LIMIT_REACHED, Exchange, Halt, Report, RunRecord, Wish
from newsletter.delivery.states import RunState
from newsletter.store import jobs, shared_runs
from newsletter.store.batch_rows import BatchRow, read_batch
from newsletter.store.engine import reading, writing
from newsletter.store.journal import Claimed, Entry, Event
from newsletter.store.person_rows import seconds
from newsletter.store.recovery import let_go_of
from newsletter.store.run_ledger import SqlRunLedger, Tools
from newsletter.store.run_rows import RunRow, change_run, read_run, record, share_run
from newsletter.store.run_sums import count_members
from newsletter.store.run_windows import RunWindows
from newsletter.store.senders import Sender
from newsletter.store.tables import batch, run, sender
from newsletter.store.turn import Turn, whole_seconds

#: A batch that must wait for longer is put down, and another job goes on with it. Seconds.
SHORT_WAIT = 5.0
#: One that was put down though its wait was short, because others could be sent at once, rests for so long. Seconds.
_LEFT_FOR = 2


class SqlBatchLedger(SqlRunLedger):
    """`BatchLedger`; `SqlLedger.take_batch` makes it. `give_back` gets the sender when it is free for another batch."""

    def __init__(
        self,
        tools: Tools,
        row: RunRow,
        one: BatchRow,
        sender: Sender,
        windows: RunWindows,
        give_back: Callable[[Sender], None],
        due_at: int,
    ) -> None:
        super().__init__(tools, row, sender, one.counts(), windows, None)
        self._planned = len(one.ids)
        self._number = self._hands.only = one.number
        self._hands.lost_track = True  # the first exchange reads the batch
        self._limited = row.allowance is not None
        self._give_back = give_back
        self._due_at = due_at
        window = windows.of(one.number)
        #: nobody had it before
        self._first = due_at <= max(row.started_at or 0, seconds(window.opens_at) if window else 0)
        self._taken_at: dt.datetime | None = None
        #: with Halt.LATER: when it is to be taken again
        self._again_at: dt.datetime | None = None

    def close(self, *, now: dt.datetime) -> RunRecord:
        """See `BatchLedger`. A claim that was given out and never reported becomes unknown."""
        run_id = self._record.id
        if not self._closed:
            with writing(self._tools.engine) as connection:
                row = share_run(connection, run_id)
                one = read_batch(connection, run_id, self._number, hold=True)
                if one is not None and one.sender_id == self._sender.id:
                    let_go_of(connection, row, self._sender.id, self._hands.handed, now)
                    one = read_batch(connection, run_id, self._number)
                if one is not None and one.due_at is not None and row.state == RunState.SENDING:
                    if self._again_at is not None:
                        one.due_at = max(one.due_at, whole_seconds(self._again_at))
                        one.save(connection)
                    jobs.defer(connection, row.uid, [(one.number, one.due_at)])
                self._hands.counts = count_members(connection, run_id, self._number)
            self._closed = True
            self._give_back(self._sender)
        return see_to_end(self._tools, run_id, now)

    def abandon(self) -> None:
        """See `BatchLedger`."""
        if not self._closed:
            self._closed = True
            self._sender.lock.drop()

    @property
    def _may_pause(self) -> bool:
        # what is left of a limit stands in the run's row, and each claim of a limited run writes it
        return self._limited

    @property
    def _limit_reached(self) -> str:
        return LIMIT_REACHED

    def _is_lost(self, connection: sa.Connection, row: RunRow) -> bool:
        found = connection.execute(_HOLDER, {"of_run": row.id, "number": self._number, "us": self._sender.id}).one()
        # it may have put the batch down itself; but whoever was taken for dead has nothing any more
        return found.sender_id not in (None, self._sender.id) or found.ended_at is not None

    def _allowance_of(self, row: RunRow) -> int | None:
        return None if row.allowance is None else int(row.allowance)

    def _note(self, claimed: Sequence[Claimed]) -> None:
        known = self._tools.journalled.setdefault(self._uid, {})
        known.update((one.batch, one.number) for one in claimed)

    def _renew(self, connection: sa.Connection, now: dt.datetime) -> bool:
        return self._tools.senders.renew(connection, self._sender, None, now)

    def _settle(self, connection: sa.Connection, row: RunRow, now: dt.datetime) -> None:
        """Where this one, thought dead, says of the last unknowns that it made no call for them, they are sent yet: the
        run was held for their sake alone, and nobody paused it."""
        after = shared_runs.end(connection, row, now)
        if row.shared and row.state == RunState.HELD and not row.reason and after.state == RunState.PAUSED:
            change_run(connection, row.id, state=RunState.SENDING.value, reason="")
            jobs.defer(connection, row.uid, jobs.orphans(connection, row.id, row.uid, now))

    def _turn(
        self,
        connection: sa.Connection,
        row: RunRow,
        reports: Sequence[Report],
        wishes: Sequence[Wish],
        now: dt.datetime,
    ) -> tuple[Turn, Exchange, int | None]:
        self._again_at = None
        turn, exchange, left = super()._turn(connection, row, reports, wishes, now)
        known = self._tools.journalled.get(self._uid, {})
        if any(one.number <= known.get(one.batch, 0) for one in turn.claimed):
            raise RunLost  # they were claimed before: the database is one from a backup
        if row.allowance is not None and left != row.allowance:
            change_run(connection, row.id, allowance=left)
        due = exchange.next_due
        waits = exchange.halt is None and None in exchange.claims and not turn.in_flight()
        if waits and due is not None:
            if (due - now).total_seconds() > SHORT_WAIT:
                self._again_at = due
            elif (turn.waiting_until() or due) > now and self._others_wait(connection, now):
                self._again_at = max(due, now + dt.timedelta(seconds=_LEFT_FOR))
            if self._again_at is not None:
                exchange = Exchange(exchange.claims, Halt.LATER)
        return turn, exchange, left

    def _others_wait(self, connection: sa.Connection, now: dt.datetime) -> bool:
        """Whether this batch, of which nobody may be claimed for a moment, keeps others waiting.

        At once where some of the run were due before this one was, and did not have their first turn: a recipient
        domain that is slow must not hold up everybody else. After a while where anything is due. Else it stays in hand:
        where all that is left must wait, each is taken seldom.
        """
        self._taken_at = self._taken_at or now
        before = self._due_at if self._first else self._due_at - 1
        which = {"of_run": self._record.id, "number": self._number}
        if connection.scalar(_DUE_BEFORE, which | {"at": min(before, seconds(now))}):
            return True
        stayed = (now - self._taken_at).total_seconds() >= SHORT_WAIT
        return stayed and bool(connection.scalar(_ANY_DUE, which | {"at": seconds(now)}))


def see_to_end(tools: Tools, run_id: int, now: dt.datetime) -> RunRecord:
    """Gives a shared run its end where nothing of it is left, and nobody has any of it; the run as it is then.

    Of one that goes on `sender` is left open: after each batch somebody asks, and nobody wants to know.

    Each worker asks after it let go of its batch, in a transaction of its own: of the last two at least one sees that
    nothing is left, and where both do the second finds it done.
    """
    with reading(tools.engine) as connection:
        row = read_run(connection, run_id)
        over = seconds(now) >= row.deadline
        # one that was cancelled has no end before the last calls are reported
        if row.ended_at is not None or (not over and shared_runs.is_open(connection, run_id)):
            sent = row.state == RunState.SENDING
            return record(row, "" if sent else shared_runs.living_hands(connection, tools.senders, run_id, now))
    with writing(tools.engine) as connection:
        row = shared_runs.end(connection, read_run(connection, run_id, hold=True), now)
        said = record(row, shared_runs.living_hands(connection, tools.senders, run_id, now))
    if row.ended_at == seconds(now):
        tools.journal.append([Entry(str(said.name), row.uid, Event.ENDED, now)])
    return said


_HOLDER = (
    sa.select(batch.c.sender_id, sender.c.ended_at)
    .select_from(batch.join(sender, sender.c.id == sa.bindparam("us")))
    .where(batch.c.run_id == sa.bindparam("of_run"), batch.c.number == sa.bindparam("number"))
    .with_for_update(of=batch)
)
_DUE_BEFORE = sa.select(
    sa.exists().where(
        batch.c.run_id == sa.bindparam("of_run"),
        batch.c.due_at <= sa.bindparam("at"),
        batch.c.number != sa.bindparam("number"),
    )
)
_ANY_DUE = sa.select(
    sa.exists().where(
        run.c.shared == 1,
        run.c.ended_at.is_(None),
        run.c.state == RunState.SENDING.value,
        batch.c.run_id == run.c.id,
        batch.c.due_at <= sa.bindparam("at"),
        sa.or_(batch.c.run_id != sa.bindparam("of_run"), batch.c.number != sa.bindparam("number")),
    )
)
