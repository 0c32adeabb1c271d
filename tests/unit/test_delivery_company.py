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
    while company.awaited(8) == (8, LONGEST):
        company.came(everybody=False)
    began = clock.monotonic()
    while company.awaited(8) != (8, LONGEST):
        clock.passes(_STEP, 1.0)
    return clock.monotonic() - began


def test_it_is_left_for_twice_as_long_each_time_until_all_come_again() -> None:
    clock = Used()
    company = Company(clock)
    clock.passes(1.0, 1.0)
    waits = [seconds_without(company, clock) for _ in range(7)]
    assert waits == pytest.approx([0.5, 1.0, 2.0, 4.0, 8.0, AGAIN_AFTER, AGAIN_AFTER], abs=2 * _STEP)
    for _ in range(WELL_AGAIN - 1):
        company.came(everybody=True)
    assert seconds_without(company, clock) == pytest.approx(AGAIN_AFTER, abs=2 * _STEP)
    for _ in range(WELL_AGAIN):
        company.came(everybody=True)
    assert seconds_without(company, clock) == pytest.approx(SOON, abs=2 * _STEP)


def test_with_few_threads_nobody_waits_for_a_server() -> None:
    assert Company(Used()).awaited(3)[0] == 0
