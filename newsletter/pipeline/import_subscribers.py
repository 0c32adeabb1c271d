"""`subscribers import`: a CSV file into the database; its bad rows into a file of their own."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from newsletter.audience.csv_cells import has_control
from newsletter.audience.csv_file import Reject, SubscriberCsv, clean_cell
from newsletter.audience.model import Excluded, Subscriber, SubscriberColumns
from newsletter.audience.people import ImportSummary, ImportTerms
from newsletter.audience.store import AudienceStore
from newsletter.errors import AudienceError, Place, UsageError
from newsletter.pipeline.rejects_file import RejectsFile

#: (rows so far, how many there will be, as far as can be told)
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: its sums, the file of rejected rows (None: there are none), and what could not be used.

    `consents`: the file has a column for them.
    """

    summary: ImportSummary
    rejects: Path | None
    notes: Sequence[str]
    consents: bool


@dataclass(frozen=True, slots=True)
class Claims:
    """What the operator vouches for: that everybody asked for it, or asked for it again."""

    confirmed_by: str = ""
    reconsent: str = ""


def import_subscribers(
    store: AudienceStore,
    file: BinaryIO,
    shown: str,
    rejects: Path | None,
    *,
    named: bool = False,
    choose_list: Callable[[], str],
    now: dt.datetime,
    claims: Claims | None = None,
    mapped: Mapping[str, str] | None = None,
    dry_run: bool = False,
    progress: Progress = lambda _done, _total: None,
    left_out: Callable[[Excluded], None] = lambda _: None,
) -> Imported:
    """Imports `file`, which `shown` names in messages and records; `rejects` is where its bad rows go
    (None: they are only counted). `named`: the same name another time is the same file, as it is not of a pipe.

    `choose_list` says which list rows without one are for; it is asked to raise UsageError where nobody can tell, and
    that counts only where the file names none itself. `left_out` hears of each bad row. Raises AudienceError where
    the file as a whole cannot be read: then nothing is changed.
    """
    claims = claims or Claims()
    # a name that is not UTF-8 cannot be recorded as it is
    shown = shown.encode("utf-8", "backslashreplace").decode("utf-8")
    csv = SubscriberCsv(file, shown, mapped=mapped, now=now)
    csv.own_list = _own_list(csv, choose_list, Place(shown))
    terms = ImportTerms(
        csv.own_list,
        shown,
        confirmed_by=clean_cell(claims.confirmed_by),
        reconsent=clean_cell(claims.reconsent),
        named=named,
    )
    size = _size(file)

    def heard(rows: int) -> None:
        read = _position(file)
        progress(rows, max(rows, round(rows * size / read)) if read else rows)

    with RejectsFile(rejects) as bad:
        bad.columns(csv.columns.header)
        summary = store.import_rows(_good(csv, bad, left_out), terms, now=now, dry_run=dry_run, progress=heard)
    summary = replace(summary, rows=summary.rows + bad.count, invalid=bad.count)
    return Imported(summary, bad.written, [*csv.notes(), *bad.notes], "consent_at" in csv.columns.at)


def rows_again(
    file: BinaryIO,
    shown: str,
    *,
    choose_list: Callable[[], str],
    now: dt.datetime,
    mapped: Mapping[str, str] | None = None,
) -> Iterator[Subscriber]:
    """The good rows of a file that was imported, from its beginning; each with its lists."""
    file.seek(0)
    shown = shown.encode("utf-8", "backslashreplace").decode("utf-8")
    csv = SubscriberCsv(file, shown, mapped=mapped, now=now)
    csv.own_list = _own_list(csv, choose_list, Place(shown))
    for row in csv.rows():
        if not isinstance(row, Reject):
            yield row if row.lists else replace(row, lists=(csv.own_list,))


def open_list(path: Path, shown: str) -> BinaryIO:
    """A file to be imported. Raises AudienceError."""
    try:
        if path.is_dir():
            raise AudienceError(
                "is a folder",
                place=Place(shown),
                hint="Give a file. Those in subscribers/ are taken in by: newsletter subscribers sync",
            )
        return path.open("rb")
    except OSError as error:
        hint = "look at its name, owner and mode"
        raise AudienceError(f"cannot be read: {error.strerror}", place=Place(shown), hint=hint) from None


def _good(
    csv: SubscriberCsv, bad: RejectsFile, left_out: Callable[[Excluded], None]
) -> Iterator[Subscriber | SubscriberColumns]:
    for row in csv.columns_of_rows():
        if isinstance(row, Reject):
            bad.add(row)
            left_out(csv.excluded(row))
        else:
            yield row


def _own_list(csv: SubscriberCsv, choose_list: Callable[[], str], place: Place) -> str:
    try:
        chosen = choose_list()
    except UsageError:
        if csv.names_lists:
            return ""
        raise
    if has_control(chosen):
        raise AudienceError(
            f"{chosen!r} cannot name a list: it holds characters that nobody can see, or that are no text",
            place=place,
            hint="rename the file, or name a list with --list",
        )
    return chosen


def _size(file: BinaryIO) -> int:
    try:
        return os.fstat(file.fileno()).st_size
    except OSError:
        return 0


def _position(file: BinaryIO) -> int:
    try:
        return file.tell()
    except OSError:
        return 0
