"""The issue that ships with the project has the shape the format is for."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from newsletter.issue.find import IssueRef, read_issue
from newsletter.issue.model import Issue
from newsletter.issue.parse import parse_issue

ISSUES = Path(__file__).parents[2] / "issues"
NAMES = ("Top News", "Top Business", "Economy & Markets", "Corporate", "In Case You Missed It")
JANUARY_7 = dt.date(2026, 1, 7)


@pytest.fixture(scope="module", params=[(), NAMES], ids=["no names listed", "names listed"])
def sample(request: pytest.FixtureRequest) -> Issue:
    return read_issue(ISSUES, "{date:%Y-%m-%d}.txt", IssueRef(JANUARY_7), request.param)


def test_the_sample_has_five_sections_of_4_2_4_7_and_0_stories_listed_or_not(sample: Issue) -> None:
    assert [(section.title, len(section.stories)) for section in sample.sections] == [
        ("Top News", 4),
        ("Top Business", 2),
        ("Economy & Markets", 4),
        ("Corporate", 7),
        ("In Case You Missed It...", 0),
    ]
    assert [section.line for section in sample.sections] == [2, 12, 18, 27, 42]


def test_the_sample_is_a_real_issue_in_length_and_content(sample: Issue) -> None:
    assert (sample.title, sample.date, sample.title_date) == ("Daily Buzz: 7 January 2026", JANUARY_7, JANUARY_7)
    assert sample.date.strftime("%A") == "Wednesday"
    assert 1_700 <= sample.word_count <= 1_900
    assert [len(story.paragraphs) for story in sample.stories()].count(2) == 2
    assert all(len(story.paragraphs) in {1, 2} for story in sample.stories())
    assert sample.note == ()
    links = [story.link for story in sample.stories() if story.link]
    assert links == ["https://example.com/night-trains", "https://example.com/desert-greenhouse"]
    text = "\n".join(paragraph.text for paragraph in sample.paragraphs())
    assert {'"', "“", "”", "’", "€", "£", "$", "é", "ø"} <= set(text)
    assert "https://" not in text


def test_every_paragraph_points_at_its_line(sample: Issue) -> None:
    for paragraph in sample.paragraphs():
        assert sample.source_lines[paragraph.line - 1].startswith(paragraph.text)
    for story in sample.stories():
        assert sample.source_lines[story.line - 1] == story.headline
        assert story.link is None or story.link in sample.source_lines[story.link_line - 1]


def test_the_preheader_is_made_of_the_first_headlines(sample: Issue) -> None:
    assert sample.subject == sample.title
    assert sample.preheader.startswith("Harbor Nations Sign Pact to Share Storm Warnings · Isle of Maren")
    assert sample.preheader.endswith("…")
    assert len(sample.preheader) <= 90


def test_line_ends_and_a_byte_order_mark_change_nothing() -> None:
    data = (ISSUES / "2026-01-07.txt").read_bytes()
    plain = parse_issue(data, source="2026-01-07.txt")
    for other in (data.replace(b"\n", b"\r\n"), data.replace(b"\n", b"\r"), b"\xef\xbb\xbf" + data):
        read = parse_issue(other, source="2026-01-07.txt")
        assert read == plain
        assert [story.line for story in read.stories()] == [story.line for story in plain.stories()]
