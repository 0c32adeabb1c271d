"""Suppressing every address in a file: one a line, or CSV with a column `email` and what it says of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from newsletter.audience.addresses import BadAddress, parse_address
from newsletter.audience.csv_cells import moment_of
from newsletter.audience.csv_columns import normal_name
from newsletter.audience.csv_file import Reject, clean_cell
from newsletter.audience.csv_lines import TextLines
from newsletter.audience.csv_records import Record, Records
from newsletter.audience.people import SuppressionReason
from newsletter.audience.state_words import departure_of
from newsletter.audience.store import AudienceStore
from newsletter.errors import AudienceError, Place

#: Addresses in one transaction.
_AT_A_TIME = 500
#: Rejects that are kept to be told; the others are counted.
REJECTS_TOLD = 100
#: How programs call the columns of such a file, by `normal_name`.
_EMAIL = ("email", "e_mail", "email_address", "e_mail_address", "mail", "address", "recipient")
_WHY = ("reason", "state", "status", "unsub_reason")
_WHEN = ("at", "unsub_time", "clean_time")
#: What `suppress export` writes. Elsewhere `list` may mean anything, and must not narrow what is kept out.
COLUMNS = ("email", "reason", "list", "at", "source", "note")
_OWN_ALONE = {"list", "at", "source"}
#: Mailchimp's files of those who left, and of those who bounced.
_OF_ALL = {"unsub_time": SuppressionReason.UNSUBSCRIBE, "clean_time": SuppressionReason.HARD_BOUNCE}


@dataclass(frozen=True, slots=True)
class _Row:
    """One address, and what the file says of it; `list` is empty where that is nothing."""

    key: str
    reason: SuppressionReason
    note: str
    list: str = ""
    at: dt.datetime | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class SuppressedFile:
    """rows = new + known + invalid; `rejects` tells of the first invalid ones."""

    rows: int
    new: int
    known: int
    invalid: int
    rejects: Sequence[Reject]


def suppress_file(
    store: AudienceStore,
    file: BinaryIO,
    shown: str,
    *,
    reason: SuppressionReason,
    list_name: str | None,
    source: str,
    note: str,
    now: dt.datetime,
) -> SuppressedFile:
    """Suppresses the file's addresses, some hundred at a time; doing it again changes nothing. Constant memory.

    `reason`, `list_name` and `note` are for rows without their own; `now` is when it was where the file does not say,
    or names a time that is yet to come. A `reason` whose words say nothing (`state_words`) becomes the note. Raises
    AudienceError where the file is empty or of something else.
    """
    rows = new = invalid = 0
    rejects: list[Reject] = []
    records = iter(Records(TextLines(file, shown)))
    first = next(records, None)
    if first is None:
        raise AudienceError("is empty", place=Place(shown), hint="One address a line, or CSV with a column `email`.")
    found = _rows(first, records, shown, reason, note, now)
    while some := list(islice(found, _AT_A_TIME)):
        bad = [one for one in some if isinstance(one, Reject)]
        rows += len(some)
        invalid += len(bad)
        rejects += bad[: REJECTS_TOLD - len(rejects)]
        alike: dict[tuple[str | None, dt.datetime, str], list[_Row]] = {}
        for one in some:
            if isinstance(one, _Row):
                alike.setdefault((one.list or list_name, one.at or now, one.source or source), []).append(one)
        for (name, at, whence), members in alike.items():
            told = [(one.key, one.reason, one.note) for one in members]
            new += store.suppress_many(told, name, source=whence, now=at)
    return SuppressedFile(rows, new, rows - new - invalid, invalid, rejects)


def _rows(
    first: Record, records: Iterator[Record], shown: str, reason: SuppressionReason, note: str, now: dt.datetime
) -> Iterator[_Row | Reject]:
    names = [normal_name(field) for field in first.fields]
    email = next((names.index(name) for name in _EMAIL if name in names), None)
    if email is None:
        if len(names) > 1 and not any("@" in field for field in first.fields):
            found = clean_cell(", ".join(first.fields))[:200]
            hint = "One address a line, or CSV with a column `email`."
            raise AudienceError(f"no column `email`; found {found}", place=Place(shown, first.line), hint=hint)
        at = {"email": 0, "reason": 1}
        yield _row(first, at, reason, note, now)
    else:
        at = {name: position for position, name in enumerate(names)} | {"email": email}
        if not set(COLUMNS) <= set(names):
            at = {name: position for name, position in at.items() if name not in _OWN_ALONE}
        reason = next((known for name, known in _OF_ALL.items() if name in names), reason)
    for record in records:
        yield _row(record, at, reason, note, now)


def _row(
    record: Record, at: Mapping[str, int], reason: SuppressionReason, note: str, now: dt.datetime
) -> _Row | Reject:
    if record.fault:
        return Reject(record.line, record.fault, record.fields)
    said = {name: clean_cell(record.fields[place]) for name, place in at.items() if place < len(record.fields)}
    try:
        key = parse_address(said.get("email", "")).key
    except BadAddress as error:
        return Reject(record.line, str(error), record.fields)
    why = _first(said, _WHY)
    own = departure_of(why)
    moment = moment_of(_first(said, _WHEN))
    return _Row(
        key,
        own or reason,
        said.get("note", "") or ("" if own else why) or note,
        said.get("list", ""),
        moment if moment and moment <= now else None,
        said.get("source", ""),
    )


def _first(said: Mapping[str, str], names: Sequence[str]) -> str:
    return next((said[name] for name in names if said.get(name)), "")
