"""A schedule's slots: which dates have one, its times, and why one is left out."""

from __future__ import annotations

import datetime as dt
import itertools
import zoneinfo
from collections.abc import Sequence
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.pipeline.slot_time import slot_time
from newsletter.schedule.model import Skip, Slot
from newsletter.schedule.slots import next_slots, slot_of, slots_between, slots_from, slots_since
from newsletter.settings.model import Schedule

ZONES = sorted(zoneinfo.available_timezones())
JANUARY = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
#: A Wednesday.
DAY = dt.date(2026, 1, 7)


def schedule_of(**keys: object) -> Schedule:
    return Schedule.model_validate({"timezone": "Asia/Hong_Kong", **keys})


def the_slot(schedule: Schedule, date: dt.date = DAY, edition: str = "", skips: Sequence[Skip] = ()) -> Slot:
    found = slot_of("daily", schedule, date, edition, skips=skips)
    assert found is not None
    return found


def days(slots: Sequence[Slot]) -> list[int]:
    return [slot.date.day for slot in slots]


class TestWhichDates:
    def test_days_of_the_week(self) -> None:
        schedule = schedule_of(days=["mon", "fri"])
        assert days(list(next_slots("daily", schedule, JANUARY, 4))) == [2, 5, 9, 12]
        assert slot_of("daily", schedule, DAY, "") is None

    def test_cron_and_what_days_leave_of_it(self) -> None:
        found = next_slots("daily", schedule_of(cron="30 6 1-10 * *", days=["mon", "tue"]), JANUARY, 3)
        assert [slot.at.isoformat() for slot in found] == [
            "2026-01-05T06:30:00+08:00",
            "2026-01-06T06:30:00+08:00",
            "2026-02-02T06:30:00+08:00",
        ]

    def test_editions_are_slots_of_their_own_on_the_same_days(self) -> None:
        schedule = schedule_of(days=["wed"], editions={"evening": "18:00", "dawn": "04:00"})
        found = list(next_slots("daily", schedule, JANUARY, 4))
        assert [str(slot.name) for slot in found] == [
            "daily/2026-01-07.dawn",
            "daily/2026-01-07",
            "daily/2026-01-07.evening",
            "daily/2026-01-14.dawn",
        ]
        assert slot_of("daily", schedule, DAY, "noon") is None
        assert slot_of("daily", schedule, dt.date(2026, 1, 8), "dawn") is None

    def test_a_leap_day_that_must_be_a_monday_is_found_28_years_ahead(self) -> None:
        [slot] = next_slots("daily", schedule_of(cron="0 6 29 2 *", days=["mon"]), JANUARY, 1)
        assert slot.date == dt.date(2044, 2, 29)

    def test_the_calendar_ends_and_nothing_breaks(self) -> None:
        start = dt.datetime(9999, 12, 20, tzinfo=dt.UTC)
        assert all(slot.at >= start for slot in next_slots("daily", schedule_of(), start, 1000))
        first = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
        assert len(list(next_slots("daily", schedule_of(), first, 5))) == 5
        assert list(slots_from("daily", schedule_of(), dt.date.max)) == []

    @pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "UTC", "Etc/GMT+12"])
    def test_the_slots_from_a_date_begin_with_its_first(self, zone: str) -> None:
        schedule = schedule_of(timezone=zone, time="00:05", editions={"late": "23:55"})
        found = slots_from("daily", schedule, DAY)
        assert [str(slot.name) for slot in (next(found), next(found))] == [f"daily/{DAY}", f"daily/{DAY}.late"]

    @pytest.mark.parametrize("date", [dt.date.min, dt.date.max])
    def test_the_slots_from_the_first_and_the_last_date_of_all(self, date: dt.date) -> None:
        assert len(list(zip(range(3), slots_from("daily", schedule_of(), date), strict=False))) in (0, 3)


