"""Placeholders through a render, and filling."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newsletter.errors import TemplateError
from newsletter.rendering.holes import Placeholders, fill, fresh_nonce
from newsletter.rendering.model import Hole, HoleContext, Holed

NONCE = "0123abcd"
NAME = Hole("name", HoleContext.HTML)
LEAVE = Hole("unsubscribe_url", HoleContext.HTML_URL)


def test_a_placeholder_is_letters_and_digits_and_says_its_context() -> None:
    placeholders = Placeholders(NONCE)
    assert placeholders.placeholder("name", HoleContext.HTML) == "z0123abcdh000z"
    assert placeholders.placeholder("unsubscribe_url", HoleContext.HTML_URL) == "z0123abcdu001z"
    assert placeholders.placeholder("name", HoleContext.TEXT) == "z0123abcdt002z"
    assert placeholders.placeholder("unsubscribe_url", HoleContext.TEXT_URL) == "z0123abcdl003z"
    assert placeholders.placeholder("name", HoleContext.HTML) == "z0123abcdh000z"


def test_splitting_and_filling_puts_each_value_in_its_place() -> None:
    placeholders = Placeholders(NONCE)
    name, leave = (placeholders.placeholder(hole.name, hole.context) for hole in (NAME, LEAVE))
    holed = placeholders.split(f'<p>Hi {name}{name}!</p><a href="{leave}">x</a>')
    assert holed == Holed(("<p>Hi ", "", '!</p><a href="', '">x</a>'), (NAME, NAME, LEAVE))
    values = {"name": "A & <B>", "unsubscribe_url": 'https://x.example/?a=1&b="2"'}
    assert fill(holed, values) == (
        '<p>Hi A &amp; &lt;B&gt;A &amp; &lt;B&gt;!</p><a href="https://x.example/?a=1&amp;b=%222%22">x</a>'
    )


def test_a_value_that_looks_like_a_placeholder_is_never_expanded() -> None:
    placeholders = Placeholders(NONCE)
    name, leave = (placeholders.placeholder(hole.name, hole.context) for hole in (NAME, LEAVE))
    holed = placeholders.split(f"{name} {leave}")
    assert fill(holed, {"name": leave, "unsubscribe_url": "https://x.example/"}) == f"{leave} https://x.example/"


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(), st.sampled_from([NAME, LEAVE])), max_size=20), st.text())
def test_splitting_loses_nothing(pieces: list[tuple[str, Hole]], tail: str) -> None:
    nonce = fresh_nonce(b"seed", tail, *(text for text, _ in pieces))
    placeholders = Placeholders(nonce)
    text = "".join(before + placeholders.placeholder(hole.name, hole.context) for before, hole in pieces) + tail
    holed = placeholders.split(text)
    assert holed.holes == tuple(hole for _, hole in pieces)
    assert holed.static == (*(before for before, _ in pieces), tail)
    assert placeholders.count(text) == Counter(placeholders.placeholder(h.name, h.context) for _, h in pieces)


def test_counting_tells_a_lost_placeholder_from_a_doubled_one() -> None:
    placeholders = Placeholders(NONCE)
    name = placeholders.placeholder("name", HoleContext.HTML)
    leave = placeholders.placeholder("unsubscribe_url", HoleContext.HTML_URL)
    before = placeholders.count(f"{name} {leave} {leave}")
    assert before == Counter({leave: 2, name: 1})
    assert placeholders.count(f"{name} {name} {leave}") != before


def test_a_placeholder_that_was_never_issued_is_an_error() -> None:
    placeholders = Placeholders(NONCE)
    placeholders.placeholder("name", HoleContext.HTML)
    with pytest.raises(TemplateError, match="z0123abcdh001z, which was never issued"):
        placeholders.split("z0123abcdh000z z0123abcdh001z")
    with pytest.raises(TemplateError, match="never issued"):
        placeholders.split("z0123abcdt000z")  # the number is right, the context is another


@pytest.mark.parametrize("damaged", ["Z0123ABCDH000Z", "z0123abcdh00z", "z0123abcdh000", "z0123abcd", "z0123abcdx000z"])
def test_a_damaged_placeholder_is_an_error_not_text_in_a_mail(damaged: str) -> None:
    placeholders = Placeholders(NONCE)
    placeholders.placeholder("name", HoleContext.HTML)
    with pytest.raises(TemplateError, match="damaged"):
        placeholders.split(f"<p>{damaged} ...</p>")


def test_a_pasted_placeholder_of_another_render_is_ordinary_text() -> None:
    assert Placeholders(NONCE).split("z99999999h000z").static == ("z99999999h000z",)


def test_the_nonce_avoids_what_the_content_holds() -> None:
    first = fresh_nonce(b"issue")
    assert fresh_nonce(b"issue") == first
    second = fresh_nonce(b"issue", "text", f"a pasted z{first.upper()}h000z")
    assert second != first
    assert fresh_nonce(b"issue", first, second) not in {first, second}
    assert fresh_nonce(b"another issue") != first


@pytest.mark.parametrize("nonce", ["", "0123ABCD", "0123abc", "0123abcde", "0123abcg", "0123abcd\n"])
def test_a_nonce_is_eight_hex_digits(nonce: str) -> None:
    with pytest.raises(ValueError, match="8 hex digits"):
        Placeholders(nonce)


def test_more_holes_than_three_digits_can_number_are_an_error() -> None:
    placeholders = Placeholders(NONCE)
    for number in range(1000):
        placeholders.placeholder(f"value{number}", HoleContext.HTML)
    assert placeholders.placeholder("value999", HoleContext.HTML) == "z0123abcdh999z"
    with pytest.raises(TemplateError, match="more than 1000"):
        placeholders.placeholder("value1000", HoleContext.HTML)


def test_a_missing_value_is_an_error_that_names_the_hole_and_what_there_is() -> None:
    holed = Holed(("Hi ", ""), (NAME,))
    with pytest.raises(TemplateError, match="'name'") as caught:
        fill(holed, {"tier": "gold", "language": "en"})
    assert "language, tier" in caught.value.hint
