"""Rows of a subscriber file, hundreds at a time: what is plain about them is read a column at a time.

Most cells of most files need nothing done to them, and most columns say a few things again and again. So each text is
read once for all rows of a block that say it, and a column without anything odd is taken as it is. Rows with something
out of the ordinary are left to be read one by one (`csv_file`); both ways say the same of a row, which a test compares.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from newsletter.audience.addresses import plainly_mailable
from newsletter.audience.csv_cells import (
    LONGEST_LANGUAGE,
    LONGEST_NAME,
    LONGEST_VALUE,
    REMEMBERED,
    clean,
    clean_again,
    moment_of,
    spread,
    timezones,
    words,
)
from newsletter.audience.csv_columns import Columns
from newsletter.audience.state_words import Standing, standing_of

_Value = TypeVar("_Value")
_NO_WORDS: tuple[str, ...] = ()
_NO_PAIRS: tuple[tuple[str, str], ...] = ()
_moment_again = lru_cache(10_000)(moment_of)


class PlainRows:
    """Reads blocks of rows: as many columns as `SubscriberColumns` has, by name, and which rows are not plain.

    `own_list` is that of rows without a list, `source` that of consents without one; a time after `latest` is none.
    """

    def __init__(self, columns: Columns, *, own_list: str, source: str, latest: dt.datetime) -> None:
        self._columns = columns
        self._own = (own_list,) if own_list else ()
        self._source = source
        self._latest = latest

    def read(self, rows: Sequence[Sequence[str]]) -> tuple[dict[str, list[Any]], set[int]]:
        """The columns of some rows, at least one; and the positions from 0 of those that are not plain: what the
        columns have there means nothing."""
        block = _Block(self._columns, rows)
        address = plainly_mailable(block.column("email"))
        if "" in address:
            block.odd.update(at for at, one in enumerate(address) if not one)
        block.leave_odd("state", lambda text: standing_of(text) is not Standing.OPEN)
        columns: dict[str, list[Any]] = {
            "key": list(map(str.lower, address)),
            "address": address,
            "name": self._names(block),
            "lists": self._lists(block),
            "tags": block.read("tags", words, _NO_WORDS),
            "timezone": self._timezones(block),
            "language": block.read("language", lambda text: clean_again(text, LONGEST_LANGUAGE), ""),
            "consent_at": self._consents(block),
            "consent_source": block.read(
                "consent_source", lambda text: clean_again(text, LONGEST_VALUE) or self._source, self._source
            ),
            "attributes": self._attributes(block),
            "consent_wording": block.read("consent_wording", lambda text: clean_again(text, LONGEST_VALUE), ""),
            "consent_ip": _cleaned(block.column("consent_ip"), LONGEST_VALUE),
            "consent_unclear": [False] * block.size,
            "left": [None] * block.size,
            "left_at": [None] * block.size,
            "left_everywhere": [None] * block.size,
        }
        return columns, block.odd

    def _names(self, block: _Block) -> list[str]:
        names = block.column("name")
        if block.has("first_name") or block.has("last_name"):
            parts = zip(names, block.column("first_name"), block.column("last_name"), strict=True)
            names = [name or f"{first.strip()} {last.strip()}".strip() for name, first, last in parts]
        if max(map(len, names)) > LONGEST_NAME:
            block.odd.update(at for at, name in enumerate(names) if len(name) > LONGEST_NAME)
        return _cleaned(names, LONGEST_NAME)

    def _lists(self, block: _Block) -> list[tuple[str, ...]]:
        if not self._own:
            block.leave_odd("list", lambda text: not words(text))
            if not block.has("list"):
                block.odd.update(range(block.size))
        return block.read("list", lambda text: words(text) or self._own, self._own)

    def _timezones(self, block: _Block) -> list[str]:
        known = timezones()
        block.leave_odd("timezone", lambda text: bool(text) and text.strip() not in known and not text.isspace())
        return block.read("timezone", str.strip, "")

    def _consents(self, block: _Block) -> list[dt.datetime | None]:
        latest = self._latest

        def moment(text: str) -> dt.datetime | None:
            if not text or text.isspace():
                return None
            found = _moment_again(text) if len(text) <= REMEMBERED else moment_of(text)
            if found is None or found > latest:
                unclear.add(text)
            return found

        unclear: set[str] = set()
        found = block.read("consent_at", moment, None)
        block.leave("consent_at", unclear)
        return found

    def _attributes(self, block: _Block) -> list[tuple[tuple[str, str], ...]]:
        found: list[tuple[tuple[str, str], ...]] = [()] * block.size
        if self._columns.attributes:
            names = tuple(name for _, name in self._columns.attributes)
            rows = list(
                zip(*(_cleaned(block.cells[at], LONGEST_VALUE) for at, _ in self._columns.attributes), strict=True)
            )
            pairs = {
                values: tuple([(name, value) for name, value in zip(names, values, strict=True) if value])
                for values in set(rows)
            }
            found = list(map(pairs.__getitem__, rows))
        if block.has("attributes"):
            objects = block.read("attributes", _pairs, _NO_PAIRS)
            found = [own + more for own, more in zip(found, objects, strict=True)]
        return found


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    return tuple(spread(text).items()) if text else _NO_PAIRS


class _Block:
    """The cells of some rows by column, and which rows are odd."""

    def __init__(self, columns: Columns, rows: Sequence[Sequence[str]]) -> None:
        self.size = len(rows)
        self.odd: set[int] = set()
        self._at = columns.at
        self._nothing = ("",) * self.size
        width = columns.width
        if set(map(len, rows)) != {width}:
            self.odd.update(at for at, row in enumerate(rows) if len(row) > width)
            rows = [[*row[:width], *[""] * (width - len(row))] for row in rows]
        self.cells: list[Sequence[str]] = list(zip(*rows, strict=True))

    def has(self, meaning: str) -> bool:
        """Whether the file has a column with this meaning."""
        return meaning in self._at

    def column(self, meaning: str) -> Sequence[str]:
        """The cells of this column; empty ones where the file has none."""
        return self.cells[self._at[meaning]] if meaning in self._at else self._nothing

    def read(self, meaning: str, read: Callable[[str], _Value], nothing: _Value) -> list[_Value]:
        """What `read` makes of each cell, once for all alike; `nothing` where the file has no such column."""
        if meaning not in self._at:
            return [nothing] * self.size
        column = self.column(meaning)
        found = {text: read(text) for text in set(column)}
        return list(map(found.__getitem__, column))

    def leave_odd(self, meaning: str, odd: Callable[[str], bool]) -> None:
        """The rows whose cell is odd are not plain."""
        if meaning in self._at:
            self.leave(meaning, {text for text in set(self.column(meaning)) if odd(text)})

    def leave(self, meaning: str, texts: Collection[str]) -> None:
        """The rows with these texts are not plain."""
        if texts:
            self.odd.update(at for at, text in enumerate(self.column(meaning)) if text in texts)


def _cleaned(column: Sequence[str], longest: int) -> list[str]:
    """`clean` of each cell; mostly one look at all of them tells that there is nothing to clean."""
    text = f"|{'|'.join(column)}|"
    spaces = "  " in text or "| " in text or " |" in text
    if not spaces and "|'" not in text and text.isprintable() and max(map(len, column)) <= longest:
        return list(column)
    return [clean(cell, longest) for cell in column]
