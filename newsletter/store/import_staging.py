"""The rows of an import, loaded as they are into a table of this connection's own, before anything is compared.

Loading is the long part of an import, and touches nothing that others read.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from itertools import islice
from typing import Any

import sqlalchemy as sa

from newsletter.audience.model import Subscriber
from newsletter.audience.people import ImportTerms, SuppressionReason
from newsletter.store.mailing_lists import ensure_list, find_list
from newsletter.store.person_rows import packed_attributes, packed_tags, seconds
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
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("timezone", sa.Text, nullable=False),
    sa.Column("tags", sa.Text, nullable=False),
    sa.Column("attributes", sa.Text, nullable=False),
    sa.Column("consent_at", Moment),
    sa.Column("consent_source", sa.Text, nullable=False),
    sa.Column("consent_wording", sa.Text, nullable=False),
    sa.Column("consent_ip", sa.Text, nullable=False),
    # Claim
    sa.Column("claim", sa.Integer, nullable=False),
    # SuppressionReason, or '' for people who may be mailed
    sa.Column("left_reason", sa.Text, nullable=False),
    sa.Column("left_at", Moment),
    # 1 where that holds for all lists
    sa.Column("left_everywhere", sa.SmallInteger, nullable=False),
    # 1 where it is the address of somebody who was erased and has not come back
    sa.Column("erased", sa.SmallInteger, nullable=False),
    # when they left last by what is kept under their hash; NULL: they were never erased
    sa.Column("erased_left", Moment),
    # of rows with a reason: what the suppression of an erased person stands under (erased_key); else ''
    sa.Column("hashed", sa.Text, nullable=False),
)
#: The lists that the rows name: by the number they have here, their number in the database.
staged_list = temporary(
    "staged_list",
    sa.Column("list_ref", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("list_id", Id, nullable=False),
)

#: Rows that are loaded with one call, at most; fewer where their tags and attributes have more characters than this.
_CHUNK, _CHUNK_CHARACTERS = 2_000, 1_000_000
#: Rows after which that is looked at.
_LOOK = 100


class Claim(IntEnum):
    """Whose word there is for a consent, besides the row's own."""

    #: Nobody's.
    NONE = 0
    #: An operator's, for rows without a consent of their own (`confirmed_by`).
    CONFIRMED = 1
    #: An operator's, that everyone in the file asked for it again (`reconsent`).
    RECONSENT = 2


@dataclass(slots=True)
class Staged:
    """What was loaded. `departures`: some rows say that people left; `lists`: by name, its number in `staged`."""

    rows: int = 0
    several_lists: bool = False
    departures: bool = False
    lists: dict[str, int] = field(default_factory=dict)


def stage(
    connection: sa.Connection,
    rows: Iterable[Subscriber],
    terms: ImportTerms,
    *,
    now: dt.datetime,
    erased: Mapping[str, Erased],
    erasure_key: bytes,
    progress: Callable[[int], None],
) -> Staged:
    """Loads all rows into `staged`; `erased` are the erased people, by hash. `progress` hears how many so far."""
    new_temporary(connection, staged)
    done = Staged()
    packed = _packed(rows, terms, now, erased, erasure_key, done)
    for chunk in _chunks(packed):
        load(connection, staged, chunk)
        progress(done.rows)
    return done


def stage_erased(
    connection: sa.Connection, before: Mapping[str, Erased], after: Mapping[str, Erased], erasure_key: bytes
) -> None:
    """Says in `staged` who was erased, or has come back, since it was loaded."""
    changed = {hashed for hashed in {*before, *after} if before.get(hashed) != after.get(hashed)}
    if not changed:
        return
    keys = connection.scalars(sa.select(staged.c.key).distinct(), execution_options={"yield_per": _CHUNK})
    theirs = [(key, hashed) for key in keys if (hashed := erased_key(erasure_key, key)) in changed]
    for key, hashed in theirs:
        gone = after.get(hashed)
        state = {"erased": int(gone is not None and gone.stands), "erased_left": gone.left if gone else None}
        connection.execute(sa.update(staged).where(staged.c.key == key).values(state))


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


