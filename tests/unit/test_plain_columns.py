"""A column is plain when each of its texts is, however it is looked at."""

from __future__ import annotations

import re
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from newsletter.rendering.escaping import plain_pattern
from newsletter.rendering.headers import LONGEST_LINK, PLAIN_LINK
from newsletter.rendering.model import HoleContext
from newsletter.rendering.plain_columns import PATH_PART, PlainColumn

_LINKS = plain_pattern([HoleContext.HTML_URL])
assert _LINKS is not None
KINDS = [(PLAIN_LINK, LONGEST_LINK, PATH_PART), _LINKS]
BEGINNINGS = st.one_of(
    st.sampled_from(
        ["https://a.example/u/", "http://a-b.example:8000/", "https://", "https://a.example", "https:/", "", "/u/"]
    ),
    st.text("htps:/.a1_~-%&\n", max_size=12),
)
ENDS = st.text(st.sampled_from("aZ09._~-/:%\n\u00e9?"), max_size=4)


@pytest.mark.parametrize("kind", KINDS)
@given(BEGINNINGS, st.lists(ENDS, min_size=2, max_size=4), st.lists(ENDS, max_size=1))
@example("https://a.example/u/", ["a", "b/c"], [])
@example("https://a.example/u/", ["a", ":8"], [])
@example("https://a.example/u/", ["a", ""], [])
@example("https://", ["a", "b_"], [])
@example("https://a.example/u//", ["a", "b"], [])
@example("https://", ["a/b/u", "b//x"], [])
@example("https://a.example/u/", ["a", "\ud800"], [])
@example("https://a.example/u/", ["a\n", "b"], [])
@example("https://a.example/u/", ["a\nhttps://a.example/u/b", "b"], [])
def test_links_that_begin_alike_are_plain_when_each_is(
    kind: tuple[str, int, str], beginning: str, ends: list[str], odd: list[str]
) -> None:
    pattern, most, free = kind
    texts = [f"{beginning}{end}" for end in ends * 20] + odd
    each = all(len(text) <= most and "\n" not in text and re.fullmatch(pattern, text) for text in texts)
    assert PlainColumn(pattern, most, free).all(texts) == each
    assert PlainColumn(pattern, most).all(texts) == each


@pytest.mark.parametrize("kind", KINDS)
def test_the_links_of_a_run_need_no_closer_look(kind: tuple[str, int, str]) -> None:
    column = PlainColumn(*kind)
    texts = [f"https://news.example.com/unsubscribe/daily-buzz/{PATH_PART[number:]}" for number in range(60)]
    with mock.patch.object(column, "_lines", None):
        assert column.all(texts)
    assert not column.all([*texts, "https://news.example.com/unsubscribe/daily-buzz/" + "x" * 2_100])
