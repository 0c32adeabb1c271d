"""How fast mail may go: one limiter for each provider account, shared by all threads and newsletters of a process."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from newsletter.audience.model import Member
from newsletter.delivery.clock import Clock
from newsletter.delivery.ledger import Admission

#: Seconds that somebody waits at least before looking again, lest rounding make a loop of it.
_SHORTEST_WAIT = 0.001
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


@dataclass(slots=True, eq=False)
class _Turn:
    """Somebody who waits for tokens."""

    count: int


class Limiter:
    """`Pacing` within a process: `rate` messages a second (None: no limit), and `per_domain` a second to each of these
    recipient domains (small letters, A-labels)."""

    def __init__(self, rate: float | None, per_domain: Mapping[str, float], clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._turns: list[_Turn] = []
        self._held_until: dt.datetime | None = None
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
        held = self._held_until
        return held if held is not None and held > self._clock.now() else None

    @property
    def admit(self) -> Callable[[Sequence[Member]], Admission] | None:
        """See `Pacing`."""
        return self._admit if self._domains else None

    def try_take(self, count: int) -> bool:
        """See `Pacing`."""
        with self._lock:
            return not self._turns and self._taken(count)

    def take(self, count: int, stop: threading.Event, until: dt.datetime) -> bool:
        """See `Pacing`."""
        turn = _Turn(count)
        with self._lock:
            self._turns.append(turn)
        try:
            while not stop.is_set():
                now = self._clock.now()
                if now >= until:
                    return False
                with self._lock:
                    if self._turns[0] is turn and self._taken(count):
                        return True
                    seconds = self._wait(turn)
                self._clock.wait(stop, min(max(seconds, _SHORTEST_WAIT), (until - now).total_seconds()))
            return False
        finally:
            with self._lock:
                self._turns.remove(turn)

    def give_back(self, count: int) -> None:
        """See `Pacing`."""
        if self._bucket is not None and count > 0:
            with self._lock:
                self._bucket.give_back(count, self._clock.monotonic())

    def hold_until(self, moment: dt.datetime) -> None:
        """See `Pacing`."""
        with self._lock:
            if self._held_until is None or moment > self._held_until:
                self._held_until = moment

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

    def _wait(self, turn: _Turn) -> float:
        """In how many seconds it may be this one's turn, as far as can be told."""
        held = self.held_until
        seconds = (held - self._clock.now()).total_seconds() if held is not None else 0.0
        if self._bucket is None:
            return seconds
        ahead = sum(one.count for one in self._turns[: self._turns.index(turn)])
        return max(seconds, self._bucket.wait(turn.count, self._clock.monotonic()) + ahead / self._bucket.rate)

    def _admit(self, members: Sequence[Member]) -> Admission:
        """Takes a token for each member whose domain has one; the others may go when theirs has filled up again."""
        places: list[int] = []
        left: dict[str, int] = {}
        with self._lock:
            now = self._clock.monotonic()
            for place, member in enumerate(members):
                domain = member.key.rpartition("@")[2]
                bucket = self._domains.get(domain)
                if bucket is None:
                    places.append(place)
                elif domain not in left and not bucket.wait(1, now):
                    bucket.take(1, now)
                    places.append(place)
                else:
                    left[domain] = left.get(domain, 0) + 1
            waits = [self._domains[domain].wait(count, now) for domain, count in left.items()]
        # datetimes have no smaller part than a microsecond: who comes again at that moment must find something
        seconds = max(min(waits), _SHORTEST_WAIT) if waits else 0.0
        return Admission(places, self._clock.now() + dt.timedelta(seconds=seconds))
