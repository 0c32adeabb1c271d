"""How fast mail may go: one limiter for each provider account, shared by all threads and newsletters of a process."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from newsletter.audience.model import Member
from newsletter.delivery.clock import Clock
from newsletter.delivery.run_values import Admission
from newsletter.delivery.turns import Place, Turns, admission, by_domain

_ROUNDING = 1e-9


class Pacing(Protocol):
    """Paces the calls to one provider account. Used by several threads at once."""

    @property
    def rate(self) -> float | None:
        """Messages a second; None: no limit."""
        ...

    @property
    def held_until(self) -> dt.datetime | None:
        """Until when the provider wants no call; None where it does not mind, or the moment is over."""
        ...

    @property
    def admit(self) -> Callable[[Sequence[Member]], Admission] | None:
        """What a wish asks about recipient domains; None where none is limited."""
        ...

    def try_take(self, count: int) -> bool:
        """Takes `count` tokens if they are there and nobody waits for some."""
        ...

    def take(self, count: int, stop: threading.Event, until: dt.datetime) -> bool:
        """Takes `count` tokens, in turn with everybody else who waits. False, at once, when `stop` is set or the moment
        `until` comes first."""
        ...

    def give_back(self, count: int) -> None:
        """Some were taken and no message went."""
        ...

    def hold_until(self, moment: dt.datetime) -> None:
        """The provider wants no call before this moment: everybody waits."""
        ...


class TokenBucket:
    """So many a second, and at most one second's worth at once; more than that only as one call, out of a full bucket,
    which is then in debt. So in any t seconds at most rate × t + max(rate, 1, the largest call) are taken.

    Not locked. Times are monotonic seconds.
    """

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self.most = max(1.0, rate)
        self._tokens = self.most
        self._at = now

    def tokens(self, now: float) -> float:
        """How many there are; less than 0 after a call that was larger than the bucket."""
        if now > self._at:
            self._tokens = min(self.most, self._tokens + (now - self._at) * self.rate)
            self._at = now
        return self._tokens

    def wait(self, count: float, now: float) -> float:
        """In how many seconds `count` can be taken in one; 0.0: now."""
        lacking = min(count, self.most) - self.tokens(now)
        return lacking / self.rate if lacking > _ROUNDING else 0.0

    def take(self, count: float, now: float) -> None:
        """Takes them, whether they are there or not."""
        self._tokens = self.tokens(now) - count

    def give_back(self, count: float, now: float) -> None:
        """Some were taken and not used."""
        self._tokens = min(self.most, self.tokens(now) + count)


class Limiter:
    """`Pacing` within a process: `rate` messages a second (None: no limit), and `per_domain` a second to each of these
    recipient domains (small letters, A-labels)."""

    def __init__(self, rate: float | None, per_domain: Mapping[str, float], clock: Clock) -> None:
        self._clock = clock
        self._turns = Turns(clock)
        now = clock.monotonic()
        self._bucket = TokenBucket(rate, now) if rate is not None else None
        self._domains = {domain: TokenBucket(of_domain, now) for domain, of_domain in per_domain.items()}

    @property
    def rate(self) -> float | None:
        """See `Pacing`."""
        return self._bucket.rate if self._bucket else None

    @property
    def held_until(self) -> dt.datetime | None:
        """See `Pacing`."""
        return self._turns.held_until

    @property
    def admit(self) -> Callable[[Sequence[Member]], Admission] | None:
        """See `Pacing`."""
        return self._admit if self._domains else None

    def try_take(self, count: int) -> bool:
        """See `Pacing`."""
        with self._turns.lock:
            return self._turns.empty and self._taken(count)

    def take(self, count: int, stop: threading.Event, until: dt.datetime) -> bool:
        """See `Pacing`."""
        return self._turns.wait(count, stop, until, self._taken_in_turn)

    def give_back(self, count: int) -> None:
        """See `Pacing`."""
        if self._bucket is not None and count > 0:
            with self._turns.lock:
                self._bucket.give_back(count, self._clock.monotonic())

    def hold_until(self, moment: dt.datetime) -> None:
        """See `Pacing`."""
        self._turns.hold_until(moment)

    def _taken_in_turn(self, place: Place) -> tuple[bool, float]:
        if place.first and self._taken(place.count):
            return True, 0.0
        seconds = self._turns.held_for
        if self._bucket is None:
            return False, seconds
        own = self._bucket.wait(place.count, self._clock.monotonic())
        return False, max(seconds, own + place.ahead / self._bucket.rate)

    def _taken(self, count: int) -> bool:
        if self.held_until is not None:
            return False
        if self._bucket is None:
            return True
        now = self._clock.monotonic()
        if self._bucket.wait(count, now) > 0:
            return False
        self._bucket.take(count, now)
        return True

    def _admit(self, members: Sequence[Member]) -> Admission:
        """Takes a token for each member whose domain has one; the others may go when theirs has filled up again."""
        with self._turns.lock:
            now = self._clock.monotonic()

            def take_one(domain: str) -> bool:
                there = not self._domains[domain].wait(1, now)
                if there:
                    self._domains[domain].take(1, now)
                return there

            places, left = by_domain(members, self._domains, take_one)
            waits = [self._domains[domain].wait(count, now) for domain, count in left.items()]
        return admission(places, waits, self._clock.now())
