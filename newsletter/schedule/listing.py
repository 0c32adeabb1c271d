"""The next slots with what is ready for them, and an operator's word that a date is left out."""

from __future__ import annotations

import datetime as dt
import heapq
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from zoneinfo import ZoneInfo

from newsletter.delivery.names import RunName
from newsletter.errors import GuardRefused, NothingToDo
from newsletter.schedule.model import IssueState, ListedSlot, Readiness, Skip, Slot, SlotRecord, SlotState
from newsletter.schedule.newsroom import Newsroom
from newsletter.schedule.records import ScheduleRecords
from newsletter.schedule.skipping import why_left_out
from newsletter.schedule.slots import slot_of, slots_from, slots_since
from newsletter.settings.model import Schedule


def slots_to_come(
    newsroom: Newsroom,
    records: ScheduleRecords,
    schedules: Mapping[str, Schedule],
    dates: Mapping[str, dt.date],
    count: int,
    now: dt.datetime,
) -> Iterator[ListedSlot]:
    """The first `count` slots of all `schedules` together, by their times, from `now` on; for a newsletter in `dates`
    those of that date and of later ones. Reads each issue when its slot is asked for."""

    def of(name: str, schedule: Schedule) -> Iterator[Slot]:
        zones: Sequence[ZoneInfo] = newsroom.zones(name) if schedule.recipient_timezone else ()
        skips = records.skips(name)
        if name in dates:
            return slots_from(name, schedule, dates[name], zones=zones, skips=skips)
        return slots_since(name, schedule, now, zones=zones, skips=skips)

    every = heapq.merge(*(of(*one) for one in schedules.items()), key=lambda slot: slot.at.astimezone(dt.UTC))
    for slot in islice(every, count):
        record = records.slot(slot.name)
        if record is None and newsroom.run(slot.name) is not None:
            record = SlotRecord(slot.name, slot.at, SlotState.DONE)  # an operator's run: it settles the slot
        if record is not None and record.state is SlotState.SKIPPED:
            issue = IssueState(Readiness.SKIPPED, record.reason)
        elif slot.skipped:
            issue = IssueState(Readiness.SKIPPED, slot.skipped)
        else:
            issue = newsroom.issue_state(slot.newsletter, slot.date, slot.edition)
        yield ListedSlot(slot, issue, record, enabled=schedules[slot.newsletter].enabled)


def skip_date(records: ScheduleRecords, schedule: Schedule, skip: Skip, *, now: dt.datetime) -> None:
    """Leaves a date out, or one edition of it.

    Raises NothingToDo where nothing goes out then anyway, it is over, or it is left out already; GuardRefused where its
    run has begun. Another reason replaces the one there was.
    """
    where = _named(skip)
    slots = [slot for slot in _slots(schedule, skip) if slot is not None]
    if not slots:
        day = f"{skip.date:%a} {where}"
        raise NothingToDo(f"nothing of {skip.newsletter} goes out on {day}", hint="newsletter schedule list")
    if settings_say := why_left_out(schedule, skip.date):
        raise NothingToDo(f"{where} is skipped already: {settings_say}", hint="newsletter schedule list")
    if all(slot.deadline.astimezone(dt.UTC) <= now for slot in slots):
        raise NothingToDo(f"{where} is over", hint="newsletter schedule list shows what is ahead.")
    for slot in slots:
        _refuse_begun(records, slot.name)
    for known in records.skips(skip.newsletter):
        if known.date == skip.date and known.edition in (None, skip.edition) and skip.reason in ("", known.reason):
            why = f": {known.reason}" if known.reason else ""
            raise NothingToDo(f"{_named(known)} is skipped already{why}", hint=_to_unskip(known))
    records.skip(skip, now=now)


def unskip_date(records: ScheduleRecords, schedule: Schedule, skip: Skip) -> None:
    """Takes `skip_date` back. Raises NothingToDo where no operator left it out, with who did."""
    if records.unskip(skip.newsletter, skip.date, skip.edition):
        return
    where = _named(skip)
    for known in records.skips(skip.newsletter):
        if known.date == skip.date:
            raise NothingToDo(f"{where} is not skipped by itself, {_named(known)} is", hint=_to_unskip(known))
    if why := why_left_out(schedule, skip.date):
        hint = "Change schedule.skip_dates or schedule.skip_holidays in the settings."
        raise NothingToDo(f"{where} is skipped by the settings ({why}), not by an operator", hint=hint)
    raise NothingToDo(f"{where} is not skipped", hint="newsletter schedule list")


def _slots(schedule: Schedule, skip: Skip) -> Iterator[Slot | None]:
    editions = ("", *schedule.editions) if skip.edition is None else (skip.edition,)
    return (slot_of(skip.newsletter, schedule, skip.date, edition) for edition in editions)


def _refuse_begun(records: ScheduleRecords, name: RunName) -> None:
    record = records.slot(name)
    if record is not None and record.state is SlotState.BEGUN:
        hint = f"To stop it: newsletter pause {name} · to end it: newsletter cancel {name}"
        raise GuardRefused(f"{name} has begun", hint=hint)
    if record is not None and record.state is SlotState.DONE:
        raise NothingToDo(f"{name} went out", hint=f"newsletter status {name}")


def _named(skip: Skip) -> str:
    return f"{skip.date.isoformat()}.{skip.edition}" if skip.edition else skip.date.isoformat()


def _to_unskip(skip: Skip) -> str:
    return f"newsletter -n {skip.newsletter} schedule unskip {_named(skip)}"
