"""Names of issue files and the slots (date and edition) they stand for, by the configured `issue_path`."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path, PurePath
from string import Formatter

from newsletter.errors import IssueError

#: A slot: the date, and the edition or "".
Slot = tuple[dt.date, str]

SUFFIXES = (".txt", ".md")
EDITION = "[a-z0-9-]+"

#: What the directives of strftime that make sense in a file name match. The settings accept these and no others.
DIRECTIVES = {
    "Y": r"\d{4}", "m": r"\d{2}", "d": r"\d{2}", "y": r"\d{2}", "j": r"\d{3}",
    "b": r"[^\W\d_]+", "B": r"[^\W\d_]+", "a": r"[^\W\d_]+", "A": r"[^\W\d_]+",
}  # fmt: skip
_EDITION_FIELD = re.compile(r"([._-]?)\{edition\}(/?)")


def slot_path(pattern: str, slot: Slot) -> PurePath:
    """The file of a slot, relative to the folder of issues. Raises IssueError if `pattern` is none."""
    date, edition = slot
    if not edition:
        pattern = _EDITION_FIELD.sub("", pattern)
    try:
        path = PurePath(pattern.format(date=date, edition=edition))
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise _no_pattern(pattern) from error
    if edition and "{edition}" not in pattern:
        path = path.with_name(f"{path.stem}.{edition}{path.suffix}")
    return path


def slot_of(path: PurePath, pattern: str) -> Slot | None:
    """The slot that a path relative to the folder of issues stands for, or None. Either suffix will do."""
    regex = _regex(pattern)
    match = regex.fullmatch(path.as_posix())
    if match is None:
        return None
    found = [one for one in regex.groupindex if one in DIRECTIVES]
    texts, formats = "|".join(match[one] for one in found), "|".join(f"%{one}" for one in found)
    try:
        date = dt.datetime.strptime(texts, formats).date()  # noqa: DTZ007 - a day has no zone
    except ValueError:  # 2026-02-30
        return None
    return date, match["edition"] or ""


def slots_in(folder: Path, pattern: str) -> Iterator[tuple[Slot, Path]]:
    """Every issue file in `folder`, in no order."""
    depths = {len(PurePath(name).parts) for name in (pattern, _EDITION_FIELD.sub("", pattern))}
    for depth in sorted(depths):
        for path in folder.glob("/".join("*" * depth)):
            slot = slot_of(path.relative_to(folder), pattern)
            if slot is not None:
                yield slot, path


def _fields(pattern: str) -> list[tuple[str, str | None, str | None, str | None]]:
    try:
        return list(Formatter().parse(pattern))
    except ValueError as error:
        raise _no_pattern(pattern) from error


def _regex(pattern: str) -> re.Pattern[str]:
    """A regex with a group for each directive, named by its letter, and one called edition.

    A directive that stands twice, as the year in `{date:%Y}/{date:%Y-%m-%d}`, must say the same both times.
    """
    path = PurePath(pattern)
    suffix = path.suffix if path.suffix in SUFFIXES else ""
    stem = path.as_posix()[: len(path.as_posix()) - len(suffix)]
    seen: set[str] = set()
    regex = ""
    for at, piece in enumerate(_EDITION_FIELD.split(stem)):
        if at % 3 == 1:
            regex += rf"(?:{re.escape(piece)}(?P<edition>{EDITION})"
        elif at % 3 == 2:
            regex += f"{re.escape(piece)})?"
        else:
            for text, field, spec, _ in _fields(piece):
                regex += re.escape(text)
                if field is not None:
                    regex += _date_regex(field, spec or "", pattern, seen)
    if "{edition}" not in stem:
        regex += rf"(?:\.(?P<edition>{EDITION}))?"
    ends = "|".join(re.escape(end) for end in SUFFIXES)
    try:
        return re.compile(f"{regex}(?:{ends})" if suffix else regex, re.ASCII)
    except re.error as error:  # two {edition} fields
        raise _no_pattern(pattern) from error


def _date_regex(field: str, spec: str, pattern: str, seen: set[str]) -> str:
    if field != "date":
        raise _no_pattern(pattern)
    regex, at = "", 0
    spec = spec or "%Y-%m-%d"
    while at < len(spec):
        if spec[at] == "%":
            letter = spec[at + 1 : at + 2]
            if letter not in DIRECTIVES:
                raise _no_pattern(pattern)
            regex += f"(?P={letter})" if letter in seen else f"(?P<{letter}>{DIRECTIVES[letter]})"
            seen.add(letter)
            at += 2
        else:
            regex += re.escape(spec[at])
            at += 1
    return regex


def _no_pattern(pattern: str) -> IssueError:
    return IssueError(
        f'issue_path = "{pattern}" cannot name issue files',
        hint='Use {date:%Y-%m-%d} (%Y %m %d %y %j %b %B %a %A) and {edition}, such as "{date:%Y-%m-%d}.txt".',
    )
