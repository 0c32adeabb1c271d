"""The slices of a shared pace, in simulated time: over all workers never more than the rate, and none is kept waiting
for nothing."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from send_simulation import START, member

from newsletter.delivery.breakers import Breakers
from newsletter.delivery.model import Accepted, Outcome, Refused, Unknown
from newsletter.delivery.observing import EndedCall, counted
from newsletter.delivery.pace_records import Bucket, Reserved, Tally
from newsletter.delivery.run_values import Claim, Report
from newsletter.delivery.shared_pacing import VALID, SharedLimiter, bucket_of, valid_for
from newsletter.errors import NewsletterError, OutputError, TemporaryError

FAR = START + dt.timedelta(days=30)


class Steps:
    """A clock that goes on when somebody waits, or is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> dt.datetime:
        return START + dt.timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def processor_time(self) -> float:
        return 0.0

    def wait(self, event: threading.Event, seconds: float | None = None) -> bool:
        assert seconds is not None
        self.seconds += seconds
        return event.is_set()


class Kept:
    """`PaceRecords` in memory, as the database keeps it."""

    def __init__(self, clock: Steps) -> None:
        self.clock = clock
        self.tokens: dict[str, tuple[float, float]] = {}
        self.held_until = 0.0
        self.asked = 0
        self.away = False
        self.lag = self.queue = 0.0

    def reserve(self, bucket: Bucket, count: float) -> Reserved:
        self.clock.seconds += self.queue + self.lag / 2
        had = self._refill("", bucket)
        self.tokens[""] = had - count, self.clock.seconds
        held = self.held()
        self.clock.seconds += self.lag / 2
        return Reserved(max(0.0, (min(count, bucket.most) - had) / bucket.rate), held, self.queue)

    def reserve_at_once(self, bucket: Bucket, count: float) -> Reserved | None:
        if self._refill("", bucket) < min(count, bucket.most) or self.held():
            return None
        return self.reserve(bucket, count)

    def take_some(self, wanted: Mapping[str, tuple[Bucket, int]]) -> Mapping[str, tuple[int, float]]:
        found = {}
        for domain, (bucket, count) in wanted.items():
            had = self._refill(domain, bucket)
            taken = max(0, min(count, int(had + 1e-9)))
            self.tokens[domain] = had - taken, self.clock.seconds
            found[domain] = taken, max(0.0, (1 - had + taken) / bucket.rate)
        return found

    def hold(self, bucket: Bucket, seconds: float) -> None:
        self._ask()
        self.held_until = max(self.held_until, self.clock.seconds + seconds)

    def held(self) -> float:
        self._ask()
        return max(0.0, self.held_until - self.clock.seconds)

    def _refill(self, domain: str, bucket: Bucket) -> float:
        self._ask()
        tokens, at = self.tokens.get(domain, (bucket.most, self.clock.seconds))
        return min(bucket.most, tokens + (self.clock.seconds - at) * bucket.rate)

    def _ask(self) -> None:
        self.asked += 1
        if self.away:
            raise TemporaryError("PostgreSQL cannot be reached")


def assert_within(went: list[tuple[float, int]], rate: float, valid: float | None = None) -> None:
    burst = rate * (valid or valid_for(rate)) + max(bucket_of(rate).most, *(count for _, count in went)) if went else 0
    for first in range(len(went)):
        total = 0
        for at, count in went[first:]:
            total += count
            assert total <= rate * (at - went[first][0]) + burst + 1e-6


@given(
    st.floats(0.05, 500),
    st.lists(
        st.tuples(st.integers(0, 3), st.floats(0, 2), st.integers(1, 300), st.integers(0, 300), st.booleans()),
        min_size=1,
        max_size=60,
    ),
)
def test_over_all_workers_never_more_than_the_rate(rate: float, asked: list[tuple[int, float, int, int, bool]]) -> None:
    clock = Steps()
    records = Kept(clock)
    workers = [SharedLimiter(rate, {}, records, clock) for _ in range(4)]
    went: list[tuple[float, int]] = []
    for which, idle, count, back, impatient in asked:
        clock.seconds += idle
        worker = workers[which]
        taken = worker.try_take(count)
        if not taken:
            # some leave before their turn comes
            until = clock.now() + dt.timedelta(seconds=0.3) if impatient else FAR
            taken = worker.take(count, threading.Event(), until)
            assert taken or impatient
        if taken:
            worker.give_back(min(back, count))
            went.append((clock.seconds, count - min(back, count)))
    assert_within(went, rate)


@given(st.floats(0.05, 500), st.integers(1, 200))
def test_one_worker_alone_is_no_slower_than_the_rate(rate: float, count: int) -> None:
    clock = Steps()
    worker = SharedLimiter(rate, {}, Kept(clock), clock)
    for _ in range(20):
        assert worker.take(count, threading.Event(), FAR)
    assert clock.seconds <= 19 * count / rate + 20 * 0.002 + 1e-6


@given(st.floats(0.3, 1.9), st.floats(5, 200), st.integers(1, 30))
def test_a_worker_far_from_the_database_uses_what_it_reserves(lag: float, rate: float, count: int) -> None:
    clock = Steps()
    records = Kept(clock)
    records.lag = lag
    told: list[float] = []
    worker = SharedLimiter(rate, {}, records, clock, told.append)
    went: list[tuple[float, int]] = []
    for _ in range(20):
        assert worker.take(count, threading.Event(), FAR)
        went.append((clock.seconds, count))
    assert clock.seconds <= 20 * (count / rate + lag + 1)
    assert_within(went, rate, max(valid_for(rate), lag + VALID / 2))
    assert len(told) == (max(told, default=lag) >= VALID)


