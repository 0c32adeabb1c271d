"""Every zone of tzdata, every day of ten years: one slot for a date that exists there, none for one that does not.

What the clocks did is found by looking at each zone once a day and halving where its offset changed: a list of
stretches of constant offset, in which the expected instant can be looked up without any of the code under test.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from bisect import bisect
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

import pytest

from newsletter.schedule.slots import slot_of, slots_between
from newsletter.settings.model import Schedule

FIRST, LAST = dt.date(2011, 1, 1), dt.date(2020, 12, 31)
DATES = [FIRST + dt.timedelta(days) for days in range((LAST - FIRST).days + 1)]
#: With room on both sides.
_LOOKED_AT = [dt.datetime.combine(FIRST, dt.time(), dt.UTC) + dt.timedelta(days) for days in range(-7, len(DATES) + 8)]


@dataclass(frozen=True)
class Stretch:
    """A while in which the clocks of a zone are `offset` ahead of UTC; `start` and `end` are naive UTC."""

    start: dt.datetime
    end: dt.datetime
    offset: dt.timedelta


def clocks_of(name: str) -> tuple[Stretch, ...]:
    """What the clocks of a zone did in these years."""
    zone = zoneinfo.ZoneInfo(name)

    def offset(moment: dt.datetime) -> dt.timedelta:
        found = moment.astimezone(zone).utcoffset()
        assert found is not None
        return found

    changes = [_LOOKED_AT[0]]
    offsets = [moment.astimezone(zone).utcoffset() for moment in _LOOKED_AT]
    for at, (before, after) in enumerate(pairwise(offsets)):
        if before != after:
            low, high = 0, 86_400
            while high - low > 1:
                middle = (low + high) // 2
                if offset(_LOOKED_AT[at] + dt.timedelta(seconds=middle)) == before:
                    low = middle
                else:
                    high = middle
            changes.append(_LOOKED_AT[at] + dt.timedelta(seconds=high))
    changes.append(_LOOKED_AT[-1])
    return tuple(
        Stretch(start.replace(tzinfo=None), end.replace(tzinfo=None), offset(start)) for start, end in pairwise(changes)
    )


def expected(clocks: tuple[Stretch, ...], local: dt.datetime) -> dt.datetime:
    """The first instant (naive UTC) at which a clock shows `local` or, having jumped over it, something later."""
    return next(max(local - one.offset, one.start) for one in clocks if local < one.end + one.offset)


def has_date(clocks: tuple[Stretch, ...], date: dt.date) -> bool:
    """Whether any clock ever showed this date."""
    midnight = dt.datetime.combine(date, dt.time())
    return any(
        one.start + one.offset < midnight + dt.timedelta(days=1) and midnight < one.end + one.offset for one in clocks
    )


def around(clocks: tuple[Stretch, ...], date: dt.date) -> tuple[Stretch, ...]:
    """The stretches of the days around a date, so that the long list is gone through but once."""
    noon = dt.datetime.combine(date, dt.time(12))
    at = bisect(clocks, noon, key=lambda one: one.end)
    days = dt.timedelta(days=4)
    if clocks[at].start + days < noon < clocks[at].end - days:
        return clocks[at : at + 1]
    return clocks[max(at - 2, 0) : at + 3]


@pytest.fixture(scope="module")
def kinds_of_clocks() -> dict[tuple[Stretch, ...], list[str]]:
    """All zones by what their clocks did: those that always agreed are looked at once."""
    found = defaultdict(list)
    for name in sorted(zoneinfo.available_timezones()):
        found[clocks_of(name)].append(name)
    return found


def telling_time(clocks: tuple[Stretch, ...]) -> dt.time:
    """A time of day that the clocks jump over, if they ever jump ahead; else one that the jump back repeats."""
    jumps = [(after.start + before.offset, after.offset - before.offset) for before, after in pairwise(clocks)]
    for ahead in (True, False):
        for shown, jump in jumps:
            if (jump > dt.timedelta()) == ahead:
                return (shown + jump / 2).time().replace(microsecond=0)
    return dt.time(2, 30)


def test_each_date_that_exists_has_one_slot_and_no_other_date_has_any(
    kinds_of_clocks: dict[tuple[Stretch, ...], list[str]],
) -> None:
    assert sum(map(len, kinds_of_clocks.values())) > 500
    looked_at, moved, missing = 0, 0, {}
    for clocks, names in kinds_of_clocks.items():
        time = telling_time(clocks)
        schedule = Schedule.model_validate({"time": time, "timezone": names[0], "deadline": dt.time(23, 59, 59)})
        for date in DATES:
            slot = slot_of("daily", schedule, date, "")
            near = around(clocks, date)
            if not has_date(near, date):
                assert slot is None, (names, date)
                missing[names[0]] = date
                continue
            assert slot is not None, (names, date)
            local = dt.datetime.combine(date, time)
            assert slot.at.astimezone(dt.UTC).replace(tzinfo=None) == expected(near, local), (names, date)
            moved += slot.at.replace(tzinfo=None) != local
            looked_at += 1
    assert looked_at > 400_000
    assert moved > 400  # the times were chosen to fall into gaps
    assert missing == {"Pacific/Apia": dt.date(2011, 12, 30), "Pacific/Fakaofo": dt.date(2011, 12, 30)}


def test_the_slots_of_ten_years_in_a_row_are_those_of_the_single_dates() -> None:
    for name in ("Pacific/Apia", "Africa/Casablanca", "America/Sao_Paulo", "Asia/Pyongyang", "Australia/Lord_Howe"):
        schedule = Schedule.model_validate(
            {"time": "00:00", "timezone": name, "deadline": "01:00", "editions": {"late": "23:45"}}
        )
        single = [slot_of("daily", schedule, date, edition) for date in DATES for edition in ("", "late")]
        there = [slot for slot in single if slot is not None]
        found = list(slots_between("daily", schedule, there[0].at, there[-1].at + dt.timedelta(seconds=1)))
        assert found == sorted(there, key=lambda slot: (slot.at.astimezone(dt.UTC), slot.date, slot.edition))
        assert len({slot.name for slot in found}) == len(found)
