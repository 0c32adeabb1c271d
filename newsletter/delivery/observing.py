"""What the send loop tells of itself while it goes on: progress, counters and logs hang on it."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from newsletter.delivery.model import Accepted, Busy, Outcome, Refused, Unknown
from newsletter.delivery.run_values import Report
from newsletter.delivery.states import DeliveryState
from newsletter.errors import NewsletterError

#: The state that each kind of outcome leads to.
STATES: Mapping[type, DeliveryState] = {
    Accepted: DeliveryState.ACCEPTED,
    Refused: DeliveryState.REJECTED,
    Busy: DeliveryState.RETRY_WAIT,
    Unknown: DeliveryState.UNKNOWN,
}

#: With the quotes around it.
_ADDRESS = re.compile(r"(')?<?[^\s<>()\":;,@]+@[^\s<>()\"':;,@]+>?(?(1)')")
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class EndedCall:
    """A call that is over, and what the ledger is told of it.

    `counts` are its recipients by the state that the provider's answer leads to; `words` the same for those that were
    not accepted, with the provider's words, which name no address. `made`: False where it came to no call. `pause`
    says why the run must stop, `held_until` until when the provider wants no call at all.
    """

    report: Report
    counts: Mapping[DeliveryState, int]
    words: Mapping[tuple[DeliveryState, str], int] = field(default_factory=dict)
    seconds: float = 0.0
    made: bool = True
    pause: str = ""
    held_until: dt.datetime | None = None

    def of(self, state: DeliveryState) -> int:
        """How many of its recipients are in `state`."""
        return self.counts.get(state, 0)


class Observer(Protocol):
    """Hears of a run while it is sent. All its methods are called by the thread that called `send_run`, and quickly
    have to return: nothing is claimed or written down meanwhile."""

    def claimed(self, members: int) -> None:
        """So many are in flight now, durably."""
        ...

    def ended(self, call: EndedCall) -> None:
        """A call is over, and its outcomes are written down."""
        ...

    def waiting(self, until: dt.datetime) -> None:
        """Before this moment there is nothing to send, or the provider takes nothing."""
        ...

    def paused(self, reason: str) -> None:
        """The run was stopped from within: by a breaker, a refusal of the provider, or an error."""
        ...

    def database_trouble(self, error: NewsletterError, next_try: float) -> None:
        """The ledger cannot be written; it is tried again in so many seconds, and nothing is claimed meanwhile."""
        ...

    def database_back(self) -> None:
        """The ledger was written again."""
        ...


class Unobserved:
    """Nobody listens."""

    def claimed(self, members: int) -> None:
        """See `Observer`."""

    def ended(self, call: EndedCall) -> None:
        """See `Observer`."""

    def waiting(self, until: dt.datetime) -> None:
        """See `Observer`."""

    def paused(self, reason: str) -> None:
        """See `Observer`."""

    def database_trouble(self, error: NewsletterError, next_try: float) -> None:
        """See `Observer`."""

    def database_back(self) -> None:
        """See `Observer`."""


def counted(
    outcomes: Mapping[int, Outcome],
) -> tuple[dict[DeliveryState, int], dict[tuple[DeliveryState, str], int]]:
    """How many outcomes lead to each state, and how often each of the provider's words was given for what was not
    accepted. Raises KeyError where something is no outcome."""
    counts = {STATES[kind]: count for kind, count in Counter(map(type, outcomes.values())).items()}
    words: Counter[tuple[DeliveryState, str]] = Counter()
    if counts.get(DeliveryState.ACCEPTED, 0) < len(outcomes):
        for outcome in outcomes.values():
            if not isinstance(outcome, Accepted):
                code = outcome.code if isinstance(outcome, Refused) else ""
                words[STATES[type(outcome)], provider_words(outcome.reason, code)] += 1
    return counts, dict(words)


@lru_cache(1_000)
def provider_words(reason: str, code: str = "") -> str:
    """The provider's words on one line, without the addresses in them: the same for everybody it says them of."""
    text = (reason if code in reason else f"{code} {reason}")[: 5 * _LONGEST]
    text = " ".join(_ADDRESS.sub("<address>", text).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
