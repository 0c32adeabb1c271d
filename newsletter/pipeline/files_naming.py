"""The files of a project that name somebody: what erasing them from the database cannot reach."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from newsletter.audience.addresses import Address, BadAddress, mailable
from newsletter.audience.csv_lines import TextLines
from newsletter.errors import AudienceError, Place
from newsletter.pipeline.output_files import is_special
from newsletter.settings.loaded import Loaded

#: What may stand around an address in a line: separators, quotes, brackets.
_WORD = re.compile(r"[^\s,;|\"<>()\[\]:\\]+@[^\s,;|\"'<>()\[\]:\\]+")


@dataclass(frozen=True, slots=True)
class Named:
    """The lines that name somebody, and the files that could not be searched to their end."""

    places: tuple[Place, ...]
    unsearched: tuple[Place, ...]


def files_naming(loaded: Loaded, address: Address) -> Named:
    """Searches the subscriber files, the rejects beside them, and what dry runs wrote about their recipients.

    Every encoding that an import reads is read, and every spelling of the address counts that an import would take
    for it (case, IDN). Paths are absolute. Nothing is raised: the person is erased by now.
    """
    places, unsearched = [], []
    for file in dict.fromkeys(_files(loaded)):
        if is_special(file):  # a pipe holds nothing, and waits
            continue
        try:
            with file.open("rb") as opened:
                # one by one: those before a fault count
                text = TextLines(opened, str(file))
                lines = map(html.unescape, text) if file.suffix == ".html" else iter(text)
                for line in _lines(lines, address):
                    places.append(Place(file, line))
                if text.cut:
                    unsearched.append(Place(file))
        except (OSError, AudienceError):
            unsearched.append(Place(file))
    return Named(tuple(places), tuple(unsearched))


def _files(loaded: Loaded) -> Iterator[Path]:
    paths = loaded.settings.paths
    yield from sorted(loaded.resolve(paths.subscribers).glob("*.csv"))
    yield from sorted(loaded.resolve(paths.subscribers).glob("*.rejects.csv.*"))  # earlier ones
    # beside files that were imported from there; and what a killed process left half written
    yield from sorted(loaded.folder.glob("*.rejects.csv*"))
    for folder in (loaded.resolve(paths.subscribers), loaded.folder):
        yield from (file for file in sorted(folder.glob(".*.partial")) if ".rejects.csv." not in file.name)
    for written in ("recipients.csv", "excluded.csv", "index.html", "issue.html", "issue.txt"):
        yield from sorted(loaded.resolve(paths.output).glob(f"*/*/{written}"))


def _lines(lines: Iterator[str], address: Address) -> Iterator[int]:
    local = address.key.rpartition("@")[0] + "@"
    for number, line in enumerate(lines, start=1):
        if local in line.lower() and any(_is(word, address) for word in _WORD.findall(line)):
            yield number


def _is(word: str, address: Address) -> bool:
    """A cell that a spreadsheet would run has an apostrophe in front, and a sentence ends with a full stop."""
    for spelling in (word, word.lstrip("'"), word.lstrip("'").rstrip(".!?")):
        try:
            if mailable(spelling).lower() == address.key:
                return True
        except BadAddress:
            continue
    return False
