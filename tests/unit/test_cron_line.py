"""Cron lines mean what crontab(5) says."""

from __future__ import annotations

import datetime as dt

import pytest
from apscheduler.triggers.cron import CronTrigger
from hypothesis import given
from hypothesis import strategies as st

from newsletter.settings.cron_line import check_cron, parse_cron

JANUARY = [dt.date(2026, 1, day) for day in range(1, 32)]


def days_of(line: str, dates: list[dt.date] = JANUARY) -> list[int]:
    """The days of January 2026, which begins on a Thursday, on which it fires."""
    return [date.day for date in dates if parse_cron(line).fires_on(date)]


def test_sunday_is_0_and_7_and_sun_and_ends_a_week_that_is_written_through() -> None:
    sundays = [4, 11, 18, 25]
    for sunday in ("0", "7", "sun", "SUN", "0,7", "sun-sun"):
        assert days_of(f"0 6 * * {sunday}") == sundays, sunday
    assert days_of("0 6 * * fri-sun") == days_of("0 6 * * 5-7") == days_of("0 6 * * 0,fri,sat")
    assert days_of("0 6 * * sun-mon") == days_of("0 6 * * 0-1") == sorted([*sundays, 5, 12, 19, 26])


def test_two_restricted_days_are_or_and_a_star_in_one_makes_it_and() -> None:
    assert days_of("0 6 1,15 * mon") == [1, 5, 12, 15, 19, 26]
    assert days_of("0 6 1,15 * *") == [1, 15]
    assert days_of("0 6 * * mon") == [5, 12, 19, 26]
    assert days_of("0 6 */2 * mon") == [5, 19]  # a step of `*` is no restriction, as in every cron since Vixie's


def test_steps_lists_names_and_months() -> None:
    assert days_of("0 6 1-10/4,20 * *") == [1, 5, 9, 20]
    assert days_of("0 6 25/3 * *") == [25, 28, 31]
    assert days_of("0 6 * feb-dec *") == []
    assert days_of("0 6 1 JAN *") == [1]


@pytest.mark.parametrize(
    ("line", "time"),
    [
        ("30 6 * * *", "06:30"),
        ("*/15 8-9 * * *", "08:00"),
        ("59,7 23,22 * * *", "22:07"),
        ("* * * * *", "00:00"),
    ],
)
def test_an_issue_goes_out_at_the_first_time_of_day(line: str, time: str) -> None:
    assert parse_cron(line).time == dt.time.fromisoformat(time)


@pytest.mark.parametrize("line", ["0 6 30 2 *", "0 6 31 2,4,6,9,11 *", "0 6 30-31 feb *"])
def test_a_line_that_never_fires_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="never fires"):
        check_cron(line)


@pytest.mark.parametrize("line", ["0 6 29 2 *", "0 6 30 2 mon", "0 6 31 */2 *", ""])
def test_a_line_that_seldom_fires_is_taken(line: str) -> None:
    assert check_cron(line) == line


@pytest.mark.parametrize(
    ("line", "weekday", "ever"),
    [
        ("0 6 29 2 *", 1, True),  # a leap day is a Monday once in 28 years
        ("0 6 * * mon", 2, False),
        ("0 6 1 * mon", 2, True),
        ("0 6 */31 * mon", 2, False),
    ],
)
def test_whether_it_ever_fires_on_a_day_of_the_week(line: str, weekday: int, ever: bool) -> None:
    assert parse_cron(line).ever_fires(frozenset({weekday})) is ever


def _field(smallest: int, largest: int) -> st.SearchStrategy[str]:
    number = st.integers(smallest, largest)
    bounds = st.tuples(number, number).map(sorted)
    ranges = bounds.map(lambda pair: f"{pair[0]}-{pair[1]}")
    # the other one refuses a step beyond its range
    stepped = st.tuples(bounds.filter(lambda pair: pair[0] < pair[1]), st.integers(1, largest)).map(
        lambda both: f"{both[0][0]}-{both[0][1]}/{min(both[1], both[0][1] - both[0][0])}"
    )
    return st.lists(st.just("*") | number.map(str) | ranges | stepped, min_size=1, max_size=3).map(",".join)


@given(_field(0, 59), _field(0, 23), _field(1, 31), _field(1, 12), st.dates(dt.date(2001, 1, 1), dt.date(2030, 1, 1)))
def test_days_and_times_are_those_of_another_implementation(
    minute: str, hour: str, day: str, month: str, start: dt.date
) -> None:
    """APScheduler's trigger; not with days of the week, which it counts from Monday and joins by `and`."""
    line = parse_cron(f"{minute} {hour} {day} {month} *")
    trigger = CronTrigger(minute=minute, hour=hour, day=day, month=month, timezone=dt.UTC)
    moment = dt.datetime.combine(start, dt.time(), dt.UTC)
    first = trigger.get_next_fire_time(None, moment)
    dates = (start + dt.timedelta(days) for days in range(8 * 366))
    found = next((date for date in dates if line.fires_on(date)), None)
    if first is None or first.date() > start + dt.timedelta(8 * 366 - 1):
        assert found is None
    else:
        assert (found, line.time) == (first.date(), first.time())
