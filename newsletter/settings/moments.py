"""Times, days, time zones and cron lines as they are written in config.toml. Pure, `ValueError` on bad text."""

from __future__ import annotations

import datetime as dt
import re
from zoneinfo import ZoneInfo, available_timezones

from newsletter.settings.suggest import did_you_mean

TIME_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$"
DATE_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
HOLIDAYS_PATTERN = r"^([A-Z]{2,5}([-_][A-Z0-9]{1,5})?)?$"

#: Days of the week, in the order of `datetime.date.weekday()`.
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

#: The five fields of crontab(5): name, smallest, largest, names for numbers. 0 and 7 are both Sunday.
_CRON_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, start=1)}),
    ("day of the week", 0, 7, {"sun": 0, **{name: number for number, name in enumerate(WEEKDAYS[:6], start=1)}}),
)


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


def check_holidays(value: str) -> str:
    """A code of the `holidays` package, by its shape only: a country, with or without a subdivision; or nothing."""
    if not re.fullmatch(HOLIDAYS_PATTERN, value):
        raise ValueError('expected a holidays code such as "HK", "GB-ENG" or "" for none')
    return value


def check_cron(value: str) -> str:
    """A cron line of five fields as in crontab(5), or `""`."""
    if value == "":
        return value
    fields = value.split()
    if len(fields) != len(_CRON_FIELDS):
        raise ValueError('expected a cron line of five fields such as "30 6 * * mon-fri"')
    for text, (name, smallest, largest, names) in zip(fields, _CRON_FIELDS, strict=True):
        for item in text.lower().split(","):
            if not _is_cron_item(item, smallest, largest, names):
                kinds = f"numbers from {smallest} to {largest}" + (f" or names ({', '.join(names)})" if names else "")
                raise ValueError(f"the {name} of the cron line is not one of `*`, {kinds}, or ranges of them")
    return value


def _is_cron_item(item: str, smallest: int, largest: int, names: dict[str, int]) -> bool:
    match = re.fullmatch(r"(?:\*|([0-9]{1,2}|[a-z]{3})(?:-([0-9]{1,2}|[a-z]{3}))?)(?:/([0-9]{1,2}))?", item)
    if match is None:
        return False
    first, last, step = match.groups()
    if step is not None and int(step) == 0:
        return False
    bounds = []
    for text in (first, last):
        if text is not None:
            number = names.get(text, -1) if text.isalpha() else int(text)
            if not smallest <= number <= largest:
                return False
            bounds.append(number)
    # a week may be written through to its Sunday: fri-sun is 5-7
    if len(bounds) == 2 and last == "sun":
        bounds[1] = 7
    return len(bounds) < 2 or bounds[0] <= bounds[1]