class TestTimes:
    def test_of_a_plain_slot(self) -> None:
        slot = the_slot(schedule_of(time="06:30", catch_up="2h", deadline="12:00", warn_before="1h"))
        assert [one.isoformat() for one in (slot.warn_at, slot.at, slot.catch_up_until, slot.deadline)] == [
            "2026-01-07T05:30:00+08:00",
            "2026-01-07T06:30:00+08:00",
            "2026-01-07T08:30:00+08:00",
            "2026-01-07T12:00:00+08:00",
        ]
        assert slot.at == slot_time(schedule_of(time="06:30"), DAY, "")

    def test_a_late_edition_has_until_the_next_days_deadline(self) -> None:
        schedule = schedule_of(deadline="12:00", editions={"noon": "12:00", "late": "11:59"}, catch_up="1d")
        assert the_slot(schedule, edition="noon").deadline.isoformat() == "2026-01-08T12:00:00+08:00"
        assert the_slot(schedule, edition="late").deadline.isoformat() == "2026-01-07T12:00:00+08:00"
        assert the_slot(schedule, edition="late").catch_up_until.isoformat() == "2026-01-07T12:00:00+08:00"

    def test_without_catch_up_a_slot_is_still_sent_on_time(self) -> None:
        slot = the_slot(schedule_of(catch_up="0m"))
        assert slot.at < slot.catch_up_until <= slot.at + dt.timedelta(minutes=1)

    def test_what_is_counted_from_the_slot_is_counted_in_hours_that_pass(self) -> None:
        spring = schedule_of(timezone="Europe/London", time="03:30", warn_before="3h", catch_up="30m")
        assert the_slot(spring, dt.date(2026, 3, 29)).warn_at.isoformat() == "2026-03-28T23:30:00+00:00"
        autumn = schedule_of(timezone="Europe/London", time="00:30", warn_before="0m", catch_up="2h")
        assert the_slot(autumn, dt.date(2026, 10, 25)).catch_up_until.isoformat() == "2026-10-25T01:30:00+00:00"

    def test_a_deadline_inside_the_gap_that_moved_the_slot_is_the_next_days(self) -> None:
        schedule = schedule_of(timezone="Europe/London", time="01:10", deadline="01:50")
        slot = the_slot(schedule, dt.date(2026, 3, 29))
        assert (slot.at.isoformat(), slot.deadline.isoformat()) == (
            "2026-03-29T02:00:00+01:00",
            "2026-03-30T01:50:00+01:00",
        )

    def test_a_date_that_was_left_out_of_a_calendar_has_no_slot(self) -> None:
        schedule = schedule_of(timezone="Pacific/Apia", editions={"evening": "18:00"})
        found = slots_from("daily", schedule, dt.date(2011, 12, 29))
        assert [str(slot.name) for slot in (next(found), next(found), next(found))] == [
            "daily/2011-12-29",
            "daily/2011-12-29.evening",
            "daily/2011-12-31",
        ]

    def test_a_time_in_a_gap_around_midnight_is_still_its_dates(self) -> None:
        """Toronto went from 23:30 on 30 March 1919 to 00:30 on the 31st."""
        schedule = schedule_of(timezone="America/Toronto", time="00:30", editions={"late": "23:45"})
        late = the_slot(schedule, dt.date(1919, 3, 30), "late")
        assert late.at.isoformat() == "1919-03-31T00:30:00-04:00"
        assert the_slot(schedule, dt.date(1919, 3, 31)).at == late.at

    @given(
        zone=st.sampled_from(ZONES),
        time=st.times(),
        deadline=st.times(),
        date=st.dates(dt.date(1990, 1, 1), dt.date(2040, 1, 1)),
        catch_up=st.integers(0, 48),
    )
    def test_in_every_zone_the_times_of_a_slot_are_in_order(
        self, zone: str, time: dt.time, deadline: dt.time, date: dt.date, catch_up: int
    ) -> None:
        time, deadline = time.replace(microsecond=0), deadline.replace(microsecond=0)
        schedule = schedule_of(timezone=zone, time=time, deadline=deadline, catch_up=f"{catch_up}h")
        slot = slot_of("daily", schedule, date, "")
        if slot is None:
            return
        times = [one.astimezone(dt.UTC) for one in (slot.warn_at, slot.at, slot.catch_up_until, slot.deadline)]
        assert times == sorted(times)
        assert times[1] < times[2]
        assert slot.at.replace(tzinfo=None) >= dt.datetime.combine(date, time)
        # the first moment that shows the deadline: none lies between, but for a time that a gap has swallowed
        assert times[3] - times[1] <= dt.timedelta(hours=50)
        assert {one.tzinfo for one in (slot.warn_at, slot.at, slot.catch_up_until, slot.deadline)} == {ZoneInfo(zone)}


class TestBetween:
    def test_the_start_belongs_to_it_and_the_end_does_not(self) -> None:
        schedule = schedule_of(time="06:30")
        first, second = next_slots("daily", schedule, JANUARY, 2)
        assert list(slots_between("daily", schedule, first.at, second.at)) == [first]
        later = first.at + dt.timedelta(seconds=1)
        assert list(slots_between("daily", schedule, later, second.at + dt.timedelta(seconds=1))) == [second]
        assert list(slots_between("daily", schedule, second.at, first.at)) == []

    @given(
        st.sampled_from(ZONES),
        st.times(),
        st.times(),
        st.datetimes(dt.datetime(2005, 1, 1), dt.datetime(2030, 1, 1), timezones=st.just(dt.UTC)),
        st.lists(st.timedeltas(dt.timedelta(), dt.timedelta(days=5)), min_size=1, max_size=6),
        st.lists(st.sampled_from(ZONES), max_size=4),
    )
    def test_however_time_is_cut_every_slot_is_in_one_piece(
        self,
        zone: str,
        time: dt.time,
        evening: dt.time,
        start: dt.datetime,
        pieces: list[dt.timedelta],
        others: list[str],
    ) -> None:
        schedule = schedule_of(timezone=zone, time=time, editions={"evening": evening}, recipient_timezone=bool(others))
        zones = [ZoneInfo(name) for name in others]
        moments = [start]
        for piece in pieces:
            moments.append(moments[-1] + piece)
        parts = [
            slot for a, b in itertools.pairwise(moments) for slot in slots_between("daily", schedule, a, b, zones=zones)
        ]
        whole = list(slots_between("daily", schedule, start, moments[-1], zones=zones))
        assert parts == whole
        at = [slot.at.astimezone(dt.UTC) for slot in whole]
        assert at == sorted(at)
        assert all(start <= one < moments[-1] for one in at)
        by_date = [
            slot_of("daily", schedule, start.date() + dt.timedelta(days), edition, zones=zones)
            for days in range(-4, 36)
            for edition in ("", "evening")
        ]
        expected = {one.name for one in by_date if one is not None and start <= one.at.astimezone(dt.UTC) < moments[-1]}
        assert {slot.name for slot in whole} == expected
        assert len(whole) == len(expected)


