"""Dates in titles, and the slot an issue is for."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.errors import IssueError
from newsletter.issue.parse import parse_issue
from newsletter.issue.title_date import title_date, written

JANUARY_7 = dt.date(2026, 1, 7)


@pytest.mark.parametrize(
    "title",
    [
        "Daily Buzz: 7 January 2026",
        "Daily Buzz: 07 January 2026",
        "Daily Buzz, January 7, 2026",
        "Daily Buzz, January 7 2026",
        "Daily Buzz – 7 Jan 2026",
        "Daily Buzz – 7 Jan. 2026",
        "Daily Buzz – Jan. 7th, 2026",
        "Daily Buzz (2026-01-07)",
        "Wednesday, 7 January 2026: Daily Buzz",
        "Wed 7th of January, 2026",
        "DAILY BUZZ: 7 JANUARY 2026",
        "Daily Buzz: 7\u00a0January\u00a02026",
        "31 February 2026 was moved to 7 January 2026",
        "7 January 2026, not 8 January 2026",
        "99 January 2026, 2026-13-01, January 7, 2026",
    ],
)
def test_dates_that_are_understood(title: str) -> None:
    assert title_date(title) == JANUARY_7


@pytest.mark.parametrize(
    "title",
    [
        "",
        "Daily Buzz",
        "Daily Buzz: 31 February 2026",
        "Daily Buzz: 2026-02-30",
        "Daily Buzz: 7 January 20267",
        "Daily Buzz: 12026-01-07",
        "Daily Buzz: 2026-01-071",
        "Daily Buzz: 107 January 2026",
        "Daily Buzz: 0 January 2026",
        "Daily Buzz: 7 January 0000",
        "Daily Buzz: 7 Janus 2026",
        "Daily Buzz: 7/1/2026",
        "Marching 7 2026",
    ],
)
def test_dates_that_are_none(title: str) -> None:
    assert title_date(title) is None


def test_sept_is_a_month_too() -> None:
    assert title_date("3 Sept 2026") == title_date("3 Sep 2026") == dt.date(2026, 9, 3)


@given(st.dates())
def test_a_date_as_this_program_writes_it_is_understood(date: dt.date) -> None:
    assert title_date(f"Daily Buzz: {written(date)}") == date
    assert title_date(f"Daily Buzz: {date.isoformat()}") == date


def read(title: str, date: dt.date | None) -> tuple[dt.date, dt.date | None]:
    issue = parse_issue(f"{title}\nA\nText.".encode(), source="a.txt", date=date)
    return issue.date, issue.title_date


def test_the_files_date_is_the_slot_and_the_titles_is_kept_beside_it() -> None:
    assert read("Buzz: 8 January 2026", JANUARY_7) == (JANUARY_7, dt.date(2026, 1, 8))
    assert read("Buzz", JANUARY_7) == (JANUARY_7, None)
    assert read("Buzz: 7 January 2026", None) == (JANUARY_7, JANUARY_7)


def test_without_any_date_there_is_no_slot() -> None:
    with pytest.raises(IssueError, match=r"^a\.txt:1: no date") as caught:
        read("Buzz", None)
    assert "2026-01-07.txt" in caught.value.hint
