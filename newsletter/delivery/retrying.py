"""What becomes of a call's recipients: each answer, and each lack of one, as the report that the ledger gets. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from random import Random

from newsletter.delivery.model import Accepted, Busy, Outcome, Receipt, Recipient, Recipients, Refused, Unknown
from newsletter.delivery.observing import STATES, provider_words
from newsletter.delivery.provider import Blame, CallRefused
from newsletter.delivery.run_values import Claim, Report
from newsletter.delivery.terms import SendTerms

#: Seconds. The first wait is drawn from up to BASE; each later one from up to twice the time since the first attempt,
#: so waits double, and at most from CAP.
SHORTEST, BASE, CAP = 1.0, 5.0, 300.0


class UnbalancedReceipt(Exception):
    """A provider adapter did not say what became of every recipient. A mistake in the adapter, never in the mail."""


def outcomes_by_member(
    claim: Claim, recipients: Sequence[Recipient], receipt: object, *, adapter: str
) -> dict[int, Outcome]:
    """The receipt's outcomes by `Member.id`. Raises UnbalancedReceipt, naming the adapter, for every receipt that does
    not hold one outcome for each member and no other."""
    told = receipt.outcomes if isinstance(receipt, Receipt) else None
    if not isinstance(told, Mapping):
        raise UnbalancedReceipt(f"the provider {adapter!r} answered with {type(receipt).__name__}, not with a receipt")
    answers = list(map(told.get, Recipients.of(recipients).ids))
    if len(told) == len(answers) and STATES.keys() >= set(map(type, answers)):
        return dict(zip([member.id for member in claim.members], answers, strict=True))  # type: ignore[arg-type] # no None
    found: dict[int, Outcome] = {}
    for member, recipient in zip(claim.members, recipients, strict=True):
        outcome = told.get(recipient.id)
        if outcome is not None and type(outcome) in STATES:
            found[member.id] = outcome
    if len(found) < len(recipients) or len(told) != len(recipients):
        missing = len(recipients) - len(found)
        strange = len(told) - len(told.keys() & {recipient.id for recipient in recipients})
        raise UnbalancedReceipt(
            f"the provider {adapter!r} gave a receipt that does not balance: of {len(recipients)} recipients {missing} "
            f"are without an outcome, and {strange} are strangers (batch {claim.batch}, attempt {claim.attempt})"
        )
    return found


def same_for_all(claim: Claim, outcome: Outcome) -> dict[int, Outcome]:
    """One outcome for every member."""
    return dict.fromkeys([member.id for member in claim.members], outcome)


def retry_time(
    first_at: dt.datetime,
    now: dt.datetime,
    *,
    retry_after: float | None,
    ends_at: dt.datetime,
    jitter: Random,
) -> dt.datetime | None:
    """When a recipient that was Busy at `now` may be tried again; None: not before `ends_at`, so never.

    Exponential with full jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), by the
    time since `first_at` and not by the number of attempts: a batch that goes out in many small calls has many. The
    provider's own `retry_after`, in seconds, is a floor. Our own wait is shortened where it would end too late, so
    that a last try is made before `ends_at`.
    """
    left = (ends_at - now).total_seconds()
    floor = max(0.0, retry_after or 0.0)
    if max(floor, BASE) >= left:
        return None
    longest = min(CAP, max(BASE, 2 * (now - first_at).total_seconds()), left / 2)
    wait = max(floor, jitter.uniform(min(SHORTEST, longest), longest))
    at = now + dt.timedelta(seconds=wait)
    return at if at < ends_at else None


def answered(
    claim: Claim,
    outcomes: Mapping[int, Outcome],
    *,
    terms: SendTerms,
    now: dt.datetime,
    jitter: Random,
    reference: str = "",
    put_down: bool = False,
) -> Report:
    """The report of a call that was answered, or whose answer was lost.

    Where policy sends again after an unknown outcome, it is reported as Busy: it waits like one. Where the provider was
    not reached, a batch that has been on its way for long has no reason to wait for longer than another; unless it is
    to be `put_down` for others, who may reach it.
    """
    again_after = (Busy, Unknown) if terms.on_unknown == "resend" else (Busy,)
    again = [one for one in outcomes.values() if isinstance(one, again_after)]
    if not again:
        return Report(claim, outcomes, reference=reference)
    retry_after = max((one.retry_after for one in again if isinstance(one, Busy) and one.retry_after), default=None)
    ends_at = min(deadline_of(claim, terms), claim.first_at + terms.retry_for)
    all_away = all(isinstance(one, Busy) and one.away for one in again)
    first_at = now if all_away and not put_down else claim.first_at
    retry_at = retry_time(first_at, now, retry_after=retry_after, ends_at=ends_at, jitter=jitter)
    if retry_at is not None and terms.on_unknown == "resend":  # too late, it stays unknown: it did not expire
        outcomes = {number: _resent(outcome) for number, outcome in outcomes.items()}
    return Report(claim, outcomes, retry_at=retry_at, reference=reference)


def deadline_of(claim: Claim, terms: SendTerms) -> dt.datetime:
    """When nothing more goes out to the members of this claim: the run's deadline, or their own where it is earlier."""
    return min(terms.deadline, claim.deadline or terms.deadline)


