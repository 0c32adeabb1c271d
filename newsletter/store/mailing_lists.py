"""Lists: found by name, and made when somebody is first put on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from newsletter.store.tables import mailing_list
from newsletter.store.upserting import insert_into

if TYPE_CHECKING:
    pass


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


def insert_new(connection: sa.Connection, table: sa.Table) -> sa.Insert:
    """An INSERT that leaves a row alone which is there already."""
    return insert_into(connection, table).on_conflict_do_nothing()
