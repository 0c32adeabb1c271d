"""Issues as they went out: `Archive` on a database. When one did is not kept here: its run says so."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from newsletter.delivery.archive import PublishedIssue
from newsletter.delivery.names import RunName
from newsletter.store.engine import reading, writing
from newsletter.store.mailing_lists import insert_new
from newsletter.store.person_rows import moment
from newsletter.store.tables import published_issue as table
from newsletter.store.tables import run

#: What a list of issues does not read: there may be many, and they are long.
_LONG = ("html", "text")


class SqlArchive:
    """`Archive` on SQLite and PostgreSQL, its tables up to date. Raises what `newsletter.store.failures` says."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def keep(self, issue: PublishedIssue) -> None:
        """See `Archive`."""
        values = {
            "issue_date": issue.issue_date.isoformat(),
            "title": issue.title,
            "subject": issue.subject,
            "preheader": issue.preheader,
            "html": issue.html,
            "text": issue.text,
            "content_hash": issue.content_hash,
            "image_origins": json.dumps(list(issue.image_origins), ensure_ascii=False),
        }
        new = {"newsletter": issue.run.newsletter, "slot": issue.run.slot, **values}
        with writing(self._engine) as connection:
            kept = connection.execute(insert_new(connection, table).values(new).returning(table.c.slot)).first()
            if kept is None:
                connection.execute(sa.update(table).where(*_is(issue.run)).values(values))

    def issues(self, newsletter: str, *, limit: int = 50, before: RunName | None = None) -> Sequence[PublishedIssue]:
        """See `Archive`. The latest is the one of the latest date; of several editions the one planned last."""
        short = [column for column in table.columns if column.name not in _LONG]
        wanted = _sent(*short).where(table.c.newsletter == newsletter)
        with reading(self._engine) as connection:
            if before is not None:
                date, number = _place(connection, before)
                earlier = sa.and_(table.c.issue_date == date, run.c.id < number)
                wanted = wanted.where(sa.or_(table.c.issue_date < date, earlier))
            latest = wanted.order_by(table.c.issue_date.desc(), run.c.id.desc()).limit(limit)
            return [_read(row) for row in connection.execute(latest)]

    def issue(self, run: RunName) -> PublishedIssue | None:
        """See `Archive`."""
        with reading(self._engine) as connection:
            row = connection.execute(_sent(*table.columns).where(*_is(run))).one_or_none()
        return _read(row) if row else None


def _is(name: RunName) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.newsletter == name.newsletter, table.c.slot == name.slot


def _sent(*columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Those whose run has begun to send, and when."""
    slot = run.c.issue_date.concat(sa.case((run.c.edition == "", ""), else_=sa.literal(".").concat(run.c.edition)))
    its_run = sa.and_(
        run.c.newsletter == table.c.newsletter, run.c.issue_date == table.c.issue_date, slot == table.c.slot
    )
    chosen = sa.select(*columns, run.c.started_at).select_from(table.join(run, its_run))
    return chosen.where(run.c.started_at.is_not(None))


def _place(connection: sa.Connection, name: RunName) -> tuple[str, int]:
    """(date, number of the run) of an issue; of one that is not known, as if it were the first of its date."""
    row = connection.execute(_sent(table.c.issue_date, run.c.id).where(*_is(name))).one_or_none()
    return (row.issue_date, row.id) if row else (name.slot.partition(".")[0], 0)


def _read(row: sa.Row[Any]) -> PublishedIssue:
    columns = row._mapping
    return PublishedIssue(
        run=RunName(row.newsletter, row.slot),
        issue_date=dt.date.fromisoformat(row.issue_date),
        title=row.title,
        subject=row.subject,
        preheader=row.preheader,
        html=columns.get("html", ""),
        text=columns.get("text", ""),
        content_hash=row.content_hash,
        image_origins=tuple(json.loads(row.image_origins)),
        published_at=moment(row.started_at),
    )
