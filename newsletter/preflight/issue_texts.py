"""The texts and links of an issue, each with its line in the source."""

from __future__ import annotations

from collections.abc import Iterator

from newsletter.issue.model import Image, Issue, Link
from newsletter.preflight.comparing import folded


def title_line(issue: Issue) -> int | None:
    """The line of the title; None where the source is not known or does not say it in these words."""
    return line_saying(issue, issue.title)


def line_saying(issue: Issue, text: str) -> int | None:
    """The first line of the source that says just `text`, alone or as a key of the front matter; None if none does."""
    wanted = folded(text)
    lines = {wanted, *(f"{key} {wanted}" for key in ("subject", "preheader", "title"))} if wanted else set()
    return next((number for number, line in enumerate(issue.source_lines, start=1) if folded(line) in lines), None)


def body_texts(issue: Issue) -> Iterator[tuple[str, int]]:
    """Section titles, headlines and paragraphs with their lines, in reading order, the editor's note first."""
    for paragraph in issue.note:
        yield paragraph.text, paragraph.line
    for section in issue.sections:
        if section.title:
            yield section.title, section.line
        for story in section.stories:
            if story.headline:
                yield story.headline, story.line
            for paragraph in story.paragraphs:
                yield paragraph.text, paragraph.line


def all_texts(issue: Issue) -> Iterator[tuple[str, int]]:
    """Everything a reader may read, each text once: title, subject and preheader, the body, the images' alt texts."""
    seen: set[str] = set()
    title_at = title_line(issue) or 0
    for text in (issue.title, issue.subject):
        if text and text not in seen:
            seen.add(text)
            yield text, line_saying(issue, text) or title_at
    body = list(body_texts(issue))
    # A preheader made of the headlines says nothing of its own, and has no line of its own.
    said = folded(" ".join(text for text, _ in body))
    if issue.preheader and folded(issue.preheader) not in said and line_saying(issue, issue.preheader):
        yield issue.preheader, line_saying(issue, issue.preheader) or title_at
    yield from body
    for image in issue_images(issue):
        if image.alt:
            yield image.alt, image.line


def body_text(issue: Issue) -> str:
    """What the issue says below its title, as one text. Two issues that say the same have the same."""
    return "\n".join(text for text, _ in body_texts(issue))


def issue_links(issue: Issue) -> Iterator[Link]:
    """Every link of the issue with its line. The link of a story has the story's headline as its text."""
    for paragraph in issue.note:
        yield from paragraph.links
    for story in issue.stories():
        if story.link:
            yield Link(story.link, story.headline, story.link_line or story.line)
        for paragraph in story.paragraphs:
            yield from paragraph.links


def issue_images(issue: Issue) -> Iterator[Image]:
    """Every image of the issue, in reading order."""
    for paragraph in issue.paragraphs():
        yield from paragraph.images
