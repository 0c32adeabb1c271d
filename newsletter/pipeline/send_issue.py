"""The live send: an issue that is ready, its audience in numbers, and then the run, from its plan to its end."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from newsletter import __version__
from newsletter.audience.model import Exclusion
from newsletter.audience.people import Frozen, Selection
from newsletter.delivery import guards
from newsletter.delivery.clock import Clock, SystemClock
from newsletter.delivery.ledger import Ledger, RunLedger, RunLost
from newsletter.delivery.observing import EndedCall, Observer
from newsletter.delivery.pacing import Pacing
from newsletter.delivery.provider import MailProvider
from newsletter.delivery.run_values import RunPlan, Sharing, Window
from newsletter.delivery.send import SendResult, SendTerms, send_run
from newsletter.errors import NewsletterError, TemporaryError
from newsletter.events.tracking import TrackingStore
from newsletter.pipeline.issue_audience import AudienceNumbers
from newsletter.pipeline.onlookers import BalanceTeller, OnBalance, Onlookers
from newsletter.pipeline.prepare import Prepared, letterhead_of
from newsletter.pipeline.run_report import RunReport, report
from newsletter.pipeline.run_times import times_by_slot, times_from
from newsletter.pipeline.sample_mail import addressing_of, links_of
from newsletter.pipeline.slot_time import first_deadline
from newsletter.rendering.model import RenderedIssue, Variant
from newsletter.settings.model import Newsletter, Schedule


@dataclass(frozen=True, slots=True)
class SendTools:
    """What a run is sent with. `secrets` sign the links, the present one first; `stop`, when it is set, ends the
    sending after the calls that are out; `publish` keeps the issue for the archive, and raises nothing; `tracking`
    keeps the targets of links that are counted."""

    ledger: Ledger
    provider: MailProvider
    limiter: Pacing
    secrets: Sequence[str]
    stop: threading.Event = field(default_factory=threading.Event)
    observers: Sequence[Observer] = ()
    on_balance: OnBalance = lambda _: None
    publish: Callable[[Prepared], None] = lambda _: None
    tracking: TrackingStore | None = None
    clock: Clock = field(default_factory=SystemClock)


@dataclass(frozen=True, slots=True)
class ReadyToSend:
    """An issue that passed every guard but the count, and what an operator wants to know before typing it.

    `previous` is how many the last run went to; `deadline` when nothing more is sent; `rate` messages a second, None
    for no limit; `at` when this was looked at; `window_of` when each recipient may be mailed, where they differ.
    """

    prepared: Prepared
    selection: Selection
    planned: int
    left_out: Mapping[Exclusion, int]
    previous: int | None
    deadline: dt.datetime
    last_test: guards.LastTest | None
    rate: float | None
    at: dt.datetime
    window_of: Callable[[str], Window] | None = None

    @property
    def change(self) -> float | None:
        """How much the audience changed since the last run, as a fraction."""
        return guards.audience_change(self.previous, self.planned)

    @property
    def batches(self) -> int:
        """In how many batches it goes."""
        return -(-self.planned // self.prepared.newsletter.delivery.batch_size)

    @property
    def seconds(self) -> float | None:
        """How long it takes at the rate that is set; None where there is no limit."""
        return self.planned / self.rate if self.rate else None

    @property
    def too_many(self) -> int:
        """How many the rate leaves no time for before the deadline."""
        left = self.deadline.timestamp() - self.at.timestamp()  # of one zone, `-` would count what the clocks show
        return max(0, self.planned - int(self.rate * left)) if self.rate else 0

    @property
    def command(self) -> str:
        """What a script types to send it."""
        return f"{self.prepared.request.command('send')} --confirm {self.planned}"

    def refuse_unconfirmed(self) -> None:
        """Raises GuardRefused: nobody is there to type the count."""
        guards.refuse_unconfirmed(self.planned, self.command)

    def refuse_other_count(self, confirmed: int) -> None:
        """Raises GuardRefused where the count that was typed is another one."""
        guards.refuse_count(confirmed, self.planned, self.command)


def refuse_issue(
    prepared: Prepared, ledger: Ledger, now: dt.datetime, *, sent_before: bool = True
) -> guards.LastTest | None:
    """The guards that look at the issue alone; the last test of it. Raises GuardRefused or ChecksFailed.

    `now` is in the newsletter's zone. `sent_before`: whether its run is looked at, too.
    """
    newsletter, ref = prepared.newsletter, prepared.request.ref
    last_test = ledger.last_test(prepared.run)
    guards.refuse_untested(
        prepared.rendered.content_hash, last_test, ref, required=newsletter.delivery.require_test, zone=now.tzinfo
    )
    refuse_unapproved(prepared, ledger)
    guards.refuse_failed_checks([f"{one.id}: {one.message}" for one in prepared.failing()], ref)
    run = ledger.run(prepared.run)
    if sent_before:
        guards.refuse_known_run(run, ledger.balance(run.id) if run else None, now)
    if run is None:
        ledger.refuse_forgotten(prepared.run)
    guards.refuse_insecure_links(prepared.publication.base_url)
    return last_test


def refuse_unapproved(prepared: Prepared, ledger: Ledger) -> None:
    """Raises GuardRefused where the settings ask for an approval, and this content has none."""
    schedule = prepared.newsletter.schedule
    if schedule.require_approval:
        approval, command = ledger.approval(prepared.run), prepared.request.command("approve")
        guards.refuse_unapproved(prepared.rendered.content_hash, approval, command, zone=schedule.timezone)


def ready_to_send(
    prepared: Prepared,
    audience: AudienceNumbers,
    last_test: guards.LastTest | None,
    rate: float | None,
    now: dt.datetime,
    slot_deadline: dt.datetime | None = None,
) -> ReadyToSend:
    """The guards that look at the audience and the clock. Raises GuardRefused. `now` is in the newsletter's zone.

    `slot_deadline` is that of the slot, where the issue goes out by itself; an operator's run has the next one of all.
    """
    newsletter, left_out = prepared.newsletter, audience.left_out()
    guards.refuse_empty_audience(audience.planned, sum(left_out.values()))
    guards.refuse_audience_change(audience.previous, audience.planned, newsletter.delivery.max_audience_change)
    schedule, issue = newsletter.schedule, prepared.issue
    zones = audience.timezones() if schedule.recipient_timezone else ()
    if slot_deadline is not None:
        times = times_by_slot(schedule, issue.date, issue.edition, zones, slot_deadline)
    else:
        times = times_from(schedule, issue.date, issue.edition, zones, now)
    guards.refuse_late(times.deadline, now)
    return ReadyToSend(
        prepared,
        audience.selection,
        audience.planned,
        left_out,
        audience.previous,
        times.deadline,
        last_test,
        rate,
        now,
        times.window_of,
    )


def next_deadline(schedule: Schedule, now: dt.datetime) -> dt.datetime:
    """The first `schedule.deadline` after `now`, in the newsletter's zone."""
    return first_deadline(schedule.deadline, now, schedule.timezone)


