"""The plain text format: each line that is not blank is a block; what it is follows from it and its neighbours.

- A heading right before a heading is a section; a heading right before a paragraph or a link is a story's headline.
- In a longer run of headings the first is the section, the others are stories, all but the last headline only.
- A run that ends the file, or that a listed section name cuts off: its first heading is a section, which is empty if
  it stands alone; the others are stories with a headline only.
- A listed section name is a section wherever it stands. Headings right under it are stories, text right under it a
  story without a headline.
- Text right under the title is the editor's note.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from newsletter.errors import IssueError, Place
from newsletter.issue.body import MAX_BLOCKS, Body, BodyBuilder
from newsletter.issue.decode import clean
from newsletter.issue.headings import is_heading, is_title_case, section_key
from newsletter.issue.model import Paragraph
from newsletter.issue.story_links import Content, closing_url

#: A Title-Case line of so many words before a URL is a headline with its link, not a lead-in such as "Read more".
_HEADLINE_WORDS = 3


class Kind(Enum):
    """What a line is, taken by itself."""

    #: A section name that the configuration lists.
    SECTION = auto()
    #: Short, and does not end like a sentence.
    HEADING = auto()
    #: Anything else: text, or a link.
    CONTENT = auto()


@dataclass(frozen=True, slots=True)
class Block:
    """One line: its kind, its text, its number, and for content what it is in a story."""

    kind: Kind
    text: str
    line: int
    content: Content | None = None


def read_plain(lines: Sequence[str], first: int, source: str, sections: Sequence[str]) -> Body:
    """The issue in `lines[first:]`, of which one at least is not blank. `sections` are the listed names."""
    title = next(index for index in range(first, len(lines)) if clean(lines[index]))
    body = arrange(read_blocks(lines, title + 1, source, sections))
    return body.finish(clean(lines[title]), title + 1)


def read_blocks(lines: Sequence[str], first: int, source: str, sections: Sequence[str]) -> list[Block]:
    """The blocks of `lines[first:]`. A headline with its link on one line gives two blocks."""
    listed = {key for name in sections if (key := section_key(name))}
    blocks: list[Block] = []
    for number, line in enumerate(lines[first:], first + 1):
        text = clean(line)
        if not text:
            continue
        blocks += _classify(text, number, listed)
        if len(blocks) > MAX_BLOCKS:
            raise IssueError(
                f"more than {MAX_BLOCKS:,} lines of text; an issue has about a hundred",
                place=Place(source, number),
                hint="Is this the right file?",
            )
    return blocks


def _classify(text: str, line: int, listed: set[str]) -> list[Block]:
    if section_key(text) in listed:
        return [Block(Kind.SECTION, text, line)]
    closing = closing_url(text)
    if closing is None:
        if is_heading(text):
            return [Block(Kind.HEADING, text, line)]
        whole = plain_paragraph(text, line)
        return [Block(Kind.CONTENT, text, line, Content(whole, whole))]
    if closing.is_alone:
        return [_link(closing.url, line)]
    before = closing.before
    if _is_headline(before):
        heading = Kind.SECTION if section_key(before) in listed else Kind.HEADING
        return [Block(heading, before, line), _link(closing.url, line)]
    whole = plain_paragraph(text, line)
    rest = plain_paragraph(before, line) if closing.can_go else whole
    return [Block(Kind.CONTENT, text, line, Content(whole, rest, closing.url))]


def _is_headline(before: str) -> bool:
    return (
        is_heading(before)
        and is_title_case(before)
        and len(before.split()) >= _HEADLINE_WORDS
        and not before.endswith(":")
        and closing_url(before) is None
    )


def _link(url: str, line: int) -> Block:
    return Block(Kind.CONTENT, url, line, Content(plain_paragraph(url, line), None, url))


def plain_paragraph(text: str, line: int) -> Paragraph:
    """A paragraph whose HTML is its text, escaped."""
    return Paragraph(text=text, html=html.escape(text, quote=False), line=line)


def arrange(blocks: Sequence[Block]) -> BodyBuilder:
    """Headings become sections and headlines by what stands around them."""
    body = BodyBuilder()
    at, under_listed = 0, False
    while at < len(blocks):
        block = blocks[at]
        if block.kind is Kind.SECTION:
            body.section(block.text, block.line)
            at, under_listed = at + 1, True
            continue
        if block.content is not None:
            body.content(block.content)
            at, under_listed = at + 1, False
            continue
        end = at
        while end < len(blocks) and blocks[end].kind is Kind.HEADING:
            end += 1
        run = blocks[at:end]
        leads_to_content = end < len(blocks) and blocks[end].kind is Kind.CONTENT
        if not under_listed and (len(run) > 1 or not leads_to_content):
            body.section(run[0].text, run[0].line)
            run = run[1:]
        for heading in run:
            body.story(heading.text, heading.line)
        at, under_listed = end, False
    return body
