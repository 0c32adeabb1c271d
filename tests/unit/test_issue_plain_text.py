"""The rules of the plain text format, one by one."""

from __future__ import annotations

import pytest

from newsletter.errors import IssueError
from newsletter.issue.model import Issue
from newsletter.issue.parse import default_preheader, parse_issue

TITLE = "Daily Buzz: 7 January 2026"
TEXT = "Something happened, and somebody said so."


def read(*lines: str, sections: tuple[str, ...] = ()) -> Issue:
    return parse_issue("\n".join([TITLE, *lines]).encode(), source="2026-01-07.txt", sections=sections)


def outline(issue: Issue) -> list[tuple[str, list[tuple[str, int]]]]:
    """Sections with their headlines and how many paragraphs each has."""
    return [(s.title, [(story.headline, len(story.paragraphs)) for story in s.stories]) for s in issue.sections]


def test_a_heading_before_a_heading_is_a_section_and_one_before_a_paragraph_a_headline() -> None:
    issue = read("Top News", "One", TEXT, "Two", TEXT, TEXT, "Business", "Three", TEXT)
    assert outline(issue) == [("Top News", [("One", 1), ("Two", 2)]), ("Business", [("Three", 1)])]


def test_in_a_run_of_headings_the_first_is_the_section_and_the_others_are_stories() -> None:
    issue = read("In Brief", "One", "Two", "Three", TEXT)
    assert outline(issue) == [("In Brief", [("One", 0), ("Two", 0), ("Three", 1)])]


def test_blank_lines_mean_nothing_whatever_they_are_made_of() -> None:
    blank = ["", " \t", "\u00a0", "\u200b", "\ufeff \u2060", "\u3164", "\u2800", "\u200e\u00ad"]
    spaced = [line for text in ("Top News", "One", TEXT, "Two", TEXT) for line in (text, *blank)]
    assert read(*blank, *spaced) == read("Top News", "One", TEXT, "Two", TEXT)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (["Late"], [("S", [("A", 1)]), ("Late", [])]),
        (["Late", "B"], [("S", [("A", 1)]), ("Late", [("B", 0)])]),
        (["Late", "B", "C"], [("S", [("A", 1)]), ("Late", [("B", 0), ("C", 0)])]),
    ],
)
def test_a_run_of_headings_at_the_end(end: list[str], expected: object) -> None:
    assert outline(read("S", "A", TEXT, *end)) == expected


def test_stories_before_any_section_stand_in_a_section_without_a_title() -> None:
    assert outline(read("One", TEXT, "Two", TEXT, "S", "A", TEXT)) == [
        ("", [("One", 1), ("Two", 1)]),
        ("S", [("A", 1)]),
    ]


def test_text_right_under_the_title_is_the_editors_note() -> None:
    issue = read(TEXT, "And a second paragraph.", "See https://example.com/note", "S", "A", TEXT)
    assert [paragraph.text for paragraph in issue.note] == [
        TEXT,
        "And a second paragraph.",
        "See https://example.com/note",
    ]
    assert outline(issue) == [("S", [("A", 1)])]


