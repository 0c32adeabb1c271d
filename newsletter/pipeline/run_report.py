"""A run as a document: what `status`, `watch`, `history` and the end of `send` print."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from newsletter.delivery.ledger import Ledger
from newsletter.delivery.names import RunName
from newsletter.delivery.observing import provider_words
from newsletter.delivery.run_values import Balance, Delivery, RunRecord, WorkerRecord
from newsletter.delivery.states import DeliveryState, Mark, RunState
from newsletter.errors import NothingToDo, UsageError
from newsletter.issue.find import parse_ref
from newsletter.settings.loaded import Loaded
from newsletter.settings.pick import pick_newsletter

#: Recipients who did not get the issue, or of whom nobody knows: a send that leaves any ends with exit code 6.
MISSED = (DeliveryState.REJECTED, DeliveryState.EXPIRED, DeliveryState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run and its balance sheet at one moment; `reasons` are the provider's words, without the addresses in them,
    with how often it said them; `workers` are those that have or had a part in it, where workers send it, and
    `any_worker` says then whether any lives, with a part in it or without. `next_try`, of a run that is being sent, is
    when the first of those are due who wait for another try."""

    run: RunRecord
    balance: Balance
    excluded: Mapping[str, int]
    reasons: Mapping[tuple[DeliveryState, str], int]
    workers: Sequence[WorkerRecord] = ()
    any_worker: bool | None = None
    next_try: dt.datetime | None = None

    def of(self, state: DeliveryState) -> int:
        """How many recipients are in `state`."""
        return self.balance.of(state)

    @property
    def missed(self) -> int:
        """How many did not get it, or perhaps did."""
        return sum(map(self.of, MISSED))

    @property
    def seconds(self) -> float | None:
        """How long it took from its first call to its end, in seconds; None while it is not over."""
        if self.run.started_at is None or self.run.ended_at is None:
            return None
        return (self.run.ended_at - self.run.started_at).total_seconds()


def report(ledger: Ledger, run: RunRecord) -> RunReport:
    """The run as of now."""
    reasons: Counter[tuple[DeliveryState, str]] = Counter()
    for (state, words), number in ledger.reasons(run.id).items():
        reasons[state, provider_words(words)] += number
    any_worker = ledger.any_worker() if run.with_workers else None
    balance, excluded = ledger.balance(run.id), ledger.excluded(run.id)
    waits = run.state is RunState.SENDING and balance.of(DeliveryState.RETRY_WAIT)
    next_try = ledger.next_try(run.id) if waits else None
    return RunReport(run, balance, excluded, reasons, ledger.workers(run.id), any_worker, next_try)


def status_document(found: RunReport) -> dict[str, object]:
    """What `status RUN --json` prints; scripts outside the project read it."""
    run, reasons = found.run, sorted(found.reasons.items(), key=lambda item: (-item[1], item[0]))
    return {
        **counts_document(run, found.balance),
        "subject": run.subject,
        "provider": run.provider,
        "reason": run.reason,
        "sender": run.sender,
        "any_worker": found.any_worker,
        "workers": [asdict(worker) for worker in found.workers],
        "planned_at": iso(run.planned_at),
        "started_at": iso(run.started_at),
        "ended_at": iso(run.ended_at),
        "deadline": iso(run.deadline),
        "next_try": iso(found.next_try),
        "excluded": dict(found.excluded),
        "reasons": [{"state": state.name.lower(), "reason": words, "count": n} for (state, words), n in reasons],
    }


def counts_document(run: RunRecord, balance: Balance) -> dict[str, object]:
    """The part of it that moves while a run is being sent."""
    counts = {state.name.lower(): balance.of(state) for state in DeliveryState if state is not DeliveryState.PLANNED}
    return {
        "run": str(run.name),
        "newsletter": run.name.newsletter,
        "issue_date": run.issue_date.isoformat(),
        "edition": run.edition,
        "state": run.state.value,
        "content_hash": run.content_hash,
        "planned": balance.planned,
        **counts,
        "remaining": balance.remaining,
        **{str(mark.name).lower(): balance.marks.get(mark, 0) for mark in Mark},
    }


def history(ledger: Ledger, newsletter: str | None, limit: int) -> Iterator[tuple[RunRecord, Balance]]:
    """The runs with their balance sheets, the latest first."""
    for run in ledger.runs(newsletter, limit=limit):
        yield run, ledger.balance(run.id)


def run_name(loaded: Loaded, newsletter: str | None, text: str, now: dt.datetime) -> RunName:
    """The run that a user named: NEWSLETTER/DATE[.EDITION], or DATE alone where -n or the settings tell the newsletter.

    Raises UsageError.
    """
    owner, slash, _ = text.partition("/")
    if slash:
        try:
            return RunName.parse(text)
        except ValueError:
            if newsletter is not None and newsletter != owner:
                raise UsageError(f"{text} is no run of {newsletter}", hint="Leave out -n.") from None
            raise UsageError(
                f"{text!r} names no run", hint="A run is named NEWSLETTER/DATE, such as daily-buzz/2026-01-07."
            ) from None
    name, found = pick_newsletter(loaded.settings, newsletter)
    hint = f"A run is named NEWSLETTER/DATE, such as {name}/2026-01-07, or by its date."
    try:
        ref = parse_ref(text, now.astimezone(found.schedule.timezone).date())
    except UsageError:
        raise UsageError(f"{text!r} names no run", hint=hint) from None
    if ref.date is None:
        raise UsageError(f"{text!r} names no run", hint=hint)
    return RunName(name, str(ref))


def newsletter_named(loaded: Loaded, newsletter: str | None) -> str | None:
    """The newsletter of -n, which must be in the settings; None is all. Raises UsageError."""
    return None if newsletter is None else pick_newsletter(loaded.settings, newsletter)[0]


def run_called(ledger: Ledger, name: RunName) -> RunRecord:
    """The run of this name.

    Raises NothingToDo where there is none; GuardRefused where a restored database forgot it.
    """
    run = ledger.run(name)
    if run is None:
        ledger.refuse_forgotten(name)
        raise NothingToDo(
            f"there is no run {name}: it was not sent",
            hint=f"To send it: newsletter send {name.slot} -n {name.newsletter}; newsletter history lists the runs",
        )
    return run


def latest_run(ledger: Ledger, newsletter: str | None) -> RunRecord:
    """The run that somebody wants to look at who names none: the one being sent, else one that waits for
    somebody's word, else one not over, else the last.

    Raises NothingToDo.
    """
    mine = [run for run in ledger.unfinished() if newsletter in (None, run.name.newsletter)]
    interest = {RunState.SENDING: 2, RunState.PAUSED: 1, RunState.HELD: 1}
    by_interest = sorted(mine, key=lambda run: (interest.get(run.state, 0), run.planned_at), reverse=True)
    found: Sequence[RunRecord] = by_interest or ledger.runs(newsletter, limit=1)
    if not found:
        raise NothingToDo("no run is recorded yet", hint="newsletter send sends today's issue")
    return found[0]


def delivery_document(one: Delivery) -> dict[str, object]:
    """One person's delivery in one run."""
    return {
        "run": str(one.run),
        "email": one.address,
        "state": one.state.name.lower(),
        "marks": [str(mark.name).lower() for mark in Mark if mark in one.marks],
        "attempts": one.attempts,
        "code": one.code,
        "reason": one.reason,
        "at": iso(one.at),
    }


def iso(at: dt.datetime | None) -> str | None:
    """A moment for programs."""
    return at.isoformat() if at else None
