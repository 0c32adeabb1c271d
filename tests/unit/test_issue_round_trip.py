"""Any bytes give an issue or one IssueError; an issue written as text and read again is the same issue."""

from __future__ import annotations

import datetime as dt
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from newsletter.errors import IssueError
from newsletter.issue.decode import clean
from newsletter.issue.format import format_issue
from newsletter.issue.headings import is_heading, section_key
from newsletter.issue.model import Issue, Paragraph, Section, Story
from newsletter.issue.parse import default_preheader, parse_issue
from newsletter.issue.plain_text import plain_paragraph
from newsletter.issue.story_links import closing_url
from newsletter.issue.title_date import title_date

DATE = dt.date(2026, 1, 7)


def read(data: bytes, source: str, sections: tuple[str, ...] = ()) -> Issue | None:
    refused: IssueError | None = None
    try:
        return parse_issue(data, source=source, date=DATE, sections=sections)
    except IssueError as error:
        refused = error
    assert refused.place is not None
    assert refused.message
    assert refused.hint
    return None


# Lines of every kind, and what joins and breaks them.
PIECES = st.sampled_from(
    ["Buzz: 7 January 2026", "Top News", "One", "A sentence ends here.", "Is It So?", "Is it so?", "U.S.", "…", "...",
     "https://example.com/a", "<https://example.com/b>.", "Prices fell. https://example.com/c", "Read https://b.example",
     "Three Word Headline https://c.example/d", "\u00a0", "\u200b", "\ufeff", "+++", "---", 'subject = "x"',
     "lists: [a]", "# Title 7 January 2026", "## Section", "### Story", "#### Deep", "- item", "> quoted", "1. first",
     "![a](https://b.example/c.png)",
     "[a](b)", "*a*", "<b>", "</b>", "<!--", "```", "\\", "&amp;", "[a]: b", "\t", "x" * 130, "中文。", "\u2028", "é"]
)  # fmt: skip
DOCUMENTS = st.lists(PIECES | st.text(max_size=20), max_size=20).flatmap(
    lambda pieces: st.sampled_from(["\n", "\n\n", " ", "\r\n", ""]).map(lambda joint: joint.join(pieces))
)


#: What parsers are slow at, repeated.
UNITS = ["x", "a\n", "\n", "\u200b\n", "a. ", "https://a.b/)", "7 Jan\u00a0", "[", "![", "*a ", "_a", "`a``", "<",
         "<b>", ">", "> ", "- a\n", "<ul><li>", "<b><p>", "<!--", "<![CDATA[", "[a](", "a\n\n", "&amp;", "\\", "é>",
         "'", "\u00a0"]  # fmt: skip


