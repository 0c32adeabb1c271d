"""Reads a list of subscribers from CSV, row by row: good rows become subscribers, bad ones keep a reason."""

from __future__ import annotations

import csv
import datetime as dt
import re
import zoneinfo
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TextIO

from newsletter.audience.addresses import BadAddress, parse_address
from newsletter.audience.model import Excluded, Exclusion, Subscriber
from newsletter.errors import AudienceError, Place

#: Columns with a meaning of their own; all others become attributes.
COLUMNS = ("email", "name", "list", "tags", "timezone", "language", "consent_at", "consent_source")

#: No field of a list of people is longer; a longer one is a file without line breaks, or an open quote.
_LONGEST_FIELD = 100_000
_LONGEST_NAME = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def read_subscribers(path: Path, shown: str) -> Iterator[Subscriber | Excluded]:
    """The rows of one CSV file, in order; its encoding is UTF-8, its delimiter comma, semicolon or tab.

    A file without a `list` column feeds the list of its own name. Raises AudienceError when the file as a whole
    cannot be read (`shown` names it): not UTF-8, no `email` column, broken quoting.
    """
    with _opened(path, shown) as file:
        reader = csv.reader(file, _dialect(file), strict=True)
        with _csv_errors(reader, shown):
            header = _header(next(reader, []), shown)
            for row in reader:
                if any(field.strip() for field in row):
                    yield _subscriber(header, row, path.stem, f"{shown}:{reader.line_num}")


@contextmanager
def _opened(path: Path, shown: str) -> Iterator[TextIO]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except OSError as error:
        raise AudienceError(f"cannot be read: {error.strerror}", place=Place(shown)) from None
    except UnicodeDecodeError as error:
        hint = "save it as UTF-8 (in a spreadsheet: CSV UTF-8)"
        raise AudienceError(f"not UTF-8: {error.reason}", place=Place(shown), hint=hint) from None


def _dialect(file: TextIO) -> type[csv.Dialect]:
    """The delimiter is the one that occurs most often in the header."""
    header = file.readline(_LONGEST_FIELD)
    file.seek(0)

    class Dialect(csv.excel):
        delimiter = max(",;\t", key=header.count)

    return Dialect


@contextmanager
def _csv_errors(reader: Iterator[list[str]], shown: str) -> Iterator[None]:
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    except csv.Error as error:
        line = getattr(reader, "line_num", None)
        hint = "a quotation mark is left open, or the file has no line breaks"
        raise AudienceError(f"not valid CSV: {error}", place=Place(shown, line), hint=hint) from None
    finally:
        csv.field_size_limit(limit)


def _header(row: list[str], shown: str) -> list[str]:
    header = [name.strip().casefold().replace(" ", "_") for name in row]
    if "email" not in header:
        found = ", ".join(name for name in header if name)[:200] or "nothing"
        hint = "the first line must name the columns: email (required), " + ", ".join(COLUMNS[1:])
        raise AudienceError(f"no column `email`; found {found}", place=Place(shown, 1), hint=hint)
    twice = {name for name in header if name and header.count(name) > 1}
    if twice:
        raise AudienceError(f"the column `{sorted(twice)[0]}` occurs twice", place=Place(shown, 1))
    return header


def _subscriber(header: list[str], row: list[str], own_list: str, place: str) -> Subscriber | Excluded:
    fields = {name: value.strip() for name, value in zip(header, row, strict=False) if name}
    given = _clean(fields.get("email", ""))
    lists = _words(fields.get("list", "")) or (own_list,)
    try:
        address = parse_address(fields.get("email", ""))
    except BadAddress as error:
        return Excluded(given, Exclusion.INVALID, str(error), place, lists)
    if len(row) > len(header):
        detail = f"{len(row)} fields where the header names {len(header)}"
        return Excluded(given, Exclusion.INVALID, detail, place, lists)
    consent_at = _moment(fields.get("consent_at", ""))
    if fields.get("consent_at") and consent_at is None:
        detail = f"consent_at {_clean(fields['consent_at'])!r} is no date (2026-01-07 or 2026-01-07T06:30+00:00)"
        return Excluded(address.address, Exclusion.PENDING, detail, place, lists)
    timezone = fields.get("timezone", "")
    return Subscriber(
        key=address.key,
        address=address.address,
        name=_clean(fields.get("name", "")),
        lists=lists,
        tags=_words(fields.get("tags", "")),
        timezone=timezone if timezone in _timezones() else "",
        language=_clean(fields.get("language", "")),
        consent_at=consent_at,
        consent_source=_clean(fields.get("consent_source", "")),
        attributes=_attributes(fields),
        place=place,
    )


def _attributes(fields: Mapping[str, str]) -> Mapping[str, str]:
    return {name: _clean(value) for name, value in fields.items() if name not in COLUMNS and value}


def _clean(text: str) -> str:
    """One line without control characters, cut to a length that no name reaches."""
    return " ".join(_CONTROL.sub(" ", text).split())[:_LONGEST_NAME]


def _words(text: str) -> tuple[str, ...]:
    """`a; b|c` → a, b, c."""
    return tuple(dict.fromkeys(word for part in re.split(r"[;|,]", text) if (word := _clean(part))))


def _moment(text: str) -> dt.datetime | None:
    """An ISO 8601 date or time; without a zone it is UTC."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)


@cache
def _timezones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())
