"""Runs and deliveries on a database: each method opens one transaction and hands over to the module of its subject."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import sqlalchemy as sa

from newsletter.audience.people import Frozen
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import Balance, RunPlan, RunRecord, Settlement, Sharing
from newsletter.delivery.states import OVER, DeliveryState, Mark, RunState
from newsletter.errors import GuardRefused, Place, TemporaryError
from newsletter.store import approving, freezing, recovery, run_sums, settling, shared_batches, shared_runs
from newsletter.store.batch_rows import Stale
from newsletter.store.engine import reading, writing
from newsletter.store.journal import MAY_HAVE_SENT, Claimed, Entry, Event, Journal
from newsletter.store.ledger_views import LedgerViews
from newsletter.store.person_rows import seconds
from newsletter.store.run_ledger import SqlRunLedger, Tools
from newsletter.store.run_rows import (
    RunRow,
    balance_of,
    change_run,
    find_run,
    name_of,
    read_run,
    record,
    settle_run,
    share_run,
)
from newsletter.store.run_sums import count_members
from newsletter.store.run_windows import windows_of
from newsletter.store.senders import Sender, Senders, passing
from newsletter.store.shared_batches import SharedBatches
from newsletter.store.tables import test_send
from newsletter.store.withdrawing import withdraw

_TRIES = 20


class SqlLedger(SharedBatches, LedgerViews):
    """`Ledger` on SQLite and PostgreSQL.

    `locks` is the folder of lock files of sending processes, `journal` the file that a restored database is compared
    with; both must be the same for all processes of one machine. Raises what `newsletter.store.failures` says, and
    OutputError where the journal cannot be read or written.
    """

    def __init__(self, engine: sa.Engine, *, locks: Path, journal: Path) -> None:
        # SQLite is on a local disk: whoever uses it sees the same lock files
        super().__init__(engine, Senders(locks, one_host=engine.dialect.name == "sqlite"))
        self._journal = Journal(journal)
        self._tools = Tools(engine, self._senders, self._journal)

    def plan(self, plan: RunPlan, *, now: dt.datetime) -> Frozen:
        """See `Ledger`."""
        sent_before = self._in_journal(plan.name)  # a long file is not read while others wait
        with writing(self._engine) as connection:
            frozen, uid = freezing.freeze(connection, plan, now=now)
            if sent_before:
                raise self._forgot(plan.name)
            if plan.shared is not None:
                shared_runs.begin(connection, read_run(connection, frozen.run_id, hold=True), plan.shared, now)
            self._journal.append([Entry(str(plan.name), uid, Event.PLANNED, now)])
        if plan.shared is not None:
            # workers write only into journals of their own; not before the commit: what was undone was not handed over
            self._journal.append([Entry(str(plan.name), uid, Event.SHARED, now)])
        return frozen

    def refuse_forgotten(self, name: RunName) -> None:
        """See `Ledger`."""
        if self._in_journal(name):
            raise self._forgot(name)

    def withdraw(self, run_id: int) -> bool:
        """See `Ledger`. What the journal has of the run stays: it says that it was planned, and that hinders nobody.
        Raises UsageError where there is no such run."""
        with writing(self._engine) as connection:
            row = read_run(connection, run_id, hold=True)
            return withdraw(connection, row, self._journal.entries(str(name_of(row))))

    def take(
        self, run_id: int, *, resend_unknown: bool = False, limit: int | None = None, now: dt.datetime
    ) -> SqlRunLedger:
        """See `Ledger`. Raises UsageError where there is no such run."""
        if limit is not None and limit < 1:
            raise ValueError("a limit lets at least one through")
        time, forgotten = passing(now), self._forgotten(run_id)
        sender: Sender | None = None
        try:
            with writing(self._engine) as connection:
                row = read_run(connection, run_id, hold=True)
                self._refuse_over(row)
                self._refuse_living(connection, row, now)
                dead = self._recover(connection, row, now)
                sender = self._senders.begin(connection, time())
                recovery.forget(connection, run_id, forgotten, sender.id, now)
                recovery.count_anew(connection, run_id, now)
                if resend_unknown:
                    recovery.resend_unknown(connection, run_id, now)
                row = change_run(
                    connection,
                    run_id,
                    state=RunState.SENDING.value,
                    reason="",
                    started_at=row.started_at or seconds(now),
                    ended_at=None,
                    sender_id=sender.id,
                    shared=0,
                    allowance=None,
                )
                counts, windows = count_members(connection, run_id), windows_of(connection, run_id)
        except BaseException:
            if sender is not None:
                sender.lock.release()
            raise
        self._senders.clear(dead)
        return SqlRunLedger(self._tools, row, sender, counts, windows, limit)

    def share(self, run_id: int, sharing: Sharing, *, now: dt.datetime) -> RunRecord:
        """See `Ledger`. Raises UsageError where there is no such run."""
        forgotten = self._forgotten(run_id)
        with writing(self._engine) as connection:
            row = read_run(connection, run_id, hold=True)
            self._refuse_over(row)
            self._refuse_living(connection, row, now)
            dead = self._recover(connection, row, now)
            shared_batches.forget(connection, self._senders, row, forgotten, now)
            row = shared_runs.begin(connection, row, sharing, now)
        self._journal.append([Entry(str(name_of(row)), row.uid, Event.SHARED, now)])
        self._tell(row, dead, now)
        return record(row, "")

    def pause(self, run_id: int, reason: str, *, now: dt.datetime) -> bool:  # noqa: ARG002 - the Protocol's; a pause has no time
        """See `Ledger`. GuardRefused also where only unknown outcomes are left."""
        with writing(self._engine) as connection:
            row = read_run(connection, run_id, hold=True)
            self._refuse_over(row)
            if row.state == RunState.HELD:
                raise GuardRefused(
                    f"{name_of(row)} has nothing left to send; only unknown outcomes are to be settled",
                    hint=f"newsletter resolve {name_of(row)}",
                )
            if row.state == RunState.PAUSED:
                return False
            settling.pause_run(connection, row, reason)
            return True

    def cancel(self, run_id: int, *, now: dt.datetime) -> Balance:
        """See `Ledger`."""
        with writing(self._engine) as connection:
            row = read_run(connection, run_id, hold=True)
            self._refuse_over(row)
            dead: list[int] = []
            living = self._living(connection, row, now)
            if not living:
                dead = self._recover(connection, row, now)
                row = change_run(connection, run_id, sender_id=None)
            row = settling.cancel_run(connection, row)
            if not living:
                row = settle_run(connection, row, now)
            balance = balance_of(row.planned, count_members(connection, run_id))
        self._tell(row, dead, now)
        return balance

    def settle(
        self, run_id: int, settlement: Settlement, *, only: Sequence[int] | None = None, now: dt.datetime
    ) -> int:
        """See `Ledger`. GuardRefused where a run that was cancelled, and has calls under way, is to be sent again."""
        for _ in range(_TRIES):
            try:
                with writing(self._engine) as connection:
                    row = read_run(connection, run_id, hold=True)
                    dead: list[int] = []
                    living = self._living(connection, row, now)
                    if not living:
                        dead = self._recover(connection, row, now)
                        # one that was cancelled is held from here on, where something is unknown
                        row = settle_run(connection, change_run(connection, run_id, sender_id=None), now)
                    elif settlement is Settlement.RESEND and row.state == RunState.CANCELLED:
                        raise GuardRefused(f"{name_of(row)} was cancelled", hint="Nothing more of it is sent.")
                    settled = settling.settle_unknown(connection, run_id, settlement, only, now)
                    if not living:
                        row = settle_run(connection, row, now)
            except Stale:
                continue
            self._tell(row, dead, now)
            return settled
        raise self._busy()

    def retry(self, run_id: int, states: Sequence[DeliveryState], deadline: dt.datetime, *, now: dt.datetime) -> int:
        """See `Ledger`. GuardRefused where the run was cancelled, or a living process has it."""
        with writing(self._engine) as connection:
            row = read_run(connection, run_id, hold=True)
            if row.state == RunState.CANCELLED:
                raise GuardRefused(f"{name_of(row)} was cancelled", hint="Nothing more of it is sent.")
            self._refuse_living(connection, row, now)
            dead = self._recover(connection, row, now)
            if was_summed := row.summed:
                run_sums.open_up(connection, run_id)
            opened = settling.open_again(connection, run_id, states, deadline, now)
            values: dict[str, object] = {"sender_id": None}
            if opened:
                reason = f"{opened:,} are to be tried again"
                values |= {"state": RunState.PAUSED.value, "reason": reason, "ended_at": None}
                values["deadline"] = seconds(deadline)
                self._journal.append([Entry(str(name_of(row)), row.uid, Event.REOPENED, now)])
            row = change_run(connection, run_id, **values)
            if was_summed and not opened:
                settle_run(connection, row, now)
        self._senders.clear(dead)
        return opened

    def evidence(self, run_id: int, subscriber_id: int, mark: Mark, *, now: dt.datetime) -> bool:
        """See `Ledger`. Raises UsageError where there is no such run."""
        return self._witness(lambda connection: read_run(connection, run_id), {subscriber_id: mark}, now) == 1

    def witness(self, name: RunName, marks: Mapping[int, Mark], *, now: dt.datetime) -> int | None:
        """See `Ledger`."""
        return self._witness(lambda connection: find_run(connection, name), marks, now)

    def record_test(self, name: RunName, content_hash: str, addresses: Sequence[str], *, now: dt.datetime) -> None:
        """See `Ledger`."""
        with writing(self._engine) as connection:
            connection.execute(
                sa.insert(test_send).values(
                    newsletter=name.newsletter,
                    slot=name.slot,
                    content_hash=content_hash,
                    addresses=json.dumps(list(addresses), ensure_ascii=False),
                    at=seconds(now),
                )
            )

    def approve(self, name: RunName, content_hash: str, *, by: str, now: dt.datetime) -> None:
        """See `Ledger`."""
        with writing(self._engine) as connection:
            approving.approve(connection, name, content_hash, by=by, now=now)

    def _witness(
        self, find: Callable[[sa.Connection], RunRow | None], marks: Mapping[int, Mark], now: dt.datetime
    ) -> int | None:
        for _ in range(_TRIES):
            try:
                return self._witnessed(find, marks, now)
            except Stale:
                continue
        raise self._busy()

    def _witnessed(
        self, find: Callable[[sa.Connection], RunRow | None], marks: Mapping[int, Mark], now: dt.datetime
    ) -> int | None:
        with writing(self._engine) as connection:
            row = find(connection)
            if row is None:
                return None
            # Where it may end the run, the run is held alone from the first; else many events come at once, and
            # exchanges between them. (One that shares it and then wants it alone would wait for others who do.)
            alone = not self._in_hands(connection, row) and row.state not in OVER
            row = read_run(connection, row.id, hold=True) if alone else share_run(connection, row.id)
            news, settled = settling.record_marks(connection, row, marks)
            if settled and not self._in_hands(connection, row):
                if not alone and row.state not in OVER:
                    raise Stale  # it was let go in between
                if alone:
                    row = settle_run(connection, row, now)
        if settled:
            self._tell(row, [], now)
        return news

    def _in_hands(self, connection: sa.Connection, row: RunRow) -> bool:
        """Whether a process has the run, or a batch of it; it may be dead. Of a shared run that is being sent a batch
        may be in hands the next moment."""
        return row.sender_id is not None or bool(
            row.shared and (row.state == RunState.SENDING or shared_runs.hands(connection, row.id))
        )

    def _forgotten(self, run_id: int) -> Mapping[int, Sequence[Claimed]]:
        """What the journal says was claimed, and the database does not know."""
        with reading(self._engine) as connection:
            row = read_run(connection, run_id)
            known = recovery.claims_granted(connection, run_id)
        self._refuse_over(row)
        return recovery.forgotten(self._journal.entries(str(name_of(row))), row.uid, known)

    def _in_journal(self, name: RunName) -> bool:
        return any(entry.event in MAY_HAVE_SENT for entry in self._journal.entries(str(name)))

    def _forgot(self, name: RunName) -> GuardRefused:
        return GuardRefused(
            f"{name} was sent before, and the database does not know of it",
            place=Place(self._journal.path),
            hint="Was an older backup of the database put back? Put back one from after the run. If it is "
            "really to be sent once more, take its lines out of the journal.",
        )

    def _living(self, connection: sa.Connection, row: RunRow, now: dt.datetime) -> str:
        if row.shared:
            return shared_runs.living_hands(connection, self._senders, row.id, now, hold=True)
        return self._senders.living(connection, row.sender_id, now, hold=True)

    def _recover(self, connection: sa.Connection, row: RunRow, now: dt.datetime) -> list[int]:
        """What dead processes left; their numbers."""
        if row.shared:
            return shared_runs.recover_hands(connection, self._senders, row, now)
        if row.sender_id is None:
            return []
        number = int(row.sender_id)
        recovery.recover(connection, row, number, self._senders.name(connection, number), now)
        self._senders.end(connection, number, now)
        return [number]

    def _tell(self, row: RunRow, dead: Sequence[int], now: dt.datetime) -> None:
        """After a transaction that may have ended a run, or buried processes."""
        self._senders.clear(dead)
        if row.ended_at == seconds(now):
            self._journal.append([Entry(str(name_of(row)), row.uid, Event.ENDED, now)])

    def _refuse_living(self, connection: sa.Connection, row: RunRow, now: dt.datetime) -> None:
        if who := self._living(connection, row, now):
            raise GuardRefused(
                f"{name_of(row)} is being sent by {who}",
                hint=f"Look on: `newsletter watch {name_of(row)}`. To stop it: `newsletter pause {name_of(row)}`.",
            )

    def _refuse_over(self, row: RunRow) -> None:
        if row.state in OVER:
            raise GuardRefused(
                f"{name_of(row)} is over: {row.state}",
                hint=f"`newsletter status {name_of(row)}` shows what became of it.",
            )

    def _busy(self) -> TemporaryError:
        return TemporaryError("others change the same deliveries all the time", hint="Run the same command again.")
