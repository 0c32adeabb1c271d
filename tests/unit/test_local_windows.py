"""Each subscriber has one window, by their own clocks: it opens at the local time and ends at the local deadline."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from newsletter.pipeline.local_windows import window_in, window_over, windows_of, zone_called
from newsletter.pipeline.slot_time import slot_time
from newsletter.schedule.slots import slot_of
from newsletter.settings.model import Schedule

ZONES = sorted(zoneinfo.available_timezones())
#: What stands in a subscriber's row and is no zone.
NO_ZONES = [
    "",
    "Mars/Phobos",
    "europe/london ",
    "Europe",
    "/etc/localtime",
    "../UTC",
    "Europe/London\x00",
    "tzdata.zi",
    "é",
]
KEPT = st.sampled_from(ZONES) | st.sampled_from(NO_ZONES)
MINUTE = dt.timedelta(minutes=1)


def schedule_of(**keys: object) -> Schedule:
    return Schedule.model_validate({"recipient_timezone": True, "timezone": "Europe/London", **keys})


def shown_there(moment: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """What the clocks of a zone show, at a moment of any zone."""
    return moment.astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None)


def test_three_continents() -> None:
    window_of = windows_of(schedule_of(time="06:30", deadline="12:00"), dt.date(2026, 3, 29), "")
    opens = {name: window_of(name).opens_at.astimezone(dt.UTC) for name in ("Asia/Tokyo", "America/New_York", "")}
    assert {name: f"{at:%d %H:%M}" for name, at in opens.items()} == {
        "Asia/Tokyo": "28 21:30",
        "": "29 05:30",  # London changed its clocks that night
        "America/New_York": "29 10:30",
    }
    assert f"{window_of('Asia/Tokyo').deadline.astimezone(dt.UTC):%d %H:%M}" == "29 03:00"


@given(
    kept=st.lists(KEPT, min_size=1, max_size=12),
    own=st.sampled_from(ZONES),
    date=st.dates(dt.date(2005, 1, 1), dt.date(2036, 1, 1)),
    time=st.times(),
    deadline=st.times(),
)
@example(["Pacific/Apia", ""], "Europe/London", dt.date(2011, 12, 30), dt.time(6, 30), dt.time(12))
@example(["America/New_York"], "Pacific/Apia", dt.date(2026, 11, 1), dt.time(1, 30), dt.time(1, 45))
@example(["America/New_York", "Europe/London"], "UTC", dt.date(2026, 3, 8), dt.time(2, 30), dt.time(2, 45))
def test_everybody_is_in_one_window_and_none_opens_before_the_local_time(
    kept: list[str], own: str, date: dt.date, time: dt.time, deadline: dt.time
) -> None:
    time, deadline = time.replace(microsecond=0), deadline.replace(microsecond=0)
    schedule = schedule_of(timezone=own, time=time, deadline=deadline)
    window_of = windows_of(schedule, date, "")
    local = dt.datetime.combine(date, time)
    for name in kept:
        window = window_of(name)
        assert window == window_of(name)
        zone = ZoneInfo(own) if name in NO_ZONES else ZoneInfo(name)
        opens, ends = window.opens_at.astimezone(dt.UTC), window.deadline.astimezone(dt.UTC)
        assert shown_there(opens, zone) >= local
        # a second earlier the clocks had not come so far
        assert shown_there(opens - dt.timedelta(seconds=1), zone) < local
        assert opens < ends
        assert shown_there(ends, zone).time() >= deadline or shown_there(ends - MINUTE, zone).time() <= deadline
        if date.year > 2012:  # whoever lives where no date was left out has at most a day and what the clocks move
            assert ends - opens <= dt.timedelta(hours=26)
    zones = [ZoneInfo(name) for name in kept if name not in NO_ZONES]
    around = window_over(zones, schedule, date, "")
    windows = [window_of(name) for name in [*kept, ""]]
    assert around.opens_at == min(one.opens_at.astimezone(dt.UTC) for one in windows)
    assert around.deadline.astimezone(dt.UTC) == max(one.deadline.astimezone(dt.UTC) for one in windows)
    slot = slot_of("daily", schedule, date, "", zones=zones)
    assert slot is None or (slot.at, slot.deadline) == (around.opens_at, around.deadline)


@pytest.mark.parametrize("name", NO_ZONES)
def test_what_is_no_zone_means_the_newsletters(name: str) -> None:
    schedule = schedule_of(timezone="Asia/Hong_Kong")
    assert zone_called(name) is None
    assert windows_of(schedule, dt.date(2026, 1, 7), "")(name) == window_in(
        ZoneInfo("Asia/Hong_Kong"), schedule, dt.date(2026, 1, 7), ""
    )


def test_where_recipients_zones_do_not_count_everybody_has_the_newsletters_window() -> None:
    schedule = schedule_of(recipient_timezone=False, editions={"evening": "18:00"})
    window_of = windows_of(schedule, dt.date(2026, 1, 7), "evening")
    assert window_of("Asia/Tokyo") == window_of("")
    assert window_of("").opens_at == slot_time(schedule, dt.date(2026, 1, 7), "evening")
    assert window_of("").deadline.isoformat() == "2026-01-08T12:00:00+00:00"
