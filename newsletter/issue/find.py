"""Which issue is meant, where its file is, and which came before it."""

from __future__ import annotations

import datetime as dt
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from newsletter.errors import IssueError, Place, UsageError, shown
from newsletter.issue.decode import MAX_BYTES, check_size
from newsletter.issue.model import Issue
from newsletter.issue.parse import parse_issue
from newsletter.issue.slots import EDITION, SUFFIXES, Slot, slot_of, slot_path, slots_in

#: Reading only, and without waiting: to open a named pipe nobody writes to would never end.
_READ_AT_ONCE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_DATED = re.compile(rf"(?P<day>today|tomorrow|[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})(?:\.(?P<edition>{EDITION}))?")
_ACCEPTED = (
    "Give today, tomorrow, a date (2026-01-07), a date with an edition of small letters, digits and hyphens "
    "(2026-01-07.evening), or the path of a .txt or .md file."
)


@dataclass(frozen=True, slots=True)
class IssueRef:
    """What a user named: a slot (`date`, `edition`), or a file (`path`, and no date)."""

    date: dt.date | None
    edition: str = ""
    path: Path | None = None

    def __str__(self) -> str:
        if self.date is None:
            return str(self.path)
        return f"{self.date.isoformat()}.{self.edition}" if self.edition else self.date.isoformat()


def parse_ref(text: str, today: dt.date) -> IssueRef:
    """`today`, `tomorrow`, `2026-01-07` (each also with `.edition`), or a path. Raises UsageError."""
    text = text.strip()
    is_file_name = text.lower().endswith(SUFFIXES) or os.sep in text or "/" in text
    match = None if is_file_name else _DATED.fullmatch(text.lower() if text[:2].lower() == "to" else text)
    if match:
        return IssueRef(_day(match["day"], today), match["edition"] or "")
    if is_file_name or _exists(Path(text), text):
        return IssueRef(None, "", Path(text))
    raise UsageError(f'"{text[:80]}" names no issue' if text else "no issue is named", hint=_ACCEPTED)


def _day(day: str, today: dt.date) -> dt.date:
    if day == "today":
        return today
    try:
        return today + dt.timedelta(days=1) if day == "tomorrow" else dt.date.fromisoformat(day)
    except ValueError:
        raise UsageError(f"there is no {day} in the calendar", hint=_ACCEPTED) from None


def expected_file(folder: Path, pattern: str, ref: IssueRef) -> Path:
    """Where the file of `ref` belongs, whether it is there or not. `pattern` is the newsletter's `issue_path`."""
    if ref.path is not None:
        return ref.path
    assert ref.date is not None
    return folder / slot_path(pattern, (ref.date, ref.edition))


def issue_file(folder: Path, pattern: str, ref: IssueRef) -> Path:
    """The file of `ref`: as `pattern` names it, or with the other of the suffixes .txt and .md.

    A path without a folder that is not here is looked for in `folder`. Raises IssueError if there is none, naming the
    nearest issue there is, or if there are two.
    """
    expected = expected_file(folder, pattern, ref)
    if ref.path is not None:
        candidates = [expected] if expected.name != str(expected) else [expected, folder / expected]
        found = [path for path in candidates if _exists(path)][:1]
    else:
        found = [path for path in _with_either_suffix(expected) if _exists(path)]
    if len(found) > 1:
        raise IssueError(
            f"there are two files for {ref}: {' and '.join(shown(path) for path in found)}",
            place=Place(shown(found[0])),
            hint="Keep one of them: move the other away or give it an edition (2026-01-07.evening.txt).",
        )
    if not found:
        raise _missing(folder, pattern, ref, expected)
    return found[0]


def read_issue(folder: Path, pattern: str, ref: IssueRef, sections: Sequence[str] = ()) -> Issue:
    """Find and parse the issue of `ref`. A file given by path is of the slot its name says, else of its title's date.

    Raises IssueError if it cannot be found, read or parsed.
    """
    path = issue_file(folder, pattern, ref)
    date, edition = ref.date, ref.edition
    if ref.path is not None:
        date, edition = _slot_of_file(path, folder, pattern) or (None, "")
    return parse_issue(_read(path), source=shown(path), date=date, edition=edition, sections=sections)


def earlier_issues(
    folder: Path, pattern: str, before: Issue, sections: Sequence[str] = (), limit: int = 7
) -> tuple[Issue, ...]:
    """Up to `limit` issues of slots before that of `before`, any edition, the latest first.

    Files that cannot be read as issues are passed over: they are not what is being checked.
    """
    slot = (before.date, before.edition)
    earlier: list[Issue] = []
    for date, edition in sorted({found for found, _ in slots_in(folder, pattern) if found < slot}, reverse=True):
        if len(earlier) == limit:
            break
        try:
            earlier.append(read_issue(folder, pattern, IssueRef(date, edition), sections))
        except IssueError:
            continue
    return tuple(earlier)


def _slot_of_file(path: Path, folder: Path, pattern: str) -> Slot | None:
    inside = os.path.relpath(path.absolute(), folder.absolute())
    if not inside.startswith(os.pardir):
        return slot_of(PurePath(inside), pattern)
    return slot_of(PurePath(*path.parts[-len(PurePath(pattern).parts) :]), pattern)


def _with_either_suffix(path: Path) -> tuple[Path, ...]:
    if path.suffix not in SUFFIXES:
        return (path,)
    return (path, *(path.with_suffix(suffix) for suffix in SUFFIXES if suffix != path.suffix))


def _exists(path: Path, text: str = ".") -> bool:
    try:
        return bool(text) and os.path.lexists(path)
    except (OSError, ValueError):  # a name too long for the file system, a NUL in it
        return False


def _missing(folder: Path, pattern: str, ref: IssueRef, expected: Path) -> IssueError:
    hint = []
    if ref.date is not None:
        date = ref.date
        there = [(abs(slot[0] - date), slot, path) for slot, path in slots_in(folder, pattern)]
        if there:
            hint.append(f"The nearest issue is {shown(min(there)[2])}.")
        else:
            hint.append(f"There is no issue in {shown(folder)} at all.")
        hint.append(f"To begin this one: newsletter new {ref}")
    else:
        hint.append("Check the path, or name the issue by its date.")
    others = [path.suffix for path in _with_either_suffix(expected)[1:]] if ref.date is not None else []
    or_other = f", nor one that ends in {others[0]}" if others else ""
    return IssueError(f"there is no such issue file{or_other}", place=Place(shown(expected)), hint=" ".join(hint))


def _read(path: Path) -> bytes:
    """At most one byte more than is accepted: a file of gigabytes costs nothing."""
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, _READ_AT_ONCE)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise IssueError(
                    "this is a pipe or a device, not an issue file",
                    place=Place(shown(path)),
                    hint="Save the issue as an ordinary file and name that one.",
                )
            data = file.read(MAX_BYTES + 1)
    except IsADirectoryError:
        raise IssueError("this is a folder, not an issue file", place=Place(shown(path)), hint=_ACCEPTED) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise IssueError(
            f"the issue file cannot be read: {reason}",
            place=Place(shown(path)),
            hint="Check the file's permissions and that it is not a broken link.",
        ) from None
    check_size(len(data), shown(path))
    return data
