"""The errors a user can meet, as one tree.

    NewsletterError
    ├── ConfigError      config.toml or the environment; carries every problem at once
    ├── IssueError       an issue file that cannot be found or read as an issue
    ├── TemplateError    a template, its MJML or its CSS that cannot be rendered
    ├── AudienceError    a subscriber file that cannot be read at all (single bad rows are rejects, not errors)
    ├── ChecksFailed     the issue did not pass its preflight
    ├── OutputError      a file or folder that cannot be written
    ├── UsageError       a command that makes no sense as it was typed
    ├── NothingToDo      there is nothing left to do
    ├── GuardRefused     a guard said no; nothing was changed
    └── TemporaryError   not now; the same command may do it in a moment

Every message says what happened, where, and what to do next. The exit code of each class stands in
`newsletter.cli.exit_codes`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


def shown(path: Path) -> str:
    """The path as a user would type it here: relative to the working folder where that is shorter."""
    try:
        relative = os.path.relpath(path)
    except (ValueError, OSError):  # another drive; a working folder that is gone
        return str(path)
    return min(str(path), relative, key=len)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file: `path:line:column`, lines and columns counted from 1, either may be absent."""

    path: Path | str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        parts = [str(self.path)]
        if self.line is not None:
            parts.append(str(self.line))
            if self.column is not None:
                parts.append(str(self.column))
        return ":".join(parts)


class NewsletterError(Exception):
    """What happened (`message`), where (`place`), and what to do next (`hint`)."""

    def __init__(self, message: str, *, place: Place | None = None, hint: str = "") -> None:
        self.message = message
        self.place = place
        self.hint = hint
        super().__init__(str(self))

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        return f"{where}{self.message}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with the settings: its key, what is wrong, where it stands, and the text that stands there."""

    key: str
    message: str
    place: Place
    excerpt: str = ""
    suggestion: str = ""


class ConfigError(NewsletterError):
    """config.toml or the environment is wrong; `problems` holds everything that is, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        count = len(self.problems)
        message = first.message if count == 1 else f"{count} problems in the configuration, the first: {first.message}"
        super().__init__(message, place=first.place)


class IssueError(NewsletterError):
    """An issue file cannot be found, or cannot be read as an issue."""


class TemplateError(NewsletterError):
    """A template, its MJML or its CSS cannot be rendered."""


class AudienceError(NewsletterError):
    """A subscriber file cannot be read at all."""


class ChecksFailed(NewsletterError):
    """The issue did not pass its preflight."""


class OutputError(NewsletterError):
    """A file or folder cannot be written."""


class UsageError(NewsletterError):
    """The command makes no sense as it was typed."""


class NothingToDo(NewsletterError):
    """There is nothing left to do."""


class GuardRefused(NewsletterError):
    """A guard said no; nothing was changed."""


class TemporaryError(NewsletterError):
    """Not now; the same command may do it in a moment."""