def test_a_worker_that_has_every_answer_too_late_asks_seldom_and_says_so_once() -> None:
    clock = Steps()
    records = Kept(clock)
    records.lag = 3.0
    told: list[float] = []
    worker = SharedLimiter(20.0, {}, records, clock, told.append)
    assert not worker.take(10, threading.Event(), clock.now() + dt.timedelta(seconds=60))
    assert told == [3.0]
    tokens, at = records.tokens[""]
    assert tokens + (clock.seconds - at) * 20 > 0, "no debt for what it cannot use"
    records.lag = 0.0
    assert worker.take(10, threading.Event(), clock.now() + dt.timedelta(seconds=5))


def test_the_wait_for_a_connection_makes_no_token_void() -> None:
    clock = Steps()
    records = Kept(clock)
    records.queue = 20.0
    worker = SharedLimiter(20.0, {}, records, clock)
    assert worker.take(10, threading.Event(), FAR)
    assert clock.seconds < 21


def test_slices_grow_where_calls_come_densely_and_are_small_where_they_do_not() -> None:
    clock = Steps()
    records = Kept(clock)
    worker = SharedLimiter(1_000.0, {}, records, clock)
    for _ in range(100):  # 10 messages each 10 ms
        clock.seconds += 0.01
        assert worker.try_take(10)
    dense, records.asked = records.asked, 0
    assert dense < 50
    for _ in range(100):  # one each 200 ms
        clock.seconds += 0.2
        assert worker.try_take(1)
    assert worker._slices is not None
    assert sum(one.tokens for one in worker._slices._slices) < 3


def test_without_a_rate_only_a_hold_is_asked_for_and_seldom() -> None:
    clock = Steps()
    records = Kept(clock)
    worker, other = SharedLimiter(None, {}, records, clock), SharedLimiter(None, {}, records, clock)
    assert worker.rate is None
    assert worker.admit is None
    for _ in range(100):
        clock.seconds += 0.01
        assert worker.try_take(1_000)
    assert records.asked <= 3
    other.hold_until(clock.now() + dt.timedelta(seconds=30))
    clock.seconds += 1
    assert not worker.try_take(1)
    assert worker.take(1, threading.Event(), FAR)
    assert clock.seconds >= 30


def test_whoever_was_refused_by_a_domain_comes_again_when_a_token_is_there() -> None:
    clock = Steps()
    worker = SharedLimiter(None, {"example.com": 0.5}, Kept(clock), clock)
    people = [member(1), member(2)]
    assert worker.admit is not None
    went: list[float] = []
    while len(went) < 4:
        assert worker.take(1, threading.Event(), FAR)
        admission = worker.admit(people)
        went += [clock.seconds] * len(admission.places)
        clock.seconds = max(clock.seconds, (admission.others_at - START).total_seconds())
    assert went[3] - went[0] >= 3 * 2 - valid_for(0.5)
    assert went[3] < 7


def test_while_the_records_are_away_nothing_is_taken() -> None:
    clock = Steps()
    records = Kept(clock)
    worker = SharedLimiter(10.0, {}, records, clock)
    records.away = True
    assert not worker.try_take(1)
    assert not worker.take(1, threading.Event(), clock.now() + dt.timedelta(seconds=5))
    worker.hold_until(clock.now() + dt.timedelta(seconds=1))
    records.away = False
    assert worker.take(1, threading.Event(), FAR)


class Counted:
    """`TallyRecords` in memory."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.away: NewsletterError | None = None

    def add(self, *, lost: bool, refused: int, decided: int) -> Tally:
        if self.away:
            raise self.away
        self.tally = self.tally.with_call(lost=lost, refused=refused, decided=decided)
        return self.tally


def call(outcome: Outcome) -> EndedCall:
    by_member = {1: outcome}
    counts, words = counted(by_member)
    return EndedCall(Report(CLAIM, by_member), counts, words, made=True)


CLAIM = Claim(1, 1, (member(1),), "call", START)
LOST, REFUSED, TAKEN = call(Unknown("timed out")), call(Refused("no")), call(Accepted())


class TestBreakersOfAll:
    def test_each_sees_half_and_the_second_of_all_trips(self) -> None:
        records = Counted()
        one, other = Breakers(1.0, records), Breakers(1.0, records)
        assert one.tripped(LOST) == ""
        assert other.tripped(LOST).startswith("2 calls in a row")

    def test_refusals_of_all_are_counted_together(self) -> None:
        records = Counted()
        workers = [Breakers(0.2, records) for _ in range(3)]
        said = [worker.tripped(call) for call in [TAKEN] * 5 + [REFUSED] * 2 for worker in workers]
        assert "5 of 20" in next(filter(None, said))

    @pytest.mark.parametrize("away", [TemporaryError("cannot be reached"), OutputError("the disk is full")])
    def test_while_the_records_are_away_a_worker_counts_its_own(self, away: NewsletterError) -> None:
        records = Counted()
        one = Breakers(1.0, records)
        records.away = away
        assert [bool(one.tripped(LOST)) for _ in range(2)] == [False, True]

    def test_what_was_before_the_run_was_resumed_does_not_count_when_the_records_go_away(self) -> None:
        records = Counted()
        one = Breakers(0.05, records)
        assert [bool(one.tripped(call)) for call in [TAKEN] * 18 + [REFUSED] * 2][-1]
        records.tally = Tally()  # resumed
        assert one.tripped(TAKEN) == ""
        records.away = TemporaryError("the connection was lost")
        assert one.tripped(TAKEN) == ""

    def test_when_the_records_go_away_what_they_said_last_counts(self) -> None:
        records = Counted()
        one, other = Breakers(1.0, records), Breakers(1.0, records)
        assert other.tripped(TAKEN) == ""
        assert one.tripped(LOST) == ""
        records.away = TemporaryError("the connection was lost")
        assert one.tripped(LOST)
