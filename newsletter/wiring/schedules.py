"""What `schedule list`, `skip` and `unskip` do, with the parts that they take."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING

from newsletter.errors import UsageError
from newsletter.issue.find import parse_ref
from newsletter.schedule.listing import skip_date, slots_to_come, unskip_date
from newsletter.schedule.model import ListedSlot, Skip
from newsletter.settings.loaded import Loaded
from newsletter.settings.model import Schedule
from newsletter.settings.pick import pick_newsletter
from newsletter.wiring.parts import database
from newsletter.wiring.sending import Say

if TYPE_CHECKING:
    from newsletter.schedule.records import ScheduleRecords


def schedule_records(loaded: Loaded, say: Say = lambda _: None) -> ScheduleRecords:
    """What the database keeps of slots, its tables brought up to date (see `parts.audience_store`)."""
    from newsletter.store.schedule_records import SqlScheduleRecords  # see parts.database
    from newsletter.store.upgrade import ensure_current

    engine = database(loaded)
    ensure_current(engine, say)
    return SqlScheduleRecords(engine)


def listed_slots(
    loaded: Loaded, newsletter: str | None, since: str | None, count: int, now: dt.datetime, say: Say
) -> Iterator[ListedSlot]:
    """The next slots of `newsletter`; None: of all that go out by themselves, or of all there are if none does.

    `since` is a DATE, in each newsletter's own zone; None: from `now` on. Raises UsageError.
    """
    from newsletter.wiring.newsroom import newsroom  # loads the database; a wrong DATE waits for none

    if newsletter is None:
        known = {name: one.schedule for name, one in loaded.settings.newsletters.items()}
        chosen = {name: schedule for name, schedule in known.items() if schedule.enabled} or known
    else:
        name, found = pick_newsletter(loaded.settings, newsletter)
        chosen = {name: found.schedule}
    dates = {name: _date(since, one, now)[0] for name, one in chosen.items()} if since is not None else {}
    return slots_to_come(newsroom(loaded, say), schedule_records(loaded, say), chosen, dates, count, now)


def skip_slot(loaded: Loaded, newsletter: str | None, date: str, reason: str, now: dt.datetime, say: Say) -> Skip:
    """Leaves a DATE out, or one edition of it. Raises UsageError and what `skip_date` raises."""
    wanted, schedule = _wanted(loaded, newsletter, date, reason, now)
    skip_date(schedule_records(loaded, say), schedule, wanted, now=now)
    return wanted


def unskip_slot(loaded: Loaded, newsletter: str | None, date: str, now: dt.datetime, say: Say) -> Skip:
    """Takes `skip_slot` back. Raises UsageError and what `unskip_date` raises."""
    wanted, schedule = _wanted(loaded, newsletter, date, "", now)
    unskip_date(schedule_records(loaded, say), schedule, wanted)
    return wanted


def _wanted(loaded: Loaded, newsletter: str | None, date: str, reason: str, now: dt.datetime) -> tuple[Skip, Schedule]:
    name, found = pick_newsletter(loaded.settings, newsletter)
    day, edition = _date(date, found.schedule, now)
    if edition and edition not in found.schedule.editions:
        there = ", ".join(found.schedule.editions)
        hint = f"Its editions are: {there}." if there else f"{name} has no editions: give the date alone."
        raise UsageError(f'{name} has no edition "{edition}" in its schedule', hint=hint)
    return Skip(name, day, edition or None, reason), found.schedule


def _date(text: str, schedule: Schedule, now: dt.datetime) -> tuple[dt.date, str]:
    ref = parse_ref(text, now.astimezone(schedule.timezone).date())
    if ref.date is None:
        raise UsageError(f"{text} is no date", hint="Give today, tomorrow, or a date (2026-01-07).")
    return ref.date, ref.edition
