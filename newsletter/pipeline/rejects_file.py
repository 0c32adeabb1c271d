"""The rows of an import that were not taken, in a CSV file that can be mended and imported again."""

from __future__ import annotations

import csv
import errno
import filecmp
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from newsletter.audience.csv_file import Reject, clean_cell
from newsletter.audience.spreadsheets import guarded
from newsletter.errors import OutputError, Place, shown
from newsletter.pipeline.output_files import descriptor_of, is_special, open_partial, remove_partials

#: How such a file begins.
HEADS = ("row,reason,",)


class RejectsFile:
    """Writes `target` when the block ends well and there are rejects; else nothing.

    A file that is there may hold rows that somebody has mended: unless it says the same, it is kept as `target.1`
    (`.2` …). `notes` tells of it, and of one that is left from an earlier import.

    Its columns are `row` (the line in the file), `reason`, and those of the file, guarded against spreadsheet
    formulas. It names people: mode 0600. It is made beside its place, so a disk that is full is told while rows are
    read. A device or a pipe is written as it is. With None for a target, rows are only counted. Raises OutputError.
    """

    def __init__(self, target: Path | None) -> None:
        self._target = target
        self._header: Sequence[str] = ()
        self._skipped = 0
        self._file: IO[str] | None = None
        self._staged: Path | None = None
        self._writer: Any = None
        self.count = 0
        self.notes: list[str] = []

    @property
    def written(self) -> Path | None:
        """The file, where there is anything in it."""
        return self._target if self.count else None

    def columns(self, header: Sequence[str]) -> None:
        """The columns of the file that is imported."""
        names = [name.strip() for name in header]
        self._header = names[2:] if names[:2] == ["row", "reason"] else names
        self._skipped = len(names) - len(self._header)

    def add(self, reject: Reject) -> None:
        """One more row."""
        self.count += 1
        if self._target is None:
            return
        try:
            if self._file is None:
                self._open(self._target)
            fields = reject.fields[self._skipped :]
            self._writer.writerow(guarded(clean_cell(cell)) for cell in (str(reject.line), reject.reason, *fields))
        except OSError as error:
            raise self._failure(error) from None

    def __enter__(self) -> RejectsFile:
        if self._target is not None:
            remove_partials(self._target)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._target is None:
            return
        if self._file is None:
            if kind is None and self._target.is_file():
                name = shown(self._target)
                self.notes.append(f"{name} is of an earlier import; no row was rejected now")
            return
        try:
            # closed last: then anybody may take it for one that a killed process left
            with self._file:
                self._file.flush()
                if kind is None and self._staged is not None:
                    self._keep_earlier(self._staged, self._target)
                    self._staged.replace(self._target)
        except OSError as error:
            raise self._failure(error) from None
        finally:
            if self._staged is not None:
                self._staged.unlink(missing_ok=True)

    def _keep_earlier(self, staged: Path, target: Path) -> None:
        if not target.exists() or filecmp.cmp(staged, target, shallow=False):
            return
        for number in itertools.count(1):
            kept = target.with_name(f"{target.name}.{number}")
            try:
                os.link(target, kept)
            except FileExistsError:
                continue
            except OSError:  # a file system without hard links
                if os.path.lexists(kept):
                    continue
                target.rename(kept)
            break
        self.notes.append(f"{shown(target)} was there: the earlier one is kept as {shown(kept)}")

    def _open(self, target: Path) -> None:
        if (stream := descriptor_of(target)) is not None:
            descriptor = os.dup(stream)
        elif is_special(target):  # /dev/null must stay what it is
            descriptor = os.open(target, os.O_WRONLY)
        elif target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        else:
            descriptor, self._staged = open_partial(target)
        self._file = os.fdopen(descriptor, "w", encoding="utf-8", errors="replace", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(["row", "reason", *(guarded(clean_cell(name)) for name in self._header)])

    def _failure(self, error: OSError) -> OutputError:
        hint = "name another place with --rejects"
        what = error.strerror or os.strerror(error.errno or 0)
        return OutputError(f"the rejected rows cannot be written: {what}", place=Place(self._target or ""), hint=hint)


def rejects_beside(source: Path) -> Path:
    """`people.csv` → `people.rejects.csv`, which a sync leaves alone."""
    return source.with_name(f"{source.stem}.rejects.csv")
