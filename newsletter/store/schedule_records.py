"""What became of slots, what operators want left out and what was told: `ScheduleRecords` on a database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from newsletter.delivery.names import RunName
from newsletter.schedule.model import CLOCKS_APART, Skip, SlotRecord, SlotState
from newsletter.store.delivery_notes import clean
from newsletter.store.engine import reading, writing
from newsletter.store.mailing_lists import insert_new
from newsletter.store.person_rows import moment, seconds
from newsletter.store.tables import notice, schedule_mark, schedule_skip, schedule_slot

#: From which states a slot may come into each; None: nothing is kept of it yet.
_FROM: dict[SlotState, frozenset[SlotState | None]] = {
    SlotState.BEGUN: frozenset({None, SlotState.MISSED, SlotState.SKIPPED}),
    SlotState.DONE: frozenset({None, SlotState.BEGUN}),
    SlotState.MISSED: frozenset({None, SlotState.BEGUN}),
    SlotState.SKIPPED: frozenset({None, SlotState.BEGUN}),
}
_WITHOUT_RUN = (SlotState.MISSED, SlotState.SKIPPED)
_EVERY_EDITION = "*"


class SqlScheduleRecords:
    """`ScheduleRecords` on SQLite and PostgreSQL, its tables up to date. Raises what `newsletter.store.failures` says.

    Every change is one statement with its condition in it, or an insertion that yields to one that is there: of several
    daemons that do the same at once one is told that it did. Times are kept in whole seconds, rounded down.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def mark(self, newsletter: str) -> dt.datetime | None:
        """See `ScheduleRecords`."""
        wanted = sa.select(schedule_mark.c.until).where(schedule_mark.c.newsletter == newsletter)
        with reading(self._engine) as connection:
            until = connection.scalar(wanted)
        return None if until is None else moment(until)

    def advance(self, newsletter: str, until: dt.datetime) -> None:
        """See `ScheduleRecords`."""
        at = seconds(until)
        with writing(self._engine) as connection:
            connection.execute(insert_new(connection, schedule_mark).values(newsletter=newsletter, until=at))
            connection.execute(
                sa.update(schedule_mark)
                .where(schedule_mark.c.newsletter == newsletter, schedule_mark.c.until < at)
                .values(until=at)
            )

    def slot(self, name: RunName) -> SlotRecord | None:
        """See `ScheduleRecords`."""
        found = self._slots(sa.select(schedule_slot).where(*_slot_is(name)))
        return found[0] if found else None

    def begun(self) -> Sequence[SlotRecord]:
        """See `ScheduleRecords`."""
        wanted = sa.select(schedule_slot).where(schedule_slot.c.state == SlotState.BEGUN)
        return self._slots(wanted.order_by(schedule_slot.c.at, schedule_slot.c.newsletter, schedule_slot.c.slot))

    def record(self, record: SlotRecord, *, now: dt.datetime) -> bool:
        """See `ScheduleRecords`."""
        values = {
            "at": seconds(record.at),
            "state": record.state.value,
            "reason": clean(record.reason),
            "changed_at": seconds(now),
        }
        name = record.name
        before = _FROM[record.state] - {None}
        with writing(self._engine) as connection:
            new = insert_new(connection, schedule_slot).values(newsletter=name.newsletter, slot=name.slot, **values)
            if connection.execute(new.returning(schedule_slot.c.at)).first():
                return True
            kept = schedule_slot.c
            of_a_wrong_clock = sa.and_(kept.state.in_(_WITHOUT_RUN), kept.changed_at > seconds(now + CLOCKS_APART))
            changed = connection.execute(
                sa.update(schedule_slot)
                .where(*_slot_is(name), sa.or_(kept.state.in_(before), of_a_wrong_clock))
                .values(values)
            )
            return changed.rowcount == 1

    def history(self, newsletter: str | None = None, *, limit: int = 100) -> Sequence[SlotRecord]:
        """See `ScheduleRecords`."""
        kept = schedule_slot.c
        wanted = sa.select(schedule_slot).order_by(kept.at.desc(), kept.newsletter, kept.slot).limit(limit)
        return self._slots(wanted if newsletter is None else wanted.where(kept.newsletter == newsletter))

    def skip(self, skip: Skip, *, now: dt.datetime) -> bool:
        """See `ScheduleRecords`."""
        values = {"reason": clean(skip.reason), "at": seconds(now)}
        with writing(self._engine) as connection:
            new = insert_new(connection, schedule_skip).values(
                newsletter=skip.newsletter, date=skip.date.isoformat(), edition=_edition(skip.edition), **values
            )
            if connection.execute(new.returning(schedule_skip.c.at)).first():
                return True
            connection.execute(
                sa.update(schedule_skip).where(*_skip_is(skip.newsletter, skip.date, skip.edition)).values(values)
            )
            return False

    def unskip(self, newsletter: str, date: dt.date, edition: str | None = None) -> bool:
        """See `ScheduleRecords`; for one edition it takes back what was said of that edition alone."""
        with writing(self._engine) as connection:
            gone = connection.execute(sa.delete(schedule_skip).where(*_skip_is(newsletter, date, edition)))
            return gone.rowcount == 1

    def skips(self, newsletter: str) -> Sequence[Skip]:
        """See `ScheduleRecords`."""
        wanted = sa.select(schedule_skip).where(schedule_skip.c.newsletter == newsletter)
        with reading(self._engine) as connection:
            rows = connection.execute(wanted.order_by(schedule_skip.c.date, schedule_skip.c.edition)).all()
        return [
            Skip(
                row.newsletter,
                dt.date.fromisoformat(row.date),
                None if row.edition == _EVERY_EDITION else row.edition,
                row.reason,
            )
            for row in rows
        ]

    def first_time(self, key: str, *, now: dt.datetime) -> bool:
        """See `ScheduleRecords`."""
        with writing(self._engine) as connection:
            new = insert_new(connection, notice).values(key=_storable(key), at=seconds(now))
            return connection.execute(new.returning(notice.c.at)).first() is not None

    def forget(self, key: str) -> None:
        """See `ScheduleRecords`."""
        with writing(self._engine) as connection:
            connection.execute(sa.delete(notice).where(notice.c.key == _storable(key)))

    def _slots(self, wanted: sa.Select[Any]) -> list[SlotRecord]:
        with reading(self._engine) as connection:
            rows = connection.execute(wanted).all()
        return [
            SlotRecord(
                RunName(row.newsletter, row.slot),
                moment(row.at),
                SlotState(row.state),
                row.reason,
                moment(row.changed_at),
            )
            for row in rows
        ]


def _slot_is(name: RunName) -> tuple[sa.ColumnElement[bool], ...]:
    return schedule_slot.c.newsletter == name.newsletter, schedule_slot.c.slot == name.slot


def _skip_is(newsletter: str, date: dt.date, edition: str | None) -> tuple[sa.ColumnElement[bool], ...]:
    kept = schedule_skip.c
    return kept.newsletter == newsletter, kept.date == date.isoformat(), kept.edition == _edition(edition)


def _edition(edition: str | None) -> str:
    return _EVERY_EDITION if edition is None else edition


def _storable(key: str) -> str:
    """A key may hold a file's name, and those hold what PostgreSQL keeps in no text: NUL, half of a surrogate pair."""
    return key.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
