"""What every way of pacing has in common: who waits goes in the order of their coming, nobody while there is a hold;
and where some recipient domains are limited, who of a claim may go now.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

from newsletter.audience.model import Member
from newsletter.delivery.clock import Clock
from newsletter.delivery.run_values import Admission

#: Seconds that somebody waits at least before looking again, lest rounding make a loop of it.
_SHORTEST_WAIT = 0.001


@dataclass(slots=True, eq=False)
class _Turn:
    """Somebody who waits for tokens."""

    count: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody stands who waits for `count` tokens: so many are wanted by those before them, if there are any."""

    count: int
    first: bool
    ahead: int


class Turns:
    """The line of those who wait for tokens of one account, and the hold on it. Whoever changes what is counted there
    holds the `lock`; for the hold nobody need."""

    def __init__(self, clock: Clock) -> None:
        self.lock = threading.Lock()
        self._clock = clock
        self._turns: list[_Turn] = []
        self._held_until: dt.datetime | None = None
        self._holding = threading.Lock()  # `lock` may be held for as long as a database takes to answer

    @property
    def empty(self) -> bool:
        """Whether nobody waits. Asked under the lock."""
        return not self._turns

    @property
    def held_until(self) -> dt.datetime | None:
        """Until when nobody may go; None where there is no hold, or the moment is over."""
        held = self._held_until
        return held if held is not None and held > self._clock.now() else None

    @property
    def held_for(self) -> float:
        """The same in seconds; 0.0: no hold."""
        held = self.held_until
        return (held - self._clock.now()).total_seconds() if held is not None else 0.0

    def hold_until(self, moment: dt.datetime) -> None:
        """Nobody goes before this moment; an earlier one than is known changes nothing."""
        with self._holding:
            if self._held_until is None or moment > self._held_until:
                self._held_until = moment

    def wait(
        self, count: int, stop: threading.Event, until: dt.datetime, try_to_take: Callable[[Place], tuple[bool, float]]
    ) -> bool:
        """Waits in line until `try_to_take`, which is called under the lock, has taken the tokens; else it says in how
        many seconds to try again. False, at once, when `stop` is set or the moment `until` comes first."""
        turn = _Turn(count)
        with self.lock:
            self._turns.append(turn)
        try:
            while not stop.is_set():
                now = self._clock.now()
                if now >= until:
                    return False
                with self.lock:
                    before = self._turns[: self._turns.index(turn)]
                    taken, seconds = try_to_take(Place(count, not before, sum(one.count for one in before)))
                if taken:
                    return True
                self._clock.wait(stop, min(max(seconds, _SHORTEST_WAIT), (until - now).total_seconds()))
            return False
        finally:
            with self.lock:
                self._turns.remove(turn)


def by_domain(
    members: Sequence[Member], limited: Container[str], take_one: Callable[[str], bool]
) -> tuple[list[int], dict[str, int]]:
    """The places of those who may go, and how many may not of each of their domains.

    Those whose domain is `limited` need a token, which `take_one` takes if there is one; after the first of a domain
    that gets none, none of it does: so they keep their order.
    """
    places: list[int] = []
    left: dict[str, int] = {}
    for place, member in enumerate(members):
        domain = member.key.rpartition("@")[2]
        if domain not in limited or (domain not in left and take_one(domain)):
            places.append(place)
        else:
            left[domain] = left.get(domain, 0) + 1
    return places, left


def admission(places: Sequence[int], waits: Sequence[float], now: dt.datetime) -> Admission:
    """Who may go, and when the others may ask again, where they have to wait for so many seconds."""
    # datetimes have no smaller part than a microsecond: who comes again at that moment must find something
    seconds = max(min(waits), _SHORTEST_WAIT) if waits else 0.0
    return Admission(places, now + dt.timedelta(seconds=seconds))
