"""How tags, attributes and times of a person are kept in their columns, and read back."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import repeat
from typing import Any

from newsletter.audience.model import NO_ATTRIBUTES, Member
from newsletter.store.tables import subscriber


def seconds(moment: dt.datetime) -> int:
    """A time with its zone as whole seconds since the epoch, as the tables keep it."""
    return int(moment.timestamp())


#: A value that begins a text.
_decoded = json.JSONDecoder().raw_decode
#: What a datetime can be; a number beyond it must not keep anybody from being read, or a run from being sent.
_EARLIEST = int(dt.datetime(1, 1, 1, tzinfo=dt.UTC).timestamp())
_LATEST = int(dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC).timestamp())


def moment(kept: int) -> dt.datetime:
    """The time, in UTC; the first or last that there is, for a number that is none."""
    return dt.datetime.fromtimestamp(min(max(kept, _EARLIEST), _LATEST), dt.UTC)


def packed_tags(tags: Iterable[str]) -> str:
    """`(vip, press)` → `' press vip '`; a space within a tag becomes a hyphen, since spaces stand between tags."""
    words = sorted({"-".join(tag.split()) for tag in tags} - {""})
    return f" {' '.join(words)} " if words else ""


def unpacked_tags(kept: str) -> tuple[str, ...]:
    """The tags, sorted."""
    return tuple(kept.split())


def packed_attributes(attributes: Mapping[str, str]) -> str:
    """A JSON object with sorted keys, or `''` for none."""
    return json.dumps(dict(attributes), ensure_ascii=False, sort_keys=True) if attributes else ""


def unpacked_attributes(kept: str) -> dict[str, str]:
    """The attributes."""
    return dict(_decoded(kept)[0]) if kept else {}


#: What a `Member` is made of.
MEMBER_COLUMNS = (
    subscriber.c.id,
    subscriber.c.key,
    subscriber.c.address,
    subscriber.c.name,
    subscriber.c.language,
    subscriber.c.timezone,
    subscriber.c.attributes,
    subscriber.c.measures_opens,
)


def members(rows: Sequence[Sequence[Any]]) -> Iterator[Member]:
    """The members of an audience from rows that have `MEMBER_COLUMNS`."""
    return members_of([*zip(*rows, strict=True)]) if rows else iter(())


def members_of(columns: Sequence[Sequence[Any]]) -> Iterator[Member]:
    """The same from the columns of such rows: a run makes a member a message."""
    *same, attributes, opens = columns
    said: Iterable[Mapping[str, str]] = repeat(NO_ATTRIBUTES)
    if any(attributes):
        said = [unpacked_attributes(one) if one else NO_ATTRIBUTES for one in attributes]
    return map(_made, zip(*same, said, map(bool, opens)))  # noqa: B905 - one may have no end


#: As `Member(…)` does it, at half the cost.
_made: Callable[[Iterable[Any]], Member] = partial(tuple.__new__, Member)
