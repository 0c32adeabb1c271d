"""When an issue is due."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from newsletter.settings.model import Schedule


def slot_time(schedule: Schedule, date: dt.date, edition: str) -> dt.datetime:
    """The instant of the issue of `date`, in the newsletter's zone: the time of its edition, of `time`, or of `cron`.

    A local time that does not exist on that day moves to the next instant that does (01:30 in London on 29 March 2026
    is 02:00 BST); one that occurs twice means the first.
    """
    time = schedule.editions.get(edition) or schedule.time or _cron_time(schedule.cron)
    return next_valid(dt.datetime.combine(date, time), schedule.timezone)


def next_valid(local: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """`local` (naive) in `zone`, or the next local time that exists there. zoneinfo accepts those that do not."""
    there = local.replace(tzinfo=zone)
    back = there.astimezone(dt.UTC).astimezone(zone)
    if back.replace(tzinfo=None) == local:
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


def _cron_time(cron: str) -> dt.time:
    """The first time of day at which a cron line with five fields fires."""
    from apscheduler.triggers.cron import CronTrigger  # a newsletter without cron does not wait for it

    minute, hour, *_ = cron.split()
    day = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    first = CronTrigger(hour=hour, minute=minute, timezone=dt.UTC).get_next_fire_time(None, day)
    return dt.time(first.hour, first.minute) if first else dt.time(0)
