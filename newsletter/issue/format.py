"""An Issue → the text of a plain issue file."""

from __future__ import annotations

import json
from collections.abc import Iterator

from newsletter.issue.model import Issue, Story
from newsletter.issue.parse import default_preheader


def format_issue(issue: Issue) -> str:
    """The issue as a plain text file, one block a line, blank lines before sections and stories.

    Read again with its section titles listed it gives an equal issue, as far as plain text can say it: a paragraph's
    HTML, inline links and images of a Markdown issue become their text.
    """
    return "\n".join(_lines(issue)) + "\n"


def _lines(issue: Issue) -> Iterator[str]:
    yield from _front_matter(issue)
    yield issue.title
    for paragraph in issue.note:
        yield paragraph.text
    for section in issue.sections:
        if section.title:
            yield ""
            yield section.title
        for story in section.stories:
            yield from _story(story)


def _story(story: Story) -> Iterator[str]:
    yield ""
    if story.headline:
        yield story.headline
    for paragraph in story.paragraphs:
        yield paragraph.text
    if story.link:
        yield story.link


def _front_matter(issue: Issue) -> Iterator[str]:
    values: dict[str, object] = {}
    if issue.subject not in {"", issue.title}:
        values["subject"] = issue.subject
    if issue.preheader not in {"", default_preheader(issue.sections)}:
        values["preheader"] = issue.preheader
    if issue.lists:
        values["lists"] = list(issue.lists)
    if values or issue.title in {"+++", "---"}:
        # JSON strings are TOML strings too, and arrays of them are arrays.
        lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
        yield from ("+++", *lines, "+++")