def _resent(outcome: Outcome) -> Outcome:
    if isinstance(outcome, Unknown):
        return Busy(f"{outcome.reason} (outcome unknown; sent again, by on_unknown)")
    return outcome


def refused(claim: Claim, refusal: CallRefused, *, now: dt.datetime) -> Report:
    """The report of a call that was refused as a whole, so that certainly nobody was accepted.

    Where a recipient is to blame the call is split, down to one alone, who is refused; else everybody waits for the
    run to go on.
    """
    if refusal.blame is not Blame.RECIPIENTS:
        return postponed(claim, str(refusal), now=now)
    if len(claim.members) == 1:
        return Report(claim, same_for_all(claim, Refused(refusal.reason, refusal.code)))
    return Report(claim, same_for_all(claim, Busy(str(refusal))), retry_at=now, split=True)


def postponed(claim: Claim, reason: str, *, now: dt.datetime) -> Report:
    """The report of a claim for which no call was made, or none that counts: to be tried again as soon as may be."""
    return Report(claim, same_for_all(claim, Busy(reason)), retry_at=now)


def lost(error: BaseException) -> Unknown:
    """The outcome of everybody in a call that ended with an error of which the adapter knew nothing."""
    said = " ".join(str(error).split())
    return Unknown(f"{type(error).__name__}: {said}" if said else type(error).__name__)


def pause_reason(refusal: CallRefused, provider: str) -> str:
    """Why the run stops after a refusal; '' where it goes on."""
    said = provider_words(refusal.reason, refusal.code)
    match refusal.blame:
        case Blame.CONTENT:
            return f"{provider} refuses the message itself, for everybody: {said}"
        case Blame.ACCOUNT:
            return f"{provider} cannot be used as it is set up (account, key, login, connection): {said}"
        case Blame.RECIPIENTS:
            return ""


def held_for(outcomes: Mapping[int, Outcome]) -> float | None:
    """For how many seconds the provider wants no call at all: it took nobody and said when to come again."""
    longest = 0.0
    for outcome in outcomes.values():
        if not isinstance(outcome, Busy) or outcome.retry_after is None:
            return None
        longest = max(longest, outcome.retry_after)
    return longest or None


def reached(outcomes: Mapping[int, Outcome]) -> bool | None:
    """Whether the provider was reached to the end of the call; None where that is not known."""
    if any(isinstance(outcome, Busy) and outcome.away for outcome in outcomes.values()):
        crowded = all(outcome.retry_after == 0 for outcome in outcomes.values() if isinstance(outcome, Busy))
        return None if crowded else False
    return None if all(isinstance(outcome, Unknown) for outcome in outcomes.values()) else True


def reference_of(outcomes: Mapping[int, Outcome]) -> str:
    """The provider's own id of the call: what it gave with the first recipient that it took."""
    return next((one.reference for one in outcomes.values() if isinstance(one, Accepted)), "")
