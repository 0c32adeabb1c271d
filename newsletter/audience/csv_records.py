"""Records out of the lines of a CSV file. A line that breaks the format costs itself, and not what follows it."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from typing import NamedTuple

from newsletter.audience.csv_lines import LONGEST_LINE, TextLines

#: No record of a person has more lines or characters; a longer one is an open quotation mark.
_MOST_LINES = 100
_LONGEST = 100_000
#: Characters that are kept of a line that is longer than any.
_KEPT = 1_000
#: Before a header, spreadsheets may name the delimiter.
_SEPARATOR_LINE = re.compile(r"\"?sep=(.)\"?[\r\n]*", re.IGNORECASE)
_DELIMITERS = ",;\t|"
#: Files whose line ends were converted twice have one behind each line.
_EMPTY_LINES = frozenset(["\n", "\r\n", "\r"])
#: Records of lines that do not stand for one each are handed on together: so many, or of so many characters.
_TOGETHER, _TOGETHER_CHARACTERS = 500, 50_000


class Record(NamedTuple):
    """The fields of one record and the number of its first line; `fault` says what is wrong with it, if anything."""

    line: int
    fields: list[str]
    fault: str = ""


class RecordBlock(NamedTuple):
    """Some records, in their order: the number of each one's first line, and its fields; blank ones may be among them.

    `faults` says what is wrong with those that have a fault, by their position from 0.
    """

    lines: Sequence[int]
    rows: Sequence[list[str]]
    faults: dict[int, str]

    def records(self) -> Iterator[Record]:
        """The same one by one, without blank ones."""
        for at, (line, fields) in enumerate(zip(self.lines, self.rows, strict=True)):
            fault = self.faults.get(at, "")
            if fault or not is_blank(fields):
                yield Record(line, fields, fault)


class Records:
    """The records of a CSV file, the header first; blank ones are left out.

    The delimiter (comma, semicolon, tab or bar) is the one that occurs most often in the header. Quotation marks are
    taken as they come, where that does no harm: `"Ann "Dot" Lee"` is a name. One that is left open would swallow the
    records behind it; its line alone becomes a record with a fault, and reading goes on at the next. So does a line
    that is longer than any.
    """

    def __init__(self, lines: TextLines) -> None:
        self._blocks = lines.blocks()
        self._again: deque[str] = deque()
        self._pulled: list[str] = []
        self._number = 0
        self._open = False
        self._width = 0
        self._delimiter = self._find_delimiter()

    def __iter__(self) -> Iterator[Record]:
        for block in self.blocks():
            yield from block.records()

    def header(self) -> Record | None:
        """The first record, where it is asked for first; None where there is none."""
        while block := self._next_block():
            self._again.extend(block)
            # what follows it stays in `_again`
            if (record := next(self._line_by_line(), None)) is not None:
                return record
        return None

    def blocks(self) -> Iterator[RecordBlock]:
        """The records, or those behind the header: as many at a time as were read together."""
        while block := self._next_block():
            if self._width and _is_cut(block[0]):
                self._again.extend(block[1:])
                self._number += 1
                yield _together([self._cut(block[0])])
                continue
            rows = self._one_a_line(block) if self._width else None
            if rows is None:
                self._again.extend(block)
                yield from _gathered(self._line_by_line())
            else:
                first, self._number = self._number + 1, self._number + len(rows)
                lines: Sequence[int] = range(first, first + len(rows))
                if not _EMPTY_LINES.isdisjoint(block):
                    said = [line not in _EMPTY_LINES for line in block]
                    lines, rows = list(compress(lines, said)), list(compress(rows, said))
                if rows:
                    yield RecordBlock(lines, rows, {})

    def _next_block(self) -> list[str]:
        """Lines that were pulled before and not used, or else new ones; none at the end."""
        if self._again:
            again = list(self._again)
            self._again.clear()
            return again
        return next(self._blocks, [])

    def _one_a_line(self, block: list[str]) -> list[list[str]] | None:
        """The records, where each line is one and none breaks the format; nearly all blocks of nearly all files."""
        if self._delimiter in _DELIMITERS and '"' not in "".join(block):
            # then a delimiter is nothing else; this takes half as long
            return [line.rstrip("\r\n").split(self._delimiter) for line in block]
        try:
            rows = list(csv.reader(block, delimiter=self._delimiter, strict=True))
        except csv.Error:
            return None
        return rows if len(rows) == len(block) else None

    def _line_by_line(self) -> Iterator[Record]:
        """The records of the lines in `_again`, and of those behind them that belong to the last."""
        while self._again:
            yield from self._until_fault()
            if self._open:
                yield self._first_line()

    def _until_fault(self) -> Iterator[Record]:
        """Records until the end, or until one whose lines do not belong together (`_open`)."""
        self._open = False
        pulled = self._pulled
        pulled.clear()
        for fields in csv.reader(self._feed(), delimiter=self._delimiter):
            if self._open or (len(pulled) > 1 and not self._belongs_together(fields)):
                self._open = True
                return
            line, first = self._number - len(pulled) + 1, pulled[0]
            pulled.clear()
            if _is_cut(first):
                yield self._cut(first)
                continue
            self._width = self._width or len(fields)
            if not is_blank(fields):
                yield Record(line, fields)

    def _feed(self) -> Iterator[str]:
        """The lines in `_again`; of the next block only what the last of them is open for."""
        pulled, again, size = self._pulled, self._again, 0
        while True:
            if pulled and not again:
                again.extend(next(self._blocks, ()))
            line = again.popleft() if again else ""
            if not pulled:
                size = 0
                if not line:
                    return
            size += len(line)
            if not line or len(pulled) == _MOST_LINES or (size > _LONGEST and pulled):
                self._open = True
                if line:
                    again.appendleft(line)
                return
            pulled.append(line)
            self._number += 1
            yield line

    def _belongs_together(self, fields: list[str]) -> bool:
        """Whether a record of several lines is one: by the letter of RFC 4180, and no wider than the header."""
        try:
            rows = list(csv.reader(self._pulled, delimiter=self._delimiter, strict=True))
        except csv.Error:
            return False
        return len(rows) == 1 and (not self._width or len(fields) <= self._width)

    def _first_line(self) -> Record:
        """The line with the open quotation mark; the others are read again."""
        first, *others = self._pulled
        self._again.extendleft(reversed(others))
        self._number -= len(others)
        if _is_cut(first):
            return self._cut(first)
        fields = next(csv.reader([first], delimiter=self._delimiter), [])
        return Record(self._number, fields, "a quotation mark is left open")

    def _cut(self, line: str) -> Record:
        """The line that was pulled last, which is longer than any: its first characters."""
        fields = next(csv.reader([line[:_KEPT]], delimiter=self._delimiter), [])
        return Record(self._number, fields, f"the line has more than {LONGEST_LINE:,} characters")

    def _find_delimiter(self) -> str:
        self._again.extend(next(self._blocks, ()))
        first = self._again[0] if self._again else ""
        if named := _SEPARATOR_LINE.fullmatch(first):
            self._again.popleft()
            self._number += 1
            return named[1]
        return max(_DELIMITERS, key=first.count)


def is_blank(fields: Sequence[str]) -> bool:
    """Whether a record says nothing."""
    for field in fields:  # noqa: SIM110 - all() takes three times as long, and every record is looked at
        if field and not field.isspace():
            return False
    return True


def _gathered(records: Iterable[Record]) -> Iterator[RecordBlock]:
    some: list[Record] = []
    characters = 0
    for record in records:
        some.append(record)
        characters += sum(map(len, record.fields))
        if len(some) >= _TOGETHER or characters >= _TOGETHER_CHARACTERS:
            yield _together(some)
            some, characters = [], 0
    if some:
        yield _together(some)


def _together(records: Sequence[Record]) -> RecordBlock:
    lines, rows, faults = [], [], {}
    for at, record in enumerate(records):
        lines.append(record.line)
        rows.append(record.fields)
        if record.fault:
            faults[at] = record.fault
    return RecordBlock(lines, rows, faults)


def _is_cut(line: str) -> bool:
    return len(line) > LONGEST_LINE
