"""The journal made shorter: of a run that is long over, who was ever claimed says all, not when and in how many calls.

What is left guards as well as before: the same recipients of the same batches, with the number of the last claim of
each. Others append meanwhile; they wait only while the last lines are copied.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from newsletter.errors import OutputError, Place
from newsletter.store.journal import Claimed, Entry, Event, parsed

#: Claims in a line, lest it grow beyond all measure.
_CLAIMS = 1_000
#: Where less than so many bytes, or than this share of the file, are claims to fold, it is left alone.
_LEAST, _WORTH = 4_096, 0.1
_COPY = 1024 * 1024

_LONG_AGO = dt.datetime.min.replace(tzinfo=dt.UTC)
_Run = tuple[str, str]


@dataclass(slots=True)
class _Seen:
    """What the lines of one run come to: how many of its bytes are single claims, and its last event."""

    bytes: int = 0
    event: Event = Event.PLANNED
    at: dt.datetime = _LONG_AGO


@dataclass(slots=True)
class _Folded:
    """Of one batch: its last attempt and claim, and the places that were ever claimed, a bit each."""

    attempt: int = 0
    number: int = 0
    places: int = 0

    def add(self, claim: Claimed) -> None:
        self.attempt, self.number = max(self.attempt, claim.attempt), max(self.number, claim.number)
        for place in claim.places:
            self.places |= 1 << place

    def claimed(self, batch: int) -> Claimed:
        places = [place for place in range(self.places.bit_length()) if self.places >> place & 1]
        return Claimed(batch, self.attempt, self.number, places)


@dataclass(slots=True)
class _Claims:
    """The batches of one run."""

    at: dt.datetime
    batches: dict[int, _Folded] = field(default_factory=dict)


def fold_journal(path: Path, *, before: dt.datetime) -> int:
    """Folds the claims of runs that were over before this moment; how many bytes shorter the file is (0: left alone).

    A crash leaves the file as it was, or as it is to be. Raises OutputError (file:line) where a line cannot be read:
    then nothing was changed.
    """
    try:
        old = path.open("rb")
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise _failed(path, error) from None
    try:
        # open until the end: no other file can be taken for it meanwhile, whatever numbers the system gives
        with old:
            return _fold(path, old, before)
    except OSError as error:
        raise _failed(path, error) from None


def not_ended(path: Path) -> list[tuple[str, str]]:
    """(name, uid) of the runs whose end does not stand in it. Raises OutputError as `fold_journal` does."""
    try:
        with path.open("rb") as old:
            seen = _look(path, old, _end(old))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _failed(path, error) from None
    return [run for run, one in seen.items() if one.event is not Event.ENDED]


def _fold(path: Path, old: IO[bytes], before: dt.datetime) -> int:
    size = _end(old)
    over = {
        run: seen.bytes
        for run, seen in _look(path, old, size).items()
        if seen.bytes and seen.event is Event.ENDED and seen.at < before
    }
    if not over or sum(over.values()) < max(_LEAST, _WORTH * size):
        return 0
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            _write(path, old, size, set(over), file)
            file.flush()
            os.fsync(file.fileno())
            return _take_place(path, old, size, Path(name), file)
    finally:
        Path(name).unlink(missing_ok=True)


def _end(old: IO[bytes]) -> int:
    """How much of the file is whole lines, for good: lines are only added."""
    fcntl.flock(old, fcntl.LOCK_SH)
    try:
        size = old.seek(0, os.SEEK_END)
        while size:
            start = max(0, size - _COPY)
            old.seek(start)
            found = old.read(size - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            size = start
    finally:
        fcntl.flock(old, fcntl.LOCK_UN)
    return 0


def _lines(path: Path, old: IO[bytes], size: int) -> Iterator[tuple[bytes, Entry, bool]]:
    """(line, what it says, whether it was folded before) of the first `size` bytes."""
    old.seek(0)
    for number, line in enumerate(_until(old, size), 1):
        entry = parsed(line)
        if entry is None:
            raise OutputError(
                "this line of the journal cannot be read; it says what was sent already",
                place=Place(path, number),
                hint="Put the file back from a copy. Where there is none: see which run it is about, and take it out.",
            )
        yield line, entry, _is_folded(line)


def _until(file: IO[bytes], size: int) -> Iterator[bytes]:
    while size > 0 and (line := file.readline()):
        size -= len(line)
        yield line


def _look(path: Path, old: IO[bytes], size: int) -> dict[_Run, _Seen]:
    runs: dict[_Run, _Seen] = {}
    for line, entry, folded in _lines(path, old, size):
        seen = runs.setdefault((entry.run, entry.uid), _Seen())
        seen.at = max(seen.at, entry.at)
        if entry.event is Event.CLAIMED:
            seen.bytes += 0 if folded else len(line)
        elif entry.event is not Event.SHARED:  # it follows the commit, and workers here may have been quicker
            seen.event = entry.event
    return runs


def _write(path: Path, old: IO[bytes], size: int, over: set[_Run], file: IO[bytes]) -> None:
    """The lines as they are to be. What is gathered of a run is written at its end, so that it is not all at once in
    memory; and at the end of the file, should claims follow that."""
    gathered: dict[_Run, _Claims] = {}
    for line, entry, _ in _lines(path, old, size):
        run = entry.run, entry.uid
        if run not in over or entry.event is not Event.CLAIMED:
            if run in over and entry.event is Event.ENDED and run in gathered:
                file.writelines(_folded_lines(run, gathered.pop(run)))
            file.write(line)
            continue
        claims = gathered.setdefault(run, _Claims(entry.at))
        claims.at = max(claims.at, entry.at)
        for claim in entry.claims:
            claims.batches.setdefault(claim.batch, _Folded()).add(claim)
    for run, claims in gathered.items():
        file.writelines(_folded_lines(run, claims))


def _folded_lines(run: _Run, claims: _Claims) -> Iterator[bytes]:
    folded = [one.claimed(batch) for batch, one in sorted(claims.batches.items())]
    for start in range(0, len(folded), _CLAIMS):
        line = Entry(*run, Event.CLAIMED, claims.at, tuple(folded[start : start + _CLAIMS])).line()
        yield line.replace(b"}\n", b', "folded": true}\n')


def _is_folded(line: bytes) -> bool:
    return line.endswith(b', "folded": true}\n')


def _take_place(path: Path, old: IO[bytes], size: int, new: Path, file: IO[bytes]) -> int:
    """Adds what was appended meanwhile, and gives the new file the old one's name; how much shorter it is."""
    fcntl.flock(old, fcntl.LOCK_EX)  # whoever appends waits, and then sees that the file is another one
    if not os.path.samestat(os.fstat(old.fileno()), path.stat()):
        return 0  # another process did it just now
    end = size
    # not out of a buffer: a torn line that stood there may have been cut off and written over
    while data := os.pread(old.fileno(), _COPY, end):
        file.write(data)
        end += len(data)
    saved = end - file.tell()
    file.flush()
    os.fsync(file.fileno())
    new.replace(path)
    with suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return saved


def _failed(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"the journal cannot be made shorter: {error.strerror}",
        place=Place(error.filename or path),
        hint="It is as it was. Look at the room on the disk, and at the owner and mode of the folder.",
    )
