"""The body of an issue while it is read: blocks go in in order, note and sections come out."""

from __future__ import annotations

from dataclasses import dataclass

from newsletter.issue.model import Paragraph, Section, Story
from newsletter.issue.story_links import Content, compose_story

#: More blocks than this are not an issue (a full one has about a hundred), and would take long to read.
MAX_BLOCKS = 10_000


@dataclass(frozen=True, slots=True)
class Body:
    """What a file says below its front matter: the title with its line, the editor's note and the sections."""

    title: str
    title_line: int
    note: tuple[Paragraph, ...]
    sections: tuple[Section, ...]


class BodyBuilder:
    """Sorts blocks into the editor's note, sections and stories."""

    def __init__(self) -> None:
        self._note: list[Paragraph] = []
        self._sections: list[tuple[str, int, list[Story]]] = []
        self._story: tuple[str, int, str | None, int] | None = None
        self._contents: list[Content] = []

    def section(self, title: str, line: int) -> None:
        """A section begins."""
        self._close_story()
        self._sections.append((title, line, []))

    def story(self, headline: str, line: int, link: str | None = None, link_line: int = 0) -> None:
        """A story begins; before any section it opens one without a title."""
        self._close_story()
        if not self._sections:
            self._sections.append(("", line, []))
        self._story = (headline, line, link, link_line)

    def content(self, content: Content) -> None:
        """A block of text: of the open story, else of the section, else of the editor's note."""
        if self._story is None and not self._sections:
            self._note.append(content.whole)
            return
        if self._story is None:
            self._story = ("", content.whole.line, None, 0)
        self._contents.append(content)

    def finish(self, title: str, title_line: int) -> Body:
        """All that came in, under its title."""
        self._close_story()
        sections = tuple(Section(name, tuple(stories), line) for name, line, stories in self._sections)
        return Body(title, title_line, tuple(self._note), sections)

    def _close_story(self) -> None:
        if self._story is not None:
            headline, line, link, link_line = self._story
            self._sections[-1][2].append(compose_story(headline, line, self._contents, link, link_line))
        self._story, self._contents = None, []
