"""When an issue is due."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from newsletter.settings.cron_line import parse_cron
from newsletter.settings.model import Schedule

_A_DAY = dt.timedelta(days=1)


def slot_time(schedule: Schedule, date: dt.date, edition: str) -> dt.datetime:
    """The instant of the issue of `date`, in the newsletter's zone: the time of its edition, of `time`, or of `cron`.

    A local time that does not exist on that day moves to the next instant that does (01:30 in London on 29 March 2026
    is 02:00 BST); one that occurs twice means the first. An edition without a time has that of the day's issue.
    """
    return next_valid(dt.datetime.combine(date, time_of_day(schedule, edition)), schedule.timezone)


def time_of_day(schedule: Schedule, edition: str) -> dt.time:
    """The local time at which an edition goes out; that of the day's issue where it has none of its own."""
    return schedule.editions.get(edition) or schedule.time or parse_cron(schedule.cron).time


def next_valid(local: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """`local` (naive) in `zone`, or the next local time that exists there. zoneinfo accepts those that do not."""
    there = local.replace(tzinfo=zone)
    back = there.astimezone(dt.UTC).astimezone(zone)
    if back == there:  # of one zone: what the clock shows is compared
        return there
    # In a gap zoneinfo counts with the offset before it, so `back` is as far behind the gap as `local` is inside it.
    before = there.utcoffset()
    after = back.utcoffset()
    assert before is not None
    assert after is not None
    low, high = there.astimezone(dt.UTC) - (after - before), there.astimezone(dt.UTC)
    while high - low > dt.timedelta(seconds=1):
        middle = low + (high - low) / 2
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0).astimezone(zone)


def exists(date: dt.date, zone: ZoneInfo) -> bool:
    """Whether the calendar of `zone` has this date: Apia went from 29 to 31 December 2011."""
    return next_valid(dt.datetime.combine(date, dt.time.min), zone).date() == date


def first_deadline(deadline: dt.time, after: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """The first moment after `after` at which the clocks of `zone` show `deadline`."""
    # compared in UTC: two times of one zone compare by what the clock shows, and in autumn it shows an hour twice
    moment, date = after.astimezone(dt.UTC), after.astimezone(zone).date()
    while True:
        found = next_valid(dt.datetime.combine(date, deadline), zone)
        if found.astimezone(dt.UTC) > moment:
            return found
        date += _A_DAY
