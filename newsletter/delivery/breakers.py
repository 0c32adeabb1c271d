"""When a run must stop by itself: the provider's answers are lost, or it refuses too many."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping

from newsletter.delivery.observing import EndedCall
from newsletter.delivery.pace_records import Tally, TallyRecords
from newsletter.delivery.states import DeliveryState
from newsletter.errors import OutputError, TemporaryError

#: Calls in a row, in the order of their ends, of which nothing is known.
UNKNOWN_IN_A_ROW = 2
#: Before so many are accepted or refused, a share of them says little.
FEWEST_DECIDED = 20


class Breakers:
    """Counts what a run's calls came to; what was before it, and what recovery found, does not count.

    `failure_rate` is the share of refused among those accepted or refused, a fraction, above which a run stops. With
    `records` the calls of all workers count; while those are out of reach, this process's own on top of what they said
    last.
    """

    def __init__(self, failure_rate: float, records: TallyRecords | None = None) -> None:
        self._limit = failure_rate
        self._records = records
        self._tally = Tally()
        self._words: Counter[tuple[DeliveryState, str]] = Counter()

    def tripped(self, call: EndedCall) -> str:
        """Why the run must stop after this call; '' where it may go on. To be told of every call, as they end."""
        if not call.made:
            return ""
        self._words.update(call.words)
        refused = call.of(DeliveryState.REJECTED)
        decided = refused + call.of(DeliveryState.ACCEPTED)
        # whoever was not tried because the answer before was lost says nothing of the provider
        lost = not decided and bool(call.of(DeliveryState.UNKNOWN))
        tally = self._counted(lost=lost, refused=refused, decided=decided)
        if lost and tally.unknown_in_a_row >= UNKNOWN_IN_A_ROW:
            said = most_frequent(call.words, DeliveryState.UNKNOWN)
            return f"{UNKNOWN_IN_A_ROW} calls in a row ended without an answer that could be trusted{said}"
        return self._refusals(tally)

    def _counted(self, *, lost: bool, refused: int, decided: int) -> Tally:
        self._tally = self._tally.with_call(lost=lost, refused=refused, decided=decided)
        if self._records is not None:
            # a database that is away, or whose disk is full: what becomes of the run is for the ledger to say
            with contextlib.suppress(TemporaryError, OutputError):
                # theirs begins anew when the run is resumed, and so does ours
                self._tally = self._records.add(lost=lost, refused=refused, decided=decided)
        return self._tally

    def _refusals(self, tally: Tally) -> str:
        if tally.decided < FEWEST_DECIDED or tally.refused <= self._limit * tally.decided:
            return ""
        said = most_frequent(self._words, DeliveryState.REJECTED)
        share = tally.refused / tally.decided
        return (
            f"{tally.refused:,} of {tally.decided:,} recipients were refused ({share:.1%}), "
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
