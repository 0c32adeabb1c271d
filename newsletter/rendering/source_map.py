"""Leads from a character of a rendered template back to the template's line and column.

Jinja keeps no such map. When something is wrong with what a template rendered, it is rendered once more with an
invisible mark before each piece of template text and before each value; the marks tell where each piece came from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import jinja2
from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream

from newsletter.errors import Place

# Private-use characters: they are valid in XML and text, and no mail has use for them.
_OPEN, _CLOSE = "\ue0f0", "\ue0f1"
#: File number, offset in the file, and how many characters of template text follow (none before a value).
_MARK = re.compile(f"{_OPEN}([0-9]+),([0-9]+),([0-9]+){_CLOSE}")
_LINE_END = re.compile("\r\n|\r")


class LineMarks:
    """Puts marks into templates and reads them. `show` turns a template's file name into the path to show."""

    def __init__(self, show: Callable[[str], Path]) -> None:
        self._show = show
        #: File name and text of each template that carries marks; a mark names it by its place in this list.
        self._sources: list[tuple[str, str]] = []

    def install(self, environment: jinja2.Environment) -> None:
        """Make every template that `environment` compiles from now on carry marks."""
        marks = self

        class Marking(Extension):
            def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
                # Jinja counts in this text too
                marks._sources.append((filename or name or "", _LINE_END.sub("\n", source)))
                return source

            def filter_stream(self, stream: TokenStream) -> Iterable[Token]:
                return marks._mark(stream, self.environment)

        environment.add_extension(Marking)

    def _mark(self, stream: TokenStream, environment: jinja2.Environment) -> Iterator[Token]:
        file = stream.filename or stream.name or ""
        number = max(at for at, (name, _) in enumerate(self._sources) if name == file)
        offsets = _offsets(self._sources[number][1], environment)
        for token in stream:
            if token.type not in {"data", "variable_begin"}:
                yield token
                continue
            at = next(offsets)
            length = len(token.value) if token.type == "data" else 0
            mark = f"{_OPEN}{number},{at},{length}{_CLOSE}"
            if token.type == "data":
                yield Token(token.lineno, "data", mark + token.value)
            else:
                yield Token(token.lineno, "data", mark)
                yield token

    def place_of(self, plain: str, marked: str, offset: int) -> Place | None:
        """Where the character at `offset` of `plain` comes from; `marked` is the same text with marks.

        Inside a value that the template printed, the place is where it is printed. None if the marks changed what
        came before (a template may look at the length of what it renders).
        """
        if not _MARK.sub("", marked).startswith(plain[: offset + 1]):
            return None
        found: re.Match[str] | None = None
        start = seen = end = 0
        for mark in _MARK.finditer(marked):
            seen += mark.start() - end
            if found and seen > offset:
                break
            found, start, end = mark, seen, mark.end()
        if found is None:
            return None
        number, at, length = (int(group) for group in found.groups())
        file, source = self._sources[number]
        at += min(offset - start, length)
        return Place(self._show(file), source.count("\n", 0, at) + 1, at - source.rfind("\n", 0, at))


def _offsets(source: str, environment: jinja2.Environment) -> Iterator[int]:
    """Where in `source` each piece of template text and each `{{` stands, in order."""
    at = 0
    for _, kind, text in environment.lexer.tokeniter(source, None):
        # The lexer leaves out white space that a template strips, and nothing else; it stands before a `{`.
        if not source.startswith(text, at):
            at += len(source[at:]) - len(source[at:].lstrip())
        if kind in {"data", "variable_begin"}:
            yield at
        at += len(text)
