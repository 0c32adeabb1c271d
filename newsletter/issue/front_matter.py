"""The optional front matter of an issue file: `+++` TOML or `---` YAML before the title.

Keys: `subject`, `preheader` (text on one line) and `lists` (names of lists). An unknown key is an error.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from newsletter.errors import IssueError, Place
from newsletter.issue.decode import clean

KEYS = ("subject", "preheader", "lists")
_FENCES = {"+++": "TOML", "---": "YAML"}
#: Three keys need a few lines; more is a mistake and would take long to read (characters).
_MAX_SIZE = 10_000
_KEYS_HINT = "The keys are subject, preheader and lists."
#: tomllib says where in words: "Expected '=' after a key (at line 2, column 9)".
_TOML_PLACE = re.compile(r" \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)\Z")


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """What the front matter sets; `end` is the index of the first line behind it, `lists_line` is 0 without `lists`."""

    subject: str = ""
    preheader: str = ""
    lists: tuple[str, ...] = ()
    lists_line: int = 0
    end: int = 0


def read_front_matter(lines: Sequence[str], source: str) -> FrontMatter:
    """The front matter that `lines` begin with, if any. Raises IssueError at the line that is wrong."""
    opening = next((index for index, line in enumerate(lines) if clean(line)), None)
    if opening is None or (fence := clean(lines[opening])) not in _FENCES:
        return FrontMatter()
    closing = next((index for index in range(opening + 1, len(lines)) if lines[index].rstrip() == fence), None)
    if closing is None:
        raise IssueError(
            f"the front matter that begins here is never closed: no further line is {fence}",
            place=Place(source, opening + 1),
            hint=f"Put a line {fence} between the front matter and the title.",
        )
    inside = lines[opening + 1 : closing]
    text = "\n".join(inside) + "\n"
    if len(text) > _MAX_SIZE:
        raise IssueError(
            f"the front matter is longer than {_MAX_SIZE:,} characters",
            place=Place(source, opening + 1),
            hint=_KEYS_HINT,
        )
    if fence == "+++":
        values = _read_toml(text, source, opening + 1)
    else:
        # few issues need PyYAML
        from newsletter.issue.yaml_front_matter import read_yaml

        values = read_yaml(text, source, opening + 1)
    reader = _Values(values, inside, source, opening + 1)
    reader.refuse_unknown()
    return FrontMatter(
        subject=reader.text("subject"),
        preheader=reader.text("preheader"),
        lists=reader.names("lists"),
        lists_line=reader.line("lists"),
        end=closing + 1,
    )


def _read_toml(text: str, source: str, fence_line: int) -> dict[object, object]:
    try:
        return dict(tomllib.loads(text).items())
    except tomllib.TOMLDecodeError as error:
        found = _TOML_PLACE.search(str(error))
        line = int(found["line"]) if found and found["line"] else text.count("\n") or 1
        column = int(found["column"]) if found and found["column"] else None
        message = _TOML_PLACE.sub("", str(error))
        raise broken("TOML", message, Place(source, fence_line + line, column)) from None
    except (ValueError, RecursionError):  # a number of thousands of digits, or brackets a thousand deep
        raise broken("TOML", "a value that cannot be read", Place(source, fence_line)) from None


def broken(language: str, problem: str, place: Place) -> IssueError:
    """What is raised where the front matter is not of its language."""
    return IssueError(
        f"the front matter is not valid {language}: {problem}", place=place, hint="Text with : or # needs quotes."
    )


class _Values:
    """The values read, with the lines they stand on."""

    def __init__(self, values: Mapping[object, object], inside: Sequence[str], source: str, fence_line: int) -> None:
        self._values = values
        self._inside = inside
        self._source = source
        self._fence_line = fence_line

    def refuse_unknown(self) -> None:
        """Raise for the first key that means nothing here."""
        for key in self._values:
            if key in KEYS:
                continue
            close = difflib.get_close_matches(str(key), KEYS, n=1)
            meant = f" Did you mean {close[0]}?" if close else ""
            raise IssueError(
                f"unknown key {_quoted(key)} in the front matter.{meant}", place=self._place(key), hint=_KEYS_HINT
            )

    def text(self, key: str) -> str:
        """The text of `key`, "" if it is absent."""
        if key not in self._values:
            return ""
        value = self._values[key]
        if not isinstance(value, str):
            raise IssueError(
                f"{key} must be text, not {_kind(value)}",
                place=self._place(key),
                hint=f'Put it in quotes: {key} = "…" in TOML, {key}: "…" in YAML.',
            )
        return self._line_of_text(key, value)

    def names(self, key: str) -> tuple[str, ...]:
        """The list of names of `key`, each once, in their order; () if it is absent."""
        if key not in self._values:
            return ()
        value = self._values[key]
        if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
            raise IssueError(
                f"{key} must be a list of names, not {_kind(value)}",
                place=self._place(key),
                hint=f'Write {key} = ["daily-buzz"] in TOML, {key}: [daily-buzz] in YAML.',
            )
        return tuple(dict.fromkeys(self._line_of_text(key, name) for name in value))

    def line(self, key: str) -> int:
        """The line of the file where `key` stands, 0 if it is absent."""
        return self._place(key).line or 0 if key in self._values else 0

    def _line_of_text(self, key: str, value: str) -> str:
        text = clean(value)
        if not text:
            raise IssueError(
                f"{key} is empty", place=self._place(key), hint=f"Write it, or leave {key} out to have the usual one."
            )
        if any(not character.isprintable() and not character.isspace() for character in text if character < "\u00ad"):
            raise IssueError(f"{key} holds a control character", place=self._place(key), hint="Type it again.")
        return " ".join(text.splitlines())

    def _place(self, key: object) -> Place:
        pattern = re.compile(rf"\s*[\"']?{re.escape(str(key))}[\"']?\s*[:=.\]]|\s*\[+\s*{re.escape(str(key))}\b")
        at = next((index for index, line in enumerate(self._inside, 1) if pattern.match(line)), 0)
        return Place(self._source, self._fence_line + at)


def _kind(value: object) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a table"}
    if isinstance(value, list) and not value:
        return "an empty list"
    if isinstance(value, list):
        return "a list with something else in it"
    return names.get(type(value), "nothing" if value is None else f"a {type(value).__name__}")


def _quoted(key: object) -> str:
    text = str(key)
    return f'"{text[:40]}…"' if len(text) > 40 else f'"{text}"'
