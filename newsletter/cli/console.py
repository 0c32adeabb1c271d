"""What the program prints: data to stdout, everything else to stderr; one JSON document on one line with --json."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from newsletter.errors import ConfigError, NewsletterError


@dataclass(slots=True)
class Console:
    """How this call prints. `json` is set by the command that was given --json."""

    quiet: bool = False
    verbose: bool = False
    json: bool = False

    def say(self, text: str = "") -> None:
        """A line of the command's answer, for people; nothing with --json."""
        if not self.json:
            print(text, file=sys.stdout)  # noqa: T201 - this is where the program prints

    def data(self, document: object) -> None:
        """The command's answer for programs, on one line; nothing without --json."""
        if self.json:
            print(json.dumps(document, ensure_ascii=False, default=str), file=sys.stdout)  # noqa: T201 - see say

    def raw(self, data: bytes) -> None:
        """Bytes as they are, such as a message."""
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def note(self, text: str) -> None:
        """A word beside the answer; silent with --quiet."""
        if not self.quiet:
            print(text, file=sys.stderr)  # noqa: T201 - see say

    def error(self, error: NewsletterError, exit_code: int) -> None:
        """What went wrong and what to do; with --json also as a document on stdout."""
        print(_picture(error), file=sys.stderr)  # noqa: T201 - see say
        self.data({"error": _document(error), "exit_code": exit_code})

    @contextmanager
    def progress(self, what: str) -> Iterator[Callable[[int, int], None]]:
        """A progress bar on stderr where that is a terminal; elsewhere silence.

        Yields the function that moves it: (how many are done, of how many).
        """
        if self.quiet or not sys.stderr.isatty():
            yield lambda _done, _total: None
            return
        # imported here: Rich takes longer to load than the rest of the program
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=RichConsole(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)


def _picture(error: NewsletterError) -> str:
    if isinstance(error, ConfigError):
        from newsletter.settings.picture import format_problems  # only a wrong configuration needs it

        return format_problems(error)
    lines = [f"✗ {error}"]
    if error.hint:
        lines.append(f"  {error.hint}")
    return "\n".join(lines)


def _document(error: NewsletterError) -> dict[str, object]:
    if isinstance(error, ConfigError):
        problems = [
            {
                "key": problem.key,
                "message": problem.message,
                "path": str(problem.place.path),
                "line": problem.place.line,
                "suggestion": problem.suggestion,
            }
            for problem in error.problems
        ]
        return {"message": error.message, "problems": problems}
    place = error.place
    return {
        "message": error.message,
        "hint": error.hint,
        "path": str(place.path) if place else None,
        "line": place.line if place else None,
        "column": place.column if place else None,
    }


def count(number: int, one: str, many: str = "") -> str:
    """`1 warning`, `2 warnings`, `1,814 words`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def kilobytes(size: int) -> str:
    """Bytes as KB of 1,024, as Gmail's clipping limit is counted."""
    return f"{size / 1024:.0f} KB" if size >= 1024 else f"{size} bytes"


def shown(path: Path) -> str:
    """A path as a user would type it: relative to the current folder where it is below it."""
    absolute = path.absolute()
    here = Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(path)
