"""An issue file, as bytes, → an Issue."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

from newsletter.errors import IssueError, Place
from newsletter.issue.decode import clean, decode_lines
from newsletter.issue.front_matter import read_front_matter
from newsletter.issue.model import Issue, Section
from newsletter.issue.plain_text import read_plain
from newsletter.issue.title_date import title_date

#: Mail clients show about this many characters behind the subject.
PREHEADER_LENGTH = 90
#: A preheader shorter than this takes the beginning of one more headline.
_SHORT = 60
_SEPARATOR = " · "
_ELLIPSIS = "…"
_SHAPE = "An issue is a title with a date, then a headline and a paragraph below it. See docs/guide."


def parse_issue(
    data: bytes,
    *,
    source: str,
    date: dt.date | None = None,
    edition: str = "",
    sections: Sequence[str] = (),
    markdown: bool | None = None,
) -> Issue:
    """Read an issue file.

    `source` is the file's name as it stands in errors; `date` and `edition` are the slot its name says, without which
    the date of the title is taken. A title that names another date than `date` is no error here: the preflight
    reports it from `Issue.title_date`. `sections` are the section names that the configuration lists; they matter in
    plain text only. `markdown` None means: as the suffix of `source` says.

    Raises IssueError, with `source` and the line, and nothing else, whatever the bytes.
    """
    lines = decode_lines(data, source)
    front = read_front_matter(lines, source)
    if not any(map(clean, lines[front.end :])):
        message = "there is only front matter, no title" if front.end else "the file is empty"
        raise IssueError(message, place=Place(source), hint=_SHAPE)
    if markdown is None:
        markdown = source.lower().endswith(".md")
    if markdown:
        # the parser and the sanitiser take a while to load, and plain text needs neither
        from newsletter.issue.markdown import read_markdown

        read = read_markdown(lines, front.end, source)
    else:
        read = read_plain(lines, front.end, source, sections)
    if not any(section.stories for section in read.sections):
        found = "no story" if read.sections or read.note else "a title and nothing below it"
        raise IssueError(f"{found}: there is nothing to send", place=Place(source, read.title_line), hint=_SHAPE)
    named = title_date(read.title)
    slot = date or named
    if slot is None:
        raise IssueError(
            "no date: neither the file's name nor its title has one",
            place=Place(source, read.title_line),
            hint='Name the file 2026-01-07.txt, or write the date into the title: "Daily Buzz: 7 January 2026".',
        )
    return Issue(
        title=read.title,
        date=slot,
        edition=edition,
        subject=front.subject or read.title,
        preheader=front.preheader or default_preheader(read.sections),
        lists=front.lists,
        lists_line=front.lists_line,
        note=read.note,
        sections=read.sections,
        title_date=named,
        source=source,
        source_lines=lines,
    )


def default_preheader(sections: Iterable[Section]) -> str:
    """The first headlines, joined by " · ", at most 90 characters.

    It ends with a whole headline where that makes 60 characters, else between two words, with an ellipsis. Where no
    story has a headline the first paragraph serves.
    """
    stories = [story for section in sections for story in section.stories]
    headlines = [story.headline for story in stories if story.headline]
    if not headlines:
        texts = (clean(paragraph.text) for story in stories for paragraph in story.paragraphs)
        headlines = [next((text for text in texts if text), "")]
    preheader = ""
    for headline in headlines:
        longer = f"{preheader}{_SEPARATOR}{headline}" if preheader else headline
        if len(longer) > PREHEADER_LENGTH:
            return preheader if len(preheader) >= _SHORT else _cut(longer)
        preheader = longer
    return preheader


def _cut(text: str) -> str:
    kept = text[:PREHEADER_LENGTH]
    words = kept.rpartition(" ")[0]
    if len(words) < _SHORT:  # no blanks to cut at: Chinese, or a very long word
        words = kept[:-1]
    return words.rstrip(" .,;:·–—-") + _ELLIPSIS
