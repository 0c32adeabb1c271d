"""Where each key of a TOML document stands. `tomllib` reads the values, without positions; this gives positions only.

The scanner expects a document that `tomllib` has accepted, so it looks for ends, never for mistakes.
Grammar: https://toml.io/en/v1.0.0. Newlines and trailing commas in inline tables (TOML 1.1) pass too.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

#: Names of tables and keys, and numbers of array elements from 0: `("newsletters", "daily-buzz", "lists", 0)`.
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """Line and column, from 1 and in characters, and the text of the line."""

    line: int
    column: int
    text: str


class KeyIndex(Mapping[KeyPath, Position]):
    """Every key, table and array element of a TOML document, by path, with the place where it is first written.

    A table stands at its own header where it has one, else where a longer header or dotted key first implies it.
    """

    def __init__(self, text: str) -> None:
        source = text.replace("\r\n", "\n")
        self._lines = source.split("\n")
        starts = [0]
        for line in self._lines:
            starts.append(starts[-1] + len(line) + 1)
        self._positions = {path: self._position(offset, starts) for path, offset in _Scanner(source).scan().items()}

    def _position(self, offset: int, starts: list[int]) -> Position:
        low, high = 0, len(starts) - 1
        while high - low > 1:
            middle = (low + high) // 2
            if starts[middle] <= offset:
                low = middle
            else:
                high = middle
        return Position(low + 1, offset - starts[low] + 1, self._lines[low])

    def __getitem__(self, path: KeyPath) -> Position:
        return self._positions[path]

    def __iter__(self) -> Iterator[KeyPath]:
        return iter(self._positions)

    def __len__(self) -> int:
        return len(self._positions)


_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'"(?:[^"\\]|\\.)*"')
_LITERAL = re.compile(r"'[^']*'")
_LONG_BASIC = re.compile(r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}', re.DOTALL)
_LONG_LITERAL = re.compile(r"'''(?:[^']|'{1,2}(?!'))*'{3,5}")
_PLAIN = re.compile(r"[^,\]}#\n]*")


class _Scanner:
    """One walk over the text; `offsets` fills with path → offset of the key."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.offsets: dict[KeyPath, int] = {}
        self.with_header: set[KeyPath] = set()
        #: Arrays of tables: path → number of the element that headers below it mean.
        self.current: dict[KeyPath, int] = {}

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self.skip(_BLANK)
        while self.at < len(self.text):
            table = self.header() if self.text[self.at] == "[" else self.assignment(table)
            self.skip(_BLANK)
        return self.offsets

    def skip(self, what: re.Pattern[str]) -> None:
        found = what.match(self.text, self.at)
        self.at = found.end() if found else self.at + 1  # never stands still, whatever it is given

    def header(self) -> KeyPath:
        of_tables = self.text.startswith("[[", self.at)
        self.at += 2 if of_tables else 1
        parts = self.key()
        self.at += 2 if of_tables else 1
        path: KeyPath = ()
        for name, offset in parts[:-1]:
            path = (*path, name)
            self.offsets.setdefault(path, offset)
            if path in self.current:
                path = (*path, self.current[path])
        name, offset = parts[-1]
        path = (*path, name)
        if of_tables:
            self.offsets.setdefault(path, offset)
            self.current[path] = self.current.get(path, -1) + 1
            path = (*path, self.current[path])
        if path not in self.with_header:
            self.with_header.add(path)
            self.offsets[path] = offset
        return path

    def assignment(self, table: KeyPath) -> KeyPath:
        """`key = value` in `table`; gives the table back."""
        path = table
        for name, offset in self.key():
            path = (*path, name)
            self.offsets.setdefault(path, offset)
        self.at += 1  # the equals sign
        self.skip(_SPACE)
        self.value(path)
        return table

    def key(self) -> list[tuple[str, int]]:
        """A simple or dotted key with the offset of each part; the position ends at what follows it."""
        parts = []
        while True:
            self.skip(_SPACE)
            start = self.at
            quote = self.text[start : start + 1]
            self.skip(_BASIC if quote == '"' else _LITERAL if quote == "'" else _BARE_KEY)
            parts.append((_unquoted(self.text[start : self.at]), start))
            self.skip(_SPACE)
            if not self.text.startswith(".", self.at):
                return parts
            self.at += 1

    def value(self, path: KeyPath) -> None:
        for opening, pattern in (
            ('"""', _LONG_BASIC), ("'''", _LONG_LITERAL), ('"', _BASIC), ("'", _LITERAL),
        ):  # fmt: skip
            if self.text.startswith(opening, self.at):
                self.skip(pattern)
                return
        if self.text.startswith("[", self.at):
            self.array(path)
        elif self.text.startswith("{", self.at):
            self.inline_table(path)
        else:
            self.skip(_PLAIN)

    def array(self, path: KeyPath) -> None:
        number = 0
        self.at += 1
        self.skip(_BLANK)
        while self.at < len(self.text) and self.text[self.at] != "]":
            self.offsets.setdefault((*path, number), self.at)
            self.value((*path, number))
            number += 1
            self.comma()
        self.at += 1

    def inline_table(self, path: KeyPath) -> None:
        self.at += 1
        self.skip(_BLANK)
        while self.at < len(self.text) and self.text[self.at] != "}":
            self.assignment(path)
            self.comma()
        self.at += 1

    def comma(self) -> None:
        self.skip(_BLANK)
        if self.text.startswith(",", self.at):
            self.at += 1
            self.skip(_BLANK)


def _unquoted(key: str) -> str:
    if key[:1] in ("'", '"'):
        return next(iter(tomllib.loads(f"{key} = 0")))
    return key
