"""Rows of a subscriber file that name somebody for a list a second time.

Whom a row names for which list is told by a hash of 64 bits: a million of them take 9 MB, and that two of them are
alike by chance is as likely as to draw one certain hair out of all on Earth.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from newsletter.audience.model import Excluded, Exclusion, Subscriber, SubscriberColumns

#: One row, or many at a time.
Rows = Iterable[Subscriber | SubscriberColumns]

#: Bits in which each row marks one. A million rows fill 1.5 % of them, and take no room of their own.
_BITS = 1 << 26


def repeated_rows(rows: Callable[[], Rows]) -> Iterator[Excluded]:
    """The rows that stand for none but lists on which an earlier row has the same person.

    `rows` is called twice, and must give the same rows; only the people who may be repeated are remembered.
    """
    suspects = _suspects(rows())
    seen = bytearray(len(suspects))
    for key, lists, row, number in _each(rows()):
        found = [_position(suspects, hash((key, name))) for name in lists]
        if found and all(at >= 0 and seen[at] for at in found):
            if isinstance(row, Subscriber):
                address, place = row.address, row.place
            else:
                address, place = row.address[number], row.place[number]
            yield Excluded(address, Exclusion.DUPLICATE, "stands on the list before", place, lists)
        for at in found:
            if at >= 0:
                seen[at] = 1


def _each(rows: Rows) -> Iterator[tuple[str, tuple[str, ...], Subscriber | SubscriberColumns, int]]:
    """Whom each row names for which lists; where it stands, and as the how manieth from 0 there."""
    for row in rows:
        if isinstance(row, Subscriber):
            yield row.key, row.lists, row, 0
        else:
            for number, (key, lists) in enumerate(zip(row.key, row.lists, strict=True)):
                yield key, lists, row, number


def _suspects(rows: Rows) -> array[int]:
    """The hashes of all who are repeated, and of few others; sorted."""
    marks = bytearray(_BITS // 8)
    suspects = array("q")
    for key, lists, _, _ in _each(rows):
        for name in lists:
            found = hash((key, name))
            byte, bit = (found % _BITS) >> 3, 1 << (found & 7)
            if marks[byte] & bit:
                suspects.append(found)
            marks[byte] |= bit
    return array("q", (found for found, _ in groupby(sorted(suspects))))


def _position(suspects: array[int], found: int) -> int:
    """Where it stands among them; -1: nowhere."""
    at = bisect_left(suspects, found)
    return at if at < len(suspects) and suspects[at] == found else -1
