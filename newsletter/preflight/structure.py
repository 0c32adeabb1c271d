"""How the issue is built: sections, headlines, and lines that were probably read as the wrong thing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from newsletter.issue.headings import is_title_case
from newsletter.preflight.check import Found, check
from newsletter.preflight.comparing import folded, shortened
from newsletter.preflight.issue_texts import title_line
from newsletter.preflight.model import Examined, Level

#: A headline over this many characters takes more than three lines on a phone; a paragraph under it may be a headline.
HEADLINE_CHARACTERS = 90
#: Fewer words than these in Title Case may as well be a name.
HEADLINE_WORDS = 3
_SENTENCE_BREAK = re.compile(r"[a-z0-9)”\"’']{2}[.!?][”\"’']?\s+[A-ZÀ-Þ“\"]")


@check(
    "issue-empty",
    Level.ERROR,
    means="The issue has a title and nothing to read.",
    do="Write at least one headline with a paragraph below the title.",
)
def issue_empty(examined: Examined) -> Iterator[Found]:
    """Neither a story nor a note with words in it."""
    if examined.issue.word_count == 0:
        yield Found("the issue has nothing to read", title_line(examined.issue))


@check(
    "empty-section",
    Level.WARN,
    means="A section has no story; it is left out of the mail.",
    do="Write its stories, or take the line out.",
)
def empty_section(examined: Examined) -> Iterator[Found]:
    """A heading at the end, or one before the next section."""
    for section in examined.issue.sections:
        if not section.stories:
            yield Found(f'section "{section.title}" is empty and left out', section.line)


@check(
    "headline-repeated",
    Level.WARN,
    means="Two stories of the issue have the same headline, or a section has the name of one.",
    do="Take one of them out, or tell them apart.",
)
def headline_repeated(examined: Examined) -> Iterator[Found]:
    """Equal but for case and punctuation. A headline without text may have been read as the name of a section."""
    first: dict[str, tuple[str, int]] = {}
    for section in examined.issue.sections:
        titles = [("a section", section.title, section.line)]
        titles += [("a headline", story.headline, story.line) for story in section.stories]
        for what, title, line in titles:
            key = folded(title)
            if not key:
                continue
            earlier, at = first.get(key, ("", 0))
            if earlier and not what == earlier == "a section":  # two sections are for section-repeated
                where = f" (line {at})" if at else ""
                yield Found(f'"{shortened(title)}" is already {earlier} of this issue{where}', line)
            first.setdefault(key, (what, line))


@check(
    "section-repeated",
    Level.WARN,
    means="Two sections of the issue have the same name.",
    do="Join them, or rename one.",
)
def section_repeated(examined: Examined) -> Iterator[Found]:
    """Only sections that are shown; an empty one has a finding of its own."""
    first: dict[str, int] = {}
    for section in examined.issue.filled_sections:
        key = folded(section.title)
        if key and key in first:
            at = f" (line {first[key]})" if first[key] else ""
            yield Found(f'section "{section.title}" stands twice{at}', section.line)
        first.setdefault(key, section.line)


@check(
    "headline-like-paragraph",
    Level.WARN,
    means="A line was read as a headline and looks like a paragraph.",
    do="End it with a full stop if it is a paragraph; else shorten it.",
)
def headline_like_paragraph(examined: Examined) -> Iterator[Found]:
    """Longer than a headline is, or with the end of a sentence in its midst."""
    for story in examined.issue.stories():
        if len(story.headline) > HEADLINE_CHARACTERS:
            yield Found(f'a headline of {len(story.headline)} characters: "{shortened(story.headline)}"', story.line)
        elif _SENTENCE_BREAK.search(story.headline) and not looks_like_headline(story.headline):
            yield Found(f'a headline of more than one sentence: "{shortened(story.headline)}"', story.line)


@check(
    "paragraph-like-headline",
    Level.WARN,
    means="A short line was read as a paragraph and looks like a headline.",
    do="Take the full stop off its end if it is a headline.",
)
def paragraph_like_headline(examined: Examined) -> Iterator[Found]:
    """A short line in Title Case with a paragraph right below it."""
    for story in examined.issue.stories():
        for paragraph, below in zip(story.paragraphs, story.paragraphs[1:], strict=False):
            if paragraph.block or below.block or paragraph.links or len(below.text) <= len(paragraph.text):
                continue
            if len(paragraph.text) <= HEADLINE_CHARACTERS and looks_like_headline(paragraph.text):
                yield Found(f'a paragraph that looks like a headline: "{shortened(paragraph.text)}"', paragraph.line)


def looks_like_headline(text: str) -> bool:
    """Whether a line is in Title Case, as the parser sees it, and long enough to be no mere name."""
    return len(text.split()) >= HEADLINE_WORDS and is_title_case(text)
