"""The journal: an append-only file of what runs did, beside the database and outliving it.

A database that is restored from a backup forgets what was sent since; the journal does not. It holds one JSON object a
line, `run` first: planned, shared, claimed (calls over these members of batches were allowed), ended and reopened.
Several processes append to it.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from newsletter.errors import OutputError, Place

#: How every line begins and ends; lines are looked at in blocks, and only those of one run are parsed.
_BEGIN, _END = b'{"run": ', b"}\n"
_BLOCK = 8 * 1024 * 1024


class Event(StrEnum):
    """What a line says."""

    #: A run was planned.
    PLANNED = "planned"
    #: It was handed to workers, whose claims stand in the journals of their machines: calls may have been made.
    SHARED = "shared"
    #: Members of its batches were claimed: calls may have been made.
    CLAIMED = "claimed"
    #: The run was over.
    ENDED = "ended"
    #: An operator opened it again after that.
    REOPENED = "reopened"


#: What says that mail of a run may have gone out.
MAY_HAVE_SENT = frozenset({Event.SHARED, Event.CLAIMED})


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim: its batch and attempt, the how-manieth of the batch it is, and the places (from 0) of its members."""

    batch: int
    attempt: int
    number: int
    places: Sequence[int]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. `uid` tells runs of one name apart; `claims` are those that were granted in one exchange."""

    run: str
    uid: str
    event: Event
    at: dt.datetime
    claims: tuple[Claimed, ...] = ()

    def line(self) -> bytes:
        """The line, with its end. A claim is `[batch, attempt, number, "0-9,12"]`."""
        said: dict[str, object] = {"run": self.run, "uid": self.uid, "event": self.event.value}
        if self.claims:
            said["claims"] = [[one.batch, one.attempt, one.number, _ranges(one.places)] for one in self.claims]
        said["at"] = self.at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return json.dumps(said).encode() + b"\n"


class Journal:
    """The journal in the file `path`; it and its folder are made (0600) when the first line is written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, entries: Sequence[Entry], *, sync: bool = True) -> None:
        """Writes all of them in one piece; they are on the disk then (without `sync`: a while later). Raises
        OutputError, and writes none."""
        if not entries:
            return
        data = b"".join(entry.line() for entry in entries)
        with self._errors():
            file, new = self._locked()
            try:
                size = _whole_lines(file)
                try:
                    written = os.write(file, data)
                    if written != len(data):
                        os.write(file, data[written:])  # says what is wrong: the disk is full, most likely
                    if sync or new:
                        os.fsync(file)
                except OSError:
                    with suppress(OSError):  # else whoever writes next cuts it off
                        os.ftruncate(file, size)
                    raise
            finally:
                os.close(file)
            if new:
                _sync_folder(self.path.parent)

    def _locked(self) -> tuple[int, bool]:
        """The file, held alone until it is closed, and whether it was made just now."""
        while True:
            new = False
            try:
                file = os.open(self.path, os.O_RDWR | os.O_APPEND)
            except FileNotFoundError:
                new = True
                self.path.parent.mkdir(parents=True, exist_ok=True)
                file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if self._is_there(file):
                    return file, new
            except BaseException:
                os.close(file)
                raise
            os.close(file)  # it was made shorter while we waited: what has its name is another file

    def _is_there(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), self.path.stat())
        except FileNotFoundError:
            return False

    def entries(self, run: str) -> Iterator[Entry]:
        """The lines of the run of this name. Raises OutputError (file:line) where any line cannot be read.

        What a crash left of a last line is passed over.
        """
        needle = _BEGIN + json.dumps(run).encode() + b", "
        with self._errors():
            try:
                file = self.path.open("rb")
            except FileNotFoundError:
                return
            with file:
                before = 0
                for block in _blocks(file):
                    self._check(block, before)
                    for found in re.finditer(re.escape(needle), block):
                        entry = parsed(block[found.start() : block.index(b"\n", found.start())])
                        if entry is None:
                            raise self._unreadable(before + block.count(b"\n", 0, found.start()) + 1)
                        yield entry
                    before += block.count(b"\n")

    def _check(self, block: bytes, before: int) -> None:
        """Every line looks like one of ours: a damaged line might have been about this run."""
        lines = block.count(b"\n")
        if block.startswith(_BEGIN) and block.endswith(_END) and block.count(_END + _BEGIN) == lines - 1:
            return
        for number, line in enumerate(block.splitlines(keepends=True), before + 1):
            if not (line.startswith(_BEGIN) and line.endswith(_END)):
                raise self._unreadable(number)

    def _unreadable(self, number: int) -> OutputError:
        return OutputError(
            "this line of the journal cannot be read; it says what was sent already",
            place=Place(self.path, number),
            hint="Put the file back from a copy. Where there is none: see which run it is about, and take it out.",
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"the journal cannot be kept: {error.strerror}",
                place=Place(error.filename or self.path),
                hint="Nothing is sent without it. Look at the room on the disk, and at the file's owner and mode.",
            ) from None


def parsed(line: bytes) -> Entry | None:
    """What the line says; None where it says nothing of ours."""
    try:
        said = json.loads(line)
        return Entry(
            said["run"],
            said["uid"],
            Event(said["event"]),
            dt.datetime.fromisoformat(said["at"]),
            tuple(
                Claimed(int(batch), int(attempt), int(number), _places(ranges))
                for batch, attempt, number, ranges in said.get("claims", ())
            ),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _ranges(places: Sequence[int]) -> str:
    """`0-9,12` for ascending places."""
    spans: list[tuple[int, int]] = []
    for place in places:
        if spans and place == spans[-1][1] + 1:
            spans[-1] = spans[-1][0], place
        else:
            spans.append((place, place))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def _places(ranges: str) -> list[int]:
    """The places again. Raises ValueError."""
    places: list[int] = []
    for span in ranges.split(","):
        first, dash, last = span.partition("-")
        places += range(int(first), int(last if dash else first) + 1)
    return places


def _blocks(file: Iterator[bytes]) -> Iterator[bytes]:
    """The file in blocks of whole lines; a last line without its end is left out."""
    rest = b""
    while read := file.read(_BLOCK):  # type: ignore[attr-defined]
        whole, end, rest_of = (rest + read).rpartition(b"\n")
        rest = rest_of
        if end:
            yield whole + end


def _whole_lines(file: int) -> int:
    """Cuts off what a crash left of a last line: no call was made on the word of it. Returns the size."""
    size = os.fstat(file).st_size
    end = size
    while end:
        start = max(0, end - 4096)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end != size:
        os.ftruncate(file, end)
    return end


def _sync_folder(folder: Path) -> None:
    """The file's name is on the disk too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
