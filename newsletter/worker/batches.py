"""What a worker does with a job: sees whether it is fit for the run, takes the batch in the ledger, and sends it."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from newsletter import logs
from newsletter.delivery.ledger import BatchLedger, RunLost
from newsletter.delivery.run_values import NotTaken, RunRecord
from newsletter.delivery.states import RunState
from newsletter.errors import GuardRefused, NewsletterError, OutputError, TemporaryError
from newsletter.pipeline.run_facts import DatabaseClock, refuse_other_clock
from newsletter.pipeline.send_batch import RunAtWork
from newsletter.wiring.workers import WorkerParts

#: A batch that this worker may not send is there for others so soon; and its own thread takes no other job for so long.
#: Seconds.
LEFT_FOR_OTHERS, SITS_OUT = 1.0, 10.0
#: Runs that are kept ready: of one that another worker ended nobody tells.
_MOST_RUNS = 8
#: What passes by itself; everything else a worker refuses a run for is looked at again, as somebody may have mended it.
_PASSING = (TemporaryError, OutputError)


@dataclass(slots=True)
class _Fitness:
    """Whether this worker is fit for a run as it was handed over: the run at work, or why not and until when that is
    not looked at again (monotonic seconds)."""

    work: RunAtWork | None = None
    refusal: NewsletterError | None = None
    until: float = 0.0


@dataclass(slots=True)
class Batches:
    """The jobs of one process. `one` is called by as many threads as there are jobs at the same time."""

    parts: WorkerParts
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)
    sits_out: float = SITS_OUT
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _fitness: dict[tuple[str, ...], _Fitness] = field(default_factory=dict)
    _told: set[tuple[str, str]] = field(default_factory=set)
    _clock: DatabaseClock = field(default_factory=DatabaseClock)

    def one(self, uid: str, number: int, stop: threading.Event) -> None:
        """Does one job. `stop` ends it after the call that is out; what is left of the batch has a job then.

        Raises what the database does, and mistakes of this program: the batch is then in nobody's hands, and gets
        another job by `Ledger.tend`.
        """
        ledger = self.parts.ledger
        run = ledger.shared_run(uid)
        if run is None:
            return
        try:
            over = min(self._refuse_other_clock(), self.now()) >= run.deadline
            if over or run.state is not RunState.SENDING:
                # a dead worker may have left something of it, and nothing is sent: for that every worker is fit
                self._take_and_send(None, uid, number, stop)
                return
            work = self._fit_for(run)
        except _PASSING:
            raise
        except NewsletterError as error:
            self._leave_to_others(run, number, error, stop)
            return
        self._take_and_send(work, uid, number, stop)

    def tend(self) -> int:
        """See `Ledger.tend`: by the database's clock, and not at all where this machine's is off; another worker does
        it. How many jobs were given."""
        try:
            database = self._refuse_other_clock()
        except GuardRefused as error:
            self._tell_once("", error)
            return 0
        return self.parts.ledger.tend(now=database)

    def compare(self) -> None:
        """What this machine's journal has, and the database does not know. Raises what the database does, and
        OutputError where the journal cannot be read."""
        ledger = self.parts.ledger
        for error in ledger.compare_journal(now=ledger.clock()):
            logs.write("error", "run_sent_before", error=str(error), hint=error.hint)

    def shorten(self) -> None:
        """See `Ledger.shorten_journal`: by the time that `[retention]` has for calls."""
        ledger, keep = self.parts.ledger, self.parts.loaded.settings.retention.attempts
        if saved := ledger.shorten_journal(before=ledger.clock() - keep):
            logs.write("info", "journal_shortened", bytes=saved)

    def _take_and_send(self, work: RunAtWork | None, uid: str, number: int, stop: threading.Event) -> None:
        taken = self.parts.ledger.take_batch(uid, number, now=self.now())
        if isinstance(taken, NotTaken):
            return
        if work is None:
            taken.close(now=self.now())
            return
        try:
            result = work.send(taken, stop)
        except RunLost:
            logs.write("warning", "batch_lost", run=str(taken.run.name), batch=number)
            taken.abandon()
        except BaseException:
            taken.abandon()
            raise
        else:
            self._tell_end(result.run, taken)

    def _fit_for(self, run: RunRecord) -> RunAtWork:
        """Raises why this worker is not, besides its clock: looked at once for each handing over."""
        key = (run.uid, run.content_hash, run.program, run.setup)
        with self._lock:  # one renders, and the others wait for it
            found = self._fitness.get(key)
            if found is None or (found.work is None and time.monotonic() >= found.until):
                found = self._fitness[key] = self._looked_at(run)
                for oldest in list(self._fitness)[:-_MOST_RUNS]:
                    del self._fitness[oldest]
        if found.work is None:
            assert found.refusal is not None
            raise found.refusal
        return found.work

    def _refuse_other_clock(self) -> dt.datetime:
        """What the database's clock shows. Raises GuardRefused where this machine's shows something else."""
        database = self._clock.now(self.parts.ledger.clock)
        refuse_other_clock(database, self.now())
        return database

    def _looked_at(self, run: RunRecord) -> _Fitness:
        try:
            work = self.parts.run_at_work(run)
        except _PASSING:
            raise
        except NewsletterError as error:
            return _Fitness(refusal=error, until=time.monotonic() + self.sits_out)
        logs.write("info", "run_began", run=str(run.name), provider=run.provider)
        return _Fitness(work)

    def _leave_to_others(self, run: RunRecord, number: int, error: NewsletterError, stop: threading.Event) -> None:
        """The batch has another job at once, and this thread none for a while: so a worker that is not fit keeps nobody
        waiting, however many jobs there are."""
        ledger = self.parts.ledger
        at = self._clock.now(ledger.clock) + dt.timedelta(seconds=LEFT_FOR_OTHERS)
        ledger.put_back(run.uid, number, at=at)
        self._tell_once(run.uid, error, run=str(run.name))
        stop.wait(self.sits_out)

    def _tell_once(self, uid: str, error: NewsletterError, **of: str) -> None:
        told = (uid, str(error))
        with self._lock:
            is_new = told not in self._told
            self._told.add(told)
        if is_new:
            logs.write("error", "worker_not_fit", **of, error=str(error), hint=error.hint)

    def _tell_end(self, run: RunRecord, taken: BatchLedger) -> None:
        if run.state is RunState.SENDING or run.sender:
            return
        balance = self.parts.ledger.balance(run.id)
        logs.RunLog(run.name, run.provider).over(run, balance)
        self.parts.metrics.run_over(run, balance)
        with self._lock:
            for key in [one for one in self._fitness if one[0] == taken.run.uid]:
                del self._fitness[key]
