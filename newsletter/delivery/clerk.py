"""The one who talks to the ledger: gathers what all threads report and wish, and makes one exchange of it.

A commit costs the same for one call and for fifty. Whoever comes while an exchange is made is in the next one: so the
slower the database, the more there is in each; and whoever comes first may wait a moment for `company`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from newsletter.delivery.clock import Clock
from newsletter.delivery.company import Company
from newsletter.delivery.ledger import RunLedger, RunLost
from newsletter.delivery.observing import EndedCall, Observer, Unobserved
from newsletter.delivery.patience import PATIENCE, Patience
from newsletter.delivery.resting import Resting
from newsletter.delivery.run_values import Claim, Exchange, Halt, RunRecord, Wish
from newsletter.errors import NewsletterError, OutputError, TemporaryError

#: Seconds. The hold on the run is renewed this often, whatever else goes on.
KEEP_EVERY = 5.0
#: Where others send the same run, too, the ledger is asked this often whether it still goes on. Seconds.
HEED_EVERY = 1.5
#: A thread without work asks again after this at the latest: another process may have left some, or paused the run.
ASK_EVERY = 5.0
#: However near a due time is, a thread without work rests this long.
SHORTEST_REST = 0.02
#: How soon somebody's wish to stop is noticed.
LOOK_EVERY = 0.1

#: What a database says that may be well again in a moment: it is away or locked; its disk is full.
_PASSING = (TemporaryError, OutputError)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a thread gets for its wish: a claim; or none, and `due` is when it is worth asking again, if that is known.
    `news` is to be given to `Clerk.rest`."""

    claim: Claim | None = None
    due: dt.datetime | None = None
    news: int = 0


@dataclass(slots=True, eq=False)
class _Request:
    """What one thread brought, and waits for."""

    wish: Wish | None
    answered: threading.Event = field(default_factory=threading.Event)
    answer: Answer = field(default_factory=Answer)


