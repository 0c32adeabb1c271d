"""What the program prints: data to stdout, everything else to stderr; one JSON document on one line with --json."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from newsletter.errors import ConfigError, NewsletterError, OutputError


class ReaderGone(Exception):
    """Whoever read our output has closed it, as `| head` does."""


def _print(text: str, stream: TextIO) -> None:
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        raise ReaderGone from None
    except OSError as error:
        raise OutputError(f"standard output cannot be written: {error.strerror}") from None


def _whisper(text: str) -> None:
    """A line on stderr; where that is closed or full, nobody can be told."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(text, file=sys.stderr)  # noqa: T201 - see _print


@dataclass(slots=True)
class Console:
    """How this call prints. `json` is set by the command that was given --json."""

    quiet: bool = False
    verbose: bool = False
    json: bool = False

    def say(self, text: str = "") -> None:
        """A line of the command's answer, for people; nothing with --json."""
        if not self.json:
            _print(text, sys.stdout)

    def data(self, document: object) -> None:
        """The command's answer for programs, on one line; nothing without --json."""
        if self.json:
            _print(json.dumps(document, ensure_ascii=False, default=str), sys.stdout)

    def raw(self, data: bytes) -> None:
        """Bytes as they are, such as a message."""
        try:
            sys.stdout.flush()
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise ReaderGone from None

    def note(self, text: str) -> None:
        """A word beside the answer; silent with --quiet."""
        if not self.quiet:
            _whisper(text)

    def complain(self, message: str, hint: str) -> None:
        """What is wrong with what was done, and what to do; on stderr."""
        _whisper(_joined(message, hint))

    def usage(self, text: str) -> None:
        """The help of a command that was typed without what it needs; on stderr."""
        _whisper(text)

    def error(self, error: NewsletterError, exit_code: int) -> None:
        """What went wrong and what to do; with --json also as a document on stdout."""
        _whisper(_picture(error))
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
    return _joined(str(error), error.hint)


def _joined(message: str, hint: str) -> str:
    return f"✗ {message}\n  {hint}" if hint else f"✗ {message}"


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
