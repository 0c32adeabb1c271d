"""What people type into the preferences page: taken as it was meant, or told what is wrong."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from newsletter.pipeline.preferences import start_of
from newsletter.pipeline.typed_preferences import (
    LONGEST_BREAK,
    Mistyped,
    day_typed,
    name_typed,
    zone_typed,
    zones_to_choose,
)

TODAY = dt.date(2026, 1, 7)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("", ""),
        ("   ", ""),
        ("Europe/Warsaw", "Europe/Warsaw"),
        ("europe/warsaw", "Europe/Warsaw"),
        (" Warsaw ", "Europe/Warsaw"),
        ("hong kong", "Asia/Hong_Kong"),
        ("America/New York", "America/New_York"),
        ("utc", "UTC"),
    ],
)
def test_a_zone_is_taken_by_its_name_in_any_case_and_by_its_city(typed: str, meant: str) -> None:
    assert zone_typed(typed) == meant


@pytest.mark.parametrize(
    "typed", ["Mars", "Europe", "../../etc/passwd", "/etc/passwd", "Europe/Warsaw;", "<b>", "+01:00"]
)
def test_what_is_no_zone_is_told(typed: str) -> None:
    with pytest.raises(Mistyped) as wrong:
        zone_typed(typed)
    assert wrong.value.words == "preferences.zone_unknown"


def test_a_zone_that_came_from_elsewhere_is_no_mistake_of_theirs() -> None:
    assert zone_typed("Mars/Olympus", kept="Mars/Olympus") == "Mars/Olympus"


def test_every_zone_on_the_list_is_one() -> None:
    assert len(zones_to_choose()) > 300
    for name in zones_to_choose():
        assert zone_typed(name) == name
        assert ZoneInfo(name).key == name


@given(st.text(max_size=40))
@example("2026-01-08")
@example("20260108")
@example("2026-W02-4")
@example("9999-12-31")
@example("２０２６-01-08")
def test_a_day_is_from_tomorrow_on_and_not_too_far_or_the_mistake_has_words(text: str) -> None:
    said: dt.date | str
    try:
        said = day_typed(text, TODAY)
    except Mistyped as wrong:
        said = wrong.words
    if isinstance(said, str):
        assert said.startswith("preferences.pause_")
    else:
        assert TODAY < said <= TODAY + dt.timedelta(days=LONGEST_BREAK)
        assert said.isoformat() == text.strip()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "missing"),
        ("7 January", "unclear"),
        ("2026-02-30", "unclear"),
        ("2026-01-07", "early"),
        ("1999-01-01", "early"),
        ("2028-01-08", "late"),
    ],
)
def test_each_mistake_in_a_day_is_told_by_its_own_words(typed: str, words: str) -> None:
    with pytest.raises(Mistyped) as wrong:
        day_typed(typed, TODAY)
    assert wrong.value.words == f"preferences.pause_{words}"


def test_a_day_begins_when_it_does_where_they_are() -> None:
    day = dt.date(2026, 7, 1)
    assert start_of(day, ZoneInfo("Asia/Hong_Kong")) == dt.datetime(2026, 6, 30, 16, tzinfo=dt.UTC)
    # midnight does not exist on 29 March 2026 in Beirut: the day begins at 01:00
    start = start_of(dt.date(2026, 3, 29), ZoneInfo("Asia/Beirut"))
    assert start.astimezone(ZoneInfo("Asia/Beirut")).isoformat() == "2026-03-29T01:00:00+03:00"


def test_a_name_is_cleaned_and_kept() -> None:
    assert name_typed("  Anna \u202e\x00 Maria ") == "Anna Maria"
    assert name_typed("<b>Anna</b>") == "<b>Anna</b>"
