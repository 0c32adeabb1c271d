"""Batches of shared runs given to workers, and jobs for those that have none: a part of `SqlLedger`."""

from __future__ import annotations

import datetime as dt
import socket
import threading
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from newsletter.delivery.run_values import NotTaken, RunRecord
from newsletter.delivery.states import RunState
from newsletter.errors import GuardRefused, Place
from newsletter.store import jobs, recovery, shared_runs
from newsletter.store.batch_ledger import SqlBatchLedger, see_to_end
from newsletter.store.batch_rows import BatchRow, read_batch
from newsletter.store.engine import reading, writing
from newsletter.store.journal import MAY_HAVE_SENT, Claimed, Entry, Event
from newsletter.store.journal_folding import fold_journal, not_ended
from newsletter.store.person_rows import moment, seconds
from newsletter.store.run_ledger import Tools
from newsletter.store.run_rows import RunRow, find_uid, name_of, read_run, record, share_run
from newsletter.store.run_windows import windows_of
from newsletter.store.senders import Sender, Senders, passing
from newsletter.store.settling import pause_run
from newsletter.store.tables import run

#: Where a batch is in living hands, another job asks again so soon, or when they may be dead. Seconds.
_ASK_AGAIN = 5
#: Runs in one statement.
_UIDS_A_TIME = 500


