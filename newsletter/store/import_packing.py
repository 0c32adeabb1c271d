"""The rows of an import as they are staged: tags and attributes packed, times as numbers, lists by number."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import IntEnum
from functools import lru_cache
from typing import Any

from newsletter.audience.model import Subscriber, SubscriberColumns
from newsletter.audience.people import ImportTerms, SuppressionReason
from newsletter.store.person_rows import packed_attributes, packed_tags, seconds
from newsletter.store.suppressions import Erased, erased_key

#: Single rows are packed so many at a time; fewer where each names several lists, of which there may be any number.
_TOGETHER = 100


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
    """What was loaded. `departures`: some rows say that people left; `lists`: by name, its number in `staged`.

    `columns`: those of `staged` in which anything was said of any row. `apart`: some rows may be about people who left
    or were erased; else nothing stands in the columns about them.
    """

    rows: int = 0
    several_lists: bool = False
    departures: bool = False
    apart: bool = False
    columns: set[str] = field(default_factory=set)
    lists: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Packed:
    """Some rows, by the columns that they have; what others hold is what the table says. `count` is how many there
    are: a row of a file makes one for each of its lists."""

    rows: dict[tuple[str, ...], list[tuple[Any, ...]]] = field(default_factory=dict)
    count: int = 0
    #: How long their tags and attributes are.
    characters: int = 0

    def add(self, columns: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
        """More with these columns, in their order."""
        said = self.rows.setdefault(columns, [])
        before = len(said)
        said.extend(rows)
        self.count += len(said) - before


#: Every row has something in these columns.
_ALWAYS = ("n", "key")
#: And rows about people who left or were erased in these.
_APART = ("left_reason", "left_at", "left_everywhere", "erased", "erased_left", "hashed")


#: `left_reason`, `left_at` and `left_everywhere` of most rows, and `erased` and `erased_left`.
_STAYS: tuple[str, int | None, int] = ("", None, 0)
_NEVER_ERASED: tuple[int, int | None] = (0, None)


class Packing:
    """Packs the rows of one import. `erased` are the erased people, by hash."""

    def __init__(self, terms: ImportTerms, now: dt.datetime, erased: Mapping[str, Erased], erasure_key: bytes) -> None:
        self._own = (terms.into,)
        self._confirmed = bool(terms.confirmed_by)
        self._reconsent = bool(terms.reconsent)
        self._now = now
        self._erased = erased
        self._erasure_key = erasure_key
        self.done = Staged()

    def add(self, block: SubscriberColumns, to: Packed) -> None:
        """Packs these rows, whose numbers follow on those of the rows before."""
        tags = [_tags(one) if one else "" for one in block.tags]
        attributes = [_attributes(one) if one else "" for one in block.attributes]
        to.characters += sum(map(len, tags)) + sum(map(len, attributes))
        size, before = len(block.key), self.done.rows
        self.done.rows += size
        columns: dict[str, Sequence[Any]] = {
            "n": range(before + 1, before + 1 + size),
            "key": block.key,
            "address": [None if given == key else given for given, key in zip(block.address, block.key, strict=True)],
            "name": block.name,
            "language": block.language,
            "timezone": block.timezone,
            "tags": tags,
            "attributes": attributes,
            "consent_at": self._seconds(block),
            "consent_source": block.consent_source,
            "consent_wording": block.consent_wording,
            "consent_ip": block.consent_ip,
            "claim": self._claims(block),
        }
        lists = self._refs(block)
        if self._erased or any(block.left):
            self.done.apart = True
            self.done.columns.update(columns, _APART)
            to.add(("list_ref", *columns, *_APART), self._apart(block, lists, columns))
            return
        nothing = [None] * size
        # most files have few of the columns
        said = {
            name: each
            for name, each in columns.items()
            if name in _ALWAYS or (each != nothing if name == "consent_at" else any(each))  # 0 is a time
        }
        self.done.columns.update(said)
        if max(map(len, lists)) > 1:
            each_list = zip(lists, zip(*said.values(), strict=True), strict=True)
            to.add(("list_ref", *said), ((ref, *row) for refs, row in each_list for ref in refs))
        else:
            to.add(("list_ref", *said), zip([ref for (ref,) in lists], *said.values(), strict=True))

    def _apart(
        self, block: SubscriberColumns, lists: Sequence[tuple[int, ...]], columns: Mapping[str, Sequence[Any]]
    ) -> Iterator[tuple[Any, ...]]:
        """The rows, where some may be of people who left or were erased."""
        for at, row in enumerate(zip(*columns.values(), strict=True)):
            left = block.left[at]
            hashed = erased_key(self._erasure_key, block.key[at]) if self._erased or left else ""
            gone = self._erased.get(hashed)
            said, others = row, _STAYS
            if left is not None:
                self.done.departures = True
                said = (*row[:-1], Claim.NONE.value)
                others = self._left(left, block.left_at[at], block.left_everywhere[at])
            of_erased = (int(gone.stands), gone.left) if gone else _NEVER_ERASED
            for ref in lists[at]:
                yield (ref, *said, *others, *of_erased, hashed if left else "")

    def _left(
        self, left: SuppressionReason, left_at: dt.datetime | None, everywhere: bool | None
    ) -> tuple[str, int | None, int]:
        """Leaving is leaving one list; a bounce or a complaint is about the mailbox."""
        if everywhere is None:
            everywhere = left is not SuppressionReason.UNSUBSCRIBE
        # a time ahead of us is that of another time zone
        return left.value, seconds(left_at) if left_at and left_at <= self._now else None, int(everywhere)

    def _refs(self, block: SubscriberColumns) -> list[tuple[int, ...]]:
        """The numbers of each row's lists."""
        found, done = {}, self.done
        # not a set: in the order of the rows, whatever Python's hashes of texts are today
        for names in dict.fromkeys(block.lists):
            several = dict.fromkeys(names or self._own)
            done.several_lists = done.several_lists or len(several) > 1
            found[names] = tuple([done.lists.setdefault(name, len(done.lists)) for name in several])
        return list(map(found.__getitem__, block.lists))

    def _seconds(self, block: SubscriberColumns) -> list[int | None]:
        found = {moment: None if moment is None else seconds(moment) for moment in set(block.consent_at)}
        return list(map(found.__getitem__, block.consent_at))

    def _claims(self, block: SubscriberColumns) -> list[int]:
        if self._reconsent:
            return [Claim.RECONSENT.value] * len(block.key)
        if not self._confirmed:
            return [Claim.NONE.value] * len(block.key)
        # plain numbers: an enum costs a look-up a row
        none, confirmed = Claim.NONE.value, Claim.CONFIRMED.value
        return [
            none if moment is not None or unclear else confirmed
            for moment, unclear in zip(block.consent_at, block.consent_unclear, strict=True)
        ]


def blocks_of(rows: Iterable[Subscriber | SubscriberColumns]) -> Iterator[SubscriberColumns]:
    """All of them in columns, in their order."""
    single: list[Subscriber] = []
    room = 0
    for row in rows:
        if isinstance(row, Subscriber):
            single.append(row)
            room += max(1, len(row.lists))
            if room < _TOGETHER:
                continue
        if single:
            yield in_columns(single)
            single, room = [], 0
        if isinstance(row, SubscriberColumns):
            yield row
    if single:
        yield in_columns(single)


def in_columns(rows: Sequence[Subscriber]) -> SubscriberColumns:
    """Single rows as columns."""
    names = [column.name for column in fields(SubscriberColumns)]
    said: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in names}
    return SubscriberColumns(**said | {"attributes": [tuple(row.attributes.items()) for row in rows]})


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