class TestAnyBytes:
    @pytest.mark.parametrize("source", ["a.txt", "a.md"])
    @given(st.binary(max_size=400))
    def test_any_bytes_give_an_issue_or_one_error(self, source: str, data: bytes) -> None:
        read(data, source)
        for opening in (b"+++\n", b"---\n", b"Title\n", b"# Title\n\n### A\n"):
            read(opening + data, source)

    @pytest.mark.parametrize("source", ["a.txt", "a.md"])
    @given(DOCUMENTS)
    def test_any_text_gives_an_issue_or_one_error(self, source: str, text: str) -> None:
        for opening in ("", "+++\n", "---\n", "Title\n", "# Title\n\n### A\n"):
            data = (opening + text).encode("utf-8", "surrogatepass")
            issue = read(data, source, ("Top News",))
            if issue is not None:
                assert issue.title
                assert issue.subject
                assert len(issue.preheader) <= 90 or "preheader" in text
                assert any(True for _ in issue.stories())
                assert all(story.headline or story.paragraphs for story in issue.stories())
                lines = [story.line for story in issue.stories()] + [p.line for p in issue.paragraphs()]
                assert all(1 <= line <= len(issue.source_lines) for line in lines)

    @pytest.mark.parametrize("unit", UNITS)
    @pytest.mark.parametrize(
        ("source", "opening", "gap"),
        [
            ("a.txt", "Buzz 7 January 2026\nTop\nA\n", 0),
            ("a.md", "# Buzz 7 January 2026\n\n### A\n\n", 0),
            ("a.md", "# Buzz 7 January 2026\n\n### A\n\n", 4_000),
        ],
    )
    def test_a_megabyte_is_read_or_refused_soon(self, source: str, opening: str, gap: int, unit: str) -> None:
        """With a gap there are paragraphs of that length, as long a file as Markdown may be."""
        block = unit * (gap // len(unit)) + "\n\n" if gap else unit
        _soon((opening + block * (1_000_000 // len(block))).encode()[: 240_000 if gap else 1_000_000], source)

    @pytest.mark.parametrize("unit", ["[", "a: [", "a.", "\n", "- - ", "'", "9"])
    @pytest.mark.parametrize("fence", ["+++", "---"])
    @pytest.mark.parametrize("size", [9_900, 1_000_000])
    def test_so_is_long_front_matter(self, fence: str, size: int, unit: str) -> None:
        _soon(f"{fence}\nlists = {unit * (size // len(unit))}\n{fence}\nTitle\nA\nB.\n".encode(), "a.txt")


def _soon(data: bytes, source: str) -> None:
    """A second on an idle machine; ten here, for a busy one: what is quadratic takes minutes."""
    started = time.process_time()
    read(data, source)
    assert time.process_time() - started < 10


class TestRoundTrip:
    @given(DOCUMENTS, st.sampled_from([(), ("Top News",), ("One", "…", "Is It So?"), ("A sentence ends here",)]))
    @example("Buzz\nTop News\nhttps://example.com/a", ("Top News",))
    @example("Buzz\nA\nRead https://example.com/a\nhttps://example.com/b\nDone.", ())
    def test_text_to_issue_to_text_is_stable(self, text: str, sections: tuple[str, ...]) -> None:
        issue = read(("Title\n" + text).encode("utf-8", "surrogatepass"), "a.txt", sections)
        if issue is None:
            return
        written = format_issue(issue)
        again = read(written.encode(), "a.txt", sections)
        assert again == issue
        assert format_issue(again) == written


def _is_plain_heading(text: str) -> bool:
    return text == clean(text) != "" and is_heading(text) and closing_url(text) is None and text not in {"+++", "---"}


def _is_paragraph(text: str) -> bool:
    return text == clean(text) != "" and not is_heading(text) and closing_url(text) is None


LETTERS = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn", "Zl", "Zp"])
HEADINGS = (
    st.sampled_from(["Top News", "Economy & Markets", "In Case You Missed It...", "Can a Tram Be Too Quiet?"])
    | st.text(LETTERS, min_size=1, max_size=40).map(clean)
).filter(_is_plain_heading)  # fmt: skip
PARAGRAPHS = st.text(LETTERS, max_size=60).map(lambda text: clean(f"{text} so it ends.")).filter(_is_paragraph)
LINKS = st.none() | st.integers(0, 99).map(lambda number: f"https://example.com/{number}")
ONE_LINE = st.text(LETTERS, min_size=1, max_size=60).map(clean).filter(bool)


def _paragraphs(least: int) -> st.SearchStrategy[tuple[Paragraph, ...]]:
    return st.lists(PARAGRAPHS.map(lambda text: plain_paragraph(text, 0)), min_size=least, max_size=3).map(tuple)


@st.composite
def issues(draw: st.DrawFn) -> Issue:
    """Issues that plain text can say: a story with a headline only stands before the others of its section."""
    names = draw(st.lists(HEADINGS.filter(section_key), unique_by=section_key, max_size=4))
    keys = {section_key(name) for name in names}
    headlines = HEADINGS.filter(lambda text: section_key(text) not in keys)
    told = st.builds(Story, headlines, _paragraphs(1), LINKS) | st.builds(
        Story, headlines, st.just(()), LINKS.filter(lambda link: link is not None)
    )
    sections = []
    opening = draw(st.lists(told, min_size=0 if names else 1, max_size=2))
    if opening:
        sections.append(Section("", tuple(opening)))
    for name in names:
        bare = draw(st.lists(st.builds(Story, headlines), max_size=2))
        text = draw(st.lists(st.builds(Story, st.just(""), _paragraphs(1), LINKS), max_size=0 if bare else 1))
        sections.append(Section(name, (*text, *bare, *draw(st.lists(told, max_size=2)))))
    title = draw(ONE_LINE)
    return Issue(
        title=title,
        date=DATE,
        subject=draw(st.just(title) | ONE_LINE),
        preheader=draw(st.just(default_preheader(sections)) | ONE_LINE) or "A preheader",
        lists=draw(st.lists(ONE_LINE, unique=True, max_size=2).map(tuple)),
        note=draw(_paragraphs(0)),
        sections=tuple(sections),
        title_date=title_date(title),
    )


@given(issues().filter(lambda issue: any(section.stories for section in issue.sections)))
def test_issue_to_text_to_issue_is_the_same_issue(issue: Issue) -> None:
    titles = tuple(section.title for section in issue.sections if section.title)
    assert read(format_issue(issue).encode(), "a.txt", titles) == issue