class TestRecipientZones:
    ZONES = (ZoneInfo("Pacific/Auckland"), ZoneInfo("America/Los_Angeles"))

    def test_a_slot_begins_in_the_first_zone_and_ends_in_the_last(self) -> None:
        schedule = schedule_of(timezone="Europe/London", recipient_timezone=True, time="06:30", deadline="12:00")
        slot = slot_of("daily", schedule, DAY, "", zones=self.ZONES)
        assert slot is not None
        assert slot.at.isoformat() == "2026-01-06T17:30:00+00:00"
        assert slot.deadline.isoformat() == "2026-01-07T20:00:00+00:00"
        assert slot.catch_up_until.isoformat() == "2026-01-06T19:30:00+00:00"

    def test_the_newsletters_own_zone_counts_and_others_do_not_where_it_is_off(self) -> None:
        schedule = schedule_of(timezone="Pacific/Kiritimati", recipient_timezone=True)
        slot = slot_of("daily", schedule, DAY, "", zones=self.ZONES)
        assert slot is not None
        assert slot.at.isoformat() == "2026-01-07T06:30:00+14:00"
        off = schedule_of(timezone="Europe/London")
        assert slot_of("daily", off, DAY, "", zones=self.ZONES) == slot_of("daily", off, DAY, "")


class TestLeftOut:
    def test_a_public_holiday_is_named(self) -> None:
        schedule = schedule_of(skip_holidays="HK")
        assert the_slot(schedule, dt.date(2026, 1, 1)).skipped == "New Year's Day"
        assert the_slot(schedule).skipped == ""

    def test_a_weekday_on_which_a_holiday_is_observed_counts(self) -> None:
        # Christmas 2022 fell on a Sunday, and so did New Year's Day 2023
        schedule = schedule_of(skip_holidays="GB-ENG", timezone="Europe/London")
        assert "Christmas" in the_slot(schedule, dt.date(2022, 12, 27)).skipped
        assert "New Year" in the_slot(schedule, dt.date(2023, 1, 2)).skipped
        # observed in the year before: 1 January 2022 was a Saturday
        assert "New Year" in the_slot(schedule_of(skip_holidays="US"), dt.date(2021, 12, 31)).skipped

    @pytest.mark.parametrize(("code", "skipped"), [("GB-SCT", True), ("GB_SCT", True), ("GB-ENG", False)])
    def test_a_part_of_a_country_has_holidays_of_its_own(self, code: str, skipped: bool) -> None:
        slot = the_slot(schedule_of(skip_holidays=code), dt.date(2026, 11, 30))  # Saint Andrew's Day
        assert bool(slot.skipped) is skipped

    def test_the_holidays_of_a_market(self) -> None:
        assert the_slot(schedule_of(skip_holidays="NYSE"), dt.date(2026, 4, 3)).skipped == "Good Friday"

    def test_skip_dates_and_an_operators_word_with_its_reason(self) -> None:
        schedule = schedule_of(skip_dates=["2026-01-07"], editions={"evening": "18:00"})
        assert the_slot(schedule).skipped == "in skip_dates"
        own = Skip("daily", DAY, None, "office closed")
        assert the_slot(schedule, skips=[own]).skipped == "office closed"
        assert the_slot(schedule_of(), skips=[Skip("daily", DAY)]).skipped == "by an operator"
        assert the_slot(schedule_of(), skips=[Skip("weekly", DAY), Skip("daily", dt.date(2026, 1, 8))]).skipped == ""

    def test_one_edition_alone(self) -> None:
        schedule = schedule_of(editions={"evening": "18:00"})
        found = slots_since("daily", schedule, JANUARY, skips=[Skip("daily", dt.date(2026, 1, 1), "evening", "x")])
        assert [(slot.edition, slot.skipped) for slot in (next(found), next(found), next(found))][:2] == [
            ("evening", "x"),
            ("", ""),
        ]
