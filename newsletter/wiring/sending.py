"""The live send and the test of an issue, with the parts that they take."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from newsletter.audience.store import AudienceStore
from newsletter.delivery.clock import SystemClock
from newsletter.delivery.guards import LastTest, refuse_count
from newsletter.delivery.ledger import Ledger
from newsletter.delivery.observing import Observer
from newsletter.delivery.provider import MailProvider
from newsletter.delivery.run_values import RunRecord
from newsletter.logs import RunLog
from newsletter.metrics import Metrics, RunMetrics
from newsletter.pipeline.approve_issue import approve_issue
from newsletter.pipeline.onlookers import OnBalance, Onlookers
from newsletter.pipeline.prepare import Prepared, prepare
from newsletter.pipeline.request import IssueRequest
from newsletter.pipeline.resume_run import resume_run, run_to_resume
from newsletter.pipeline.run_report import RunReport, run_called
from newsletter.pipeline.send_issue import ReadyToSend, SendTools, plan_run, ready_to_send, refuse_issue, send_issue
from newsletter.pipeline.send_test import SentTest, addresses_typed, send_test
from newsletter.pipeline.share_run import look_on, share_issue, share_planned
from newsletter.wiring.cluster import refuse_unfit
from newsletter.wiring.issues import branching_values, synced_numbers
from newsletter.wiring.mail_providers import mail_provider
from newsletter.wiring.pacing import pacing
from newsletter.wiring.parts import audience_store, ledger, signing_keys, template_roots, tracking_store
from newsletter.wiring.publishing import Publisher

#: Hears what the program has to say beside its answer.
Say = Callable[[str], None]


@dataclass(slots=True)
class Watchers:
    """Who looks on. `stop`, when it is set, ends the sending after the calls that are out; `handed_over` hears of a
    run that workers have now, `no_worker`, once, that none has a part in it, and whether any is alive."""

    stop: threading.Event = field(default_factory=threading.Event)
    on_balance: OnBalance = lambda _: None
    observers: Sequence[Observer] = ()
    metrics: Metrics = field(default_factory=Metrics)
    handed_over: Callable[[], None] = lambda: None
    no_worker: Callable[[bool], None] = lambda _: None


@dataclass(slots=True)
class LiveSend:
    """An issue with the provider that takes it and the keys that sign its links. To be closed."""

    request: IssueRequest
    prepared: Prepared
    ledger: Ledger
    provider: MailProvider
    keys: Sequence[str]
    last_test: LastTest | None = None
    people: AudienceStore | None = None

    def ready(self, say: Say) -> ReadyToSend:
        """The audience after the subscriber files were synced, past every guard but the count. Raises GuardRefused."""
        numbers = synced_numbers(self.request, self.prepared.issue, say, self.people)
        rate = pacing(self.request.loaded, self.provider.name).rate
        return ready_to_send(self.prepared, numbers, self.last_test, rate, now_there(self.request))

    @property
    def by_workers(self) -> bool:
        """Whether workers are to send it, and this process looks on."""
        return self.prepared.newsletter.delivery.engine == "procrastinate"

    def send(self, ready: ReadyToSend, watchers: Watchers, *, confirmed: int, limit: int | None) -> RunReport:
        """Plans the run and sends it, or hands it to workers and looks on."""
        if self.by_workers:
            name = self.provider.name
            return self._looked_on(
                watchers,
                lambda: share_issue(ready, self.ledger, name, self.keys, confirmed=confirmed, limit=limit),
            )
        return self._observed(watchers, lambda tools: send_issue(ready, tools, confirmed=confirmed, limit=limit))

    def plan(self, ready: ReadyToSend, *, confirmed: int) -> RunRecord:
        """Plans the run and sends nothing yet: `resume` does. Raises GuardRefused."""
        ready.refuse_other_count(confirmed)
        now = dt.datetime.now(dt.UTC)
        plan_run(ready, self.ledger, self.provider.name, now=now, expected=confirmed)
        return run_called(self.ledger, self.prepared.run)

    def resume(self, run: RunRecord, watchers: Watchers, *, limit: int | None) -> RunReport:
        """Sends what is left of the issue's run, or hands it to workers and looks on."""
        if self.by_workers:
            return self._looked_on(
                watchers, lambda: share_planned(self.prepared, run, self.ledger, self.keys, limit=limit)
            )
        return self._observed(watchers, lambda tools: resume_run(self.prepared, run, tools, limit=limit))

    def refuse_other_count(self, run: RunRecord, confirmed: int) -> None:
        """Raises GuardRefused where the run was planned with another number of recipients."""
        planned = self.ledger.balance(run.id).planned
        refuse_count(confirmed, planned, f"newsletter send {self.request.ref} --resume --confirm {planned}")

    def close(self) -> None:
        """Lets go of the provider's connections."""
        self.provider.close()

    def _looked_on(self, watchers: Watchers, hand_over: Callable[[], RunRecord]) -> RunReport:
        log = RunLog(self.prepared.run, self.provider.name)

        def no_worker(alive: bool) -> None:
            log.no_worker(alive=alive)
            watchers.no_worker(alive)

        try:
            log.shared(hand_over())
            watchers.handed_over()
            done = look_on(
                self.prepared.run,
                self.ledger,
                watchers.stop,
                clock=SystemClock(),
                on_balance=watchers.on_balance,
                observer=Onlookers([log, *watchers.observers]),
                no_worker=no_worker,
            )
        except BaseException as error:
            log.failed(error)
            raise
        log.over(done.run, done.balance)
        watchers.metrics.run_over(done.run, done.balance)
        return done

    def _observed(self, watchers: Watchers, send: Callable[[SendTools], RunReport]) -> RunReport:
        loaded, provider = self.request.loaded, self.provider.name
        log = RunLog(self.prepared.run, provider)
        counters = RunMetrics(watchers.metrics, self.prepared.name, provider)
        publisher = Publisher()
        tools = SendTools(
            self.ledger,
            self.provider,
            pacing(loaded, provider),
            self.keys,
            stop=watchers.stop,
            observers=[log, counters, *watchers.observers],
            on_balance=watchers.on_balance,
            publish=publisher,
            tracking=tracking_store(loaded),
        )
        log.began()
        try:
            done = send(tools)
        except BaseException as error:
            log.failed(error)
            raise
        publisher.again()
        log.over(done.run, done.balance)
        watchers.metrics.run_over(done.run, done.balance)
        return done


