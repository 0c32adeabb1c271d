"""From when until when an issue may go out: in the newsletter's zone, or in each recipient's own. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection
from zoneinfo import ZoneInfo

from newsletter.delivery.run_values import Window
from newsletter.pipeline.slot_time import first_deadline, next_valid, time_of_day
from newsletter.settings.model import Schedule


def window_in(zone: ZoneInfo, schedule: Schedule, date: dt.date, edition: str) -> Window:
    """The window of an issue where the clocks are those of `zone`: from its local time to the first deadline there."""
    opens_at = next_valid(dt.datetime.combine(date, time_of_day(schedule, edition)), zone)
    return Window(opens_at, first_deadline(schedule.deadline, opens_at, zone))


def window_over(zones: Collection[ZoneInfo], schedule: Schedule, date: dt.date, edition: str) -> Window:
    """From the first opening in any of `zones` and the newsletter's own to the last deadline; in the latter's time."""
    own = schedule.timezone
    if not zones:
        return window_in(own, schedule, date, edition)
    windows = [window_in(zone, schedule, date, edition) for zone in {own, *zones}]
    # compared in UTC: see first_deadline
    opens_at = min(window.opens_at.astimezone(dt.UTC) for window in windows)
    deadline = max(window.deadline.astimezone(dt.UTC) for window in windows)
    return Window(opens_at.astimezone(own), deadline.astimezone(own))


def windows_of(schedule: Schedule, date: dt.date, edition: str) -> Callable[[str], Window]:
    """When whoever lives in a zone may be mailed, by the zone's name as it is kept.

    '' and what is no zone means the newsletter's, and so does every name where `recipient_timezone` is off.
    """

    def window_of(name: str) -> Window:
        zone = zone_called(name) if schedule.recipient_timezone else None
        return window_in(zone or schedule.timezone, schedule, date, edition)

    return window_of


def zone_called(name: str) -> ZoneInfo | None:
    """The IANA zone of this name, None where there is none."""
    try:
        return ZoneInfo(name) if name else None
    except (ValueError, LookupError, OSError):  # "/etc/passwd" is no key, "Europe" is a folder
        return None
