"""What delivery asks of the ledger, the place where runs are kept. `newsletter.store` implements it on two databases.

`Ledger` is for planning, steering and looking; `RunLedger` is one run in the hands of one process that sends it, and
the only way to get permission for a call.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from newsletter.audience.people import Frozen
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import (
    Balance,
    Delivery,
    Exchange,
    NotTaken,
    Report,
    RunPlan,
    RunRecord,
    Settlement,
    Sharing,
    Wish,
    WorkerRecord,
)
from newsletter.delivery.states import DeliveryState, Mark
from newsletter.errors import GuardRefused


class RunLost(Exception):
    """Another process took the run over, because this one was silent for longer than its lease. What this one still
    reports is kept as evidence; it must make no further call."""


class RunLedger(Protocol):
    """One run in the hands of this process. Used by one thread at a time."""

    @property
    def run(self) -> RunRecord:
        """The run as it was when it was taken."""
        ...

    @property
    def balance(self) -> Balance:
        """The balance sheet, as of the last exchange; costs nothing."""
        ...

    def exchange(self, reports: Sequence[Report], wishes: Sequence[Wish], *, now: dt.datetime) -> Exchange:
        """Writes down all `reports` and grants what it can of `wishes`, in one durable transaction.

        Run state, deadline, suppressions and the hold on the run are checked in it. A claim whose transaction was
        not certainly kept is never returned: the method may be called again with the same reports after any error,
        and each report counts once. Raises RunLost (after keeping the reports as evidence), and what
        `newsletter.store.failures` says.
        """
        ...

    def look_ahead(self, *, now: dt.datetime) -> None:
        """To be called while the threads are busy: what the next exchange will need may be read now. Changes nothing,
        and leaves to that exchange to say what is wrong with the database."""
        ...

    def may_call(self) -> bool:
        """Whether the hold on the run certainly stands, for another call; asked right before each. Costs nothing."""
        ...

    def keep(self, *, now: dt.datetime) -> None:
        """Renews the hold on the run; to be called every few seconds. Raises RunLost."""
        ...

    def pause(self, reason: str, *, now: dt.datetime) -> None:
        """Stops the run for everybody, with the reason."""
        ...

    def close(self, *, now: dt.datetime) -> RunRecord:
        """Lets go of the run, with all claims reported.

        Expires what is left where the deadline is over; where nothing is left to send the run becomes held, finished
        or expired. Returns it as it is then. May be called twice.
        """
        ...


class BatchLedger(RunLedger, Protocol):
    """One batch of a shared run in the hands of this process: all that a `RunLedger` does, over its members alone.

    `pause` stops the run for everybody. `close` lets go of the batch, and sees to it in the same transaction that a
    job goes on with what is left of it; the last one to let go gives the run its end.
    """

    def abandon(self) -> None:
        """Lets go without a word, as a process does that dies: whoever asks for the batch next recovers it. Costs no
        transaction. To be called where `exchange` raised RunLost, or `close` is not possible."""
        ...


class Ledger(Protocol):
    """Runs and deliveries. Every method is one transaction: all of it is kept, or nothing."""

    def plan(self, plan: RunPlan, *, now: dt.datetime) -> Frozen:
        """Plans a run: its audience becomes frozen batches.

        Raises GuardRefused where the run exists, where `expected` is another number than the audience has, and where
        the journal knows a run of this name that the database does not: a restored database.
        """
        ...

    def take(
        self, run_id: int, *, resend_unknown: bool = False, limit: int | None = None, now: dt.datetime
    ) -> RunLedger:
        """Takes the run into this process's hands and makes it `sending`.

        What a dead process left in flight, and what the journal says was claimed and the database does not know,
        becomes unknown first (`resend_unknown`: then is tried again). `limit`: grants claims for so many members,
        then pauses the run. Raises GuardRefused where a living process has it or it is over.
        """
        ...

    def share(self, run_id: int, sharing: Sharing, *, now: dt.datetime) -> RunRecord:
        """Hands the run to workers and makes it `sending`: a job for each of its batches that something is left of is
        enqueued in the same transaction. What a dead process left is recovered first, as by `take`.

        Raises GuardRefused where a living process has it, or a batch of it, or it is over.
        """
        ...

    def take_batch(self, uid: str, number: int, *, now: dt.datetime) -> BatchLedger | NotTaken:
        """Takes one batch of a shared run into this process's hands; whatever a dead process left in flight in it
        becomes unknown first. Whoever has a batch is decided here and not by the queue: of several jobs for it one gets
        it, and where it is in living hands another job asks again later.
        """
        ...

    def put_back(self, uid: str, number: int, *, at: dt.datetime) -> None:
        """Leaves a batch that was not taken to others: another job for it may begin at `at`."""
        ...

    def tend(self, *, now: dt.datetime) -> int:
        """Gives a job to each batch of shared runs that is due or in hands, and has none; ends those of which nothing
        is left, and whose deadline is over. How many jobs that were. To be called every few seconds by somebody."""
        ...

    def compare_journal(self, *, now: dt.datetime) -> Sequence[GuardRefused]:
        """What this machine claimed of shared runs that are not over, and the database does not know, becomes unknown.
        Why others were paused: this machine sent a run of their name that the database does not know.

        To be called before this process takes a batch, and again whenever the database was away: it may be another one.
        """
        ...

    def shorten_journal(self, *, before: dt.datetime) -> int:
        """Of runs that were over before this moment only who was claimed stays in this machine's journal; how many
        bytes that saved. For a machine that sends and does not end each run: it learns of the end by this."""
        ...

    def shared_run(self, uid: str) -> RunRecord | None:
        """The run of this uid, where workers may send it."""
        ...

    def clock(self) -> dt.datetime:
        """What the database's clock shows."""
        ...

    def run(self, name: RunName) -> RunRecord | None:
        """The run of this name."""
        ...

    def refuse_forgotten(self, name: RunName) -> None:
        """Raises GuardRefused where the journal knows that mail of this run went out: a restored database.

        To be asked where the database has no such run.
        """
        ...

    def runs(
        self, newsletter: str | None = None, *, limit: int = 100, before: int | None = None
    ) -> Sequence[RunRecord]:
        """The runs, the latest first; `before`: those planned before the run of this number."""
        ...

    def unfinished(self) -> Sequence[RunRecord]:
        """The runs that are not over."""
        ...

    def balance(self, run_id: int) -> Balance:
        """The balance sheet as of now."""
        ...

    def workers(self, run_id: int) -> Sequence[WorkerRecord]:
        """The processes that had a part in a run that workers send, by name; none of a run in one process's hands."""
        ...

    def any_worker(self) -> bool:
        """Whether any worker on this database gave a sign of life within the last seconds, busy or not."""
        ...

    def next_try(self, run_id: int) -> dt.datetime | None:
        """When the first of those who wait for another try is due, in the past too; None where nobody waits."""
        ...

    def excluded(self, run_id: int) -> Mapping[str, int]:
        """How many were left out when the audience was frozen, by reason."""
        ...

    def delivery(self, run_id: int, key: str) -> Delivery | None:
        """What became of the person with this address key; None where they are no member."""
        ...

    def deliveries_of(self, subscriber_id: int) -> Sequence[Delivery]:
        """One person's deliveries in all runs, the latest first."""
        ...

    def deliveries(self, run_id: int, states: Sequence[DeliveryState], *, after: int = 0) -> Iterator[Delivery]:
        """The deliveries in these states, by subscriber number, from the one behind `after`; constant memory."""
        ...

    def reasons(self, run_id: int) -> Mapping[tuple[DeliveryState, str], int]:
        """How often each of the provider's words was given, its code before them, of those that are kept."""
        ...

    def pause(self, run_id: int, reason: str, *, now: dt.datetime) -> bool:
        """Stops a planned or sending run. False where it was paused already. GuardRefused where it is over."""
        ...

    def cancel(self, run_id: int, *, now: dt.datetime) -> Balance:
        """Ends the run: what is planned or waits for another try is cancelled. Calls in flight still count.

        GuardRefused where it is over.
        """
        ...

    def settle(
        self, run_id: int, settlement: Settlement, *, only: Sequence[int] | None = None, now: dt.datetime
    ) -> int:
        """Settles the unknown outcomes (`only`: of these subscribers) by an operator's word; says how many.

        Recovers first what a dead process left in flight. Resending makes a held run `paused`, to be resumed.
        """
        ...

    def retry(self, run_id: int, states: Sequence[DeliveryState], deadline: dt.datetime, *, now: dt.datetime) -> int:
        """Opens rejected or expired deliveries for another try until `deadline`; the run becomes paused."""
        ...

    def evidence(self, run_id: int, subscriber_id: int, mark: Mark, *, now: dt.datetime) -> bool:
        """Records what the provider reported of a delivery; settles it where it was unknown. False: nothing new.

        Any order and any number of repetitions give the same result.
        """
        ...

    def witness(self, name: RunName, marks: Mapping[int, Mark], *, now: dt.datetime) -> int | None:
        """`evidence` for many deliveries of one run (by subscriber number) in one transaction; how many are news. None
        where there is no such run. Numbers that are no members are passed over."""
        ...

    def record_test(self, name: RunName, content_hash: str, addresses: Sequence[str], *, now: dt.datetime) -> None:
        """Records that this content was sent as a test."""
        ...

    def last_test(self, name: RunName) -> tuple[str, dt.datetime, Sequence[str]] | None:
        """(content hash, when, to whom) of the last test of this issue."""
        ...

    def withdraw(self, run_id: int) -> bool:
        """Takes back a planned run that nobody ever took in hand: as if it had never been planned. False, and nothing
        changed, where it was."""
        ...

    def approve(self, name: RunName, content_hash: str, *, by: str, now: dt.datetime) -> None:
        """Records that this content may go out; an earlier approval of the issue holds no more."""
        ...

    def approval(self, name: RunName) -> tuple[str, dt.datetime, str] | None:
        """(content hash, when, by whom) of the approval of this issue."""
        ...