def live_send(
    request: IssueRequest, say: Say, *, runs: Ledger | None = None, people: AudienceStore | None = None
) -> LiveSend:
    """The issue read, rendered and checked, past the guards that look at it alone, and its provider.

    `runs` and `people` are the database, where it is open already. Raises GuardRefused, ChecksFailed, and what
    `mail_provider` raises.
    """
    refuse_unfit(request.loaded, request.name)
    loaded, runs = request.loaded, runs or ledger(request.loaded, say)
    ready = prepare(request, template_roots(loaded), branching_values(request, people))
    last_test = refuse_issue(ready, runs, now_there(request))
    # secrets that are missing are told of before anybody types a count
    keys, provider = signing_keys(loaded), mail_provider(loaded, request.newsletter.delivery.provider)
    return LiveSend(request, ready, runs, provider, keys, last_test, people)


def resumed_send(
    request: IssueRequest, say: Say, *, runs: Ledger | None = None, people: AudienceStore | None = None
) -> tuple[LiveSend, RunRecord]:
    """The issue read and rendered again, its provider, and its run, with something left to send.

    `runs` and `people` are the database, where it is open already. Raises NothingToDo, GuardRefused, and what
    `mail_provider` raises.
    """
    refuse_unfit(request.loaded, request.name)
    loaded, runs = request.loaded, runs or ledger(request.loaded, say)
    ready = prepare(request, template_roots(loaded), branching_values(request, people))
    run = run_to_resume(ready, runs, now_there(request))
    keys, provider = signing_keys(loaded), mail_provider(loaded, request.newsletter.delivery.provider)
    return LiveSend(request, ready, runs, provider, keys), run


def send_as_test(request: IssueRequest, to: Sequence[str], say: Say) -> tuple[Prepared, Sequence[SentTest]]:
    """Sends the issue to these addresses as a test. Raises UsageError and GuardRefused."""
    loaded, addresses = request.loaded, addresses_typed(to)
    ready = prepare(request, template_roots(loaded), branching_values(request))
    with closing(mail_provider(loaded, request.newsletter.delivery.provider)) as provider:
        sent = send_test(
            ready,
            addresses,
            store=audience_store(loaded, say),
            ledger=ledger(loaded, say),
            provider=provider,
            secrets=signing_keys(loaded),
            now=dt.datetime.now(dt.UTC),
        )
    return ready, sent


def approve(
    request: IssueRequest, by: str, say: Say, *, runs: Ledger | None = None, people: AudienceStore | None = None
) -> Prepared:
    """Approves the issue as it is now. `runs` and `people` are the database, where it is open already.

    Raises ChecksFailed and GuardRefused.
    """
    ready = prepare(request, template_roots(request.loaded), branching_values(request, people))
    approve_issue(ready, runs or ledger(request.loaded, say), by=by, now=now_there(request))
    return ready


def now_there(request: IssueRequest) -> dt.datetime:
    """Now, in the newsletter's zone."""
    return dt.datetime.now(request.newsletter.schedule.timezone)