class SharedBatches:
    """What workers ask of the ledger. Used by several threads at once. On PostgreSQL."""

    _tools: Tools

    def __init__(self, *given: object, **named: object) -> None:
        super().__init__(*given, **named)
        self._lock = threading.Lock()
        #: senders of this process that have no batch: each has one at a time, so that each dies for itself
        self._idle: list[Sender] = []
        #: runs whose claims in this machine's journal the database knew
        self._compared: set[str] = set()
        #: held by whoever compares the run of this uid
        self._comparing: dict[str, threading.Lock] = {}

    def shared_run(self, uid: str) -> RunRecord | None:
        """See `Ledger`."""
        with reading(self._tools.engine) as connection:
            row = find_uid(connection, uid)
            return None if row is None or not row.shared else record(row, "")

    def clock(self) -> dt.datetime:
        """See `Ledger`."""
        if self._tools.engine.dialect.name != "postgresql":
            return dt.datetime.now(dt.UTC)  # it is this machine's
        with reading(self._tools.engine) as connection:
            shown = connection.scalar(sa.text("SELECT clock_timestamp()"))
            assert isinstance(shown, dt.datetime)
            return shown.astimezone(dt.UTC)

    def take_batch(self, uid: str, number: int, *, now: dt.datetime) -> SqlBatchLedger | NotTaken:
        """See `Ledger`."""
        time = passing(now)
        self._compare_journal(uid, now)
        sender = self._a_sender(time())
        try:
            with writing(self._tools.engine) as connection:
                found = find_uid(connection, uid)
                if found is None:
                    self._give_back(sender)
                    return NotTaken("there is no such run")
                row = share_run(connection, found.id)
                one, dead = self._free(connection, row, number, now)
                if isinstance(one, BatchRow):
                    sender = self._living_sender(connection, sender, time())
                    due_at = one.due_at or 0
                    one.sender_id, one.due_at = sender.id, None
                    one.save(connection)
                    windows = windows_of(connection, row.id)
        except BaseException:
            sender.lock.drop()  # the transaction may have been kept: then the batch is a dead worker's
            raise
        sender.believe()
        self._tools.senders.clear(dead)
        if isinstance(one, NotTaken):
            self._give_back(sender)
            if one.again_at is None:
                see_to_end(self._tools, row.id, now)
            return one
        return SqlBatchLedger(self._tools, row, one, sender, windows, self._give_back, due_at)

    def put_back(self, uid: str, number: int, *, at: dt.datetime) -> None:
        """See `Ledger`."""
        with writing(self._tools.engine) as connection:
            jobs.defer(connection, uid, [(number, seconds(at))])

    def tend(self, *, now: dt.datetime) -> int:
        """See `Ledger`."""
        with reading(self._tools.engine) as connection:
            rows = connection.execute(sa.select(run).where(shared_runs.UNSETTLED)).all()
        given = 0
        for row in rows:
            if see_to_end(self._tools, row.id, now).ended_at is not None:
                continue
            with writing(self._tools.engine) as connection:
                held = share_run(connection, row.id)
                missing = jobs.orphans(connection, row.id, row.uid, now)
                if held.state != RunState.SENDING:  # only what dead workers left is to be recovered
                    missing = [(number, due_at) for number, due_at in missing if not due_at]
                given += jobs.defer(connection, row.uid, missing)
        return given

    def compare_journal(self, *, now: dt.datetime) -> Sequence[GuardRefused]:
        """See `Ledger`."""
        self._compared.clear()
        with reading(self._tools.engine) as connection:
            rows = connection.execute(sa.select(run).where(run.c.shared == 1, run.c.ended_at.is_(None))).all()
        for uid in self._tools.journalled.keys() - {row.uid for row in rows}:
            self._tools.journalled.pop(uid, None)
        refused = []
        for row in rows:
            try:
                self._compare(row, now)
            except GuardRefused as error:
                refused.append(error)
            else:
                self._compared.add(row.uid)
        return refused

    def shorten_journal(self, *, before: dt.datetime) -> int:
        """See `Ledger`."""
        journal = self._tools.journal
        names = {uid: name for name, uid in not_ended(journal.path)}
        uids = sorted({*names, *self._tools.journalled})
        for start in range(0, len(uids), _UIDS_A_TIME):
            which = run.c.uid.in_(uids[start : start + _UIDS_A_TIME])
            over = sa.select(run.c.uid, run.c.ended_at).where(which, run.c.ended_at.is_not(None))
            with reading(self._tools.engine) as connection:
                found = connection.execute(over).all()
            ended = [one for one in found if one.uid in names]
            journal.append([Entry(names[one.uid], one.uid, Event.ENDED, moment(one.ended_at)) for one in ended])
            for one in found:
                self._tools.journalled.pop(one.uid, None)
        return fold_journal(journal.path, before=before)

    def leave(self, *, now: dt.datetime) -> None:
        """This process sends no more: its senders are ended, and their locks are gone."""
        with self._lock:
            idle, self._idle = self._idle, []
        with writing(self._tools.engine) as connection:
            for one in idle:
                self._tools.senders.end(connection, one.id, now)
        for one in idle:
            one.lock.release()

    def _free(
        self, connection: sa.Connection, row: RunRow, number: int, now: dt.datetime
    ) -> tuple[BatchRow | NotTaken, list[int]]:
        """The batch, held and to be taken, or why it is not; and whom it was recovered from."""
        senders, dead = self._tools.senders, list[int]()
        one = read_batch(connection, row.id, number, hold=True)
        if one is None or not row.shared:
            return NotTaken("the run is not for workers any more"), dead
        if one.sender_id is not None:
            who = senders.living(connection, one.sender_id, now, hold=True, by_lease=True)
            if who:
                over = senders.lease_until(connection, one.sender_id) + 1 - seconds(now)
                again = seconds(now) + max(1, min(_ASK_AGAIN, over))
                jobs.defer(connection, row.uid, [(number, again)])
                return NotTaken(f"it is in the hands of {who}", moment(again)), dead
            dead = [one.sender_id]
            name = senders.name(connection, one.sender_id)
            recovery.recover(connection, row, one.sender_id, name, now, number)
            senders.end(connection, one.sender_id, now)
            one = read_batch(connection, row.id, number, hold=True)
            assert one is not None
        if row.state != RunState.SENDING or seconds(now) >= row.deadline or one.due_at is None:
            return NotTaken("nothing of it is to be sent now"), dead
        if one.due_at > seconds(now):
            jobs.defer(connection, row.uid, [(number, one.due_at)])
            return NotTaken("it waits", moment(one.due_at)), dead
        if one.claims < self._tools.journalled.get(row.uid, {}).get(number, 0):
            self._compared.discard(row.uid)  # the database was restored, or a standby took over, and we lived on
        if row.uid not in self._compared:  # else it was resumed this very moment
            again = seconds(now) + 1
            jobs.defer(connection, row.uid, [(number, again)])
            return NotTaken("what the journal has of it was not looked at", moment(again)), dead
        return one, dead

    def _a_sender(self, now: dt.datetime) -> Sender:
        """One of this process that has no batch. In a transaction of its own: its number must outlast a claim that is
        undone, as its lock does."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        time = passing(now)
        with writing(self._tools.engine) as connection:
            return self._tools.senders.begin(connection, time())

    def _living_sender(self, connection: sa.Connection, sender: Sender, now: dt.datetime) -> Sender:
        """The sender, alive from here on; another one where it was taken for dead while it had nothing."""
        if sender.lock.proves and self._tools.senders.renew(connection, sender, None, now):
            return sender
        sender.lock.drop()
        return self._tools.senders.begin(connection, now)

    def _give_back(self, sender: Sender) -> None:
        with self._lock:
            self._idle.append(sender)

    def _compare_journal(self, uid: str, now: dt.datetime) -> None:
        """Once for each run, before anything of it is sent here: see `_compare`. Raises GuardRefused."""
        with self._lock:
            lock = self._comparing.setdefault(uid, threading.Lock())
        with lock:  # one reads the journal, and the others wait for it
            if uid in self._compared:
                return
            with reading(self._tools.engine) as connection:
                row = find_uid(connection, uid)
            if row is not None and row.state == RunState.SENDING:
                self._compare(row, now)
                self._compared.add(uid)

    def _compare(self, row: RunRow, now: dt.datetime) -> None:
        """What this machine claimed, and a database from a backup does not know, is unknown. Raises GuardRefused where
        it sent a run of this name that the database does not know at all; this one is paused then."""
        name = name_of(row)
        self._tools.journalled.pop(row.uid, None)  # what we know is in the journal
        with reading(self._tools.engine) as connection:
            known = recovery.claims_granted(connection, row.id)
        entries = list(self._tools.journal.entries(str(name)))
        lost = recovery.forgotten(entries, row.uid, known)
        if lost:
            with writing(self._tools.engine) as connection:
                forget(connection, self._tools.senders, read_run(connection, row.id, hold=True), lost, now)
        if any(one.uid != row.uid and one.event in MAY_HAVE_SENT for one in entries):
            reason = f"a run of this name was sent before by {socket.gethostname()}, and the database does not know it"
            with writing(self._tools.engine) as connection:
                row = read_run(connection, row.id, hold=True)
                if row.state in {RunState.PLANNED, RunState.SENDING, RunState.PAUSED}:
                    pause_run(connection, row, reason)
            raise GuardRefused(
                f"{name} is paused: {reason}",
                place=Place(self._tools.journal.path),
                hint=f"Was an older backup of the database put back? `newsletter cancel {name}`. If it is really to be "
                "sent once more, take the lines of the other run out of the journal there, and resume it.",
            )


def forget(
    connection: sa.Connection, senders: Senders, row: RunRow, lost: Mapping[int, Sequence[Claimed]], now: dt.datetime
) -> None:
    """What the journal says was claimed, and the database does not know, becomes unknown (see `recovery.forget`)."""
    if not lost:
        return
    one = senders.begin(connection, now)  # whose attempts they are
    try:
        recovery.forget(connection, row.id, lost, one.id, now)
        senders.end(connection, one.id, now)
    finally:
        one.lock.release()
