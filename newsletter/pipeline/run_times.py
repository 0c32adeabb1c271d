"""When the recipients of a run may be mailed: all at once, or each at the local time of their own zone. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from newsletter.delivery.run_values import Window
from newsletter.pipeline.local_windows import window_over, windows_of, zone_called
from newsletter.pipeline.slot_time import first_deadline
from newsletter.settings.model import Schedule


@dataclass(frozen=True, slots=True)
class RunTimes:
    """`deadline` is when nothing more of the run is sent; `window_of`, where recipients have windows of their own, says
    which, by the name of their zone."""

    deadline: dt.datetime
    window_of: Callable[[str], Window] | None = None


def times_by_slot(
    schedule: Schedule, date: dt.date, edition: str, zones: Sequence[str], deadline: dt.datetime
) -> RunTimes:
    """Of a run that goes out by itself, whose slot has this deadline. `zones` are those of its recipients, as they are
    kept: somebody may have come who lives further west than anybody when the slot was reckoned."""
    if not schedule.recipient_timezone:
        return RunTimes(deadline)
    known = [zone for zone in map(zone_called, zones) if zone is not None]
    last = window_over(known, schedule, date, edition).deadline
    return RunTimes(max(deadline, last, key=lambda at: at.astimezone(dt.UTC)), windows_of(schedule, date, edition))


def times_from(schedule: Schedule, date: dt.date, edition: str, zones: Sequence[str], now: dt.datetime) -> RunTimes:
    """Of a run that an operator begins now, of an issue of whatever date: until the next deadline there is; with
    windows, until the next one in each recipient's zone, from `now` or from their window's beginning."""
    own = schedule.timezone
    if not schedule.recipient_timezone:
        return RunTimes(first_deadline(schedule.deadline, now, own))
    window_by_slot = windows_of(schedule, date, edition)

    def window_of(name: str) -> Window:
        opens_at = window_by_slot(name).opens_at
        begins = max(opens_at.astimezone(dt.UTC), now.astimezone(dt.UTC))
        return Window(opens_at, first_deadline(schedule.deadline, begins, zone_called(name) or own))

    deadlines = [window_of(name).deadline.astimezone(dt.UTC) for name in {"", *zones}]
    return RunTimes(max(deadlines).astimezone(own), window_of)