class TestListedSections:
    def test_a_listed_name_wins_where_a_headline_would_stand(self) -> None:
        assert outline(read("One", TEXT, "Corporate", TEXT)) == [("", [("One", 1), ("Corporate", 1)])]
        assert outline(read("One", TEXT, "Corporate", TEXT, sections=("Corporate",))) == [
            ("", [("One", 1)]),
            ("Corporate", [("", 1)]),
        ]

    def test_a_listed_name_wins_in_the_middle_of_a_run(self) -> None:
        issue = read("Top", "Corporate", "A", TEXT, "Last", sections=("Top", "Corporate", "Last"))
        assert outline(issue) == [("Top", []), ("Corporate", [("A", 1)]), ("Last", [])]

    def test_headings_under_a_listed_name_are_stories_even_without_text(self) -> None:
        issue = read("Top", "A", "B", "Corporate", "C", sections=("Top", "Corporate"))
        assert outline(issue) == [("Top", [("A", 0), ("B", 0)]), ("Corporate", [("C", 0)])]

    def test_a_name_that_is_not_listed_is_still_a_section_by_its_place(self) -> None:
        issue = read("Top", "A", TEXT, "Special", "B", TEXT, "Corporate", "C", TEXT, sections=("Top", "Corporate"))
        assert outline(issue) == [("Top", [("A", 1)]), ("Special", [("B", 1)]), ("Corporate", [("C", 1)])]

    def test_a_heading_right_before_a_listed_name_is_an_empty_section(self) -> None:
        issue = read("Top", "A", TEXT, "Special", "Corporate", "C", TEXT, sections=("Top", "Corporate"))
        assert outline(issue) == [("Top", [("A", 1)]), ("Special", []), ("Corporate", [("C", 1)])]

    @pytest.mark.parametrize(
        "written",
        [
            "In Case You Missed It...",
            "IN CASE YOU MISSED IT…",
            "in case you missed it.",
            "In Case\u00a0You Missed It ... ",
            "\ufeffIn Case You Missed It",
        ],
    )
    def test_names_are_compared_without_case_trailing_dots_and_blanks(self, written: str) -> None:
        issue = read("A", TEXT, written, TEXT, sections=("In Case You Missed It",))
        assert [len(section.stories) for section in issue.sections] == [1, 1]
        assert issue.sections[1].title == written.strip("\ufeff ")

    def test_the_shape_of_an_apostrophe_does_not_matter(self) -> None:
        assert outline(read("Editor’s Pick", TEXT, sections=("Editor's Pick",))) == [("Editor’s Pick", [("", 1)])]

    def test_a_listed_name_of_dots_lists_nothing(self) -> None:
        assert outline(read("…", "A", TEXT, "B", TEXT, sections=("...", ""))) == [("…", [("A", 1), ("B", 1)])]

    def test_the_title_is_the_title_even_if_it_is_listed(self) -> None:
        assert read("A", TEXT, sections=(TITLE,)).title == TITLE


class TestHTML:
    def test_text_is_escaped_and_the_bracket_that_closes_too(self) -> None:
        (story,) = read("A", 'Is 3 < 4 & 5 > 4? "Yes", they said, <b>firmly</b>.').stories()
        assert story.paragraphs[0].html == ('Is 3 &lt; 4 &amp; 5 &gt; 4? "Yes", they said, &lt;b&gt;firmly&lt;/b&gt;.')
        assert story.paragraphs[0].text == 'Is 3 < 4 & 5 > 4? "Yes", they said, <b>firmly</b>.'
        assert not story.paragraphs[0].block

    def test_runs_of_blanks_become_one_and_non_breaking_spaces_stay(self) -> None:
        (story,) = read("A \t headline", "\u3000It rose by 10\u00a0%\t  or\u2028so. \u200b").stories()
        assert story.headline == "A headline"
        assert story.paragraphs[0].text == "It rose by 10\u00a0% or so."


class TestNoIssue:
    @pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", "\u200b\n\u00a0\n".encode()])
    def test_an_empty_file(self, data: bytes) -> None:
        with pytest.raises(IssueError, match=r"^a\.txt: the file is empty") as caught:
            parse_issue(data, source="a.txt")
        assert "title" in caught.value.hint

    @pytest.mark.parametrize(
        ("lines", "message"),
        [
            ([], r"^2026-01-07\.txt:1: a title and nothing below it"),
            (["Top News"], r"^2026-01-07\.txt:1: no story"),
            ([TEXT], r"^2026-01-07\.txt:1: no story"),
        ],
    )
    def test_a_title_without_a_story(self, lines: list[str], message: str) -> None:
        with pytest.raises(IssueError, match=message) as caught:
            read(*lines)
        assert "headline" in caught.value.hint

    def test_a_file_of_too_many_blocks_names_the_line(self) -> None:
        with pytest.raises(IssueError, match=r"^2026-01-07\.txt:10002: more than 10,000 lines of text"):
            read(*["A"] * 10_001)


class TestPreheader:
    def test_whole_headlines_where_they_fit(self) -> None:
        first, second = "A Headline of Middling Length Comes First", "And Another One Follows It"
        issue = read("S", first, TEXT, second, TEXT, "A Third One That Does Not Fit Anymore", TEXT)
        assert issue.preheader == f"{first} · {second}"

    def test_a_long_first_headline_is_cut_between_words(self) -> None:
        issue = read("A", TEXT, "S", "B", TEXT)
        assert issue.preheader == "A · B"
        cut = read("S", " ".join(["word"] * 23), TEXT).preheader
        assert cut == " ".join(["word"] * 18) + "…"

    def test_a_headline_without_blanks_is_cut_hard(self) -> None:
        assert read("S", "新" * 110, TEXT).preheader == "新" * 89 + "…"

    def test_without_headlines_the_first_paragraph_serves(self) -> None:
        assert read("Top", TEXT, sections=("Top",)).preheader == TEXT
        assert default_preheader(()) == ""
