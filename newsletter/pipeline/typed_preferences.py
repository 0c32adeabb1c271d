"""Single fields that people type into the preferences page → what is kept, or what is wrong with it. Pure."""

from __future__ import annotations

import datetime as dt
import re
from functools import cache

from newsletter.audience.csv_cells import timezones
from newsletter.rendering.escaping import clean_text

#: The longest break, in days: who wants none for longer may as well leave.
LONGEST_BREAK = 730
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
#: Where people live; the other names of the database are aliases and offsets.
_REGIONS = ("Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific")


class Mistyped(ValueError):
    """What is wrong with a field: the key of the words that say so, and the values in them."""

    def __init__(self, words: str, **values: str | dt.date) -> None:
        super().__init__(words)
        self.words = words
        self.values = values


def name_typed(text: str) -> str:
    """A name on one line, without what nobody can see; never wrong."""
    return clean_text(text)


def zone_typed(text: str, kept: str = "") -> str:
    """The IANA zone that somebody means: its name in any case, or the city alone. '' for none, and `kept`, which came
    from elsewhere, as it is. Raises Mistyped."""
    typed = clean_text(text)
    if typed in {"", kept} or typed in timezones():
        return typed
    wanted = typed.casefold().replace(" ", "_")
    found = _by_name().get(wanted) or _by_city().get(wanted)
    if not found:
        raise Mistyped("preferences.zone_unknown")
    return found


def day_typed(text: str, today: dt.date) -> dt.date:
    """The day until which somebody wants no mail: from tomorrow on. Raises Mistyped."""
    typed, tomorrow = text.strip(), today + dt.timedelta(days=1)
    if not typed:
        raise Mistyped("preferences.pause_missing")
    try:
        day = dt.date.fromisoformat(typed if _DAY.fullmatch(typed) else "")
    except ValueError:
        raise Mistyped("preferences.pause_unclear", example=tomorrow.isoformat()) from None
    if day < tomorrow:
        raise Mistyped("preferences.pause_early")
    if day > today + dt.timedelta(days=LONGEST_BREAK):
        raise Mistyped("preferences.pause_late", date=today + dt.timedelta(days=LONGEST_BREAK + 1))
    return day


@cache
def zones_to_choose() -> tuple[str, ...]:
    """The zones of places, sorted: `Europe/Warsaw`."""
    return tuple(sorted(name for name in timezones() if name.partition("/")[0] in _REGIONS and "/" in name))


@cache
def _by_name() -> dict[str, str]:
    return {name.casefold(): name for name in sorted(timezones())}


@cache
def _by_city() -> dict[str, str]:
    """Zones by their city, where there is one of that name."""
    cities: dict[str, list[str]] = {}
    for name in zones_to_choose():
        cities.setdefault(name.rpartition("/")[2].casefold(), []).append(name)
    return {city: names[0] for city, names in cities.items() if len(names) == 1}
