"""Approvals: which content of an issue an operator let out. One an issue; a later one takes its place."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa

from newsletter.delivery.names import RunName
from newsletter.store.delivery_notes import clean
from newsletter.store.mailing_lists import insert_new
from newsletter.store.person_rows import moment, seconds
from newsletter.store.tables import approval as table


def approve(connection: sa.Connection, name: RunName, content_hash: str, *, by: str, now: dt.datetime) -> None:
    """See `Ledger`."""
    values = {"content_hash": content_hash, "approved_by": clean(by), "at": seconds(now)}
    new = insert_new(connection, table).values(newsletter=name.newsletter, slot=name.slot, **values)
    if connection.execute(new.returning(table.c.at)).first() is None:
        connection.execute(sa.update(table).where(*_is_of(name)).values(values))


def approval(connection: sa.Connection, name: RunName) -> tuple[str, dt.datetime, str] | None:
    """See `Ledger`."""
    row = connection.execute(sa.select(table).where(*_is_of(name))).one_or_none()
    return (row.content_hash, moment(row.at), row.approved_by) if row else None


def _is_of(name: RunName) -> tuple[sa.ColumnElement[bool], ...]:
    return table.c.newsletter == name.newsletter, table.c.slot == name.slot
