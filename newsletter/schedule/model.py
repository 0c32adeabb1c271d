"""Slots, and what is kept of them. Values only."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from enum import StrEnum

from newsletter.delivery.names import RunName


@dataclass(frozen=True, slots=True)
class Slot:
    """One issue's place in the schedule. All times are aware and in the newsletter's zone.

    `at` is when its mail begins to go out: with `recipient_timezone` at the first of its recipients' local times.
    `catch_up_until` is the last moment at which it may still begin; `deadline` when nothing more of it is sent;
    `warn_at` when an issue that is not ready is reported. `skipped` says why nothing goes out ("" where it does): such
    a slot has its times all the same.
    """

    newsletter: str
    date: dt.date
    edition: str
    at: dt.datetime
    warn_at: dt.datetime
    catch_up_until: dt.datetime
    deadline: dt.datetime
    skipped: str = ""

    @property
    def name(self) -> RunName:
        """The run that this slot begins, and no other."""
        slot = f"{self.date.isoformat()}.{self.edition}" if self.edition else self.date.isoformat()
        return RunName(self.newsletter, slot)


class SlotState(StrEnum):
    """What became of a slot. The values stand in the database and in `schedule list --json`."""

    #: The daemon has begun its run; after a crash it goes on with it.
    BEGUN = "begun"
    #: Its run is over, or only an operator can go on with it.
    DONE = "done"
    #: Nothing went out: no issue in time, a guard refused it, or no daemon ran.
    MISSED = "missed"
    #: It was to be left out.
    SKIPPED = "skipped"


#: Clocks of machines differ by less; what was written down later than that from now was written by a wrong clock.
CLOCKS_APART = dt.timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class SlotRecord:
    """What the database says of a slot. `reason` says why it was missed or skipped; `changed_at` when that was written
    down, by the clock of then."""

    name: RunName
    at: dt.datetime
    state: SlotState
    reason: str = ""
    changed_at: dt.datetime | None = field(default=None, compare=False)


class Readiness(StrEnum):
    """How far a slot to come is; the words of `schedule list`."""

    READY = "ready"
    #: There is no issue file yet.
    MISSING = "missing"
    #: The file has errors, fails its checks, is stale, or is not approved.
    INVALID = "invalid"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class IssueState:
    """The issue of a slot as it is on the disk now. `why` says what is wrong, in one line, with its place; '' where
    nothing is. `fingerprint` changes when the file does ('' where there is none)."""

    readiness: Readiness
    why: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class ListedSlot:
    """A slot as `schedule list` shows it. `record` is what became of it, None where nothing has yet; `enabled`: whether
    the newsletter goes out by itself."""

    slot: Slot
    issue: IssueState
    record: SlotRecord | None = None
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Skip:
    """An operator's word that nothing goes out on a date; `edition` None: whatever the edition."""

    newsletter: str
    date: dt.date
    edition: str | None = None
    reason: str = ""
