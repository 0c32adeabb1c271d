"""One call: a claim goes to the provider, and what became of its members comes back. Nothing here raises."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

from newsletter.audience.model import Member
from newsletter.delivery import retrying
from newsletter.delivery.clock import Clock
from newsletter.delivery.model import Accepted, Batch, Outcome, Recipient, Recipients, Refused, Unknown
from newsletter.delivery.observing import EndedCall, counted
from newsletter.delivery.outage import Outage
from newsletter.delivery.pacing import Pacing
from newsletter.delivery.provider import CallRefused, MailProvider
from newsletter.delivery.run_values import Claim, Report
from newsletter.delivery.terms import SendTerms
from newsletter.errors import NewsletterError
from newsletter.rendering.letter import Letterhead
from newsletter.rendering.model import RenderedIssue, Variant

#: Seconds between repetitions of a call whose answer was lost, where the provider carries out a repeated call once.
_REPEAT_AFTER = (1.0, 4.0, 16.0)
#: Before a claim that could not be called, because the hold on the run was in doubt, is tried again.
_HOLD_IN_DOUBT = dt.timedelta(seconds=5)


@dataclass(slots=True)
class _Answer:
    """What one call, with its repetitions, came to."""

    outcomes: dict[int, Outcome]
    failure: BaseException | None = None
    pause: str = ""


class Caller:
    """Makes the calls of one run. Used by several threads at once.

    `may_call` is asked right before each call; `end` is set when no more is to be done. `on_failure` hears of errors
    that are no provider's answer. `outage`: None where others send the same run, who may reach the provider.
    """

    def __init__(
        self,
        provider: MailProvider,
        *,
        run: str,
        letterhead: Letterhead,
        recipients_of: Callable[[Sequence[Member]], Sequence[Recipient]],
        rendered: Callable[[Variant], RenderedIssue],
        terms: SendTerms,
        limiter: Pacing,
        clock: Clock,
        jitter: Random,
        may_call: Callable[[], bool],
        end: threading.Event,
        on_failure: Callable[[BaseException], None],
        outage: Outage | None,
    ) -> None:
        self._provider = provider
        self._run = run
        self._letterhead = letterhead
        self._recipients_of = recipients_of
        self._render = rendered
        self._rendered: dict[Variant, RenderedIssue] = {}
        self._rendering = threading.Lock()
        self._terms = terms
        self._limiter = limiter
        self._clock = clock
        self._jitter = jitter
        self._may_call = may_call
        self._end = end
        self._on_failure = on_failure
        self._outage = outage

    @property
    def away_for(self) -> float:
        """For how many seconds no call is worth it, as the provider was not reached; not beyond the deadline."""
        left = self._outage.left() if self._outage is not None else 0.0
        return left and max(0.0, min(left, (self._terms.deadline - self._clock.now()).total_seconds()))

    def call(self, claim: Claim) -> EndedCall:
        """Makes the call that `claim` allows, and says what became of its members: always, whatever happens."""
        try:
            return self._called(claim)
        except BaseException as error:  # noqa: BLE001 - a mistake of ours, in the middle of it
            self._on_failure(error)
            report = Report(claim, retrying.same_for_all(claim, retrying.lost(error)))
            return EndedCall(report, *counted(report.outcomes))

    def _called(self, claim: Claim) -> EndedCall:
        try:
            batch, rendered = self._prepared(claim)
        except BaseException as error:  # noqa: BLE001 - a mistake of ours, or a panic of MJML's; nobody was called
            self._on_failure(error)
            return self._uncalled(claim, f"not tried: {retrying.lost(error).reason}", self._clock.now())
        if not self._may_call():
            return self._uncalled(
                claim, "not tried: the hold on the run was in doubt", self._clock.now() + _HOLD_IN_DOUBT
            )
        began = self._clock.monotonic()
        try:
            answer = self._submitted(claim, batch, rendered)
        except CallRefused as refusal:
            if self._outage is not None:
                self._outage.note(reached=True)
            seconds = self._clock.monotonic() - began
            report = retrying.refused(claim, refusal, now=self._clock.now())
            counts, words = counted(report.outcomes)
            return EndedCall(report, counts, words, seconds, pause=retrying.pause_reason(refusal, self._provider.name))
        if self._provider.limits.idempotency_key:
            self._repeat(claim, batch, rendered, answer)
        return self._answered(claim, answer, self._clock.monotonic() - began)

    def _prepared(self, claim: Claim) -> tuple[Batch, dict[Variant, RenderedIssue]]:
        recipients = self._recipients_of(claim.members)
        if len(recipients) != len(claim.members):
            raise ValueError(f"{len(claim.members)} members became {len(recipients)} recipients")
        batch = Batch(self._run, claim.batch, self._letterhead, recipients, claim.call_id)
        return batch, self._rendered_for(set(Recipients.of(recipients).variants))

    def _rendered_for(self, variants: Iterable[Variant]) -> dict[Variant, RenderedIssue]:
        with self._rendering:  # rendering takes seconds, and each variant is rendered once
            for variant in variants:
                if variant not in self._rendered:
                    self._rendered[variant] = self._render(variant)
            return {variant: self._rendered[variant] for variant in variants}

    def _submitted(self, claim: Claim, batch: Batch, rendered: dict[Variant, RenderedIssue]) -> _Answer:
        """One call. Raises CallRefused; every other error leaves its members unknown."""
        name = self._provider.name
        try:
            receipt = self._provider.submit(batch, rendered)
            return _Answer(retrying.outcomes_by_member(claim, batch.recipients, receipt, adapter=name))
        except CallRefused:
            raise
        except (NewsletterError, retrying.UnbalancedReceipt) as error:
            # for the user to read, or a mistake of the adapter: the same again would help nobody
            return _Answer(retrying.same_for_all(claim, retrying.lost(error)), failure=error)
        except Exception as error:  # noqa: BLE001 - the call was made, and its answer is not known
            return _Answer(retrying.same_for_all(claim, retrying.lost(error)))
        except BaseException as error:  # noqa: BLE001 - likewise, and somebody wants an end of it
            return _Answer(retrying.same_for_all(claim, retrying.lost(error)), failure=error)

    def _repeat(self, claim: Claim, batch: Batch, rendered: dict[Variant, RenderedIssue], answer: _Answer) -> None:
        """Makes the same call again while an outcome is unknown: the provider answers it as it answered the first.

        Only what it took or refused by itself is believed. A busy answer, or a refusal of the call as a whole, may be
        given before the provider looks whether it knows the call.
        """
        for seconds in _REPEAT_AFTER:
            lost = {number for number, outcome in answer.outcomes.items() if isinstance(outcome, Unknown)}
            if not lost or answer.failure is not None or not self._may_repeat(claim, seconds):
                return
            try:
                repeated = self._submitted(claim, batch, rendered)
            except CallRefused as refusal:
                answer.pause = retrying.pause_reason(refusal, self._provider.name)
                return
            answer.failure = repeated.failure
            for number in lost:
                if isinstance(outcome := repeated.outcomes[number], Accepted | Refused):
                    answer.outcomes[number] = outcome

    def _may_repeat(self, claim: Claim, seconds: float) -> bool:
        ended = self._clock.wait(self._end, seconds * self._jitter.uniform(0.5, 1.0))
        return not ended and self._clock.now() < retrying.deadline_of(claim, self._terms) and self._may_call()

    def _answered(self, claim: Claim, answer: _Answer, seconds: float) -> EndedCall:
        now = self._clock.now()
        # where a call is many messages each has a reference of its own
        own = self._provider.limits.one_message_at_a_time
        reference = "" if own else retrying.reference_of(answer.outcomes)
        report = retrying.answered(
            claim,
            answer.outcomes,
            terms=self._terms,
            now=now,
            jitter=self._jitter,
            reference=reference,
            put_down=self._outage is None,
        )
        held_until = None
        if (held := retrying.held_for(answer.outcomes)) is not None:
            held_until = min(now + dt.timedelta(seconds=held), self._terms.deadline)
            self._limiter.hold_until(held_until)
        if (away := self._away_after(answer)) > 0:
            held_until = min(now + dt.timedelta(seconds=max(away, held or 0.0)), self._terms.deadline)
        if answer.failure is not None:
            self._on_failure(answer.failure)
        counts, words = counted(answer.outcomes)
        return EndedCall(report, counts, words, seconds, pause=answer.pause, held_until=held_until)

    def _away_after(self, answer: _Answer) -> float:
        reached = retrying.reached(answer.outcomes)
        return 0.0 if self._outage is None or reached is None else self._outage.note(reached=reached)

    @staticmethod
    def _uncalled(claim: Claim, reason: str, again: dt.datetime) -> EndedCall:
        report = retrying.postponed(claim, reason, now=again)
        counts, words = counted(report.outcomes)
        return EndedCall(report, counts, words, made=False)
