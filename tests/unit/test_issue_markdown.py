"""Markdown issues."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.errors import IssueError
from newsletter.issue.model import Image, Issue, Link, Paragraph
from newsletter.issue.parse import parse_issue
from newsletter.issue.safe_html import MAX_DEPTH, TooDeepError, sanitise

HEAD = "# Daily Buzz: 7 January 2026\n\n### A\n\n"


def read(text: str) -> Issue:
    return parse_issue(text.encode(), source="2026-01-07.md")


def paragraphs(text: str) -> list[Paragraph]:
    (story,) = read(HEAD + text).stories()
    return list(story.paragraphs)


def only(text: str) -> Paragraph:
    (paragraph,) = paragraphs(text)
    return paragraph


class TestOutline:
    def test_headings_say_what_is_title_section_and_story(self) -> None:
        issue = read(
            "# Daily Buzz: 7 January 2026\n\nThe note.\n\n### Early\n\n## Top & *News*\n\nUnder the name.\n\n"
            "### One\n\nText.\n\nMore.\n\n### Two\n## Empty\n"
        )
        assert issue.title == "Daily Buzz: 7 January 2026"
        assert [paragraph.text for paragraph in issue.note] == ["The note."]
        assert [
            (s.title, s.line, [(t.headline, len(t.paragraphs), t.line) for t in s.stories]) for s in issue.sections
        ] == [
            ("", 5, [("Early", 0, 5)]),
            ("Top & News", 7, [("", 1, 9), ("One", 2, 11), ("Two", 0, 17)]),
            ("Empty", 18, []),
        ]
        assert [paragraph.line for paragraph in issue.paragraphs()] == [3, 9, 13, 15]

    def test_the_suffix_decides_unless_the_caller_does(self) -> None:
        assert parse_issue(HEAD.encode(), source="A.MD").title == "Daily Buzz: 7 January 2026"
        assert parse_issue(HEAD.encode(), source="a.txt", markdown=True).title == "Daily Buzz: 7 January 2026"
        assert parse_issue(b"Buzz 7 January 2026\nA\nB.", source="a.md", markdown=False).title == "Buzz 7 January 2026"

    def test_rules_are_decoration_and_underlines_and_indents_mean_nothing(self) -> None:
        assert [p.text for p in paragraphs("One.\n---\n\n***\n\n    Two.\n\nThree\n===\n")] == [
            "One.",
            "Two.",
            "Three ===",
        ]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("Daily Buzz: 7 January 2026\n\n### A\n", "2026-01-07.md:1: a Markdown issue begins with its title"),
            ("\n\n## Top\n\n### A\n", "2026-01-07.md:3: a Markdown issue begins with its title"),
            ("[a]: https://example.com\n", "2026-01-07.md:1: a Markdown issue begins with its title"),
            (HEAD + "# Again\n", "2026-01-07.md:5: a second title: an issue has one # heading"),
            (HEAD + "Text.\n#### Deep\n", "2026-01-07.md:6: a heading of level 4: an issue knows # title"),
            (HEAD + "###### Deep\n", "2026-01-07.md:5: a heading of level 6"),
            (HEAD + "> ## Quoted\n", "2026-01-07.md:5: a heading inside a list or quotation"),
            (HEAD + "##\n", "2026-01-07.md:5: a heading without text, where a section begins"),
            (HEAD + "### <!-- -->\n", "2026-01-07.md:5: a heading without text, where a story begins"),
            (HEAD + "## [Top](https://example.com)\n", "2026-01-07.md:5: a section holds no link and no image"),
            ("# [Buzz](https://example.com)\n", "2026-01-07.md:1: a title holds no link and no image"),
            (HEAD + "### ![A](https://example.com/a.png)\n", "2026-01-07.md:5: a headline holds one link at most"),
            (
                HEAD + "### [A](https://a.example) [B](https://b.example)\n",
                "2026-01-07.md:5: a headline holds one link",
            ),
            ("# Buzz 7 January 2026\n", "2026-01-07.md:1: a title and nothing below it: there is nothing to send"),
            ("# Buzz 7 January 2026\n\n## Top\n", "2026-01-07.md:1: no story: there is nothing to send"),
            (HEAD + "> " * 30 + "deep\n", "2026-01-07.md:5: lists or quotations nested too deep"),
            (HEAD + "".join(f"{'  ' * n}- a\n" for n in range(30)), "2026-01-07.md:14: lists or quotations nested too"),
            (HEAD + "a " * 5_001 + "\n", "2026-01-07.md:5: a paragraph of more than 10,000 characters"),
            (HEAD + "*_`<[ " * 2_001 + "\n", "2026-01-07.md:1: a Markdown issue has at most 250,000 characters"),
            (HEAD + "a\n\n" * 5_001, "2026-01-07.md:10001: a Markdown issue has at most 250,000 characters"),
            (HEAD + "<b>" * 51 + "\n", "2026-01-07.md:5: HTML nested too deep, or never closed"),
        ],
    )
    def test_what_is_wrong_is_said_with_its_line(self, text: str, message: str) -> None:
        with pytest.raises(IssueError) as caught:
            read(text)
        assert str(caught.value).startswith(message)
        assert caught.value.hint


class TestText:
    def test_emphasis_links_and_code_become_html_and_their_words_text(self) -> None:
        paragraph = only(
            "Some *new* **bold** `x > y` & [a\nlink](https://example.com/?a=1&b=2 'T')\nhere &copy; &lt;b&gt;."
        )
        assert paragraph.html == (
            "Some <em>new</em> <strong>bold</strong> <code>x &gt; y</code> &amp; "
            '<a href="https://example.com/?a=1&amp;b=2" title="T">a\nlink</a>\nhere © &lt;b&gt;.'
        )
        assert paragraph.text == "Some new bold x > y & a link here © <b>."
        assert paragraph.links == (Link("https://example.com/?a=1&b=2", "a link"),)
        assert paragraph.links[0].line == 6
        assert not paragraph.block

    def test_lists_and_quotations_are_one_block_each(self) -> None:
        points, quotation = paragraphs(
            "- one\n- [two](https://example.com/2)\n  1. three\n  2. four\n\n> Said\n> she.\n"
        )
        assert points.text == "- one\n- two\n  1. three\n  2. four"
        assert points.html.replace("\n", "") == (
            '<ul><li>one</li><li><a href="https://example.com/2">two</a><ol><li>three</li><li>four</li></ol></li></ul>'
        )
        assert (points.block, points.line, points.links[0].line) == (True, 5, 6)
        assert (quotation.text, quotation.block) == ("Said she.", True)
        assert quotation.html == "<blockquote>\n<p>Said\nshe.</p>\n</blockquote>"

    def test_a_numbered_list_begins_where_the_editor_says(self) -> None:
        paragraph = only("3. three\n4. four")
        assert paragraph.text == "3. three\n4. four"
        assert paragraph.html.startswith('<ol start="3">')

    def test_code_keeps_its_lines(self) -> None:
        assert only("```python\na  = 1\nb < 2\n```").text == "a  = 1\nb < 2"

    def test_a_hard_break_is_a_line_of_text(self) -> None:
        paragraph = only("Roses  \nViolets")
        assert (paragraph.text, paragraph.html) == ("Roses\nViolets", "Roses<br />\nViolets")

    def test_tables_in_html_keep_their_cells_apart(self) -> None:
        paragraph = only("<table><tr><td colspan=2>a</td><td>b</td></tr><tr><td>c</td></tr></table>")
        assert (paragraph.text, paragraph.block) == ("a | b\nc", True)


class TestStoryLinks:
    def test_a_headline_brings_its_own_link(self) -> None:
        (story,) = read(
            "# B 7 January 2026\n\n### [A](https://example.com/a) and B\n\nhttps://example.com/b\n"
        ).stories()
        assert (story.headline, story.link, story.link_line) == ("A and B", "https://example.com/a", 3)
        assert [paragraph.text for paragraph in story.paragraphs] == ["https://example.com/b"]

    @pytest.mark.parametrize("end", ["https://example.com/a", "<https://example.com/a>", "(https://example.com/a)."])
    @pytest.mark.parametrize("gap", [" ", "\n", "\n\n"])
    def test_a_bare_url_at_the_end_of_a_paragraph_or_alone(self, end: str, gap: str) -> None:
        (story,) = read(f"{HEAD}Prices *fell*.{gap}{end}\n").stories()
        assert story.link == "https://example.com/a"
        assert [(p.text, p.html) for p in story.paragraphs] == [("Prices fell.", "Prices <em>fell</em>.")]

    def test_a_url_its_sentence_needs_stays_and_a_written_link_is_none_of_the_storys(self) -> None:
        (story,) = read(HEAD + "Read <https://example.com/a>\n").stories()
        assert (story.link, story.paragraphs[0].text) == ("https://example.com/a", "Read https://example.com/a")
        (story,) = read(HEAD + "It fell. [https://example.com/b](https://example.com/a)\n").stories()
        assert (story.link, story.paragraphs[0].text) == (None, "It fell. https://example.com/b")

    @pytest.mark.parametrize(
        "url", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "ftp://a.example"]
    )
    def test_a_link_that_no_mail_can_carry_is_an_error(self, url: str) -> None:
        with pytest.raises(IssueError, match=r"^2026-01-07\.md:6: the link .* is none that a mail can carry"):
            read(f"{HEAD}Text\n[x]({url})\n")


class TestImages:
    def test_an_https_image_with_its_alt_text(self) -> None:
        paragraph = only("Look:\n![A *red* kite](https://example.com/kite.png)")
        assert paragraph.images == (Image("https://example.com/kite.png", "A red kite"),)
        assert paragraph.images[0].line == 6
        assert paragraph.html == 'Look:\n<img src="https://example.com/kite.png" alt="A red kite" />'
        assert paragraph.text == "Look: A red kite"

    def test_html_gives_a_width_in_pixels_and_nothing_else(self) -> None:
        paragraph = only('<img src="https://example.com/a.png" width="300" height="50%" style="x" onload="y">')
        assert paragraph.images == (Image("https://example.com/a.png", "", 300),)
        assert paragraph.html == '<img src="https://example.com/a.png" width="300" />'

    @pytest.mark.parametrize(
        ("url", "what"),
        [
            ("pictures/kite.png", "is a local path"),
            ("/home/editor/kite.png", "is a local path"),
            ("file:///kite.png", "is a local path"),
            (r"C:\pictures\kite.png", "is a local path"),
            ("http://example.com/kite.png", "is an http URL, not https"),
            ("data:image/png;base64,iVBORw0KGgo=", "is written into the text"),
            ("cid:kite", "is not an https URL"),
            ("https:///kite.png", "is not an https URL"),
            ("https://[kite/a.png", "is not an https URL"),
        ],
    )
    def test_any_other_image_is_an_error_that_says_what_it_is(self, url: str, what: str) -> None:
        with pytest.raises(IssueError) as caught:
            read(f"{HEAD}Look:\n![A kite]({url})\n")
        assert str(caught.value).startswith("2026-01-07.md:6: the image")
        assert what in str(caught.value)
        assert "https://" in caught.value.hint

    @pytest.mark.parametrize("source", ["kite.png", "data:image/png;base64,AAAA", "http://example.com/a.png", ""])
    def test_images_in_html_are_judged_too(self, source: str) -> None:
        with pytest.raises(IssueError, match=r"^2026-01-07\.md:5: the image"):
            read(f'{HEAD}<img src="{source}" alt="A kite">\n')


class TestSanitising:
    @pytest.mark.parametrize(
        ("source", "html"),
        [
            ("<script>alert(1)</script>a", "a"),
            ("<style>p{}</style>a<!-- b -->", "a"),
            ('<p onclick="x" style="y" class="z" id="i">a</p>', "<p>a</p>"),
            ('<a href="javascript:x">a</a>', "<a>a</a>"),
            ('<a href="java&#1;script:x">a</a>', "<a>a</a>"),
            ('<a href="java&#9;script:x">a</a>', "<a>a</a>"),
            ('<a href="https://example.com" target="_blank">a</a>', '<a href="https://example.com">a</a>'),
            ('<span lang="fr" dir="ltr">a</span>', None),
            ("<iframe src=x>a</iframe><svg><text>c</text></svg>b", "b"),
            ("<form><button>a</button></form>", "a"),
            ("<b>a", "<b>a</b>"),
            ("é > & &nbsp;&#1;&#12;x", "é &gt; &amp; \u00a0x"),
            ('<abbr title="a > b &quot;">c</abbr>', '<abbr title="a &gt; b &quot;">c</abbr>'),
            ("a<br>b<hr>", "a<br />b<hr />"),
            (" \ufeffa&#xfeff;b", "ab"),
        ],
    )
    def test_what_stays(self, source: str, html: str | None) -> None:
        assert sanitise(source).html == (source if html is None else html)

    def test_a_block_of_which_nothing_stays_is_left_out(self) -> None:
        assert paragraphs("<!-- for later -->\n\n<script>x</script>\n\nText.") == [only("Text.")]

    def test_html_may_nest_as_deep_as_the_limit_and_no_deeper(self) -> None:
        deep = "<span>" * MAX_DEPTH + "a" + "</span>" * MAX_DEPTH
        assert sanitise(deep).text == "a"
        with pytest.raises(TooDeepError):
            sanitise(f"<b>{deep}</b>")
        with pytest.raises(TooDeepError):
            sanitise("<ul><li></b>" * 20_000)

    def test_emphasis_that_nests_too_deep_is_an_error(self) -> None:
        with pytest.raises(IssueError, match=r"^2026-01-07\.md:5: HTML nested too deep"):
            read(HEAD + "*a " * 60 + "b*" * 60 + "\n")

    @given(st.text(st.sampled_from("<>/&;\"'= abipul!-\u00a0\u0001é\n") | st.characters(codec="utf-8"), max_size=80))
    def test_whatever_comes_in_well_formed_safe_html_goes_out(self, text: str) -> None:
        for source in (
            text,
            f"<p {text}>{text}",
            f'<a href="{text}"><b>{text}</a>',
            f"<ul><li>{text}<img src='{text}'",
        ):
            self.hold(source)

    @staticmethod
    def hold(source: str) -> None:
        fragment = sanitise(source)
        ET.fromstring(f"<x>{fragment.html}</x>")  # well-formed; raises if not
        seen = _Tags()
        seen.feed(fragment.html)
        assert not seen.tags & {"script", "style", "iframe", "svg", "object", "form", "div"}
        assert seen.attributes <= {"href", "src", "alt", "title", "lang", "dir", "width", "height", "start"}
        assert not any(
            value.strip().lower().startswith(("javascript:", "data:", "vbscript:")) for value in seen.targets
        )
        assert sanitise(fragment.html).html == fragment.html


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.targets += [value or "" for name, value in attrs if name in {"href", "src"}]
