"""A recipient's values, ready to stand between segments that were encoded before.

Escaping for the place (`escaping`) and quoted-printable (`quoted_printable`) decide what a value becomes. For values of
the two shapes that nearly all have, a plain name and a link that ends with a token, the same is known without asking:
a message costs a third less.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from newsletter.rendering.escaping import clean_url, escape_value, plain_pattern, plain_text
from newsletter.rendering.model import HoleContext
from newsletter.rendering.plain_columns import PlainColumn
from newsletter.rendering.quoted_printable import SOFT_BREAK, encode_value

#: A plain text of this length stays on one line.
_LONGEST_PLAIN = 75
#: Ends of links that neither changes. No line may begin with a dot, and none of these does.
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")
_SOFT = SOFT_BREAK.encode("ascii")
_TEXTS = frozenset({HoleContext.HTML, HoleContext.TEXT})
_LINKS = frozenset({HoleContext.HTML_URL, HoleContext.TEXT_URL})


class _Link(NamedTuple):
    """A link as it was encoded, but for its last part, of `length` letters. `contexts` holds for each context what
    stands before that part, and how it is cut by soft breaks (from, to)."""

    head: str
    length: int
    contexts: Sequence[tuple[bytes, Sequence[tuple[int, int]]]]


class ValueEncoder:
    """Encodes the values of one name for each of the contexts in which it stands. Remembers the last value: many are
    the same for all recipients. May be shared between threads."""

    __slots__ = ("_contexts", "_last", "_link", "_links", "_plain", "_texts")

    def __init__(self, contexts: Sequence[HoleContext]) -> None:
        self._contexts = contexts
        self._texts = _TEXTS.issuperset(contexts)
        self._links = _LINKS.issuperset(contexts)
        plain = plain_pattern(contexts) if self._texts else None
        self._plain = None if plain is None else PlainColumn(plain[0], _LONGEST_PLAIN)
        # each read and written as one tuple, so that threads never see parts of two
        self._last: tuple[str, Sequence[bytes]] = ("", [b""] * len(contexts))
        self._link = _Link("", -1, ())

    def encode(self, value: str) -> Sequence[bytes]:
        """The bytes of a raw value for each context: `encode_value(escape_value(value, context))`."""
        last_value, last_encoded = self._last
        if value == last_value:
            return last_encoded
        if self._texts and len(value) <= _LONGEST_PLAIN and plain_text(value) and not value.startswith("From "):
            encoded: Sequence[bytes] = (value.encode("ascii") + _SOFT,) * len(self._contexts)
        elif self._links:
            encoded = self._as_link(value)
        else:
            encoded = self._slowly(value)
        self._last = (value, encoded)
        return encoded

    def encode_all(self, values: Sequence[str]) -> Sequence[Sequence[bytes]]:
        """For each context the bytes of each value."""
        if values.count(values[0]) == len(values):
            return [[one] * len(values) for one in self.encode(values[0])]
        if self._plain is not None:
            return self._as_texts(values, self._plain)
        if self._links and (encoded := self._as_links(values)) is not None:
            return encoded
        return list(zip(*map(self.encode, values), strict=True))

    def _as_texts(self, values: Sequence[str], plain: PlainColumn) -> Sequence[Sequence[bytes]]:
        odd = set(plain.others(values)).union(place for place, one in enumerate(values) if one.startswith("From "))
        if not odd:
            return [[one.encode("ascii") + _SOFT if one else b"" for one in values]] * len(self._contexts)
        usual = [b"" if place in odd or not one else one.encode("ascii") + _SOFT for place, one in enumerate(values)]
        columns = [usual, *(usual.copy() for _ in self._contexts[1:])]
        for place in odd:
            for column, encoded in zip(columns, self._slowly(values[place]), strict=True):
                column[place] = encoded
        return columns

    def _as_links(self, values: Sequence[str]) -> Sequence[Sequence[bytes]] | None:
        """Links that differ in their token only, all of one length; None where they are others."""
        self.encode(values[0])  # of others it knows how they are cut
        known = self._link
        start, length = len(known.head) + 1, known.length
        if length < 1 or {len(one) for one in values} != {start + length}:
            return None
        beginning = f"{known.head}/"
        tokens = "".join([one[start:] for one in values if one.startswith(beginning)])
        if len(tokens) != length * len(values) or not _TOKEN.fullmatch(tokens):
            return None
        ends = tokens.encode("ascii")
        made: dict[tuple[bytes, Sequence[tuple[int, int]]], Sequence[bytes]] = {}
        for before, cuts in dict.fromkeys(known.contexts):  # mostly it is the same in all of them
            made[before, cuts] = _ended(before, cuts, ends, length)
        return [made[one] for one in known.contexts]

    def _slowly(self, value: str) -> list[bytes]:
        return [encode_value(escape_value(value, context)) for context in self._contexts]

    def _as_link(self, value: str) -> list[bytes]:
        """Links to one page differ in the token at their end, and are cut at the same places."""
        head, _, token = value.rpartition("/")
        if not _TOKEN.fullmatch(token):
            return self._slowly(value)
        known = self._link
        if known.head == head and known.length == len(token):
            end = token.encode("ascii")
            return [
                before + b"".join([end[start:stop] + _SOFT for start, stop in cuts]) for before, cuts in known.contexts
            ]
        encoded = self._slowly(value)
        if head.count("/") > 1 and clean_url(value) == value:  # else the token could be a part of the host
            self._link = _Link(head, len(token), [_without_end(one, len(token)) for one in encoded])
        return encoded


def _ended(before: bytes, cuts: Sequence[tuple[int, int]], ends: bytes, length: int) -> Sequence[bytes]:
    """What stands before all of several ends of one length, with each of them behind it, cut as it must be. Written
    letter by letter of all of them: that is quicker than one after the other."""
    form = before + b"".join(bytes(stop - cut) + _SOFT for cut, stop in cuts)
    size, number = len(form), len(ends) // length
    whole = bytearray(form * number)
    for count, (cut, stop) in enumerate(cuts):
        shift = len(before) + count * len(_SOFT)
        for place in range(cut, stop):
            whole[shift + place :: size] = ends[place::length]
    written = bytes(whole)
    return [written[at : at + size] for at in range(0, len(written), size)]


def _without_end(encoded: bytes, length: int) -> tuple[bytes, Sequence[tuple[int, int]]]:
    """What stands before the last `length` letters of an encoded value, and where soft breaks cut these."""
    cuts: list[tuple[int, int]] = []
    end, left = len(encoded), length
    while left:
        end -= len(_SOFT)
        line = encoded.rfind(_SOFT, 0, end)
        start = max(line + len(_SOFT) if line >= 0 else 0, end - left)
        cuts.insert(0, (left - (end - start), left))
        left -= end - start
        end = start
    return encoded[:end], tuple(cuts)
