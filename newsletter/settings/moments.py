"""Times, days and time zones as they are written in config.toml. Pure, `ValueError` on bad text."""

from __future__ import annotations

import datetime as dt
import re
from zoneinfo import ZoneInfo, available_timezones

from newsletter.settings.suggest import did_you_mean

TIME_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$"
DATE_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"

#: Days of the week, in the order of `datetime.date.weekday()`.
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def parse_time(value: object) -> dt.time:
    """`"06:30"` (also `"06:30:15"`, or TOML's own 06:30:00) → a naive local time of day."""
    if isinstance(value, dt.time):
        return value
    if not isinstance(value, str) or not re.fullmatch(TIME_PATTERN, value):
        raise ValueError('expected a time of day such as "06:30", from "00:00" to "23:59"')
    return dt.time.fromisoformat(value)


def parse_date(value: object) -> dt.date:
    """`"2026-12-25"`, or TOML's own 2026-12-25 → date."""
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    if isinstance(value, str) and re.fullmatch(DATE_PATTERN, value):
        try:
            return dt.date.fromisoformat(value)
        except ValueError:
            raise ValueError("there is no such day in the calendar") from None
    raise ValueError('expected a date such as "2026-12-25"')


def parse_timezone(value: object) -> ZoneInfo:
    """An IANA name such as `"Asia/Hong_Kong"` → ZoneInfo."""
    if isinstance(value, ZoneInfo):
        return value
    if not isinstance(value, str):
        raise ValueError('expected an IANA time zone such as "Asia/Hong_Kong"')  # noqa: TRY004 - pydantic reads ValueError
    try:
        return ZoneInfo(value)
    except (ValueError, LookupError, OSError):
        near = did_you_mean(value, available_timezones())
        raise ValueError(f'expected an IANA time zone such as "Asia/Hong_Kong"{f". {near}" if near else ""}') from None
