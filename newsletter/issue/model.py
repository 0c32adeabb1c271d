"""An issue as data: one day's content of a newsletter.

Line numbers point into the source file, from 1; they take no part in comparisons, so that two files that say the
same compare equal.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Link:
    """A link inside a paragraph: its target and the text that is clicked."""

    url: str
    text: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Image:
    """An image by https URL. `width` is the one the editor gave, in CSS pixels, if any."""

    url: str
    alt: str
    width: int | None = None
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Paragraph:
    """One block of text.

    `text` is what a reader of plain text sees; `html` is the same as sanitised HTML, safe to print unescaped.
    `block` says that `html` brings its own block element (a list, a quotation) and needs no `<p>` around it.
    """

    text: str
    html: str
    line: int = field(default=0, compare=False)
    links: tuple[Link, ...] = ()
    images: tuple[Image, ...] = ()
    block: bool = False


@dataclass(frozen=True, slots=True)
class Story:
    """A headline with paragraphs and perhaps a link; without paragraphs it is a headline only.

    `headline` is empty for text that stands right under a section's name.
    """

    headline: str
    paragraphs: tuple[Paragraph, ...] = ()
    link: str | None = None
    line: int = field(default=0, compare=False)
    link_line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Section:
    """A headed group of stories. `title` is empty for stories that stand before the first section."""

    title: str
    stories: tuple[Story, ...] = ()
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Issue:
    """One day's content of a newsletter.

    `date` and `edition` are the slot the issue is for (from the file's name; for a file named otherwise, from its
    title); `title_date` is the date its title names. `subject` and `preheader` are the effective ones: from the
    front matter, else the title and the first headlines. `lists` is empty unless the front matter narrows it.
    """

    title: str
    date: dt.date
    edition: str = ""
    subject: str = ""
    preheader: str = ""
    lists: tuple[str, ...] = ()
    note: tuple[Paragraph, ...] = ()
    sections: tuple[Section, ...] = ()
    title_date: dt.date | None = None
    #: Where the front matter narrows `lists`; 0 if it does not.
    lists_line: int = field(default=0, compare=False)
    source: str = field(default="", compare=False)
    #: The text of the file, for findings that point at a line. Line N is `source_lines[N - 1]`.
    source_lines: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @property
    def slot(self) -> str:
        """`2026-01-07`, or `2026-01-07.evening` for an edition."""
        return f"{self.date.isoformat()}.{self.edition}" if self.edition else self.date.isoformat()

    @property
    def filled_sections(self) -> tuple[Section, ...]:
        """The sections that have something to say, in order; empty ones are left out of the mail."""
        return tuple(section for section in self.sections if section.stories)

    def stories(self) -> Iterator[Story]:
        """Every story, in reading order."""
        for section in self.sections:
            yield from section.stories

    def paragraphs(self) -> Iterator[Paragraph]:
        """Every paragraph, the editor's note first, in reading order."""
        yield from self.note
        for story in self.stories():
            yield from story.paragraphs

    @property
    def word_count(self) -> int:
        """Words a reader reads: note, section titles, headlines and paragraphs."""
        texts = [paragraph.text for paragraph in self.paragraphs()]
        texts += [story.headline for story in self.stories()]
        texts += [section.title for section in self.filled_sections]
        return sum(len(text.split()) for text in texts)

    @property
    def reading_minutes(self) -> int:
        """Minutes to read it, at least 1: 238 words a minute, silent reading of English prose (Brysbaert 2019)."""
        return max(1, round(self.word_count / 238))
