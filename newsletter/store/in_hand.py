"""A batch in the hands of this process: which of its members an attempt is open for, and when they may be claimed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

from newsletter.delivery.run_values import Window
from newsletter.delivery.states import CLAIMABLE, STATE_BITS, Change, DeliveryState
from newsletter.store.attempts import NewAttempt
from newsletter.store.batch_rows import BatchRow
from newsletter.store.person_rows import seconds

_S = DeliveryState
#: By the byte of state and marks.
_CLAIMABLE = [byte & STATE_BITS in CLAIMABLE for byte in range(256)]
_LONG_AGO = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(slots=True, eq=False)
class Schedule:
    """What is known of a batch besides its row, for as long as the process lives; without it nothing goes wrong: what
    was pending is another attempt's, and some are tried again a little early.

    `pending` are the members of the attempt `attempt` whom no claim has taken yet, by their places, `covered` is how
    many it has (0: not known). Nobody is claimed for the first time before `admit_at`, or again before `retry_at`;
    those `behind` were asked about and not admitted, and come last.
    """

    attempt: int = 0
    pending: list[int] = field(default_factory=list)
    covered: int = 0
    admit_at: dt.datetime = _LONG_AGO
    retry_at: dt.datetime = _LONG_AGO
    behind: Sequence[int] = ()

    def copy(self) -> Schedule:
        """The same, to be changed by itself."""
        return Schedule(self.attempt, list(self.pending), self.covered, self.admit_at, self.retry_at, self.behind)


@dataclass(slots=True, eq=False)
class InHand:
    """One batch, and when what of it is to be claimed: within its `window`, where the run has windows."""

    row: BatchRow
    schedule: Schedule
    window: Window | None = None

    def copy(self) -> InHand:
        """The same, to be changed by itself."""
        return InHand(self.row.copy(), self.schedule.copy(), self.window)

    def tidy(self) -> None:
        """Nobody is pending who was settled in between, or of another attempt than the last."""
        pending, states = self.schedule.pending, self.row.states
        if pending and self.schedule.attempt == self.row.attempts:
            self.schedule.pending = [place for place in pending if _CLAIMABLE[states[place]]]
        else:
            self.schedule.pending = []

    def next_at(self) -> dt.datetime | None:
        """When something may be claimed, or is to expire; None where nothing may before a call in flight is reported,
        or ever."""
        plan, row = self.schedule, self.row
        times = [plan.admit_at] if plan.pending else []
        if not row.number_in(_S.IN_FLIGHT):  # else another attempt would begin while this one is under way
            again = row.number_in(_S.RETRY_WAIT)
            waiting = sum(row.state(place) is _S.RETRY_WAIT for place in plan.pending) if again else 0
            if row.number_in(_S.PLANNED) > len(plan.pending) - waiting:
                times.append(plan.admit_at)
            if again > waiting:
                times.append(plan.retry_at)
        if not times or self.window is None:
            return min(times, default=None)
        return min(max(min(times), self.window.opens_at), self.window.deadline)

    def closed(self, now: dt.datetime) -> bool:
        """Whether nobody may be claimed now because of the window; where it is over, those who are left expire."""
        if self.window is None or self.window.opens_at <= now < self.window.deadline:
            return False
        if now >= self.window.deadline:
            for place in self.row.places(*CLAIMABLE):
                self.row.change(place, Change.EXPIRE)
            self.tidy()
        return True

    def candidates(self, now: dt.datetime) -> tuple[bool, list[int]]:
        """Who may be claimed now, by their places, and whether it takes another attempt."""
        plan = self.schedule
        if plan.pending and plan.admit_at <= now:
            return False, plan.pending
        if self.row.number_in(_S.IN_FLIGHT):
            return False, []
        places = self.row.places(_S.PLANNED) if plan.admit_at <= now else []
        if plan.retry_at <= now:
            places += self.row.places(_S.RETRY_WAIT)
        if not plan.behind:
            return True, sorted(places)
        behind = frozenset(plan.behind)
        return True, sorted(places, key=lambda place: (place in behind, place))

    def begin_attempt(self, places: list[int], now: dt.datetime) -> NewAttempt:
        """Another attempt, over these."""
        row = self.row
        row.attempts += 1
        if row.first_at is None:
            row.first_at = seconds(now)
        self.schedule.attempt, self.schedule.covered = row.attempts, len(places)
        return NewAttempt(row.number, row.attempts, places, len(row.ids))
