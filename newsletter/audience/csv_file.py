"""Reads a list of subscribers from CSV, row by row: good rows become subscribers, bad ones keep a reason.

Memory is constant, whatever the file. Only a bad address makes a row bad, or fields that the header does not name;
anything else that cannot be used is left out, the person is kept, and `notes` tells of it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, BinaryIO

from newsletter.audience.addresses import BadAddress, mailable
from newsletter.audience.csv_cells import (
    LONGEST_LANGUAGE,
    LONGEST_NAME,
    LONGEST_VALUE,
    clean,
    clean_again,
    moment_of,
    spread,
    timezones,
    words,
)
from newsletter.audience.csv_columns import Columns, Origin, columns_of, normal_name
from newsletter.audience.csv_lines import TextLines
from newsletter.audience.csv_plain_rows import PlainRows
from newsletter.audience.csv_records import Record, RecordBlock, Records, is_blank
from newsletter.audience.model import Excluded, Exclusion, Subscriber, SubscriberColumns
from newsletter.audience.people import SuppressionReason
from newsletter.audience.spreadsheets import unguarded
from newsletter.audience.state_words import Standing, departure_of, standing_of
from newsletter.errors import AudienceError, Place

#: A time without a zone is read as UTC, and may be that of a place ahead of it; clocks differ, too.
_AHEAD = dt.timedelta(days=1)
#: Rows with less than one in so many of the cells that the header names are read one by one. All of a block filled up
#: may be a thousand times as much as the file has.
_SPARSE = 10


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was not taken: the number of its first line, why, and its fields as they were."""

    line: int
    reason: str
    fields: Sequence[str]


@dataclass(slots=True)
class _Tally:
    """How many values could not be used, and the first of them."""

    count: int = 0
    line: int = 0
    value: str = ""

    def add(self, line: int, value: str) -> None:
        if not self.count:
            self.line, self.value = line, value
        self.count += 1


#: What the `scope` of our exports says: whether a suppression is for all lists, or for the row's.
_EVERYWHERE = {"all": True, "list": False}


@dataclass(slots=True)
class _Unused:
    timezones: _Tally = field(default_factory=_Tally)
    consents: _Tally = field(default_factory=_Tally)
    future: _Tally = field(default_factory=_Tally)
    departures: _Tally = field(default_factory=_Tally)
    names: _Tally = field(default_factory=_Tally)
    unconfirmed: _Tally = field(default_factory=_Tally)
    states: _Tally = field(default_factory=_Tally)


@dataclass(frozen=True, slots=True)
class _Positions:
    """Where in a row what stands; -1: nowhere."""

    email: int
    name: int = -1
    first_name: int = -1
    last_name: int = -1
    list: int = -1
    tags: int = -1
    timezone: int = -1
    language: int = -1
    consent_at: int = -1
    consent_source: int = -1
    consent_wording: int = -1
    consent_ip: int = -1
    state: int = -1
    left_at: int = -1
    left_reason: int = -1
    left_scope: int = -1
    attributes: int = -1


