"""Lists: found by name, and made when somebody is first put on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from newsletter.store.tables import mailing_list

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql


def find_list(connection: sa.Connection, name: str) -> int | None:
    """The number of the list, or None."""
    return connection.scalar(sa.select(mailing_list.c.id).where(mailing_list.c.name == name))


def ensure_list(connection: sa.Connection, name: str) -> int:
    """The number of the list; it is made if there is none. Two who make it at once get one."""
    found = find_list(connection, name)
    if found is None:
        connection.execute(insert_new(connection, mailing_list).values(name=name))
        found = find_list(connection, name)
        assert found is not None
    return found


def insert_new(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that leaves a row alone which is there already."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # takes long to load, and SQLite does without

        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()