def load(connection: sa.Connection, table: sa.Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Adds rows, each with all columns in their order, by the quickest way of the database."""
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    if connection.dialect.name == "postgresql":
        driver: Any = connection.connection.dbapi_connection  # a detached one has no other
        with driver.cursor() as cursor, cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN') as copy:
            for row in rows:
                copy.write_row(row)
    else:
        marks = ", ".join("?" * len(table.columns))
        connection.exec_driver_sql(f'INSERT INTO "{table.name}" ({names}) VALUES ({marks})', list(rows))  # noqa: S608


def _packed(
    rows: Iterable[Subscriber],
    terms: ImportTerms,
    now: dt.datetime,
    erased: Mapping[str, Erased],
    erasure_key: bytes,
    done: Staged,
) -> Iterator[tuple[Any, ...]]:
    refs = done.lists
    own = (terms.into,)
    # plain numbers: an enum costs a look-up a row
    none, claim = Claim.NONE.value, (Claim.CONFIRMED if terms.confirmed_by else Claim.NONE).value
    reconsent = Claim.RECONSENT.value if terms.reconsent else None
    for n, row in enumerate(rows, start=1):
        done.rows = n
        consent_at = seconds(row.consent_at) if row.consent_at else None
        hashed = erased_key(erasure_key, row.key) if erased or row.left else ""
        gone = erased.get(hashed) if hashed else None
        claimed = none if consent_at is not None or row.consent_unclear else claim
        left = _STAYS
        if row.left:
            done.departures, claimed = True, none
            left = _left(row, now)
        elif reconsent is not None:
            claimed = reconsent
        of_erased = (int(gone.stands), gone.left) if gone else _NEVER_ERASED
        lists: Iterable[str] = row.lists or own
        if len(row.lists) > 1:
            lists = dict.fromkeys(row.lists)
            done.several_lists = True
        for name in lists:
            yield (
                n,
                refs.setdefault(name, len(refs)),
                row.key,
                row.address,
                row.name,
                row.language,
                row.timezone,
                _tags(row.tags) if row.tags else "",
                _attributes(tuple(row.attributes.items())) if row.attributes else "",
                consent_at,
                row.consent_source,
                row.consent_wording,
                row.consent_ip,
                claimed,
                *left,
                *of_erased,
                hashed if row.left else "",
            )


#: `left_reason`, `left_at` and `left_everywhere` of most rows, and `erased` and `erased_left`.
_STAYS: tuple[str, int | None, int] = ("", None, 0)
_NEVER_ERASED: tuple[int, int | None] = (0, None)


def _left(row: Subscriber, now: dt.datetime) -> tuple[str, int | None, int]:
    """Leaving is leaving one list; a bounce or a complaint is about the mailbox."""
    assert row.left
    everywhere = row.left_everywhere
    if everywhere is None:
        everywhere = row.left is not SuppressionReason.UNSUBSCRIBE
    # a time ahead of us is that of another time zone
    left_at = seconds(row.left_at) if row.left_at and row.left_at <= now else None
    return row.left.value, left_at, int(everywhere)


def _chunks(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """The rows, some at a time: a file may have texts of any length in each."""
    tags, attributes = (list(staged.columns.keys()).index(name) for name in ("tags", "attributes"))
    chunk: list[tuple[Any, ...]] = []
    room = 0
    while some := list(islice(rows, _LOOK)):
        chunk += some
        room += sum([len(row[tags]) + len(row[attributes]) for row in some])
        if len(chunk) >= _CHUNK or room >= _CHUNK_CHARACTERS:
            yield chunk
            chunk, room = [], 0
    if chunk:
        yield chunk


#: What many rows say alike is packed once. Longer texts are hardly alike, and ten thousand of them would be kept.
_REMEMBERED, _MOST_REMEMBERED = 200, 10
_tags_again = lru_cache(10_000)(packed_tags)


def _tags(tags: tuple[str, ...]) -> str:
    short = len(tags) <= _MOST_REMEMBERED and sum(map(len, tags)) <= _REMEMBERED
    return _tags_again(tags) if short else packed_tags(tags)


def _attributes(attributes: tuple[tuple[str, str], ...]) -> str:
    short = len(attributes) <= _MOST_REMEMBERED and sum([len(value) for _, value in attributes]) <= _REMEMBERED
    return _attributes_again(attributes) if short else packed_attributes(dict(attributes))


@lru_cache(10_000)
def _attributes_again(attributes: tuple[tuple[str, str], ...]) -> str:
    return packed_attributes(dict(attributes))
