"""Cells that are out of all bounds: times nobody lives in, names nobody can see, texts that fill the memory."""

from __future__ import annotations

import datetime as dt
import io
import tracemalloc
from collections.abc import Iterator

import pytest

from newsletter.audience.csv_file import Reject, SubscriberCsv
from newsletter.audience.model import Subscriber
from newsletter.pipeline.repeated_rows import repeated_rows
from newsletter.store.person_rows import moment

NOW = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)


def opened(text: str) -> SubscriberCsv:
    return SubscriberCsv(io.BytesIO(text.encode()), "people.csv", own_list="daily", now=NOW)


def subscribers(csv: SubscriberCsv) -> list[Subscriber]:
    found = list(csv.rows())
    assert not any(isinstance(row, Reject) for row in found)
    return [row for row in found if isinstance(row, Subscriber)]


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-12:00", "2026-01-09", "yesterday", "0001-01-01"])
def test_a_departure_that_is_not_of_the_past_is_told_and_has_no_time(moment: str) -> None:
    csv = opened(f"email,state,left_at\nann@example.com,complaint,{moment}\nbo@example.com,complaint,2026-01-07\n")
    ann, bo = subscribers(csv)
    assert (ann.left, ann.left_at) == ("complaint", None)
    assert bo.left_at == dt.datetime(2026, 1, 7, tzinfo=dt.UTC)
    assert csv.notes() == [f"line 2: {moment!r} is no date of the past, so they left at this moment (1 row)"]


@pytest.mark.parametrize("kept", [10**18, -(10**18), 253_402_300_800, -62_135_596_801])
def test_a_number_in_the_database_that_is_no_time_is_the_nearest_one(kept: int) -> None:
    assert moment(kept).year == (9999 if kept > 0 else 1)


def test_the_names_of_columns_are_cleaned_as_values_are() -> None:
    [row] = subscribers(opened("Email\0,ci\0ty,'=sum,a\x1b[31m\nann@example.com,Porto,1,2\n"))
    assert row.attributes == {"ci_ty": "Porto", "=sum": "1", "a_[31m": "2"}


def test_long_texts_are_not_remembered() -> None:
    """A language, tags, lists, a source and an unknown domain of 20,000 characters in each of 300 rows."""

    def lines() -> Iterator[bytes]:
        yield b"email,language,tags,list,consent_source\n"
        for number in range(300):
            text = f"{number}".encode() + b"x" * 20_000
            yield b"a@%b,%b,%b,%b,%b\n" % (text, text, text, text, text)
            yield b"a%d@example.com,%b,%b,%b,%b\n" % (number, text, text, text, text)

    file = io.BytesIO(b"".join(lines()))
    tracemalloc.start()
    try:
        assert sum(1 for _ in SubscriberCsv(file, "people.csv").rows()) == 600
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2_000_000


def test_rows_of_100_000_people_that_all_stand_twice_are_told_at_little_memory() -> None:
    def rows() -> Iterator[Subscriber]:
        for turn in range(2):
            for number in range(100_000):
                lists = ("daily", "weekly") if number % 2 and not turn else ("daily",)
                yield Subscriber(f"r{number}@example.com", "", lists=lists, place=f"x:{turn}")

    tracemalloc.start()
    try:
        found = 0
        for row in repeated_rows(rows):
            assert row.place == "x:1"
            found += 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == 100_000
    assert peak < 8_400_000 + 100_000 * 100


def test_a_row_that_repeats_one_of_its_lists_alone_is_no_repetition() -> None:
    rows = [
        Subscriber("a@example.com", "", lists=("daily",), place="x:2"),
        Subscriber("a@example.com", "", lists=("daily", "weekly"), place="x:3"),
        Subscriber("a@example.com", "", lists=("weekly",), place="x:4"),
        Subscriber("b@example.com", "", lists=("weekly",), place="x:5"),
    ]
    assert [row.place for row in repeated_rows(lambda: rows)] == ["x:4"]