def send_issue(ready: ReadyToSend, tools: SendTools, *, confirmed: int, limit: int | None = None) -> RunReport:
    """Plans the run and sends it; how it stands when this process lets go of it.

    `confirmed` is the count that was typed; `limit` sends to so many and then pauses. Raises GuardRefused, with
    nothing changed, where the count is another one; else what `send_run` raises.
    """
    ready.refuse_other_count(confirmed)
    frozen = plan_run(ready, tools.ledger, tools.provider.name, now=tools.clock.now(), expected=confirmed)
    return send_planned(ready.prepared, frozen.run_id, ready.deadline, tools, limit=limit)


def plan_run(
    ready: ReadyToSend,
    ledger: Ledger,
    provider: str,
    *,
    now: dt.datetime,
    expected: int | None = None,
    shared: Sharing | None = None,
) -> Frozen:
    """Freezes the audience: the run is planned, and nothing is sent yet, unless it is `shared` with workers at once.
    `expected` is how many it must have.

    Raises GuardRefused, with nothing changed, where it has others, the run exists, or the deadline is over.
    """
    prepared = ready.prepared
    guards.refuse_late(ready.deadline, now)
    plan = RunPlan(
        name=prepared.run,
        issue_date=prepared.issue.date,
        edition=prepared.issue.edition,
        selection=ready.selection,
        content_hash=prepared.rendered.content_hash,
        subject=prepared.rendered.subject,
        provider=provider,
        batch_size=prepared.newsletter.delivery.batch_size,
        deadline=ready.deadline,
        expected=expected,
        window_of=ready.window_of,
        program=shared.program if shared else __version__,
        setup=shared.setup if shared else "",
        shared=shared,
    )
    return ledger.plan(plan, now=now)


