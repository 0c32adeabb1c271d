"""A run without network, database or waiting: time that a test drives, providers that answer by a script, ledgers that
fail when they are told to."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from newsletter.audience.model import Member
from newsletter.delivery.dry_ledger import DryLedger, dry_record
from newsletter.delivery.ledger import RunLedger
from newsletter.delivery.model import Accepted, Batch, Limits, Outcome, Receipt, Recipient
from newsletter.delivery.names import RunName
from newsletter.delivery.provider import MailProvider
from newsletter.delivery.run_values import Balance, Exchange, Report, RunRecord, Wish
from newsletter.delivery.send import Clock, EndedCall, Limiter, Observer, SendResult, SendTerms, send_run
from newsletter.delivery.states import Change, DeliveryState, RunState, state_of
from newsletter.errors import NewsletterError
from newsletter.rendering.letter import Letterhead
from newsletter.rendering.model import Holed, RenderedIssue, Variant

RUN = RunName("daily-buzz", "2026-01-07")
START = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
LETTERHEAD = Letterhead(
    "Daily Buzz <buzz@news.example.com>",
    "editor@example.com",
    "daily-buzz.news.example.com",
    "Daily Buzz",
    "2026-01-07:daily-buzz:issue:daily-buzz",
    START,
)
_STUCK = 20.0


class SimulatedClock:
    """Time that goes on only when every thread that looks at it waits, and then at once to the next moment that one of
    them waits for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds = 0.0
        self._known: set[threading.Thread] = set()
        self._waiting: dict[threading.Thread, tuple[threading.Event, float | None]] = {}

    def now(self) -> dt.datetime:
        return START + dt.timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        with self._lock:
            self._known.add(threading.current_thread())
            return self._seconds

    def processor_time(self) -> float:
        return 0.0

    def wait(self, event: threading.Event, seconds: float | None = None) -> bool:
        thread, began = threading.current_thread(), time.monotonic()
        with self._lock:
            self._known.add(thread)
            due = None if seconds is None else self._seconds + seconds
            self._waiting[thread] = (event, due)
        try:
            while not event.is_set():
                with self._lock:
                    if due is not None and self._seconds >= due:
                        return False
                    advanced = self._advance()
                if not advanced:
                    event.wait(0.02)
                    assert time.monotonic() - began < _STUCK, "all threads wait for each other"
            return True
        finally:
            with self._lock:
                del self._waiting[thread]

    def _advance(self) -> bool:
        if any(thread not in self._waiting for thread in self._known if thread.is_alive()):
            return False
        if any(event.is_set() for event, _ in self._waiting.values()):
            return False
        dues = [due for _, due in self._waiting.values() if due is not None]
        if not dues or min(dues) <= self._seconds:  # whoever waited for this moment is about to notice
            return False
        self._seconds = min(dues)
        for event, due in self._waiting.values():
            if due == self._seconds:
                with event._cond:  # type: ignore[attr-defined] # wakes its waiters without setting it
                    event._cond.notify_all()  # type: ignore[attr-defined]
        return True


Answer = Callable[[Batch], Receipt]


def accept(batch: Batch) -> Receipt:
    return same(batch, Accepted(f"ref-{batch.number}"))


def same(batch: Batch, outcome: Outcome) -> Receipt:
    return Receipt({recipient.id: outcome for recipient in batch.recipients})


class ScriptedProvider:
    """Answers each call as `answer` says, after so many simulated `seconds`; writes down whom it was called for, and
    sees that nobody is in two calls at the same time."""

    def __init__(
        self,
        answer: Answer = accept,
        *,
        limits: Limits | None = None,
        clock: Clock | None = None,
        seconds: float = 0.0,
    ) -> None:
        self.calls: list[tuple[int, ...]] = []
        self.batches: list[Batch] = []
        self.at: list[float] = []
        self.most_at_once = 0
        self._answer = answer
        self._limits = limits or Limits(recipients_per_call=1_000)
        self._clock = clock
        self._seconds = seconds
        self._lock = threading.Lock()
        self._at_once: set[str] = set()
        self._now = 0

    @property
    def name(self) -> str:
        return "scripted"

    @property
    def limits(self) -> Limits:
        return self._limits

    def submit(self, batch: Batch, rendered: Mapping[Variant, RenderedIssue]) -> Receipt:
        ids = {recipient.id for recipient in batch.recipients}
        assert {recipient.variant for recipient in batch.recipients} <= rendered.keys()
        with self._lock:
            assert not ids & self._at_once, "somebody is in two calls at once"
            self._at_once |= ids
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            self.calls.append(tuple(int(recipient.id) for recipient in batch.recipients))
            self.batches.append(batch)
            if self._clock is not None:
                self.at.append(self._clock.monotonic())
        try:
            if self._clock is not None and self._seconds:
                self._clock.wait(threading.Event(), self._seconds)
            return self._answer(batch)
        finally:
            with self._lock:
                self._at_once -= ids
                self._now -= 1

    @property
    def times_called(self) -> Counter[int]:
        """How often each member was in a call."""
        return Counter(number for call in self.calls for number in call)

    def check(self) -> str:
        return "scripted"

    def close(self) -> None:
        """Nothing to let go of."""


class SteeredLedger(DryLedger):
    """A ledger in memory with an operator's hands on it."""

    def cancel(self) -> None:
        self._run = replace(self._run, state=RunState.CANCELLED)
        self._drop(Change.CANCEL)

    def resume(self) -> None:
        self._run = replace(self._run, state=RunState.SENDING, reason="")

    def in_state(self, state: DeliveryState) -> set[int]:
        """The ids of the members in this state."""
        return {number for number, byte in zip(self._ids, self._states, strict=True) if state_of(byte) is state}


