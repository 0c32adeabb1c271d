"""What an import changes about people who are known, or who stand in the file more than once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Any

import sqlalchemy as sa

from newsletter.store.import_comparing import KEPT, compared, says_more
from newsletter.store.import_staging import load, new_temporary, temporary
from newsletter.store.person_rows import packed_attributes, packed_tags, unpacked_attributes, unpacked_tags
from newsletter.store.tables import Id, subscriber

#: What is kept about a person, as it will be.
changed = temporary(
    "changed",
    sa.Column("id", Id, primary_key=True, autoincrement=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("timezone", sa.Text, nullable=False),
    sa.Column("tags", sa.Text, nullable=False),
    sa.Column("attributes", sa.Text, nullable=False),
)
#: The columns that a file replaces where it says something else; tags and attributes are added to.
_REPLACED = ("name", "language", "timezone")
_CHUNK = 2_000

Kept = tuple[str, ...]


def merge_people(connection: sa.Connection) -> int:
    """Writes what the rows say that is not kept yet; returns how many people changed (`changed` names them).

    Everyone of the rows must be in `subscriber`.
    """
    new_temporary(connection, changed)
    count = 0
    found = _changes(connection.execute(_candidates(), execution_options={"yield_per": _CHUNK}))
    while chunk := list(islice(found, _CHUNK)):
        load(connection, changed, chunk)
        count += len(chunk)
    if count:
        said = {name: changed.c[name] for name in KEPT}
        connection.execute(sa.update(subscriber).values(said).where(subscriber.c.id == changed.c.id))
    return count


def merged(kept: Kept, rows: Iterable[Kept]) -> Kept:
    """What is kept of a person after `rows` of one file, each as (name, language, timezone, tags, attributes).

    Of names, languages and time zones, the first that the file says replaces what is kept; an empty one says nothing.
    Tags are added. Attributes are merged by name, with the file's values; its first wins.
    """
    said = list(rows)
    replaced = [next((row[at] for row in said if row[at]), kept[at]) for at in range(len(_REPLACED))]
    tags, attributes = kept[-2:]
    more = [row[-2] for row in said if row[-2] and row[-2] != tags]
    if more:
        tags = packed_tags([*unpacked_tags(tags), *(tag for one in more for tag in unpacked_tags(one))])
    others = [row[-1] for row in said if row[-1] and row[-1] != attributes]
    if others:
        values: dict[str, str] = {}
        for one in (row[-1] for row in said):
            values = unpacked_attributes(one) | values
        attributes = packed_attributes(unpacked_attributes(attributes) | values)
    return (*replaced, tags, attributes)


def _candidates() -> sa.Select[Any]:
    """The rows that may change somebody, with what is kept of them; by person, in the order of the file."""
    columns: list[sa.ColumnElement[Any]] = [subscriber.c.id, *(subscriber.c[name] for name in KEPT)]
    columns += [compared.c[name].label(f"said_{name}") for name in KEPT]
    known = sa.or_(compared.c.several == 1, compared.c.subscriber_id.is_not(None))
    return (
        sa.select(*columns)
        .join_from(compared, subscriber, subscriber.c.key == compared.c.key)
        .where(compared.c.barred == 0, known, sa.or_(compared.c.several == 1, says_more(compared)))
        .order_by(compared.c.key, compared.c.n)
        # another transaction may be adding tags to the same person
        .with_for_update(of=subscriber)
    )


def _changes(rows: Iterable[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    width = len(KEPT)
    for person_id, group in groupby(rows, key=lambda row: row[0]):
        said = list(group)
        kept = tuple(said[0][1 : 1 + width])
        new = merged(kept, (tuple(row[1 + width :]) for row in said))
        if new != kept:
            yield (person_id, *new)
