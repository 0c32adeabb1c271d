"""The rows of an import, loaded as they are into a table of this connection's own, before anything is compared.

Loading is the long part of an import, and touches nothing that others read.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from newsletter.audience.model import Subscriber, SubscriberColumns
from newsletter.audience.people import ImportTerms
from newsletter.store.import_packing import Packed, Packing, Staged, blocks_of
from newsletter.store.mailing_lists import ensure_list, find_list
from newsletter.store.suppressions import Erased, erased_key
from newsletter.store.tables import Id, Moment

_metadata = sa.MetaData()


def temporary(name: str, *columns: sa.Column[Any]) -> sa.Table:
    """A table that one connection has for itself, as long as it is open."""
    return sa.Table(name, _metadata, *columns, prefixes=["TEMPORARY"])


#: One row for each list that a row of the import names.
staged = temporary(
    "staged",
    # the number of the row; a row for two lists stands here twice
    sa.Column("n", Id, nullable=False),
    sa.Column("list_ref", sa.Integer, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    # NULL: as the key
    sa.Column("address", sa.Text),
    sa.Column("name", sa.Text, nullable=False, server_default=""),
    sa.Column("language", sa.Text, nullable=False, server_default=""),
    sa.Column("timezone", sa.Text, nullable=False, server_default=""),
    sa.Column("tags", sa.Text, nullable=False, server_default=""),
    sa.Column("attributes", sa.Text, nullable=False, server_default=""),
    sa.Column("consent_at", Moment),
    sa.Column("consent_source", sa.Text, nullable=False, server_default=""),
    sa.Column("consent_wording", sa.Text, nullable=False, server_default=""),
    sa.Column("consent_ip", sa.Text, nullable=False, server_default=""),
    # Claim
    sa.Column("claim", sa.Integer, nullable=False, server_default="0"),
    # SuppressionReason, or '' for people who may be mailed
    sa.Column("left_reason", sa.Text, nullable=False, server_default=""),
    sa.Column("left_at", Moment),
    # 1 where that holds for all lists
    sa.Column("left_everywhere", sa.SmallInteger, nullable=False, server_default="0"),
    # 1 where it is the address of somebody who was erased and has not come back
    sa.Column("erased", sa.SmallInteger, nullable=False, server_default="0"),
    # when they left last by what is kept under their hash; NULL: they were never erased
    sa.Column("erased_left", Moment),
    # of rows with a reason: what the suppression of an erased person stands under (erased_key); else ''
    sa.Column("hashed", sa.Text, nullable=False, server_default=""),
)
#: The lists that the rows name: by the number they have here, their number in the database.
staged_list = temporary(
    "staged_list",
    sa.Column("list_ref", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("list_id", Id, nullable=False),
)

#: Rows that are loaded with one call, at most; fewer where their tags and attributes have more characters than this.
_CHUNK, _CHUNK_CHARACTERS = 2_000, 1_000_000


def stage(
    connection: sa.Connection,
    rows: Iterable[Subscriber | SubscriberColumns],
    terms: ImportTerms,
    *,
    now: dt.datetime,
    erased: Mapping[str, Erased],
    erasure_key: bytes,
    progress: Callable[[int], None],
) -> Staged:
    """Loads all rows into `staged`; `erased` are the erased people, by hash. `progress` hears how many so far."""
    new_temporary(connection, staged)
    packing = Packing(terms, now, erased, erasure_key)
    packed = Packed()
    for block in blocks_of(rows):
        packing.add(block, packed)
        if packed.count >= _CHUNK or packed.characters >= _CHUNK_CHARACTERS:
            _load(connection, packed)
            packed = Packed()
            progress(packing.done.rows)
    if packed.count:
        _load(connection, packed)
        progress(packing.done.rows)
    return packing.done


def _load(connection: sa.Connection, packed: Packed) -> None:
    for columns, rows in packed.rows.items():
        load(connection, staged, rows, columns)


def stage_erased(
    connection: sa.Connection, before: Mapping[str, Erased], after: Mapping[str, Erased], erasure_key: bytes
) -> bool:
    """Says in `staged` who was erased, or has come back, since it was loaded; whether that is anybody of them."""
    changed = {hashed for hashed in {*before, *after} if before.get(hashed) != after.get(hashed)}
    if not changed:
        return False
    keys = connection.scalars(sa.select(staged.c.key).distinct(), execution_options={"yield_per": _CHUNK})
    theirs = [(key, hashed) for key in keys if (hashed := erased_key(erasure_key, key)) in changed]
    for key, hashed in theirs:
        gone = after.get(hashed)
        state = {"erased": int(gone is not None and gone.stands), "erased_left": gone.left if gone else None}
        connection.execute(sa.update(staged).where(staged.c.key == key).values(state))
    return bool(theirs)


def stage_lists(connection: sa.Connection, lists: Mapping[str, int]) -> None:
    """Loads `staged_list` with the lists that there are."""
    new_temporary(connection, staged_list)
    known = ((ref, find_list(connection, name)) for name, ref in lists.items())
    if ids := [(ref, one) for ref, one in known if one is not None]:
        load(connection, staged_list, ids)


def make_lists(connection: sa.Connection, lists: Mapping[str, int]) -> None:
    """Makes the lists that are missing, for `staged_list`, too."""
    there = set(connection.scalars(sa.select(staged_list.c.list_ref)))
    # in one order, so that two imports that make the same lists do not wait for each other
    missing = [(ref, ensure_list(connection, name)) for name, ref in sorted(lists.items()) if ref not in there]
    if missing:
        load(connection, staged_list, missing)


def new_temporary(connection: sa.Connection, *tables: sa.Table) -> None:
    """Makes the tables of this connection's own, anew."""
    for table in tables:
        connection.exec_driver_sql(f'DROP TABLE IF EXISTS "{table.name}"')
        connection.execute(sa.schema.CreateTable(table))


def load(
    connection: sa.Connection, table: sa.Table, rows: Sequence[tuple[Any, ...]], columns: Sequence[str] = ()
) -> None:
    """Adds rows, each with these columns, or with all in their order, by the quickest way of the database."""
    quoted = [f'"{name}"' for name in columns or table.columns.keys()]
    names = ", ".join(quoted)
    if connection.dialect.name == "postgresql":
        driver: Any = connection.connection.dbapi_connection  # a detached one has no other
        with driver.cursor() as cursor, cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN') as copy:
            for row in rows:
                copy.write_row(row)
    else:
        marks = ", ".join("?" * len(quoted))
        connection.exec_driver_sql(f'INSERT INTO "{table.name}" ({names}) VALUES ({marks})', list(rows))  # noqa: S608
