"""What the schedule asks of the database. `newsletter.store` implements it, on SQLite and PostgreSQL."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Protocol

from newsletter.delivery.names import RunName
from newsletter.schedule.model import Skip, SlotRecord


class ScheduleRecords(Protocol):
    """Slots that were dealt with, what an operator wants left out, what was told. Each method is one transaction."""

    def mark(self, newsletter: str) -> dt.datetime | None:
        """Up to when every slot of the newsletter was dealt with; None before its first day. Never goes back."""
        ...

    def advance(self, newsletter: str, until: dt.datetime) -> None:
        """Moves the mark forward; to an earlier moment: does nothing."""
        ...

    def slot(self, name: RunName) -> SlotRecord | None:
        """What is kept of a slot."""
        ...

    def begun(self) -> Sequence[SlotRecord]:
        """The slots whose run has begun and is not done, the earliest first."""
        ...

    def record(self, record: SlotRecord, *, now: dt.datetime) -> bool:
        """Keeps what became of a slot. False, and nothing changed, where it stands so already, or is DONE, MISSED or
        SKIPPED: those stay. (Only MISSED and SKIPPED may become BEGUN: an operator's word, `newsletter send`; and those
        that were written down more than CLOCKS_APART after `now`, by a wrong clock, are written anew.)"""
        ...

    def history(self, newsletter: str | None = None, *, limit: int = 100) -> Sequence[SlotRecord]:
        """What became of slots, the latest first."""
        ...

    def skip(self, skip: Skip, *, now: dt.datetime) -> bool:
        """Leaves a date out. False where it was so already (the reason is replaced)."""
        ...

    def unskip(self, newsletter: str, date: dt.date, edition: str | None = None) -> bool:
        """Takes `skip` back. False where there was none."""
        ...

    def skips(self, newsletter: str) -> Sequence[Skip]:
        """What an operator wants left out, by date."""
        ...

    def first_time(self, key: str, *, now: dt.datetime) -> bool:
        """Whether `key` was never told before; from now on it was. One alert a cause, whatever restarts."""
        ...

    def forget(self, key: str) -> None:
        """The cause is gone: should it come again, it is told again."""
        ...


class Leadership(Protocol):
    """Who of several daemons on one database acts: at most one, and another within seconds of its death."""

    def lead(self) -> bool:
        """Whether this process leads; takes the lead where nobody has it. Quick; asked before every act."""
        ...

    def leader(self) -> str:
        """Who leads (host and process number), '' where nobody does or it is not known."""
        ...

    def close(self) -> None:
        """Lets go, so that another may lead at once. May be called twice."""
        ...