class WatchedLedger:
    """A ledger in memory of which a test decides what goes wrong.

    `before` is called with the reports and wishes of each exchange, and may raise what a ledger raises; `renew` on each
    renewal of the hold.
    """

    def __init__(self, inner: SteeredLedger) -> None:
        self.inner = inner
        self.before: Callable[[Sequence[Report], Sequence[Wish]], None] = lambda _reports, _wishes: None
        self.renew: Callable[[], None] = lambda: None
        self.may: Callable[[], bool] = lambda: True
        self.exchanges: list[tuple[int, int]] = []
        self.renewed: list[dt.datetime] = []
        self.looks: list[dt.datetime] = []
        self.closed = 0
        self._user = threading.Lock()

    @property
    def run(self) -> RunRecord:
        return self.inner.run

    @property
    def balance(self) -> Balance:
        return self.inner.balance

    def exchange(self, reports: Sequence[Report], wishes: Sequence[Wish], *, now: dt.datetime) -> Exchange:
        assert self._user.acquire(blocking=False), "two threads use the ledger at once"
        try:
            self.before(reports, wishes)
            self.exchanges.append((len(reports), len(wishes)))
            return self.inner.exchange(reports, wishes, now=now)
        finally:
            self._user.release()

    def look_ahead(self, *, now: dt.datetime) -> None:
        assert self._user.acquire(blocking=False), "two threads use the ledger at once"
        self.looks.append(now)
        self._user.release()

    def may_call(self) -> bool:
        return self.may()

    def keep(self, *, now: dt.datetime) -> None:
        self.renew()
        self.renewed.append(now)

    def pause(self, reason: str, *, now: dt.datetime) -> None:
        self.inner.pause(reason, now=now)

    def close(self, *, now: dt.datetime) -> RunRecord:
        self.closed += 1
        return self.inner.close(now=now)


class Listening:
    """An observer that writes everything down."""

    def __init__(self) -> None:
        self.members_claimed = 0
        self.calls: list[EndedCall] = []
        self.waits: list[dt.datetime] = []
        self.pauses: list[str] = []
        self.troubles: list[tuple[str, float]] = []
        self.times_back = 0

    def claimed(self, members: int) -> None:
        self.members_claimed += members

    def ended(self, call: EndedCall) -> None:
        self.calls.append(call)

    def waiting(self, until: dt.datetime) -> None:
        self.waits.append(until)

    def paused(self, reason: str) -> None:
        self.pauses.append(reason)

    def database_trouble(self, error: NewsletterError, next_try: float) -> None:
        self.troubles.append((str(error), next_try))

    def database_back(self) -> None:
        self.times_back += 1


TERMS = SendTerms(
    batch_size=10,
    window=5,
    concurrency=1,
    retry_for=dt.timedelta(minutes=45),
    deadline=START + dt.timedelta(hours=6),
    failure_rate=0.05,
)


def member(number: int, domain: str = "example.com") -> Member:
    return Member(number, f"p{number}@{domain}", f"p{number}@{domain}")


def recipient(one: Member) -> Recipient:
    return Recipient(str(one.id), one.address, one.name, f"<{one.id}@news.example.com>", "https://x.example", {})


def rendered(variant: Variant) -> RenderedIssue:
    empty = Holed(("",), ())
    return RenderedIssue("Subject", "", empty, empty, "0" * 64, variant)


@dataclass
class Simulation:
    """A run over `count` members with the ids 1, 2, 3 …, and everything a test may want to change of it.

    `domains`: their addresses' domains, in turn; `gone`: ids of people who are not there any more.
    """

    count: int
    terms: SendTerms = TERMS
    domains: Sequence[str] = ("example.com",)
    gone: set[int] = field(default_factory=set)
    limit: int | None = None
    patience: float = 300.0
    changed: threading.Event | None = None
    clock: Clock = field(default_factory=SimulatedClock)

    def __post_init__(self) -> None:
        self.stop = threading.Event()
        self.observer = Listening()
        self.limiter = Limiter(None, {}, self.clock)
        record = replace(dry_record(RUN, self.terms.batch_size, START), deadline=self.terms.deadline)
        ids = range(1, self.count + 1)
        self.ledger = WatchedLedger(SteeredLedger(ids, self._people, record, limit=self.limit))
        self.recipients_of: Callable[[Sequence[Member]], Sequence[Recipient]] = lambda some: list(map(recipient, some))
        self.rendered: Callable[[Variant], RenderedIssue] = rendered

    def _people(self, ids: Sequence[int]) -> list[Member]:
        return [member(number, self.domains[number % len(self.domains)]) for number in ids if number not in self.gone]

    def send(self, provider: MailProvider, observer: Observer | None = None) -> SendResult:
        """Sends it; raises what send_run raises. No thread may be left behind."""
        ledger: RunLedger = self.ledger
        try:
            return send_run(
                ledger,
                provider,
                recipients_of=self.recipients_of,
                rendered=self.rendered,
                letterhead=LETTERHEAD,
                terms=self.terms,
                limiter=self.limiter,
                clock=self.clock,
                stop=self.stop,
                observer=observer or self.observer,
                jitter=Random(7),
                patience=self.patience,
                changed=self.changed,
            )
        finally:
            left = [thread.name for thread in threading.enumerate() if thread.name.startswith("send-")]
            assert not left, f"threads were left behind: {left}"
