"""How long an exchange waits for more of the threads that send."""

from __future__ import annotations

import pytest

from newsletter.delivery.clock import SystemClock
from newsletter.delivery.company import AGAIN_AFTER, FEW, LONGEST, SHORTLY, SOON, WELL_AGAIN, Company

#: Longer than the time over which the processor is looked at.
_STEP = 0.26


class Used(SystemClock):
    """What it says is set."""

    def __init__(self) -> None:
        self.seconds = self.of_processors = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def processor_time(self) -> float:
        return self.of_processors

    def passes(self, seconds: float, share: float) -> None:
        self.seconds += seconds
        self.of_processors += seconds * share


@pytest.mark.parametrize(
    ("share", "awaited"), [(0.1, (16 // FEW, SHORTLY)), (0.9, (16, LONGEST)), (1.6, (16, LONGEST))]
)
def test_where_a_processor_is_the_limit_it_waits_for_everybody(share: float, awaited: tuple[int, float]) -> None:
    clock = Used()
    company = Company(clock)
    assert company.awaited(16) == (16 // FEW, SHORTLY)
    clock.passes(1.0, share)
    assert company.awaited(16) == awaited


def test_where_waiting_leaves_the_processor_idle_it_is_left_for_a_while() -> None:
    clock = Used()
    company = Company(clock)
    clock.passes(1.0, 1.0)
    assert company.awaited(8) == (8, LONGEST)
    clock.passes(0.1, 0.0)
    assert company.awaited(8) == (8, LONGEST)
    clock.passes(0.2, 0.0)
    assert company.awaited(8) == (2, SHORTLY)
    clock.passes(SOON - 0.1, 1.0)
    assert company.awaited(8) == (2, SHORTLY)
    clock.passes(0.3, 1.0)
    assert company.awaited(8) == (8, LONGEST)


def test_where_some_do_not_come_it_is_left_for_a_while_however_busy_the_process_is() -> None:
    clock = Used()
    company = Company(clock)
    company.came(everybody=False)
    company.came(everybody=False)  # with a few: that says nothing
    clock.passes(1.0, 1.0)
    for everybody in (False, True, False):
        assert company.awaited(8) == (8, LONGEST)
        company.came(everybody=everybody)
    assert company.awaited(8) == (8, LONGEST)
    company.came(everybody=False)
    assert company.awaited(8) == (2, SHORTLY)
    clock.passes(SOON - 0.1, 1.0)
    assert company.awaited(8) == (2, SHORTLY)
    clock.passes(0.3, 1.0)
    assert company.awaited(8) == (8, LONGEST)


def seconds_without(company: Company, clock: Used) -> float:
    """All are waited for in vain until that is left: for how long it is."""
    tries = 0
    while company.awaited(8) == (8, LONGEST):
        company.came(everybody=False)
        tries += 1
    assert tries == 2
    began = clock.monotonic()
    while company.awaited(8) != (8, LONGEST):
        clock.passes(_STEP, 1.0)
    return clock.monotonic() - began


def all_come(company: Company, clock: Used, times: int, share: float = 1.0) -> None:
    """So often, within one look at the processor."""
    for _ in range(times):
        company.came(everybody=True)
    clock.passes(_STEP, share)
    company.awaited(8)


@pytest.fixture
def clock() -> Used:
    return Used()


@pytest.fixture
def company(clock: Used) -> Company:
    """One that waits for all."""
    made = Company(clock)
    clock.passes(1.0, 1.0)
    assert made.awaited(8) == (8, LONGEST)
    return made


def about(seconds: float) -> object:
    return pytest.approx(seconds, abs=_STEP)


def test_it_is_left_for_twice_as_long_each_time_until_all_come_again(company: Company, clock: Used) -> None:
    assert [seconds_without(company, clock) for _ in range(7)] == [
        *map(about, [SOON, 2 * SOON, 4 * SOON, 8 * SOON, 16 * SOON, AGAIN_AFTER, AGAIN_AFTER])
    ]
    all_come(company, clock, WELL_AGAIN - 1)
    assert seconds_without(company, clock) == about(AGAIN_AFTER)
    all_come(company, clock, WELL_AGAIN)
    assert seconds_without(company, clock) == about(SOON)


def test_once_in_vain_all_have_to_come_as_often_again(company: Company, clock: Used) -> None:
    assert seconds_without(company, clock) == about(SOON)
    all_come(company, clock, WELL_AGAIN - 1)
    company.came(everybody=False)
    all_come(company, clock, WELL_AGAIN - 1)
    assert seconds_without(company, clock) == about(2 * SOON)


def test_what_came_before_it_was_left_counts_no_more(company: Company, clock: Used) -> None:
    assert seconds_without(company, clock) == about(SOON)
    all_come(company, clock, WELL_AGAIN - 1)
    assert seconds_without(company, clock) == about(2 * SOON)
    all_come(company, clock, WELL_AGAIN - 1)
    assert seconds_without(company, clock) == about(4 * SOON)


def test_where_waiting_leaves_the_processor_idle_it_helps_nothing_that_all_come(company: Company, clock: Used) -> None:
    for seconds in (SOON, 2 * SOON, 4 * SOON):
        all_come(company, clock, 2 * WELL_AGAIN, share=0.1)
        began = clock.monotonic()
        while company.awaited(8) != (8, LONGEST):
            clock.passes(_STEP, 1.0)
        assert clock.monotonic() - began == about(seconds)


def test_where_every_other_wait_is_in_vain_it_is_left(company: Company) -> None:
    for everybody in (False, True, False, True, False):
        assert company.awaited(8) == (8, LONGEST)
        company.came(everybody=everybody)
    assert company.awaited(8) == (2, SHORTLY)


def test_where_one_wait_in_seven_is_in_vain_it_goes_on(company: Company) -> None:
    for _ in range(10):
        for everybody in (False, *[True] * 6):
            company.came(everybody=everybody)
            assert company.awaited(8) == (8, LONGEST)


def test_with_few_threads_nobody_waits_for_a_server() -> None:
    assert Company(Used()).awaited(3)[0] == 0
