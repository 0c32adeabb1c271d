"""When a run must stop by itself: the provider's answers are lost, or it refuses too many. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from newsletter.delivery.observing import EndedCall
from newsletter.delivery.states import DeliveryState

#: Calls in a row, in the order of their ends, of which nothing is known.
UNKNOWN_IN_A_ROW = 2
#: Before so many are accepted or refused, a share of them says little.
FEWEST_DECIDED = 20


class Breakers:
    """Counts what one process's calls of a run came to; what was before it, and what recovery found, does not count.

    `failure_rate` is the share of refused among those accepted or refused, a fraction, above which a run stops.
    """

    def __init__(self, failure_rate: float) -> None:
        self._limit = failure_rate
        self._unknown_in_a_row = 0
        self._refused = 0
        self._decided = 0
        self._words: Counter[tuple[DeliveryState, str]] = Counter()

    def tripped(self, call: EndedCall) -> str:
        """Why the run must stop after this call; '' where it may go on. To be told of every call, as they end."""
        if not call.made:
            return ""
        self._words.update(call.words)
        return self._lost_answers(call) or self._refusals(call)

    def _lost_answers(self, call: EndedCall) -> str:
        # whoever was not tried because the answer before was lost says nothing of the provider
        decided = call.of(DeliveryState.ACCEPTED) + call.of(DeliveryState.REJECTED)
        if decided or not call.of(DeliveryState.UNKNOWN):
            self._unknown_in_a_row = 0
            return ""
        self._unknown_in_a_row += 1
        if self._unknown_in_a_row < UNKNOWN_IN_A_ROW:
            return ""
        said = most_frequent(call.words, DeliveryState.UNKNOWN)
        return f"{UNKNOWN_IN_A_ROW} calls in a row ended without an answer that could be trusted{said}"

    def _refusals(self, call: EndedCall) -> str:
        refused = call.of(DeliveryState.REJECTED)
        self._refused += refused
        self._decided += refused + call.of(DeliveryState.ACCEPTED)
        if self._decided < FEWEST_DECIDED or self._refused <= self._limit * self._decided:
            return ""
        said = most_frequent(self._words, DeliveryState.REJECTED)
        share = self._refused / self._decided
        return (
            f"{self._refused:,} of {self._decided:,} recipients were refused ({share:.1%}), "
            f"more than pause_on_failure_rate allows ({self._limit:.1%}){said}"
        )


def most_frequent(words: Mapping[tuple[DeliveryState, str], int], state: DeliveryState) -> str:
    """`; mostly: 550 no such user (12 times)`, of the provider's words for what came to `state`; '' for none."""
    said = [(count, text) for (one, text), count in words.items() if one is state and text]
    if not said:
        return ""
    count, text = max(said)
    if len(said) == 1:
        return f": {text}"
    return f"; mostly: {text} ({count:,} times)"
