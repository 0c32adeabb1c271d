"""No more than the rate, whoever asks; and no longer than needed."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from send_simulation import START, SimulatedClock, member

from newsletter.delivery.pacing import Limiter, TokenBucket

FAR = START + dt.timedelta(days=1)
rates = st.floats(0.05, 500)
#: (seconds until the next wish, how many it wants, how many of them it gives back)
wishes = st.lists(st.tuples(st.floats(0, 5), st.integers(1, 300), st.integers(0, 300)), max_size=40)


def never() -> threading.Event:
    return threading.Event()


def assert_within(went: list[tuple[float, int]], rate: float) -> None:
    """In no interval more than rate × t + max(rate, 1, the largest call)."""
    burst = max([rate, 1.0, *(count for _, count in went)])
    for first in range(len(went)):
        total = 0
        for at, count in went[first:]:
            total += count
            assert total <= rate * (at - went[first][0]) + burst + 1e-6


class TestTokenBucket:
    @given(rates, wishes)
    def test_whoever_waits_as_told_never_exceeds_the_rate(
        self, rate: float, asked: list[tuple[float, int, int]]
    ) -> None:
        now = 0.0
        bucket = TokenBucket(rate, now)
        went: list[tuple[float, int]] = []
        for idle, count, back in asked:
            now += idle
            now += bucket.wait(count, now)
            assert bucket.wait(count, now) <= 1e-6
            bucket.take(count, now)
            bucket.give_back(min(back, count), now)
            went.append((now, count - min(back, count)))
        assert_within(went, rate)

    @given(rates, st.integers(1, 300))
    def test_it_is_no_slower_than_the_rate_either(self, rate: float, count: int) -> None:
        now = 0.0
        bucket = TokenBucket(rate, now)
        for _ in range(20):
            now += bucket.wait(count, now)
            bucket.take(count, now)
        assert now <= 19 * count / rate + 1e-6

    def test_nothing_is_saved_up_beyond_a_second(self) -> None:
        bucket = TokenBucket(10, 0.0)
        assert bucket.tokens(3_600.0) == 10
        bucket.give_back(1_000, 3_600.0)
        assert bucket.tokens(3_600.0) == 10


class TestLimiter:
    @settings(deadline=None, max_examples=25)
    @given(st.floats(0.5, 200), st.lists(st.integers(1, 50), min_size=1, max_size=5))
    def test_threads_together_never_exceed_the_rate_and_all_get_their_turn(self, rate: float, sizes: list[int]) -> None:
        clock = SimulatedClock()
        limiter = Limiter(rate, {}, clock)
        went: list[tuple[float, int]] = []
        lock = threading.Lock()

        def work(size: int) -> None:
            for _ in range(6):
                assert limiter.take(size, never(), FAR)
                with lock:
                    went.append((clock.monotonic(), size))

        run_together(clock, [lambda size=size: work(size) for size in sizes])  # type: ignore[misc] # bound here
        assert len(went) == 6 * len(sizes)
        assert_within(went, rate)
        assert went[-1][0] <= sum(count for _, count in went) / rate + 1

    def test_who_wants_little_does_not_keep_who_wants_much_from_their_turn(self) -> None:
        clock = SimulatedClock()
        limiter = Limiter(10.0, {}, clock)
        assert limiter.take(10, never(), FAR)
        got: list[tuple[float, int]] = []

        def much() -> None:
            assert limiter.take(10, never(), FAR)
            got.append((clock.monotonic(), 10))

        def little() -> None:
            for _ in range(60):
                assert limiter.take(1, never(), FAR)

        run_together(clock, [little, much])
        assert got[0][0] < 3

    def test_without_a_rate_nobody_waits(self) -> None:
        clock = SimulatedClock()
        limiter = Limiter(None, {}, clock)
        assert all(limiter.try_take(1_000) for _ in range(1_000))
        assert limiter.rate is None
        assert limiter.admit is None
        assert clock.monotonic() == 0

    @pytest.mark.parametrize("rate", [None, 1_000_000.0])
    def test_a_hold_holds_everybody_back_and_never_becomes_shorter(self, rate: float | None) -> None:
        clock = SimulatedClock()
        limiter = Limiter(rate, {}, clock)
        limiter.hold_until(START + dt.timedelta(seconds=60))
        limiter.hold_until(START + dt.timedelta(seconds=30))
        assert limiter.held_until == START + dt.timedelta(seconds=60)
        assert not limiter.try_take(1)
        assert limiter.take(1, never(), FAR)
        assert clock.monotonic() == pytest.approx(60)
        assert limiter.held_until is None

    def test_a_stop_and_the_deadline_end_the_wait_and_leave_the_turn_to_others(self) -> None:
        clock = SimulatedClock()
        limiter = Limiter(0.001, {}, clock)
        assert limiter.try_take(1)
        stop = threading.Event()
        stop.set()
        assert not limiter.take(1, stop, FAR)
        assert clock.monotonic() == 0
        assert not limiter.take(1, never(), START + dt.timedelta(seconds=50))
        assert clock.monotonic() == pytest.approx(50)
        assert limiter.take(1, never(), FAR)
        assert clock.monotonic() == pytest.approx(1_000)


class TestDomains:
    def test_each_domain_has_its_own_and_the_others_are_not_counted(self) -> None:
        clock = SimulatedClock()
        admit = Limiter(None, {"gmail.com": 2.0, "web.de": 1.0}, clock).admit
        assert admit is not None
        members = [
            member(number, domain)
            for number, domain in enumerate(["gmail.com", "example.com", "web.de", "gmail.com", "gmail.com", "web.de"])
        ]
        answer = admit(members)
        assert list(answer.places) == [0, 1, 2, 3]
        assert answer.others_at == START + dt.timedelta(seconds=0.5)
        assert list(admit([members[1]]).places) == [0]
        assert list(admit([members[0]]).places) == []

    @settings(deadline=None)
    @given(st.floats(0.1, 20), st.integers(1, 80))
    def test_whoever_comes_again_when_told_never_exceeds_the_domains_rate(self, rate: float, count: int) -> None:
        clock = SimulatedClock()
        admit = Limiter(None, {"slow.example": rate}, clock).admit
        assert admit is not None
        left = [member(number, "slow.example") for number in range(count)]
        went: list[tuple[float, int]] = []
        asked = 0
        while left:
            answer = admit(left)
            asked += 1
            went.append((clock.monotonic(), len(answer.places)))
            left = left[len(answer.places) :]
            clock.wait(never(), (answer.others_at - clock.now()).total_seconds())
        assert_within([(at, 1) for at, some in went for _ in range(some)], rate)
        assert clock.monotonic() <= count / rate + 1
        assert asked <= 2 + 2 * count / max(1.0, rate)


def run_together(clock: SimulatedClock, works: list[Callable[[], None]]) -> None:
    """Runs each in a thread of its own; none of them starts before all are there."""
    failed: list[BaseException] = []
    start = threading.Barrier(len(works))
    working = list(works)
    all_ended = threading.Event()

    def run(work: Callable[[], None]) -> None:
        clock.monotonic()
        start.wait()
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below
            failed.append(error)
        finally:
            working.remove(work)
            if not working:
                all_ended.set()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    clock.wait(all_ended)
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
