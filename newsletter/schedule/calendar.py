"""The slots of schedules, reckoned some days ahead and kept: they are asked for often, and rarely change."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from newsletter.schedule.model import Skip, Slot
from newsletter.schedule.slots import slot_of, slots_between
from newsletter.settings.model import Schedule

_AHEAD = dt.timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Placed:
    """A slot, and its place in the schedule: its time, in UTC, in the newsletter's own zone. Where subscribers live in
    other zones the slot begins earlier, and by more as soon as somebody joins further east; its place stays."""

    slot: Slot
    place: dt.datetime


@dataclass(frozen=True, slots=True)
class Terms:
    """What the slots of a newsletter depend on. `zones` are those of its subscribers, () where they do not matter."""

    newsletter: str
    schedule: Schedule
    skips: tuple[Skip, ...] = ()
    zones: tuple[ZoneInfo, ...] = ()

    def placed(self, date: dt.date, edition: str) -> Placed | None:
        """The slot of an issue, where there is one."""
        own = slot_of(self.newsletter, self.schedule, date, edition, skips=self.skips)
        return None if own is None else self.around(own)

    def around(self, own: Slot) -> Placed:
        """`own`, which knows nothing of the subscribers' zones, as it is with them.

        It may begin for as long as in the newsletter's own zone: a first subscriber far in the east moves `at` into the
        past, and must not make everybody miss it.
        """
        place = own.at.astimezone(dt.UTC)
        if not self.zones:
            return Placed(own, place)
        wide = slot_of(self.newsletter, self.schedule, own.date, own.edition, zones=self.zones, skips=self.skips)
        return Placed(own if wide is None else replace(wide, catch_up_until=own.catch_up_until), place)


class Calendar:
    """Keeps the slots of each newsletter, as long as what they depend on stays the same."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Terms, dt.datetime, dt.datetime, list[Placed]]] = {}

    def slots(self, terms: Terms, start: dt.datetime, end: dt.datetime) -> list[Placed]:
        """The slots with start <= place < end; all times are in UTC."""
        kept = self._kept.get(terms.newsletter)
        if kept is None or kept[0] != terms or not kept[1] <= start <= end <= kept[2]:
            until = end + _AHEAD
            slots = slots_between(terms.newsletter, terms.schedule, start, until, skips=terms.skips)
            kept = self._kept[terms.newsletter] = (terms, start, until, [terms.around(slot) for slot in slots])
        return [placed for placed in kept[3] if start <= placed.place < end]
