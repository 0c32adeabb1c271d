"""Takes a file of webhook posts in again: after an outage, or from where a proxy kept them.

The file is one JSON array, as it was posted, or has one post (an array) or one event (an object) a line.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from newsletter.errors import Place, UsageError
from newsletter.events.sendgrid_events import Posted, Unreadable, read_items, read_json
from newsletter.pipeline.take_events import EventTools, Taken, take_events

#: Events that are kept in one transaction.
_AT_A_TIME = 1_000


@dataclass(frozen=True, slots=True)
class Replayed:
    """rows = new + known + passed_over + unusable, and what came of the new ones and of those that waited before."""

    rows: int
    new: int
    passed_over: int
    unusable: int
    taken: Taken

    @property
    def known(self) -> int:
        """How many had come in before."""
        return self.rows - self.new - self.passed_over - self.unusable


def replay_events(path: Path, tools: EventTools, *, now: Callable[[], dt.datetime]) -> Replayed:
    """Keeps the file's events and settles what waits; the same file again changes nothing. Constant memory where it is
    in lines. Raises UsageError, and keeps nothing, where a line is no JSON."""
    for _ in _items(path):  # all of it is read before any of it counts
        pass
    rows = new = passed_over = unusable = 0
    items = (item for some in _items(path) for item in some)
    while some := list(islice(items, _AT_A_TIME)):
        posted = read_items(some)
        rows += len(some)
        new += tools.inbox.keep(posted.events, now=now())
        passed_over += posted.passed_over
        unusable += _number(posted)
    return Replayed(rows, new, passed_over, unusable, take_events(tools, now=now))


def _number(posted: Posted) -> int:
    return sum(posted.unusable.values())


def _items(path: Path) -> Iterator[Sequence[object]]:
    """What each line has; of a file that is one document over several lines, all at once."""
    try:
        with path.open("rb") as lines:
            empty = True
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                if empty and not _whole(line):
                    yield _document(path, number)
                    return
                empty = False
                yield _line(line, path, number)
    except OSError as error:
        hint = "Look at its name, owner and mode."
        raise UsageError(f"cannot be read: {error.strerror}", place=Place(path), hint=hint) from None
    if empty:
        raise UsageError("is empty", place=Place(path), hint=_EXPECTED)


def _whole(line: bytes) -> bool:
    """Whether this line, the first one, is a document by itself: then each is."""
    try:
        read_json(line)
    except Unreadable:
        return False
    return True


def _line(line: bytes, path: Path, number: int) -> Sequence[object]:
    try:
        return read_json(line)
    except Unreadable as error:
        raise UsageError(_said(error), place=Place(path, number), hint=_EXPECTED) from None


def _document(path: Path, first: int) -> Sequence[object]:
    body = path.read_bytes()
    try:
        return read_json(body)
    except Unreadable as error:
        raise UsageError(_said(error), place=Place(path, _bad_line(body) or first), hint=_EXPECTED) from None


def _bad_line(body: bytes) -> int | None:
    try:
        json.loads(body.decode("utf-8-sig", "replace"), parse_int=str)
    except json.JSONDecodeError as error:
        return error.lineno
    except RecursionError:
        return None
    return None


def _said(error: Unreadable) -> str:
    """Without the place within the line, which is not the one in the file."""
    return str(error).partition(": line ")[0].partition(" line ")[0]


_EXPECTED = "Expected what SendGrid posts: one JSON array, or an array or an event a line."
