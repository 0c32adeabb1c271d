"""How fast mail may go where workers on several machines share a provider's account.

The account's bucket is in the database. A worker takes tokens out of it in slices: for one call, or, while it uses
them up quickly, for some calls at once, so that the bucket is not asked for each. What it has not used after a short
while is void. So over all workers, in any t seconds, at most rate × (t + VALID) + max(rate / 2, 1, the largest call)
messages go, that is rate × t + max(rate, 2, the largest call + rate / 2); a worker that dies takes one slice along.
Where the database takes d > VALID / 2 seconds to answer a worker, it is d + VALID / 2 instead of VALID; what comes
after LATE seconds is void, and that worker asks seldom.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import math
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from newsletter.audience.model import Member
from newsletter.delivery.clock import Clock
from newsletter.delivery.pace_records import Bucket, PaceRecords
from newsletter.delivery.run_values import Admission
from newsletter.delivery.turns import Place, Turns, admission, by_domain
from newsletter.errors import TemporaryError

#: Seconds for which tokens are good at least; at slow rates until the next one is there.
VALID = 0.5
#: So long tokens are good at least when their promise arrived, lest a worker far away never have any; unless that took
#: longer than `LATE`. Seconds.
_TO_USE, LATE = VALID / 2, 2.0
#: At most so many seconds' worth in a slice, and half a second's worth in the bucket.
_SLICE, _FULL = 0.25, 0.5
#: How soon a hold that another worker met is noticed, where nothing else asks the database. Seconds.
_LOOK_EVERY = 1.0
#: Seconds until the database is tried again, where it is away.
_TRY_AGAIN = 0.5
#: A slice grows where the last one was fetched less than this ago, so that fetches get no denser; and shrinks where it
#: was fetched longer ago than that. Seconds.
_DENSE, _SPARSE = 0.1, 0.4
#: How soon somebody who waits notices that it is their turn. Seconds.
_LOOK_AT_TURN = 0.02
_ROUNDING = 1e-9


def bucket_of(rate: float) -> Bucket:
    """The bucket for so many messages a second."""
    return Bucket(rate, max(1.0, rate * _FULL))


def valid_for(rate: float) -> float:
    """Seconds for which tokens of this rate are good."""
    return max(VALID, 1 / rate)


@dataclass(slots=True, eq=False)
class _Slice:
    """Tokens that may be used between two moments, monotonic seconds."""

    tokens: float
    since: float
    until: float


class _Slices:
    """Tokens of one bucket that this worker has. Not locked."""

    def __init__(self, rate: float) -> None:
        self.valid = valid_for(rate)
        self._slices: list[_Slice] = []
        self._used: deque[float] = deque()
        #: Whether some ran out unused.
        self.wasted = False

    def add(self, tokens: float, before: float, after: float, wait: float) -> None:
        """They are there `wait` seconds after the database promised them, which was between `before` and `after`."""
        until = before + self.valid
        if after - before <= LATE:
            until = max(until, after + _TO_USE)
        self._slices.append(_Slice(tokens, after + wait, until + wait))

    def at_hand(self, now: float) -> float:
        """How many may be used now."""
        self.wasted |= any(one.until <= now and one.tokens >= 1 for one in self._slices)
        self._slices = [one for one in self._slices if one.until > now]
        return sum(one.tokens for one in self._slices if one.since <= now)

    def next_at(self, now: float) -> float | None:
        """When some that are promised may be used; None: none are."""
        return min((one.since for one in self._slices if one.since > now), default=None)

    def use(self, count: float, now: float) -> None:
        """Uses some that are at hand, those first that are good for the shortest time."""
        for one in sorted(self._slices, key=lambda one: one.until):
            if one.since <= now and count > _ROUNDING:
                part = min(count, one.tokens)
                one.tokens -= part
                count -= part
                self._used.append(one.until)
        self._slices = [one for one in self._slices if one.tokens > _ROUNDING]

    def give_back(self, count: float, now: float) -> None:
        """Some were used for nothing: they are good for no longer than the earliest that were used."""
        while self._used and self._used[0] <= now:
            self._used.popleft()
        if self._used:
            self._slices.append(_Slice(count, now, self._used[0]))


class SharedLimiter:
    """`Pacing` over all workers that have the same `records`. One for a provider account in a process. `far` is told
    once in how many seconds the database answers, where that is too slow."""

    def __init__(
        self,
        rate: float | None,
        per_domain: Mapping[str, float],
        records: PaceRecords,
        clock: Clock,
        far: Callable[[float], None] = lambda _: None,
    ) -> None:
        self.rate = rate
        self._far: Callable[[float], None] | None = far
        #: no slice is fetched before
        self._fetch_at = -math.inf
        self._records = records
        self._clock = clock
        self._turns = Turns(clock)
        self._bucket = bucket_of(rate) if rate is not None else None
        self._slices = _Slices(rate) if rate is not None else None
        self._size = 0.0
        self._fetched_at = 0.0
        self._looked_at = -_LOOK_EVERY
        self._domains = {domain: _Slices(of_domain) for domain, of_domain in per_domain.items()}
        self._of_domain = {domain: bucket_of(of_domain) for domain, of_domain in per_domain.items()}
        #: Domain → how many are wanted, and from when on it is worth asking.
        self._wanted: dict[str, int] = {}
        self._ask_at: dict[str, float] = {}

    @property
    def held_until(self) -> dt.datetime | None:
        """See `Pacing`."""
        return self._turns.held_until

    @property
    def admit(self) -> Callable[[Sequence[Member]], Admission] | None:
        """See `Pacing`."""
        return self._admit if self._domains else None

    def try_take(self, count: int) -> bool:
        """See `Pacing`. False also where the database is away."""
        with self._turns.lock:
            if not self._turns.empty:
                return False
            try:
                self._look()
                if self.held_until is not None:
                    return False
                if self._used(count):
                    return True
                return self._fetch(count, at_once=True) and self._used(count)
            except TemporaryError:
                return False

    def take(self, count: int, stop: threading.Event, until: dt.datetime) -> bool:
        """See `Pacing`. Where the database is away, waits for it."""
        return self._turns.wait(count, stop, until, self._taken_in_turn)

    def give_back(self, count: int) -> None:
        """See `Pacing`. They are for this worker's own next calls, soon."""
        if self._slices is not None and count > 0:
            with self._turns.lock:
                self._slices.give_back(count, self._clock.monotonic())

    def hold_until(self, moment: dt.datetime) -> None:
        """See `Pacing`; all workers wait. Where the database is away, this one does."""
        self._turns.hold_until(moment)
        seconds = (moment - self._clock.now()).total_seconds()
        if seconds > 0:
            with contextlib.suppress(TemporaryError):
                self._records.hold(self._bucket or Bucket(0.0, 0.0), seconds)

    def _taken_in_turn(self, place: Place) -> tuple[bool, float]:
        if not place.first:
            return False, _LOOK_AT_TURN
        taken, seconds = self._taken(place.count)
        return taken, min(seconds, _LOOK_EVERY)

    def _taken(self, count: int) -> tuple[bool, float]:
        """Whether they were taken; else in how many seconds to look again."""
        try:
            self._look()
            if self.held_until is not None:
                return False, self._turns.held_for
            if self._used(count):
                return True, 0.0
            now = self._clock.monotonic()
            assert self._slices is not None
            if self._slices.next_at(now) is None and now >= self._fetch_at:
                self._fetch(count, at_once=False)
            now = self._clock.monotonic()
            look_at = self._slices.next_at(now) or max(now, self._fetch_at)
            return self.held_until is None and self._used(count), look_at - now
        except TemporaryError:
            return False, _TRY_AGAIN

    def _used(self, count: int) -> bool:
        if self._slices is None:
            return True
        now = self._clock.monotonic()
        if self._slices.at_hand(now) < count - _ROUNDING:
            return False
        self._slices.use(count, now)
        return True

    def _fetch(self, count: int, *, at_once: bool) -> bool:
        """Reserves a slice in which `count` are."""
        assert self._bucket is not None
        assert self._slices is not None
        before = self._clock.monotonic()
        if before < self._fetch_at:
            return False
        since = before - self._fetched_at
        if self._slices.wasted:
            self._size = 0.0
        elif since < _DENSE:
            self._size *= 2
        elif since > _SPARSE:
            self._size /= 2
        size = self._size = max(float(count), min(self._size, self._bucket.rate * _SLICE))
        self._fetched_at, self._slices.wasted = before, False
        if at_once:
            got = self._records.reserve_at_once(self._bucket, size)
            if got is None:
                return False
        else:
            got = self._records.reserve(self._bucket, size)
        self._hear_held(got.held)
        began, after = before + got.queued, self._clock.monotonic()
        self._slices.add(size, began, after, got.wait)
        self._mind(after - began, after)
        return True

    def _mind(self, took: float, now: float) -> None:
        """A reservation took so long."""
        if took > LATE:  # it was for nothing, and others wait the longer for it
            self._fetch_at = now + took
        if took >= VALID and self._far is not None:
            self._far(took)
            self._far = None

    def _look(self) -> None:
        """Asks for what domains lack; and whether there is a hold, where nothing else does."""
        now = self._clock.monotonic()
        asked = {
            domain: (bucket, min(self._wanted[domain], max(1, int(bucket.rate * _SLICE))))
            for domain, bucket in self._of_domain.items()
            if domain in self._wanted and self._ask_at.get(domain, 0.0) <= now
        }
        if asked:
            for domain, (count, wait) in self._records.take_some(asked).items():
                del self._wanted[domain]
                self._ask_at[domain] = now + wait
                if count:
                    self._domains[domain].add(count, now, self._clock.monotonic(), 0.0)
        if now - self._looked_at >= _LOOK_EVERY:
            self._looked_at = now
            self._hear_held(self._records.held())

    def _hear_held(self, seconds: float) -> None:
        if seconds > 0:
            self._turns.hold_until(self._clock.now() + dt.timedelta(seconds=seconds))

    def _admit(self, members: Sequence[Member]) -> Admission:
        """Takes a token for each member whose domain has one; for others some are asked for before the next claim."""
        with self._turns.lock:
            now = self._clock.monotonic()

            def take_one(domain: str) -> bool:
                there = self._domains[domain].at_hand(now) >= 1 - _ROUNDING
                if there:
                    self._domains[domain].use(1, now)
                return there

            places, left = by_domain(members, self._domains, take_one)
            for domain, count in left.items():
                self._wanted[domain] = max(count, self._wanted.get(domain, 0))
            waits = [self._ask_at.get(domain, 0.0) - now for domain in left]
        return admission(places, waits, self._clock.now())
