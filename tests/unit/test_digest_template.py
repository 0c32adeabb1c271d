"""The default template `digest`: what must still stand in the mail after MJML and the CSS inliner had their turn."""

from __future__ import annotations

import dataclasses
import datetime as dt
import html as html_module
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from newsletter.issue.model import Issue, Link, Paragraph, Section, Story
from newsletter.rendering.model import Hole, HoleContext, Publication, RenderedIssue
from newsletter.rendering.render import Renderer
from newsletter.rendering.template_folder import find_template

TEMPLATES = Path(__file__).parents[2] / "templates"
PUBLICATION = Publication(
    name="daily-buzz",
    title="Daily Buzz",
    site_name="Daily Buzz",
    base_url="https://news.example.com",
    language="en",
    postal_address="1 Example Street, Example City",
    sender="Daily Buzz <buzz@news.example.com>",
)
#: Link texts that say nothing about where they lead, or nothing without the sentence around them.
GENERIC = {"click here", "here", "read more", "more", "link", "this", "learn more", "continue", "details", "this link"}


def prose(text: str) -> Paragraph:
    return Paragraph(text=text, html=html_module.escape(text, quote=False))


REPORT = Link("https://example.org/report?a=1&b=2", "a long report")
SUMMARY = Link("https://example.org/summary", "a report")
BARE = Link("https://example.org/bare", "https://example.org/bare")
LINKED = Paragraph(
    text="Read a long report, a report and https://example.org/bare today.",
    html="".join(
        [
            'Read <a href="https://example.org/report?a=1&amp;b=2">a long report</a>, ',
            '<a href="https://example.org/summary">a report</a> and ',
            '<a href="https://example.org/bare">https://example.org/bare</a> today.',
        ]
    ),
    links=(REPORT, SUMMARY, BARE),
)
ISSUE = Issue(
    title="Daily Buzz: 7 January 2026",
    date=dt.date(2026, 1, 7),
    subject="Daily Buzz: 7 January 2026",
    preheader="Ferries Run Every Hour",
    note=(prose("Good morning."),),
    sections=(
        Section("Top News", (Story("Ferries & Trains", (LINKED,), "https://www.example.com/ferries?x=1&y=2"),)),
        Section(
            "Corporate",
            (
                Story("Bakers Agree", (prose("They did."), prose("At last."))),
                Story("Only a Headline"),
                Story("A Linked Headline", (), "https://example.net/linked"),
                Story("After the List", (prose("It ends."),)),
            ),
        ),
        Section("In Case You Missed It"),
    ),
)


def rendered(issue: Issue = ISSUE, publication: Publication = PUBLICATION) -> RenderedIssue:
    return Renderer(find_template("digest", [TEMPLATES]), publication).render(issue)


