"""For how long a provider is left alone that cannot be reached."""

from __future__ import annotations

import pytest

from newsletter.delivery.clock import SystemClock
from newsletter.delivery.outage import LONGEST, SHORTEST, Outage


class Moments(SystemClock):
    def __init__(self) -> None:
        self.seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds


def test_it_is_as_long_as_the_outage_until_now() -> None:
    clock = Moments()
    outage = Outage(clock)
    assert outage.left() == 0
    waits = []
    for _ in range(9):
        waits.append(outage.note(reached=False))
        assert outage.left() == waits[-1]
        clock.seconds += waits[-1]
        assert outage.left() == 0
    assert waits == [SHORTEST, 1, 2, 4, 8, 16, LONGEST, LONGEST, LONGEST]


def test_calls_that_fail_together_are_one_try() -> None:
    clock = Moments()
    outage = Outage(clock)
    assert [outage.note(reached=False) for _ in range(4)] == [SHORTEST] * 4
    clock.seconds += 1
    assert outage.note(reached=False) == 1
    clock.seconds += 0.5
    assert outage.note(reached=False) == pytest.approx(0.5)


def test_it_ends_with_a_call_that_got_there() -> None:
    clock = Moments()
    outage = Outage(clock)
    outage.note(reached=False)
    clock.seconds += 20
    assert outage.note(reached=False) == 20
    assert outage.note(reached=True) == 0
    assert outage.left() == 0
    assert outage.note(reached=False) == SHORTEST
