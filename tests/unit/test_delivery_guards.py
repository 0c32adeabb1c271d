"""The guard against an audience that is not the one it was yesterday."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.delivery.guards import audience_change, refuse_audience_change
from newsletter.errors import GuardRefused
from newsletter.settings.amounts import parse_percent

counts = st.integers(0, 10_000_000)


@pytest.mark.parametrize(
    ("previous", "planned", "change"),
    [(100, 102, 0.02), (100, 100, 0.0), (100, 0, -1.0), (4, 5, 0.25), (None, 5, None), (0, 5, None), (0, 0, None)],
)
def test_the_change_is_a_fraction_of_the_last_audience(previous: int | None, planned: int, change: float) -> None:
    assert audience_change(previous, planned) == change


@pytest.mark.parametrize("planned", [80, 100, 120])
def test_a_change_up_to_the_limit_passes(planned: int) -> None:
    refuse_audience_change(100, planned, 0.2)


@pytest.mark.parametrize("planned", [0, 79, 121])
def test_a_larger_change_is_refused_either_way(planned: int) -> None:
    with pytest.raises(GuardRefused):
        refuse_audience_change(100, planned, 0.2)


def test_the_refusal_names_both_figures_the_limit_and_what_to_do() -> None:
    with pytest.raises(GuardRefused) as caught:
        refuse_audience_change(12_455, 6_000, 0.2)
    said = caught.value.message
    assert all(part in said for part in ("12,455", "6,000", "-51.8%", "20.0%"))
    assert "max_audience_change" in caught.value.hint
    assert "subscribers stats" in caught.value.hint


def test_what_the_refusal_recommends_may_be_written_and_lets_it_pass() -> None:
    """Of three people in a trial to all of a large list."""
    with pytest.raises(GuardRefused) as caught:
        refuse_audience_change(3, 1_000_000, 0.2)
    (recommended,) = re.findall(r'max_audience_change = "([^"]*)"', caught.value.hint)
    refuse_audience_change(3, 1_000_000, parse_percent(recommended))


@given(counts)
def test_the_first_run_may_have_any_size(planned: int) -> None:
    refuse_audience_change(None, planned, 0.0)


@given(st.integers(1, 10_000_000), counts, st.floats(0, 1))
def test_it_is_refused_exactly_where_the_change_is_above_the_limit(previous: int, planned: int, limit: float) -> None:
    above = abs(planned - previous) / previous > limit
    try:
        refuse_audience_change(previous, planned, limit)
    except GuardRefused:
        assert above
    else:
        assert not above