class SubscriberCsv:
    """A CSV file of subscribers. `shown` names it in messages; rows without a list get `own_list`.

    `mapped` gives columns of the file a meaning (`csv_columns`); a time of more than a day after `now` (None: this
    moment) is none. Reading the header may raise AudienceError, and so may the rows, once, where the file turns out
    to have no lines.
    """

    def __init__(
        self,
        file: BinaryIO,
        shown: str,
        *,
        own_list: str = "",
        mapped: Mapping[str, str] | None = None,
        now: dt.datetime | None = None,
    ) -> None:
        self._shown = shown
        self.own_list = own_list
        self._latest = (now or dt.datetime.now(dt.UTC)) + _AHEAD
        self._lines = TextLines(file, shown)
        self._records = Records(self._lines)
        header = self._records.header() or Record(1, [])
        if header.fault:
            raise AudienceError(f"not valid CSV: {header.fault}", place=Place(shown, header.line))
        self.columns: Columns = columns_of(header.fields, shown, header.line, mapped or {})
        self._at = _Positions(**self.columns.at)
        self._source = "Mailchimp" if self.columns.origin is Origin.MAILCHIMP else ""
        self._unused = _Unused()

    @property
    def names_lists(self) -> bool:
        """Whether the file has a column for lists."""
        return "list" in self.columns.at

    def rows(self) -> Iterator[Subscriber | Reject]:
        """The rows, in order; once."""
        for record in self._records:
            yield self._row(record)

    def columns_of_rows(self) -> Iterator[SubscriberColumns | Subscriber | Reject]:
        """The same, once: many subscribers at a time, where that is quicker, behind the bad rows among them."""
        if self.columns.all_left:
            yield from self.rows()
            return
        plain = PlainRows(self.columns, own_list=self.own_list, source=self._source, latest=self._latest)
        for block in self._records.blocks():
            if sum(map(len, block.rows)) * _SPARSE < len(block.rows) * self.columns.width:
                yield from map(self._row, block.records())
            else:
                yield from self._block(plain, block)

    def _block(self, plain: PlainRows, block: RecordBlock) -> Iterator[SubscriberColumns | Reject]:
        columns, odd = plain.read(block.rows)
        kept = bytearray(b"\1") * len(block.rows)
        for at in sorted(odd | block.faults.keys()):
            record = Record(block.lines[at], block.rows[at], block.faults.get(at, ""))
            row = None if not record.fault and is_blank(record.fields) else self._row(record)
            if isinstance(row, Subscriber):
                for name, column in columns.items():
                    column[at] = getattr(row, name)
                columns["attributes"][at] = tuple(row.attributes.items())
                continue
            kept[at] = 0
            if row is not None:
                yield row
        lines = block.lines
        if 0 in kept:
            # all at once: to take them out one by one moves those behind them each time
            lines = list(compress(lines, kept))
            columns = {name: list(compress(column, kept)) for name, column in columns.items()}
        if lines:
            yield SubscriberColumns(**columns, place=_Places(self._shown, lines))

    def notes(self) -> list[str]:
        """What could not be used, and from which line on; complete when all rows were read."""
        lines, unused = self._lines, self._unused
        notes = []
        if lines.first_foreign is not None:
            some = "1 line" if lines.foreign == 1 else f"{lines.foreign:,} lines"
            notes.append(f"line {lines.first_foreign}: not UTF-8, read as Windows-1252 ({some})")
        for tally, what in (
            (unused.timezones, "is no time zone (Europe/Lisbon), left empty"),
            (unused.consents, "is no date (2026-01-07 or 2026-01-07T06:30+00:00), so no consent is recorded"),
            (unused.future, "is in the future, so no consent is recorded"),
            (unused.departures, "is no date of the past, so they left at this moment"),
            (unused.names, f"is cut to {LONGEST_NAME} characters"),
            (unused.unconfirmed, "says that they did not confirm, so they are pending, --confirmed-by or not"),
            (unused.states, f"is no state that is known, so they are pending; if it is none, {self._map_state()}"),
        ):
            if tally.count:
                rows = "1 row" if tally.count == 1 else f"{tally.count:,} rows"
                notes.append(f"line {tally.line}: {tally.value!r} {what} ({rows})")
        return notes

    def excluded(self, reject: Reject) -> Excluded:
        """A bad row as someone who is left out."""
        at, fields = self.columns.at, reject.fields
        given, lists = (
            fields[at[name]] if at.get(name, len(fields)) < len(fields) else "" for name in ("email", "list")
        )
        place = f"{self._shown}:{reject.line}"
        shown = clean(given, LONGEST_NAME)
        return Excluded(shown, Exclusion.INVALID, reject.reason, place, self._lists(lists))

    def _row(self, record: Record) -> Subscriber | Reject:
        columns, fields, line = self.columns, record.fields, record.line
        if record.fault:
            return Reject(line, record.fault, fields)
        missing = columns.width - len(fields)
        if missing < 0:
            if any(extra.strip() for extra in fields[columns.width :]):
                return Reject(line, f"{len(fields)} fields where the header names {columns.width}", fields)
            fields = fields[: columns.width]
        # the cell behind the last stands for every column that the file has not
        cells = [*fields, ""] if missing <= 0 else [*fields, *[""] * (missing + 1)]
        at = self._at
        given = cells[at.email].strip()
        try:
            address = mailable(unguarded(given) if given[:1] == "'" else given)
        except BadAddress as error:
            return Reject(line, str(error), fields)
        lists = self._lists(cells[at.list])
        if not lists:
            return Reject(line, "names no list", fields)
        standing = standing_of(cells[at.state])
        left = standing if isinstance(standing, SuppressionReason) else columns.all_left
        if columns.all_left and cells[at.left_reason]:
            left = departure_of(cells[at.left_reason]) or columns.all_left
        consent_at, unclear = self._consent(cells, line, standing)
        return Subscriber(
            address.lower(),
            address,
            self._name(cells, line),
            lists,
            words(cells[at.tags]),
            self._timezone(cells[at.timezone], line),
            clean_again(cells[at.language], LONGEST_LANGUAGE),
            consent_at,
            clean_again(cells[at.consent_source], LONGEST_VALUE) or self._source,
            self._attributes(cells, standing),
            clean_again(cells[at.consent_wording], LONGEST_VALUE),
            clean(cells[at.consent_ip], LONGEST_VALUE),
            unclear,
            left,
            self._left_at(cells[at.left_at], line) if left else None,
            f"{self._shown}:{line}",
            _EVERYWHERE.get(cells[at.left_scope].strip().casefold()) if left else None,
        )

    def _lists(self, text: str) -> tuple[str, ...]:
        return words(text) or ((self.own_list,) if self.own_list else ())

    def _name(self, cells: Sequence[str], line: int) -> str:
        at = self._at
        name = cells[at.name] or f"{cells[at.first_name].strip()} {cells[at.last_name].strip()}".strip()
        if len(name) > LONGEST_NAME:
            self._unused.names.add(line, f"{clean(name, 20)}…")
        return clean(name, LONGEST_NAME)

    def _timezone(self, text: str, line: int) -> str:
        timezone = text.strip()
        if not timezone or timezone in timezones():
            return timezone
        self._unused.timezones.add(line, clean(timezone, 40))
        return ""

    def _consent(
        self, cells: Sequence[str], line: int, standing: SuppressionReason | Standing
    ) -> tuple[dt.datetime | None, bool]:
        """When they consented; and whether the row says that they did not, or nobody can tell."""
        if standing is Standing.UNCONFIRMED or standing is Standing.UNCLEAR:
            tally = self._unused.unconfirmed if standing is Standing.UNCONFIRMED else self._unused.states
            tally.add(line, clean(cells[self._at.state], 40))
            return None, True
        text = cells[self._at.consent_at]
        if not text or text.isspace():
            return None, False
        moment = moment_of(text)
        if moment is not None and moment <= self._latest:
            return moment, False
        (self._unused.consents if moment is None else self._unused.future).add(line, clean(text, 40))
        return None, True

    def _left_at(self, text: str, line: int) -> dt.datetime | None:
        if not text or text.isspace():
            return None
        moment = moment_of(text)
        if moment is not None and moment <= self._latest:
            return moment
        self._unused.departures.add(line, clean(text, 40))
        return None

    def _attributes(self, cells: Sequence[str], standing: SuppressionReason | Standing) -> dict[str, str]:
        found = {}
        for position, name in self.columns.attributes:
            if value := clean(cells[position], LONGEST_VALUE):
                found[name] = value
        if text := cells[self._at.attributes]:
            found |= spread(text)
        if standing is Standing.UNCLEAR:
            found[normal_name(self.columns.header[self._at.state])] = clean(cells[self._at.state], LONGEST_VALUE)
        return found

    def _map_state(self) -> str:
        """How to say that a column of states is one of regions, say."""
        position = self.columns.at.get("state")
        return "" if position is None else f'--map "{clean(self.columns.header[position], 40)}=region"'


class _Places(Sequence[str]):
    """The rows of these lines, as `Subscriber.place` has them; hardly any is ever asked for."""

    def __init__(self, shown: str, lines: Sequence[int]) -> None:
        self._shown = shown
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, at: Any) -> Any:  # a position or a slice
        found = self._lines[at]
        return f"{self._shown}:{found}" if isinstance(found, int) else _Places(self._shown, found)


def clean_cell(text: str) -> str:
    """A cell on one line, without control characters."""
    return clean(text, LONGEST_VALUE)