class Outline(HTMLParser):
    """Headings, links, ids and visible text of a page, in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.headings: list[tuple[int, str]] = []
        self.links: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.layout_tables: list[str | None] = []
        self._words: list[str] = []
        self._open: list[tuple[str, str, int]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = dict(attrs)
        if "id" in facts:
            self.ids.append(facts["id"] or "")
        if tag == "table":
            self.layout_tables.append(facts.get("role"))
        if tag in {"h1", "h2", "h3", "h4", "a"}:
            self._open.append((tag, facts.get("href") or "", len(self._words)))

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1][0] == tag:
            _, href, start = self._open.pop()
            text = " ".join("".join(self._words[start:]).split())
            if tag == "a":
                self.links.append((href, text))
            else:
                self.headings.append((int(tag[1]), text))

    def handle_data(self, data: str) -> None:
        self._words.append(data)


@pytest.fixture(scope="module")
def html() -> str:
    return rendered().html.template


@pytest.fixture(scope="module")
def text() -> str:
    return rendered().text.template


def test_outlook_keeps_its_conditional_comments(html: str) -> None:
    assert html.count("<!--[if") == html.count("<![endif]")
    assert "<!--[if mso | IE]><table" in html, "the 600 px table that Outlook for Windows needs"
    assert 'width="600"' in html
    assert "<o:PixelsPerInch>96</o:PixelsPerInch>" in html
    assert "<!--[if mso]><style>h1,h2,h3,p,li{font-family:Georgia,serif}" in html
    assert "<!--[if !mso]><!--><meta" in html


def test_dark_mode_media_and_attribute_rules_stay_in_the_head(html: str) -> None:
    head = html[: html.index("<body")]
    assert '<meta name="color-scheme" content="light dark">' in head
    assert ":root { color-scheme: light dark;" in head
    assert "@media (prefers-color-scheme: dark) {" in head
    assert "@media (max-width: 480px)" in head
    assert "@media only screen and (min-width:480px)" in head, "MJML's own column rule"
    assert ".k, .k > table { background: #17191d !important; }" in head
    assert "[data-ogsc] .k div, [data-ogsc] .k .m a { color: #e9eaec !important; }" in head
    assert "[data-ogsb] .k, [data-ogsb] .k > table { background: #17191d !important; }" in head
    assert "!important" not in html[html.index("<body") :]
    assert "data-premailer" not in html


def test_every_dark_rule_has_a_twin_for_outlook_com() -> None:
    css = (TEMPLATES / "digest" / "head.css").read_text("utf-8")
    dark = css.split("(prefers-color-scheme: dark) {\n")[1].split("\n}\n")[0]
    attributes = css.split("\n}\n")[1]
    plain = re.sub(r"\[data-ogs[bc]\] ", "", attributes)
    assert [line.strip() for line in dark.splitlines()] == [line.strip() for line in plain.strip().splitlines()]
    for line in attributes.strip().splitlines():
        assert ("[data-ogsb]" in line) == ("background" in line), line


def test_gmail_keeps_the_style_blocks() -> None:
    """Gmail drops a style block over 8,192 characters, and all that follow it."""
    assert len((TEMPLATES / "digest" / "head.css").read_text("utf-8")) < 8192


def test_colours_that_light_mode_needs_stand_on_the_elements_themselves(html: str) -> None:
    body = html[html.index("<body") :]
    assert re.search(r'<h2 class="s" id="s1" style="[^"]*border-top: ?2px solid #1a1c20[^"]*color: ?#b3261e', body)
    assert re.search(r'<h2 class="s" id="s2" style="[^"]*color: ?#0b57a4', body)
    assert 'style="font-family:Georgia,' in body


def test_headings_are_real_and_in_order(html: str) -> None:
    assert Outline(html).headings == [
        (1, "Daily Buzz"),
        (2, "In this issue"),
        (2, "Top News"),
        (3, "Ferries & Trains"),
        (2, "Corporate"),
        (3, "Bakers Agree"),
        (3, "After the List"),
    ]


def test_stories_before_the_first_section_skip_no_heading_level() -> None:
    sections = (Section("", (Story("First of All", (prose("Yes."),)),)), *ISSUE.sections[:1])
    levels = [
        level for level, _ in Outline(rendered(dataclasses.replace(ISSUE, sections=sections)).html.template).headings
    ]
    assert levels == [1, 2, 2, 3], "masthead, story, section, story; one section alone needs no contents"


def test_layout_tables_say_that_they_are_no_data_and_the_whole_is_an_article(html: str) -> None:
    assert set(Outline(html).layout_tables) == {"presentation"}
    assert '<html lang="en" dir="ltr"' in html
    assert re.search(r'<div [^>]*role="article"[^>]*lang="en"[^>]*dir="ltr"', html)


def test_links_name_their_target(html: str) -> None:
    links = Outline(html).links
    assert ("https://www.example.com/ferries?x=1&y=2", "Read on example.com") in links
    assert ("https://example.net/linked", "A Linked Headline") in links
    assert [target for target, words in links if not words or words.casefold() in GENERIC] == []


def test_contents_list_the_sections_that_have_stories(html: str) -> None:
    outline = Outline(html)
    assert [link for link in outline.links if link[0].startswith("#")] == [("#s1", "Top News"), ("#s2", "Corporate")]
    assert {"s1", "s2"} <= set(outline.ids)
    assert "1 story" in html
    assert "4 stories" in html
    assert "In Case You Missed It" not in html


def test_headlines_without_text_form_one_list_and_the_lead_is_one_story(html: str) -> None:
    assert html.count('<ul class="o"') == 1
    assert html.count("<li") == 2
    assert re.findall(r'<h3 class="l"[^>]*>([^<]*)', html) == ["Ferries &amp; Trains"]


def test_both_parts_say_why_and_how_to_leave() -> None:
    issue = rendered()
    for part, word, url in (
        (issue.html, HoleContext.HTML, HoleContext.HTML_URL),
        (issue.text, HoleContext.TEXT, HoleContext.TEXT_URL),
    ):
        assert Hole("email", word) in part.holes
        assert {Hole(name, url) for name in ("unsubscribe_url", "preferences_url", "view_url")} <= set(part.holes)
        assert "You get this mail because {email}" in part.template
        assert "1 Example Street, Example City" in part.template
    assert ("{unsubscribe_url}", "Unsubscribe") in Outline(issue.html.template).links
    assert "Unsubscribe: {unsubscribe_url}" in issue.text.template
    assert "Daily Buzz &lt;buzz@news.example.com&gt;" in issue.html.template
    assert "Daily Buzz <buzz@news.example.com>" in issue.text.template


@pytest.mark.parametrize("preheader", ["Short", "A long preheader " * 10])
def test_the_preheader_is_hidden_short_and_padded(preheader: str) -> None:
    html = rendered(dataclasses.replace(ISSUE, preheader=preheader)).html.template
    hidden = re.search(r'<div style="display:none;[^"]*">(.*?)</div>', html, re.DOTALL)
    assert hidden is not None
    shown, padding = hidden[1][: hidden[1].index("\u034f")], hidden[1][hidden[1].index("\u034f") :]
    assert 0 < len(shown) <= 90
    assert padding == "\u034f\u200c\u00a0" * 80
    assert html.index(hidden[0]) < html.index("<h1")


def test_links_in_the_text_part_are_numbered_and_listed_by_section(text: str) -> None:
    top, corporate = text.split("TOP NEWS\n")[1].split("CORPORATE\n")
    assert "Read a long report [1], a report [2] and https://example.org/bare today." in " ".join(top.split())
    assert "Read on example.com [3]" in top
    assert [line for line in top.splitlines() if line.startswith("[")] == [
        "[1] https://example.org/report?a=1&b=2",
        "[2] https://example.org/summary",
        "[3] https://www.example.com/ferries?x=1&y=2",
    ]
    assert "* Only a Headline\n* A Linked Headline [1]\n" in corporate
    assert "[1] https://example.net/linked\n" in corporate


def test_lists_and_quotations_are_set_in_in_the_text_part() -> None:
    words = "a line that is so long that it has to be broken in two before it comes to its end"
    linked = Link("https://example.org/end", "its end")
    blocks = (
        Paragraph(f"- Rye\n  - {words}\n- Oats", "<ul><li>Rye</li></ul>", links=(linked,), block=True),
        Paragraph(f"1. {words}", "<ol><li>One</li></ol>", block=True),
        Paragraph(f"Quoted, {words}", "<blockquote><p>Quoted</p></blockquote>", block=True),
        Paragraph(
            "A picture", '<img src="https://example.org/a.png" alt="A picture"/>', links=(Link("https://e.org", ""),)
        ),
    )
    issue = dataclasses.replace(ISSUE, sections=(Section("Only", (Story("Blocks", blocks),)),))
    [part] = rendered(issue).text.template.split("------\n")[1:]
    assert part.split("*****")[0].strip("\n").splitlines() == [
        "  - Rye",
        "    - a line that is so long that it has to be broken in two before it",
        "      comes to its end [1]",
        "  - Oats",
        "",
        "  1. a line that is so long that it has to be broken in two before it",
        "    comes to its end",
        "",
        "  Quoted, a line that is so long that it has to be broken in two before",
        "  it comes to its end",
        "",
        "A picture [2]",
        "",
        "[1] https://example.org/end",
        "[2] https://e.org",
    ]


def test_the_text_part_has_the_words_of_the_html_in_72_columns(text: str) -> None:
    long = dataclasses.replace(ISSUE, note=(prose("A sentence of several words, once more. " * 9),))
    part = rendered(long).text.template
    assert max(len(line) for line in part.splitlines() if "://" not in line and "{" not in line) <= 72
    words = set(part.split())
    for story in long.stories():
        assert set(story.headline.split()) <= words
    assert "\n\n\n" not in text
    assert not any(line != line.rstrip() for line in text.splitlines())
    assert "&amp;" not in text


def generated(stories: int) -> Issue:
    """An issue of `stories` stories of the length that the sample's have (about 680 characters each)."""
    paragraph = prose("The harbour authority said on Tuesday that it would add a few sailings. " * 9)
    link = "https://www.example.com/2026/01/07/a-story-with-a-long-address"
    sections = [
        Section(
            f"Section {number}",
            tuple(Story("A Headline of the Usual Length for the Day", (paragraph,), link) for _ in range(stories // 5)),
        )
        for number in range(1, 6)
    ]
    return dataclasses.replace(ISSUE, sections=tuple(sections))


def test_the_size_stays_below_what_gmail_clips() -> None:
    sizes = {count: len(rendered(generated(count)).html.template.encode()) for count in (20, 60)}
    words = len("The harbour authority said on Tuesday that it would add a few sailings. " * 9)
    assert sizes[20] <= 45_000
    assert sizes[60] < 102_400
    assert (sizes[60] - sizes[20]) / 40 - words < 600, "bytes a story costs beyond its text"