class Clerk:
    """Stands between the threads of one run and its ledger.

    `serve` runs in one thread, alone uses the ledger and calls the observer; the other methods are for the threads
    that make calls. `end` is set as soon as nothing more is to be claimed, for whatever reason: `halt` and `error`
    say which. `stop` is somebody's wish for it; `changed`, where others send the run too, is set when it may have been
    paused. `tripped` is told of each call, in the order of their ends, and says why the run must pause.
    """

    def __init__(
        self,
        ledger: RunLedger,
        *,
        deadline: dt.datetime,
        tripped: Callable[[EndedCall], str],
        clock: Clock,
        stop: threading.Event,
        observer: Observer,
        patience: float = PATIENCE,
        changed: threading.Event | None = None,
    ) -> None:
        self.end = threading.Event()
        self.halt: Halt | None = None
        self.error: BaseException | None = None
        self._ledger = ledger
        self._deadline = deadline
        self._tripped = tripped
        self._clock = clock
        self._stop = stop
        self._observer: Observer = observer
        self._patience = Patience(patience)
        self._lock = threading.Lock()
        self._arrived = threading.Event()
        self._resting = Resting(clock)
        self._company = Company(clock)
        # brought by the threads, under the lock
        self._inbox: list[tuple[_Request, EndedCall | None]] = []
        self._at_work = self._elsewhere = 0
        self._served = False
        self._pause = ""
        # the serving thread's own
        self._unanswered: list[_Request] = []
        self._unwritten: list[EndedCall] = []
        self._keep_at = clock.monotonic() + KEEP_EVERY
        self._changed = changed
        self._heed_at = clock.monotonic() + HEED_EVERY
        self._given_up = False
        self._lost = False

    # for the threads that make calls

    def enter(self) -> None:
        """A thread is about to work; it must `leave`."""
        with self._lock:
            self._at_work += 1

    def leave(self) -> None:
        """A thread is done, and has handed in everything."""
        with self._lock:
            self._at_work -= 1
        self._arrived.set()

    def ask(self, ended: EndedCall | None, wish: Wish | None) -> Answer:
        """Hands in the call that ended, if there is one, and asks for another, if that is wished; waits until both are
        durable. After the end of the run there is no claim."""
        request = _Request(wish)
        with self._lock:
            if self._served:  # in a hurry: nobody is there to answer
                return request.answer
            self._inbox.append((request, ended))
        self._arrived.set()
        self._clock.wait(request.answered)
        return request.answer

    def rest(self, answer: Answer) -> None:
        """Waits for something to ask for: the moment that `answer` names, another thread's report, or the end."""
        seconds = ASK_EVERY
        if answer.due is not None:
            seconds = min(seconds, max(SHORTEST_REST, (answer.due - self._clock.now()).total_seconds()))
        with self.elsewhere():
            self._resting.rest(answer.news, seconds, self.end)

    def pause_for(self, seconds: float) -> None:
        """Waits so long, or for the end."""
        with self.elsewhere():
            self._clock.wait(self.end, seconds)

    @contextlib.contextmanager
    def elsewhere(self) -> Iterator[None]:
        """A thread waits for something else, and asks nothing meanwhile."""
        with self._lock:
            self._elsewhere += 1
        self._arrived.set()  # whoever waits for it need not
        try:
            yield
        finally:
            with self._lock:
                self._elsewhere -= 1

    def fail(self, error: BaseException, pause: str = "") -> None:
        """Something went wrong that no further call can mend: the run ends, pauses where `pause` says why, and the
        first such error is kept."""
        with self._lock:
            if self.error is None:
                self.error = error
                if self.halt is None:
                    self._pause = self._pause or pause
        self._finish()
        self._arrived.set()

    # for the thread that serves

    def serve(self) -> None:
        """Answers until every thread has left and everything is written down, or can not be. The first error that ends
        the run stands in `error`; nothing is raised but a second interruption from the keyboard."""
        try:
            while self._busy():
                try:
                    self._turn()
                except RunLost as lost:
                    self._lost = True
                    self.fail(lost)
                except Exception as error:  # noqa: BLE001 - a mistake of ours: calls that are out are still written down
                    self._broken(error)
                except KeyboardInterrupt as interrupt:
                    if self.error is not None:
                        raise
                    self.fail(interrupt)
            self._last_try()
        finally:
            self._finish()
            with self._lock:
                self._served = True
                self._unanswered += [request for request, _ in self._inbox]
            self._answer(Exchange(()), [])

    def close(self) -> RunRecord:
        """Lets go of the run. Raises what the ledger does, after as much patience as everywhere."""
        while True:
            try:
                return self._ledger.close(now=self._clock.now())
            except _PASSING as error:
                if not self._endured(error):
                    raise

    @property
    def all_written(self) -> bool:
        """Whether the ledger has every report, and the run is still ours."""
        return not self._unwritten and not self._lost

    def _busy(self) -> bool:
        with self._lock:
            return bool(self._at_work or self._inbox) or self._owed

    @property
    def _owed(self) -> bool:
        """Whether the ledger is still to be told something."""
        return not self._given_up and bool(self._unwritten or (self._pause and not self._lost))

    def _turn(self) -> None:
        """One look at what has arrived, and one exchange if there is anything to exchange."""
        if not self._unanswered and not self._owed:
            keeping = not self._given_up and not self._lost
            to_keep = max(0.0, self._keep_at - self._clock.monotonic()) if keeping else LOOK_EVERY
            self._clock.wait(self._arrived, min(LOOK_EVERY, to_keep))
        self._gather()
        self._wait_for_company()
        if self._stop.is_set():
            self._finish()
        if self._given_up:
            self._answer(Exchange(()), [])
            return
        try:
            if not self._lost:
                self._keep()
                self._heed()
            self._exchange()
            self._pause_run()
        except _PASSING as error:
            if not self._endured(error):
                self._given_up = True
                self.fail(error)

    def _gather(self) -> None:
        self._arrived.clear()
        with self._lock:
            arrived, self._inbox = self._inbox, []
        for request, ended in arrived:
            self._unanswered.append(request)
            if ended is not None:
                self._unwritten.append(ended)
                reason = ended.pause or self._tripped(ended)
                if reason and not self._pause and self.halt is None:
                    self._pause = reason

    def _wait_for_company(self) -> None:
        if not self._unanswered:
            return
        threads, seconds = self._company.awaited(self._to_come)
        until = self._clock.monotonic() + seconds
        while len(self._unanswered) < min(threads, self._to_come) and not (self._pause or self.end.is_set()):
            left = until - self._clock.monotonic()
            if self._stop.is_set() or left <= 0 or not self._clock.wait(self._arrived, left):
                self._company.came(everybody=False)
                return
            self._gather()
        self._company.came(everybody=True)

    @property
    def _to_come(self) -> int:
        """How many threads may ask: those at work, but for who waits for something else."""
        return self._at_work - self._elsewhere

    def _keep(self) -> None:
        if self._clock.monotonic() >= self._keep_at:
            self._ledger.keep(now=self._clock.now())
            self._keep_at = self._clock.monotonic() + KEEP_EVERY

    def _heed(self) -> None:
        """Where others send the run too, asks how it stands: they may have paused it while nobody here exchanges."""
        if self._changed is None or not (self._changed.is_set() or self._clock.monotonic() >= self._heed_at):
            return
        self._changed.clear()
        self._heed_at = self._clock.monotonic() + HEED_EVERY
        if not self.end.is_set() and (halt := self._ledger.exchange([], [], now=self._clock.now()).halt) is not None:
            self._finish(halt)

    def _exchange(self) -> None:
        now = self._clock.now()
        wishing = [one for one in self._unanswered if one.wish is not None]
        if wishing and now >= self._deadline:
            self._finish(Halt.DEADLINE)
        if self.end.is_set() or self._pause:
            wishing = []
        written = list(self._unwritten)
        exchange = Exchange(())
        if written or wishing:
            reports, wishes = [ended.report for ended in written], [one.wish for one in wishing if one.wish]
            try:
                exchange = self._ledger.exchange(reports, wishes, now=now)
            except RunLost:
                self._unwritten.clear()  # kept as evidence
                raise
        self._unwritten.clear()
        if exchange.halt is not None:
            self._finish(exchange.halt)
        if written:
            self._resting.wake()
        self._answer(exchange, wishing)
        if written or exchange.claims:
            self._well_again()
            self._tell(written, exchange)
        if exchange.claims and not self.end.is_set():
            self._ledger.look_ahead(now=now)

    def _answer(self, exchange: Exchange, wishing: list[_Request]) -> None:
        for request, claim in zip(wishing, exchange.claims, strict=True):
            request.answer = Answer(claim, exchange.next_due, self._resting.news)
        unanswered, self._unanswered = self._unanswered, []
        for request in unanswered:
            request.answered.set()

    def _tell(self, written: list[EndedCall], exchange: Exchange) -> None:
        for ended in written:
            self._say(self._observer.ended, ended)
            if ended.held_until is not None:
                self._say(self._observer.waiting, ended.held_until)
        claimed = sum(len(claim.members) for claim in exchange.claims if claim is not None)
        if claimed:
            self._say(self._observer.claimed, claimed)
        elif exchange.claims and exchange.halt is None and exchange.next_due is not None:
            self._say(self._observer.waiting, exchange.next_due)

    def _say(self, tell: Callable[..., None], *facts: object) -> None:
        try:
            tell(*facts)
        except Exception:
            self._observer = Unobserved()  # once is enough: what is out is still to be written down
            raise

    def _pause_run(self) -> None:
        if self._pause and not self._lost:
            self._ledger.pause(self._pause, now=self._clock.now())
            reason, self._pause = self._pause, ""
            self._finish(Halt.PAUSED)
            self._well_again()
            self._say(self._observer.paused, reason)

    def _finish(self, halt: Halt | None = None) -> None:
        """No more claims."""
        with self._lock:
            if not self.end.is_set():
                self.halt = halt
                self.end.set()
            elif self.halt is None:
                self.halt = halt
        self._resting.wake()

    def _endured(self, error: NewsletterError) -> bool:
        """Waits for the database to come back; False: it has been away for too long."""
        wait = self._patience.after_failure(self._clock.monotonic())
        if wait is None:
            return False
        self._say(self._observer.database_trouble, error, wait)
        self._clock.wait(threading.Event(), wait)
        return True

    def _well_again(self) -> None:
        if self._patience.after_success():
            self._say(self._observer.database_back)

    def _broken(self, error: Exception) -> None:
        """After a mistake in the ledger, a limiter or an observer. The second time nothing is tried any more."""
        if self.error is not None:
            self._given_up = True
        self.fail(error, pause=f"an error in the program stopped it: {type(error).__name__}: {error}")

    def _last_try(self) -> None:
        """The threads took their time to finish: the database may be back by now."""
        if self._given_up and self._unwritten and not self._lost:
            with contextlib.suppress(Exception):
                self._exchange()
