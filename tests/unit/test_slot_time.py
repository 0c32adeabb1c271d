"""When an issue is due: also on the days on which the clocks change."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.pipeline.slot_time import first_deadline, next_valid, slot_time
from newsletter.settings.model import Schedule

ZONES = sorted(zoneinfo.available_timezones())


def due(schedule: Mapping[str, object], date: str, edition: str = "") -> str:
    return slot_time(Schedule.model_validate(schedule), dt.date.fromisoformat(date), edition).isoformat()


def test_the_time_the_edition_and_cron_are_local() -> None:
    evening = {"time": "06:30", "timezone": "Asia/Hong_Kong", "editions": {"evening": "18:00"}}
    assert due(evening, "2026-01-07") == "2026-01-07T06:30:00+08:00"
    assert due(evening, "2026-01-07", "evening") == "2026-01-07T18:00:00+08:00"
    assert due({"cron": "30 6 * * mon-fri", "timezone": "Asia/Hong_Kong"}, "2026-01-07") == "2026-01-07T06:30:00+08:00"
    assert due({"cron": "*/15 8-9 * * *", "timezone": "UTC"}, "2026-01-07") == "2026-01-07T08:00:00+00:00"


def test_a_time_that_does_not_exist_moves_to_the_next_that_does() -> None:
    assert due({"time": "01:30", "timezone": "Europe/London"}, "2026-03-29") == "2026-03-29T02:00:00+01:00"
    assert due({"time": "02:10", "timezone": "Australia/Lord_Howe"}, "2026-10-04") == "2026-10-04T02:30:00+11:00"


def test_a_time_that_occurs_twice_is_the_first() -> None:
    assert due({"time": "01:30", "timezone": "Europe/London"}, "2026-10-25") == "2026-10-25T01:30:00+01:00"


@given(st.datetimes(dt.datetime(2000, 1, 1), dt.datetime(2037, 12, 1)), st.sampled_from(ZONES))
def test_every_result_exists_and_is_not_before_the_local_time(local: dt.datetime, name: str) -> None:
    zone = zoneinfo.ZoneInfo(name)
    local = local.replace(microsecond=0)
    found = next_valid(local, zone)
    assert found.astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None) == found.replace(tzinfo=None)
    assert found.replace(tzinfo=None) >= local
    if found.replace(tzinfo=None) != local:
        before = (found.astimezone(dt.UTC) - dt.timedelta(seconds=1)).astimezone(zone)
        assert before.replace(tzinfo=None) < local  # nothing valid lies between


@pytest.mark.parametrize("day", ["2011-12-30"])
def test_a_day_that_was_skipped_gives_the_next_instant(day: str) -> None:
    assert due({"time": "06:30", "timezone": "Pacific/Apia"}, day) == "2011-12-31T00:00:00+14:00"


def test_a_deadline_is_ahead_by_the_time_that_passes_and_not_by_what_the_clocks_show() -> None:
    london = zoneinfo.ZoneInfo("Europe/London")
    second = dt.datetime(2026, 10, 25, 1, 40, tzinfo=london, fold=1)  # the deadline of the day was 50 minutes ago
    assert first_deadline(dt.time(1, 50), second, london).isoformat() == "2026-10-26T01:50:00+00:00"
    first = second.replace(fold=0)
    assert first_deadline(dt.time(1, 50), first, london).isoformat() == "2026-10-25T01:50:00+01:00"
