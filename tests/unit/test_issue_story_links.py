"""A line that is a URL, or a URL that ends a paragraph, is the story's link."""

from __future__ import annotations

import pytest

from newsletter.issue.model import Story
from newsletter.issue.parse import parse_issue
from newsletter.issue.story_links import closing_url

URL = "https://example.com/story?id=1&x=(a)#top"


def stories(*lines: str, sections: tuple[str, ...] = ()) -> list[Story]:
    text = "\n".join(["Daily Buzz: 7 January 2026", *lines])
    return list(parse_issue(text.encode(), source="a.txt", sections=sections).stories())


def texts(story: Story) -> list[str]:
    return [paragraph.text for paragraph in story.paragraphs]


@pytest.mark.parametrize(
    "line",
    [URL, f"<{URL}>", f"({URL})", f"[{URL}]", f"“{URL}”", f"{URL}.", f"{URL},", f"<{URL}>.", f"\u00a0{URL}\u200b"],
)
def test_a_line_that_is_a_url_whatever_stands_around_it(line: str) -> None:
    (story,) = stories("A", "Text that says something.", line)
    assert (story.link, story.link_line, texts(story)) == (URL, 4, ["Text that says something."])


@pytest.mark.parametrize("end", [URL, f"<{URL}>", f"({URL}).", f"\u00a0{URL}", f"“{URL}”."])
def test_a_url_behind_a_finished_sentence_is_taken_off_the_paragraph(end: str) -> None:
    (story,) = stories("A", f"Prices fell. {end}")
    assert (story.link, story.link_line, texts(story)) == (URL, 3, ["Prices fell."])
    assert story.paragraphs[0].html == "Prices fell."


@pytest.mark.parametrize("start", ["Read more at", "Source:", "The full text (in French) is at", "the report, see:"])
def test_a_url_that_its_sentence_needs_stays_in_the_text_and_is_the_link(start: str) -> None:
    (story,) = stories("A", "Prices fell.", f"{start} {URL}")
    assert (story.link, texts(story)) == (URL, ["Prices fell.", f"{start} {URL}"])


def test_a_headline_with_its_link_on_one_line() -> None:
    first, second = stories("S", f"Prices Fall in Winter {URL}", "Two Is Company", "Prices fell.")
    assert (first.headline, first.link, first.paragraphs) == ("Prices Fall in Winter", URL, ())
    assert second.headline == "Two Is Company"


def test_a_headline_with_a_link_only() -> None:
    one, two = stories("S", "One", URL, "Two", URL)
    assert [(one.headline, one.link), (two.headline, two.link)] == [("One", URL), ("Two", URL)]
    assert one.paragraphs == two.paragraphs == ()


def test_of_two_links_the_last_is_the_storys_and_the_first_stays_where_it_stood() -> None:
    (story,) = stories("A", "https://example.com/1", "Prices fell. https://example.com/2", "They did.", URL)
    assert story.link == URL
    assert texts(story) == ["https://example.com/1", "Prices fell. https://example.com/2", "They did."]


def test_two_urls_on_one_line_lose_nothing() -> None:
    (story,) = stories("A", "https://example.com/1 https://example.com/2")
    assert (story.link, texts(story)) == (
        "https://example.com/2",
        ["https://example.com/1 https://example.com/2"],
    )


def test_a_link_right_under_a_listed_section_is_something_to_read() -> None:
    (story,) = stories("Top", URL, sections=("Top",))
    assert (story.headline, story.link, texts(story)) == ("", URL, [URL])


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://en.example.org/wiki/Mercury_(planet)", "https://en.example.org/wiki/Mercury_(planet)"),
        ("(https://en.example.org/wiki/Mercury_(planet)).", "https://en.example.org/wiki/Mercury_(planet)"),
        ("HTTPS://EXAMPLE.COM/", "HTTPS://EXAMPLE.COM/"),
        ("https://example.com/a/", "https://example.com/a/"),
        ("http://example.com", "http://example.com"),
        ("https://例え.example/道", "https://例え.example/道"),
        ("https://archive.example/https://example.com/a", "https://archive.example/https://example.com/a"),
    ],
)
def test_where_a_url_ends(text: str, url: str) -> None:
    found = closing_url(text)
    assert found is not None
    assert found.url == url
    assert found.is_alone


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://",
        "https://.",
        "https:///path",
        "https:// example",
        "ftp://example.com/",
        "mailto:a@example.com",
        "www.example.com",
        "xhttps://example.com",
        "https://example.com/a in French.",
        "https://example.com/" + "a" * 3_000,
    ],
)
def test_these_are_no_links(text: str) -> None:
    assert closing_url(text) is None
