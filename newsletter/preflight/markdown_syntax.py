"""Markdown of other programs (GitHub's, most of all) that a Markdown issue does not know and shows as it is typed."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from newsletter.issue.model import Issue, Paragraph
from newsletter.preflight.check import Found, check
from newsletter.preflight.comparing import shortened
from newsletter.preflight.issue_texts import body_texts
from newsletter.preflight.model import Examined, Level

#: The line under a table's head, as GitHub Flavored Markdown 4.10 has it; a paragraph joins it with its neighbours.
_TABLE = re.compile(r"\|\s*:?-{2,}:?\s*\||(?<!-):?-{3,}:?\s*\|\s*:?-{3,}")
_STRUCK = re.compile(r"~~(?![\s~])[^~]{1,500}(?<!\s)~~")
_TASK = re.compile(r"<li>\s*(?:<p>)?\s*\[[ xX]\]\s+(?P<text>[^<]*)")
_CODE = re.compile(r"<(code|pre)\b.*?</\1>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")


@check(
    "markdown-unsupported",
    Level.WARN,
    means="Markdown that an issue does not know (a table, struck-out text, a task list) is shown with its marks.",
    do="Write it as sentences or as a plain list; what was struck out can go.",
)
def markdown_unsupported(examined: Examined) -> Iterator[Found]:
    """Only in a Markdown issue, and not in code, which is shown as typed on purpose. One finding a paragraph."""
    issue = examined.issue
    if not issue.source.lower().endswith(".md"):
        return
    paragraphs = {paragraph.line for paragraph in issue.paragraphs()}
    for text, line in body_texts(issue):
        if line not in paragraphs and (struck := _STRUCK.search(text)):
            yield _struck(struck.group(), line)
    for paragraph in issue.paragraphs():
        yield from _in_paragraph(paragraph, issue)


def _in_paragraph(paragraph: Paragraph, issue: Issue) -> Iterator[Found]:
    markup = _CODE.sub(" ", paragraph.html)
    text = html.unescape(_TAG.sub("", markup))
    if task := _TASK.search(markup):
        words = html.unescape(task["text"])
        at = _line_of(words.split("\n")[0].strip(), paragraph.line, issue)
        yield Found(
            f'a task list is shown with its boxes: "{shortened(words)}"',
            at,
            hint="Take the [ ] out; the line stays an item of the list.",
        )
    elif _TABLE.search(text):
        yield Found(
            f'a table is shown as one run of text: "{shortened(text)}"',
            paragraph.line,
            hint="Write the table as a list or as sentences, or show it as an image with an alternative text.",
        )
    elif struck := _STRUCK.search(text):
        yield _struck(struck.group(), _line_of(struck.group().split("\n")[0], paragraph.line, issue))


def _struck(text: str, line: int) -> Found:
    return Found(
        f'struck-out text is shown with its tildes: "{shortened(text)}"', line, hint="Take the words out, or the ~~."
    )


def _line_of(words: str, first: int, issue: Issue) -> int:
    """The first line from `first` on that has these words in it, else `first`."""
    following = enumerate(issue.source_lines[max(first - 1, 0) :], first)
    return next((number for number, line in following if words and words in line), first)
