"""One run in the hands of this process: `RunLedger` on a database.

What is in hand is kept in memory, so that the next window of a batch needs no reading; a batch is written only where
it still is what was read, and after any error the database is asked again.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import sqlalchemy as sa

from newsletter.delivery.ledger import RunLost
from newsletter.delivery.model import Accepted
from newsletter.delivery.run_values import Balance, Claim, Exchange, Halt, Report, RunRecord, Wish
from newsletter.delivery.states import RunState
from newsletter.errors import TemporaryError
from newsletter.store import shared_runs
from newsletter.store.attempts import add_reference, give_reason
from newsletter.store.batch_rows import Stale, read_batch
from newsletter.store.claiming import Claiming
from newsletter.store.delivery_notes import clean, drop_notes, keep_notes
from newsletter.store.eligible import Eligible
from newsletter.store.engine import reading, writing
from newsletter.store.foresight import Foresight
from newsletter.store.journal import Claimed, Entry, Event, Journal
from newsletter.store.person_rows import moment, seconds
from newsletter.store.recovery import let_go_of
from newsletter.store.reporting import Applied, apply_report
from newsletter.store.run_rows import (
    RunRow,
    balance_of,
    change_run,
    read_run,
    record,
    settle_run,
    share_run,
)
from newsletter.store.run_sums import count_members, move
from newsletter.store.run_windows import RunWindows
from newsletter.store.senders import Sender, Senders, passing
from newsletter.store.settling import expire_run, pause_run
from newsletter.store.tables import batch
from newsletter.store.turn import Hands, Turn, handed_out

#: How often a transaction is begun anew because others changed the same batches.
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Tools:
    """What handles of one ledger share."""

    engine: sa.Engine
    senders: Senders
    journal: Journal
    #: of runs that workers send, by uid: batch → the last claim that this process wrote into the journal
    journalled: dict[str, dict[int, int]] = field(default_factory=dict)


class SqlRunLedger:
    """`RunLedger`; `SqlLedger.take` makes it."""

    def __init__(
        self,
        tools: Tools,
        row: RunRow,
        sender: Sender,
        counts: Counter[int],
        windows: RunWindows,
        limit: int | None,
    ) -> None:
        self._tools = tools
        self._sender = sender
        self._record = record(row, "this process")
        self._uid = row.uid
        self._planned = row.planned
        self._hands = Hands(row.id, sender.id, counts, windows)
        self._limit = self._allowance = limit
        self._eligible = Eligible(tools.engine.dialect.name, self._record.selection)
        self._foresight = Foresight(tools.engine, self._eligible)
        self._closed = False
        #: the time of day in the call that is being made
        self._passing: Callable[[], dt.datetime]

    @property
    def run(self) -> RunRecord:
        """See `RunLedger`."""
        return self._record

    @property
    def balance(self) -> Balance:
        """See `RunLedger`. What others write (events, a cancellation) is in it when the run is closed."""
        return balance_of(self._planned, {byte: number for byte, number in self._hands.counts.items() if number})

    def exchange(self, reports: Sequence[Report], wishes: Sequence[Wish], *, now: dt.datetime) -> Exchange:
        """See `RunLedger`."""
        self._passing = passing(now)
        for _ in range(_TRIES):
            try:
                return self._exchange(reports, wishes, now)
            except Stale:
                self._hands.outdated = True
        raise TemporaryError("others change the same deliveries all the time", hint="Run the same command again.")

    def look_ahead(self, *, now: dt.datetime) -> None:
        """See `RunLedger`."""
        self._foresight.look(now=now)

    def may_call(self) -> bool:
        """See `RunLedger`."""
        return not self._closed and self._sender.may_call()

    def keep(self, *, now: dt.datetime) -> None:
        """See `RunLedger`."""
        self._passing = passing(now)
        with self._transaction() as connection:
            kept = self._renew(connection, self._passing())
        if not kept:
            raise RunLost

    def pause(self, reason: str, *, now: dt.datetime) -> None:  # noqa: ARG002 - the Protocol's; a pause has no time
        """See `RunLedger`."""
        with writing(self._tools.engine) as connection:
            row = read_run(connection, self._record.id, hold=True)
            if row.state in {RunState.PLANNED, RunState.SENDING}:
                pause_run(connection, row, reason)

    def close(self, *, now: dt.datetime) -> RunRecord:
        """See `RunLedger`. A claim that was given out and never reported becomes unknown."""
        run_id = self._record.id
        if self._closed:
            with reading(self._tools.engine) as connection:
                row = read_run(connection, run_id)
                return record(row, self._tools.senders.living(connection, row.sender_id, now))
        with writing(self._tools.engine) as connection:
            row = read_run(connection, run_id, hold=True)
            if row.sender_id == self._sender.id:
                let_go_of(connection, row, self._sender.id, self._hands.handed, now)
                if seconds(now) >= row.deadline and row.state != RunState.CANCELLED:
                    expire_run(connection, run_id)
                row = settle_run(connection, change_run(connection, run_id, sender_id=None), now)
            self._tools.senders.end(connection, self._sender.id, now)
            said = record(row, self._tools.senders.living(connection, row.sender_id, now))
            counts = count_members(connection, run_id)
        self._hands.counts = counts
        self._closed = True
        self._sender.lock.release()
        if said.ended_at is not None:
            self._tools.journal.append([Entry(str(said.name), self._uid, Event.ENDED, now)])
        return said

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        """One that may write the lease, which is believed when it was kept."""
        self._sender.written = None
        with writing(self._tools.engine) as connection:
            yield connection
        self._sender.believe()

    def _exchange(self, reports: Sequence[Report], wishes: Sequence[Wish], now: dt.datetime) -> Exchange:
        hands, run_id = self._hands, self._record.id
        # where it may pause the run, it holds it alone from the first: see `SqlLedger.evidence`
        alone = self._may_pause and bool(wishes)
        with self._transaction() as connection:
            row = read_run(connection, run_id, hold=True) if alone else share_run(connection, run_id)
            lost = self._is_lost(connection, row)
            if not lost:
                turn, answer, allowance = self._turn(connection, row, reports, wishes, now)
                # from here on it may be kept, or not
                hands.lost_track = True
        if lost:
            self._evidence(reports, now)
            raise RunLost
        # It is kept, and no call was made yet. Before one is, it stands in the journal too; else the claims are given
        # to nobody.
        name = str(self._record.name)
        if turn.claimed:
            # one fsync an attempt: a further window of it is written, and lasts through everything but a power cut
            entry = Entry(name, self._uid, Event.CLAIMED, now, tuple(turn.claimed))
            self._tools.journal.append([entry], sync=bool(turn.attempts))
            self._note(turn.claimed)
        turn.kept()
        self._allowance = allowance
        for report in reports:
            self._reported(report)
        for which, members in handed_out(turn.claims).items():
            hands.handed.setdefault(which, set()).update(members)
        return answer

    def _turn(
        self,
        connection: sa.Connection,
        row: RunRow,
        reports: Sequence[Report],
        wishes: Sequence[Wish],
        now: dt.datetime,
    ) -> tuple[Turn, Exchange, int | None]:
        turn = Turn(connection, self._hands, now)
        if row.state == RunState.CANCELLED:
            turn.cancel_waiting()
        words = [self._report(turn, report, row) for report in reports]
        claims: list[Claim | None] = [None] * len(wishes)
        halt = self._halt(row, now)
        allowance = self._allowance_of(row)
        known = self._foresight.known(connection)
        claiming = Claiming(turn, self._eligible, known, self._call_id, allowance, wishes)
        if halt is None:
            for number, wish in enumerate(wishes):
                if claiming.allowance is None or claiming.allowance > 0:
                    claims[number] = claiming.grant(wish)
        turn.finish()
        claimed = sum(len(one.members) for one in turn.claims)
        if self._foresight.worth_it(claimed):
            self._foresight.look_for(connection, turn.next_ids(claimed, -(-claimed // row.batch_size)))
        if row.summed:  # it ended, and this is said once more of calls that were reported
            move(connection, row.id, turn.moves())
        for write in words:  # after the batches, as everybody does: no two wait for each other
            write()
        next_due = None
        if halt is None and None in claims:
            next_due = self._next_due(turn)
            if next_due is None and not turn.in_flight():
                halt = Halt.DONE
            elif allowance == 0 and (next_due is not None or self._someone_left(turn)):
                pause_run(connection, row, self._limit_reached)
                halt = Halt.PAUSED
            elif next_due is not None and next_due <= now and claiming.others_at:
                next_due = max(now, min(claiming.others_at))
        if self._sender.needs_renewal():
            self._renew(connection, self._passing())
        return turn, Exchange(tuple(claims), halt, None if halt else next_due), claiming.allowance

    def _report(self, turn: Turn, report: Report, row: RunRow) -> Callable[[], None]:
        """Changes the batch; what writes the words on it, once it is written."""
        one = turn.batch(report.claim.batch)
        plan, attempt = one.schedule, report.claim.attempt
        applied = apply_report(turn.connection, one.row, report, cancelled=row.state == RunState.CANCELLED)
        if not applied.changed:
            return lambda: None
        if applied.again:
            plan.retry_at = max(plan.retry_at, report.retry_at or turn.now)
        one.row.call_size = call_size(one.row.call_size, len(one.row.ids), report)
        whole = plan.attempt == attempt and plan.covered == len(report.outcomes)
        return lambda: self._words(turn.connection, report, applied, whole=whole, now=turn.now)

    def _words(
        self, connection: sa.Connection, report: Report, applied: Applied, *, whole: bool, now: dt.datetime
    ) -> None:
        run_id, claim = self._record.id, report.claim
        if whole and applied.common:
            give_reason(connection, run_id, claim.batch, claim.attempt, clean(applied.common))
            # what was said of them before is no longer the last word
            drop_notes(connection, run_id, applied.notes if claim.attempt > 1 else ())
        else:
            keep_notes(connection, run_id, applied.notes, now)
        if claim.attempt > 1:
            drop_notes(connection, run_id, applied.accepted)
        if report.reference:
            add_reference(connection, run_id, claim.batch, claim.attempt, clean(report.reference))

    def _evidence(self, reports: Sequence[Report], now: dt.datetime) -> None:
        """Another process has the run, or had it: what became of our calls still counts."""
        with writing(self._tools.engine) as connection:
            row = read_run(connection, self._record.id, hold=True)
            moves: Counter[tuple[int, int]] = Counter()
            for report in sorted(reports, key=lambda one: one.claim.batch):
                there = read_batch(connection, row.id, report.claim.batch)
                if there is None:
                    continue
                applied = apply_report(connection, there, report, cancelled=row.state == RunState.CANCELLED)
                if there.sender_id is None:
                    there.let_go(seconds(now))
                there.save(connection)
                moves += there.moves
                self._words(connection, report, applied, whole=False, now=now)
            if row.summed:
                move(connection, row.id, moves.items())
            if row.sender_id is None:
                self._settle(connection, row, now)

    # what differs where a process has one batch of the run

    @property
    def _may_pause(self) -> bool:
        """Whether the next exchange may have to pause the run."""
        return self._allowance == 0

    @property
    def _limit_reached(self) -> str:
        return f"the limit of {self._limit:,} is reached"

    def _is_lost(self, connection: sa.Connection, row: RunRow) -> bool:  # noqa: ARG002 - the run says it
        """Whether another process has, or had, what this one was given; it stays so until the transaction ends."""
        return bool(row.sender_id != self._sender.id)

    def _allowance_of(self, row: RunRow) -> int | None:  # noqa: ARG002 - it is this process's
        """How many may be claimed yet; None: all."""
        return self._allowance

    def _note(self, claimed: Sequence[Claimed]) -> None:
        """These stand in the journal."""

    def _renew(self, connection: sa.Connection, now: dt.datetime) -> bool:
        return self._tools.senders.renew(connection, self._sender, self._record.id, now)

    def _settle(self, connection: sa.Connection, row: RunRow, now: dt.datetime) -> None:
        """The run, which is held and which no process has, may be at its end."""
        if row.shared:
            shared_runs.end(connection, row, now)
        else:
            settle_run(connection, row, now)

    # as everywhere

    def _halt(self, row: RunRow, now: dt.datetime) -> Halt | None:
        if row.state == RunState.CANCELLED:
            return Halt.CANCELLED
        if row.state != RunState.SENDING:
            return Halt.PAUSED
        return Halt.DEADLINE if seconds(now) >= row.deadline else None

    def _next_due(self, turn: Turn) -> dt.datetime | None:
        only = self._hands.only
        wanted = _FIRST_DUE if only is None else _FIRST_DUE.where(batch.c.number == only)
        due = turn.connection.scalar(wanted, {"of_run": self._record.id})
        times = [moment(due)] if due is not None else []
        in_hand = turn.waiting_until()
        return min([*times, *([in_hand] if in_hand else [])], default=None)

    def _someone_left(self, turn: Turn) -> bool:
        held = (turn.look(number) for number in turn.numbers())
        return any(one is not None and one.row.claimable for one in held)

    def _call_id(self, number: int, attempt: int, first: int) -> str:
        # the claims of one attempt have no member in common
        return f"{self._uid}-{number}-{attempt}-{first}"

    def _reported(self, report: Report) -> None:
        which = (report.claim.batch, report.claim.attempt)
        if which in self._hands.handed:
            self._hands.handed[which] -= report.outcomes.keys()
            if not self._hands.handed[which]:
                del self._hands.handed[which]


def call_size(now: int | None, size: int, report: Report) -> int | None:
    """How many the next call over a batch of `size` may carry: half of one that was refused because of somebody in it,
    at least one; after each that was accepted twice as many as before, up to all (None)."""
    if report.split:
        half = max(1, len(report.outcomes) // 2)
        return half if now is None else min(now, half)
    if now is None or not any(isinstance(one, Accepted) for one in report.outcomes.values()):
        return now
    return None if 2 * now >= size else 2 * now


_FIRST_DUE = sa.select(sa.func.min(batch.c.due_at)).where(
    batch.c.run_id == sa.bindparam("of_run"), batch.c.due_at.is_not(None)
)