def send_planned(
    prepared: Prepared, run_id: int, deadline: dt.datetime, tools: SendTools, *, limit: int | None = None
) -> RunReport:
    """Takes a run that is planned, interrupted or paused, and sends what is left of it."""
    delivery = prepared.newsletter.delivery
    tools.publish(prepared)  # before a mail leads there
    taken = tools.ledger.take(
        run_id, resend_unknown=delivery.on_unknown == "resend", limit=limit, now=tools.clock.now()
    )
    try:
        keep_links(prepared, tools.tracking)  # no earlier: a run that nobody took may yet get another content
    except NewsletterError:
        taken.close(now=tools.clock.now())
        raise
    try:
        result = send_taken(prepared, taken, deadline, tools)
    except RunLost:
        name = prepared.run
        raise TemporaryError(
            f"another process took {name} over while this one was held up; it goes on there",
            hint=f"To look on: newsletter watch {name}",
        ) from None
    return report(tools.ledger, result.run)


def send_taken(
    prepared: Prepared,
    taken: RunLedger,
    deadline: dt.datetime,
    tools: SendTools,
    *,
    concurrency: int | None = None,
    tripped: Callable[[EndedCall], str] | None = None,
    rendered: Callable[[Variant], RenderedIssue] | None = None,
    begun_at: dt.datetime | None = None,
    changed: threading.Event | None = None,
) -> SendResult:
    """Sends what a process has in hand, a run or a batch of one. `concurrency`, where the settings' is for more than
    this; `tripped`, `rendered` and `changed` (see `send_run`), where others send of the same run; `begun_at` is the
    Date of its mail, else now.

    Raises what `send_run` raises.
    """
    return_tokens = tools.provider.limits.return_tokens
    addressing = addressing_of(prepared, links_of(prepared, tools.secrets), return_tokens=return_tokens)
    observers = [BalanceTeller(lambda: taken.balance, tools.on_balance), *tools.observers]
    zone, terms = prepared.newsletter.schedule.timezone, terms_of(prepared.newsletter, deadline)
    return send_run(
        taken,
        tools.provider,
        recipients_of=addressing.all,
        rendered=rendered or (lambda variant: prepared.renderer.render(prepared.issue, variant)),
        letterhead=replace(letterhead_of(prepared), date=(begun_at or tools.clock.now()).astimezone(zone)),
        terms=terms if concurrency is None else replace(terms, concurrency=concurrency),
        limiter=tools.limiter,
        clock=tools.clock,
        stop=tools.stop,
        observer=Onlookers(observers),
        tripped=tripped,
        changed=changed,
    )


def keep_links(prepared: Prepared, store: TrackingStore | None) -> None:
    """Keeps where the counted links of the issue lead, before a mail has them. Raises what the store does."""
    targets = prepared.rendered.links
    if not targets:
        return
    if store is None:
        raise ValueError(f"{prepared.run} has counted links, and there is nothing to keep their targets in")
    store.keep_links(prepared.run, targets)


def terms_of(newsletter: Newsletter, deadline: dt.datetime) -> SendTerms:
    """How the settings want a run to be sent."""
    delivery = newsletter.delivery
    return SendTerms(
        batch_size=delivery.batch_size,
        window=delivery.window,
        concurrency=delivery.concurrency,
        retry_for=delivery.retry_for,
        deadline=deadline,
        failure_rate=delivery.pause_on_failure_rate,
        on_unknown=delivery.on_unknown,
    )
