"""Values that are encoded by what is known of them are encoded like all others."""

from __future__ import annotations

import re

from hostile_names import HOSTILE_NAMES
from hypothesis import example, given
from hypothesis import strategies as st

from newsletter.rendering.escaping import escape_value, plain_pattern, plain_text
from newsletter.rendering.hole_encoding import ValueEncoder
from newsletter.rendering.model import HoleContext
from newsletter.rendering.quoted_printable import encode_value

TEXTS = [HoleContext.HTML, HoleContext.TEXT]
LINKS = [HoleContext.HTML_URL, HoleContext.TEXT_URL]
OTHERS = [HoleContext.URL_PART, HoleContext.IMAGE]
ANY = st.one_of(
    st.text(max_size=90),
    st.text("aF. rom=@_+-<&'\"", max_size=90),
    st.sampled_from(sorted(HOSTILE_NAMES.values())),
)
HEADS = st.one_of(
    st.text("ab./:=?&é-", max_size=80).map(lambda rest: f"https://{rest}"),
    st.integers(1, 160).map(lambda length: "https://news.example.com/" + "x./F" * (length // 4) + "y" * (length % 4)),
    ANY,
)
TOKENS = st.text("Fab0_-", min_size=1, max_size=120)


def slowly(value: str, contexts: list[HoleContext]) -> list[bytes]:
    return [encode_value(escape_value(value, context)) for context in contexts]


@given(st.lists(ANY, min_size=1, max_size=4), st.sampled_from([TEXTS, TEXTS[:1], TEXTS[1:], [*TEXTS, *LINKS], OTHERS]))
def test_texts(values: list[str], contexts: list[HoleContext]) -> None:
    encoder = ValueEncoder(contexts)
    for value in (*values, values[0]):
        assert list(encoder.encode(value)) == slowly(value, contexts)


@given(HEADS, st.lists(TOKENS, min_size=1, max_size=4), st.sampled_from([LINKS, LINKS[:1], LINKS[1:]]))
@example("https:/", ["a", "b"], LINKS)
@example("https://a", ["F", "."], LINKS)
def test_links_that_differ_in_their_last_part(head: str, tokens: list[str], contexts: list[HoleContext]) -> None:
    encoder = ValueEncoder(contexts)
    alike = [token[0] * len(tokens[0]) for token in tokens]
    for token in (*tokens, *alike, *tokens):
        value = f"{head}/{token}"
        assert list(encoder.encode(value)) == slowly(value, contexts)


@given(st.lists(ANY, min_size=1, max_size=6), st.sampled_from([TEXTS, TEXTS[1:], [*TEXTS, *LINKS], LINKS, OTHERS]))
@example(["Ada", "From me", "Zoe"], TEXTS)
@example(["Ada", "", "Zoe"], TEXTS)
def test_columns_of_texts(values: list[str], contexts: list[HoleContext]) -> None:
    whole = ValueEncoder(contexts).encode_all(values)
    assert list(map(list, zip(*whole, strict=True))) == [slowly(value, contexts) for value in values]


@given(HEADS, st.lists(TOKENS, min_size=1, max_size=6), st.booleans(), st.sampled_from([LINKS, LINKS[:1], LINKS[1:]]))
@example("https://a.example/100%25/x", ["a", "b"], True, LINKS)
@example("https://a.example/x", ["a", "b", "/"], True, LINKS)
def test_columns_of_links(head: str, tokens: list[str], alike: bool, contexts: list[HoleContext]) -> None:
    values = [f"{head}/{(token * 120)[: len(tokens[0])] if alike else token}" for token in tokens]
    encoder = ValueEncoder(contexts)
    for _ in range(2):
        whole = encoder.encode_all(values)
        assert list(map(list, zip(*whole, strict=True))) == [slowly(value, contexts) for value in values]


@given(st.one_of(ANY, HEADS, HEADS.map(lambda head: f"{head}/token")))
def test_what_is_plain_is_the_same_everywhere(value: str) -> None:

    if plain_text(value):
        assert {escape_value(value, context) for context in TEXTS} == {value}
    for contexts in (TEXTS, LINKS):
        plain = plain_pattern(contexts)
        assert plain is not None
        pattern, most, _ = plain
        if len(value) <= most and re.fullmatch(pattern, value):
            assert {escape_value(value, context) for context in contexts} == {value}
    assert plain_pattern([*TEXTS, *LINKS]) is None
    assert plain_pattern(OTHERS) is None
