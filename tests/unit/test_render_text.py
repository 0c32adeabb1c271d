"""Whatever an editor writes arrives as it was written, and breaks nothing."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from render_examples import ISSUE, SHIPPED, page, renderer, story, write

from newsletter.errors import IssueError
from newsletter.issue.model import Section
from newsletter.issue.parse import parse_issue
from newsletter.rendering.render import Renderer

HEAD = "<mj-title>{{ subject }}</mj-title><mj-preview>{{ preheader }}</mj-preview>"
CONTENT = """\
{% for story in sections[0].stories %}
<h3 title="{{ story.headline }}">{{ story.headline }}</h3>
{% for paragraph in story.paragraphs %}
<p>{{ paragraph.html }}</p>
{% endfor %}
<a href="{{ story.link }}">x</a>
{% endfor %}
"""
TEXT = """\
{% for story in sections[0].stories %}
{{ story.headline }}
{% for paragraph in story.paragraphs %}
{{ paragraph.text }}
{% endfor %}
{% endfor %}
"""

#: What the issue room lets through: no control characters, no surrogates, no code points that are never characters.
LETTERS = st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff")
# fmt: off
HOSTILE = st.sampled_from(
    [
        "<", ">", "&", '"', "'", "é >", "]]>", "-->", "<!--", "<![CDATA[", "<!--[if mso]>", "<![endif]-->", "</style>",
        "</head>", "</body></html>", "<script>alert(1)</script>", "{{ 7*7 }}", "{% if %}", "{#", "#}", "&amp;", "&#0;",
        "&nbsp;", "&foo;", "<mj-text>", "</mj-text>", "<mjml>", '" onclick="x', "\u2028", "\u202e", "\u200b", "\ufeff",
        "\U0001f600", "\u0301", "z12345678h000z", "\ue0f0", "\ue0f10,1,1", "`", "$x", "%s", "{0}",
        "<!--the last of the mail-->", ' style="color: #12345678"', 'data-premailer="ignore"',
    ]
)
# fmt: on
JUNK = st.lists(HOSTILE | st.text(LETTERS, min_size=1, max_size=6), min_size=1, max_size=5).map("".join)


class Read(HTMLParser):
    """Text of the elements that the template prints junk into, and their attributes, in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = dict(attrs)
        if tag in {"h3", "p", "title"} or "display:none" in (facts.get("style") or ""):
            self._open.append(tag)
            self.words.append((tag, ""))
        if tag == "h3":
            self.words.insert(-1, ("title attribute", facts.get("title") or ""))

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open:
            tag, text = self.words[-1]
            self.words[-1] = (tag, text + data)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    root = tmp_path_factory.mktemp("templates")
    files = {"issue.mjml.j2": page(CONTENT, HEAD), "issue.txt.j2": TEXT, "inline.css": "p, h3 { margin: 0 }"}
    return renderer(write(root, files))


@pytest.fixture(scope="module")
def digest() -> Renderer:
    return renderer(SHIPPED, name="digest")


@settings(max_examples=100)
@given(st.lists(JUNK, min_size=40, max_size=40))
def test_four_thousand_pieces_of_junk_arrive_as_they_were_written(plain: Renderer, junk: list[str]) -> None:
    subject, preheader, *texts = junk
    stories = tuple(story(head, *rest, link="https://example.com/?q=é&b=<") for head, *rest in _in_threes(texts))
    issue = dataclasses.replace(ISSUE, subject=subject, preheader=preheader, sections=(Section("", stories),))
    done = plain.render(issue)
    words: list[tuple[str, str]] = [("title", subject), ("div", preheader)]
    for one in stories:
        words += [("title attribute", one.headline), ("h3", one.headline)]
        words += [("p", paragraph.text) for paragraph in one.paragraphs]
    assert Read(done.html.template).words == words
    lines = [line for one in stories for line in (one.headline, *(paragraph.text for paragraph in one.paragraphs))]
    assert done.text.template.split() == "\n".join(lines).split()


def test_a_comment_that_is_written_about_stays_in_its_attribute(plain: Renderer) -> None:
    """libxml2 writes what stands in an attribute between `<!--` and `-->` without escaping it."""
    hostile = '<!--&nbsp;" onclick="x-->'
    issue = dataclasses.replace(ISSUE, sections=(Section("", (story(hostile, "p", link="https://example.com"),)),))
    html = plain.render(issue).html.template
    assert ("title attribute", hostile) in Read(html).words
    assert not re.search(r"<\w[^<>]* onclick=", re.sub(r'"[^"]*"', '""', html))


def _in_threes(texts: list[str]) -> list[list[str]]:
    return [texts[at : at + 3] for at in range(0, len(texts), 3)]


@settings(max_examples=60)
@given(
    markdown=st.booleans(),
    lines=st.lists(JUNK | st.sampled_from(["# T", "## S", "### A Story", "* x", "> y", "**a**\n*b*"]), max_size=12),
)
def test_every_issue_file_that_can_be_read_can_be_rendered(digest: Renderer, markdown: bool, lines: list[str]) -> None:
    source = "\n\n".join(["# Daily Buzz: 7 January 2026" if markdown else "Daily Buzz: 7 January 2026", *lines])
    try:
        issue = parse_issue(source.encode(), source="x", date=dt.date(2026, 1, 7), markdown=markdown)
    except IssueError:
        event("no issue")
        return
    event("rendered")
    done = digest.render(issue)
    assert done.html.names() == {"email", "preferences_url", "unsubscribe_url", "view_url"}
    assert done.html.template.startswith("<!DOCTYPE html>")
    assert done.text.template


def test_words_on_two_lines_of_markdown_do_not_run_together(digest: Renderer) -> None:
    """The MJML library drops a line break between two elements."""
    source = (
        "# Daily Buzz: 7 January 2026\n## News\n### A Story\nThey said **yes**\n*at last* and\n[went](https://e.org)\n"
    )
    issue = parse_issue(source.encode(), source="x.md", date=dt.date(2026, 1, 7), markdown=True)
    assert "<strong>yes</strong>\n<em>at last</em> and\n<a " in digest.render(issue).html.template


def test_the_sample_issue_is_rendered_with_all_its_words(digest: Renderer) -> None:
    source = Path(__file__).parents[2] / "issues" / "2026-01-07.txt"
    issue = parse_issue(source.read_bytes(), source=str(source), date=dt.date(2026, 1, 7))
    done = digest.render(issue)
    assert len(done.html.template.encode()) <= 45_000
    for paragraph in issue.paragraphs():
        assert f'<p style="margin:0 0 12px">{paragraph.html}</p>' in done.html.template
        assert " ".join(paragraph.text.split()) in " ".join(done.text.template.split())
