"""A cron line of five fields as in crontab(5): on which dates it fires, and first when. Pure."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from functools import lru_cache

from newsletter.settings.moments import WEEKDAYS

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

#: The five fields: name, smallest, largest, names for numbers. 0 and 7 are both Sunday.
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, start=1)}),
    ("day of the week", 0, 7, {"sun": 0, **{name: number for number, name in enumerate(WEEKDAYS[:6], start=1)}}),
)
_ITEM = re.compile(r"(?:\*|([0-9]{1,2}|[a-z]{3})(?:-([0-9]{1,2}|[a-z]{3}))?)(?:/([0-9]{1,2}))?")

#: Dates of every combination of day, month and day of the week, 29 February too: they come round in 28 years.
_CYCLE = range(dt.date(2000, 1, 1).toordinal(), dt.date(2028, 1, 1).toordinal())


@dataclass(frozen=True, slots=True)
class CronLine:
    """What a line says. Days of the week as in `datetime.date.isoweekday()`: Monday is 1, Sunday 7.

    `either_day`: both the day of the month and that of the week are restricted (neither holds a `*`); then one of
    them is enough, as in crontab(5).
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    month_days: frozenset[int]
    months: frozenset[int]
    week_days: frozenset[int]
    either_day: bool

    @property
    def time(self) -> dt.time:
        """The first time of day at which it fires, the same on every date on which it does."""
        return dt.time(min(self.hours), min(self.minutes))

    def fires_on(self, date: dt.date) -> bool:
        """Whether it fires on this date."""
        if date.month not in self.months:
            return False
        by_month, by_week = date.day in self.month_days, date.isoweekday() in self.week_days
        return by_month or by_week if self.either_day else by_month and by_week

    def ever_fires(self, weekdays: frozenset[int] = frozenset(range(1, 8))) -> bool:
        """Whether there is a date on which it fires, among these days of the week (Monday is 1)."""
        dates = map(dt.date.fromordinal, _CYCLE)
        return any(date.isoweekday() in weekdays and self.fires_on(date) for date in dates)


@lru_cache(maxsize=64)
def parse_cron(text: str) -> CronLine:
    """A line such as `30 6 * * mon-fri`. Raises ValueError where it is none."""
    fields = text.lower().split()
    if len(fields) != len(_FIELDS):
        raise ValueError('expected a cron line of five fields such as "30 6 * * mon-fri"')
    minutes, hours, month_days, months, week_days = (
        _numbers(field, *known) for field, known in zip(fields, _FIELDS, strict=True)
    )
    either_day = "*" not in fields[2] and "*" not in fields[4]
    return CronLine(minutes, hours, month_days, months, frozenset(day or 7 for day in week_days), either_day)


def check_cron(value: str) -> str:
    """A cron line that fires on some date, or `""`. Raises ValueError for any other."""
    if value and not parse_cron(value).ever_fires():
        raise ValueError("this cron line never fires: no month it names has such a day")
    return value


def _numbers(text: str, name: str, smallest: int, largest: int, names: dict[str, int]) -> frozenset[int]:
    """All that a field says."""
    found: set[int] = set()
    for item in text.split(","):
        numbers = _item(item, smallest, largest, names)
        if not numbers:
            kinds = f"numbers from {smallest} to {largest}" + (f" or names ({', '.join(names)})" if names else "")
            raise ValueError(f"the {name} of the cron line is not one of `*`, {kinds}, or ranges of them")
        found.update(numbers)
    return frozenset(found)


def _item(item: str, smallest: int, largest: int, names: dict[str, int]) -> range:
    """What one item of a field says: `*`, `5`, `1-5`, `*/15`, `10-30/5`; `5/10` is `5-59/10`. Empty: it is none."""
    nothing = range(0)
    match = _ITEM.fullmatch(item)
    if match is None:
        return nothing
    first, last, step = match.groups()
    every = int(step) if step else 1
    if first is None:
        low, high = smallest, largest
    else:
        low = _number(first, names)
        high = _number(last, names) if last else largest if step else low
        # a week may be written through to its Sunday: fri-sun is 5-7
        high = 7 if last == "sun" and low > 0 else high
    if not (smallest <= low <= high <= largest) or every == 0:
        return nothing
    return range(low, high + 1, every)


def _number(text: str, names: dict[str, int]) -> int:
    return names.get(text, -1) if text.isalpha() else int(text)
