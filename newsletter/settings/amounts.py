"""Amounts as they are written in config.toml: durations, rates, percentages. Pure functions, `ValueError` on bad text.

No message repeats the value it refuses: the line of the file shows it, and an environment variable's must stay unseen.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:[0-9]{1,9}[wdhms])+")
DURATION_PATTERN = r"^([0-9]{1,9}[wdhms])+$"
_LONGEST = dt.timedelta(days=36_500)

_RATE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)/(s|min|h)")
RATE_PATTERN = r"^([0-9]{1,9}(\.[0-9]{1,3})?/(s|min|h))?$"
_SECONDS_PER = {"s": 1, "min": 60, "h": 3_600}

_PERCENT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?%")
PERCENT_PATTERN = r"^[0-9]{1,9}(\.[0-9]{1,3})? ?%$"


def parse_duration(value: object) -> dt.timedelta:
    """`"2h"`, `"45m"`, `"60s"`, `"180d"`, `"1h30m"` → timedelta, at most 100 years."""
    if isinstance(value, dt.timedelta):
        return value
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise ValueError('expected a duration such as "2h", "45m", "60s" or "180d"')
    seconds = sum(int(count) * _UNITS[unit] for count, unit in re.findall(r"([0-9]+)([wdhms])", value))
    if seconds > _LONGEST.total_seconds():
        raise ValueError("a duration may be 100 years at most")
    return dt.timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class Rate:
    """So many messages per second, minute or hour."""

    count: float
    unit: str

    @property
    def per_second(self) -> float:
        """Messages per second."""
        return self.count / _SECONDS_PER[self.unit]

    def __str__(self) -> str:
        return f"{self.count:.3f}".rstrip("0").rstrip(".") + f"/{self.unit}"


_PER_HOUR = re.compile(r"([1-9][0-9]{0,8})/h")
PER_HOUR_PATTERN = r"^[1-9][0-9]{0,8}/h$"


def parse_per_hour(value: object) -> int:
    """`"20/h"` → 20."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _PER_HOUR.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('expected a number an hour such as "20/h"')
    return int(match[1])


def parse_rate(value: object) -> Rate:
    """`"50/s"`, `"3000/min"`, `"0.5/s"` → Rate."""
    if isinstance(value, Rate):
        return value
    match = _RATE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('expected a rate such as "50/s", "3000/min" or "10000/h"')
    rate = Rate(float(match[1]), match[2])
    if rate.count == 0:
        raise ValueError("a rate of 0 would send nothing, ever")
    return rate


def parse_optional_rate(value: object) -> Rate | None:
    """As `parse_rate`; `""` means no limit, and gives None."""
    if value is None or value == "":
        return None
    try:
        return parse_rate(value)
    except ValueError as error:
        raise ValueError(f'{error}; "" means no limit') from None


def parse_percent(value: object) -> float:
    """`"5%"` → 0.05, a fraction."""
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('expected a percentage in quotes, such as "5%"')
    return round(float(match[1]) / 100, 6)


def parse_share(value: object) -> float:
    """`"5%"` → 0.05; no more than the whole."""
    share = parse_percent(value)
    if share > 1:
        raise ValueError('expected a share of at most "100%"')
    return share
