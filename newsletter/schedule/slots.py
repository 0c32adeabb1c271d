"""The slots of a schedule: which issues there are, and their times. Pure.

Where `recipient_timezone` is on, a slot's times depend on where the subscribers live: somebody new in a zone further
east moves `at` to an earlier moment, by up to `ZONES_APART`. Whoever asks for the slots since some moment looks that
much further back and goes by what is recorded of each.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from itertools import islice
from zoneinfo import ZoneInfo

from newsletter.pipeline.local_windows import window_in, window_over
from newsletter.pipeline.slot_time import exists
from newsletter.schedule.model import Skip, Slot
from newsletter.schedule.skipping import why_skipped
from newsletter.settings.cron_line import parse_cron
from newsletter.settings.model import Schedule
from newsletter.settings.moments import WEEKDAYS

#: The most by which two clocks on earth differ: from UTC-12 to UTC+14.
ZONES_APART = dt.timedelta(hours=26)
_A_DAY = dt.timedelta(days=1)
#: With `catch_up = "0m"` a slot is sent on time or not at all, and this is still on time.
ON_TIME = dt.timedelta(minutes=1)
#: The earliest that a slot of a date can be, counted from the date's midnight in UTC: half a turn of the earth.
_NEVER_BEFORE = dt.timedelta(hours=-16)
#: The latest, by dates in UTC: its own, the other half of the turn, and a date that was left out.
_ALWAYS_WITHIN = dt.timedelta(days=3)
#: Where a calendar in Python begins and ends, with room for zones and windows.
_FIRST_DATE = dt.date.min + dt.timedelta(days=7)
_LAST_DATE = dt.date.max - dt.timedelta(days=7)


def slot_of(
    newsletter: str,
    schedule: Schedule,
    date: dt.date,
    edition: str,
    *,
    zones: Sequence[ZoneInfo] = (),
    skips: Sequence[Skip] = (),
) -> Slot | None:
    """The slot of an issue; None where the schedule has none on that date, or no such edition.

    `zones` are those of the subscribers, the newsletter's own or not; looked at only with `recipient_timezone`.
    """
    if (edition and edition not in schedule.editions) or not is_day_of(schedule, date):
        return None
    own = schedule.timezone
    window = window_in(own, schedule, date, edition)
    # only what moved to another date can have been on a date that does not exist
    if window.opens_at.date() != date and not exists(date, own):
        return None
    if zones and schedule.recipient_timezone:
        window = window_over(zones, schedule, date, edition)
    at = window.opens_at.astimezone(dt.UTC)
    return Slot(
        newsletter=newsletter,
        date=date,
        edition=edition,
        at=window.opens_at,
        warn_at=(at - schedule.warn_before).astimezone(own),
        catch_up_until=min(at + (schedule.catch_up or ON_TIME), window.deadline.astimezone(dt.UTC)).astimezone(own),
        deadline=window.deadline,
        skipped=why_skipped(newsletter, schedule, date, edition, skips),
    )


def is_day_of(schedule: Schedule, date: dt.date) -> bool:
    """Whether an issue goes out on this date, by `days` and `cron`."""
    if WEEKDAYS[date.weekday()] not in schedule.days:
        return False
    return not schedule.cron or parse_cron(schedule.cron).fires_on(date)


def slots_between(
    newsletter: str,
    schedule: Schedule,
    start: dt.datetime,
    end: dt.datetime,
    *,
    zones: Sequence[ZoneInfo] = (),
    skips: Sequence[Skip] = (),
) -> Iterator[Slot]:
    """The slots with start <= at < end, by `at`; skipped ones too, with `skipped` set. `start` and `end` are aware."""
    last = end.astimezone(dt.UTC)
    for slot in slots_since(newsletter, schedule, start, zones=zones, skips=skips):
        if slot.at.astimezone(dt.UTC) >= last:
            return
        yield slot


def next_slots(
    newsletter: str,
    schedule: Schedule,
    start: dt.datetime,
    count: int,
    *,
    zones: Sequence[ZoneInfo] = (),
    skips: Sequence[Skip] = (),
) -> Iterator[Slot]:
    """The first `count` slots with start <= at, by `at`; skipped ones count. `start` is aware."""
    return islice(slots_since(newsletter, schedule, start, zones=zones, skips=skips), count)


def slots_from(
    newsletter: str,
    schedule: Schedule,
    date: dt.date,
    *,
    zones: Sequence[ZoneInfo] = (),
    skips: Sequence[Skip] = (),
) -> Iterator[Slot]:
    """The slots of `date` and of all later dates, by `at`, without an end."""
    midnight = dt.datetime.combine(max(date, _FIRST_DATE), dt.time.min, dt.UTC)
    slots = slots_since(newsletter, schedule, midnight + _NEVER_BEFORE, zones=zones, skips=skips)
    return (slot for slot in slots if slot.date >= date)


def slots_since(
    newsletter: str,
    schedule: Schedule,
    start: dt.datetime,
    *,
    zones: Sequence[ZoneInfo] = (),
    skips: Sequence[Skip] = (),
) -> Iterator[Slot]:
    """All slots with start <= at, by `at`; of one instant by date and edition. Without an end."""
    since = start.astimezone(dt.UTC)
    date = max(since.date(), _FIRST_DATE) - _ALWAYS_WITHIN
    waiting: list[tuple[dt.datetime, dt.date, str, Slot]] = []
    while date < _LAST_DATE:
        for edition in ("", *schedule.editions):
            slot = slot_of(newsletter, schedule, date, edition, zones=zones, skips=skips)
            if slot is not None and slot.at.astimezone(dt.UTC) >= since:
                waiting.append((slot.at.astimezone(dt.UTC), date, edition, slot))
        date += _A_DAY
        # what later dates bring is later than this
        settled = dt.datetime.combine(date, dt.time.min, dt.UTC) + _NEVER_BEFORE
        waiting.sort(key=lambda one: one[:3])
        while waiting and waiting[0][0] < settled:
            yield waiting.pop(0)[-1]
    yield from (slot for *_, slot in waiting)
