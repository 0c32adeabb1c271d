"""What values become before they stand in a mail."""

from __future__ import annotations

import re
import unicodedata
from html import unescape
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from newsletter.rendering import escaping
from newsletter.rendering.escaping import (
    TEXT_LIMIT,
    URL_LIMIT,
    clean_text,
    clean_texts,
    clean_url,
    escape_value,
    escape_values,
)
from newsletter.rendering.model import HoleContext

NAME_LIKE = st.sampled_from("ab & <'.\u00eb\u738b\u0308\u3164\u200d ")
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=400)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Ada Lovelace", "Ada Lovelace"),
        ("  Ada \t\r\n Lovelace\u3000", "Ada Lovelace"),
        ("Ada\x00\x1b[31m", "Ada[31m"),
        ("Ada\x85\u2028Lovelace", "Ada Lovelace"),
        ("\u202eexe.ada\u202c", "exe.ada"),
        ("\u2066Ada\u2069", "Ada"),
        ("Ada\ud83d", "Ada"),
        ("A\u200bd\u00ada\ufeff", "Ada"),
        ("\u0338Ada", "Ada"),
        ("\u200f \u200d", ""),
        ("\u3164", ""),
        ("Ada\U000e0041\U000e007f", "Ada"),
        ("Ada\uffff", "Ada"),
        (" \u00a0 ", ""),
        # what must stay: joiners that shape words and emoji, marks, right-to-left marks inside a name
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f468\u200d\U0001f469\u200d\U0001f467"),
        ("Zoe\u0308", "Zoe\u0308"),
        ("\u0d2e\u0d4b\u0d39\u0d28\u0d4d\u200d", "\u0d2e\u0d4b\u0d39\u0d28\u0d4d\u200d"),
    ],
)
def test_names_are_cleaned_and_kept(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean


@settings(deadline=None, max_examples=200)
@given(ANY_TEXT)
def test_clean_text_is_one_short_harmless_line(raw: str) -> None:
    clean = clean_text(raw)
    assert len(clean) <= TEXT_LIMIT
    assert clean_text(clean) == clean
    assert clean == " ".join(clean.split())
    assert not any(unicodedata.category(char) in {"Cc", "Cs"} for char in clean)
    assert not any(unicodedata.bidirectional(char) in {"LRE", "RLE", "LRO", "RLO", "PDF"} for char in clean)
    assert not any(unicodedata.bidirectional(char) in {"LRI", "RLI", "FSI", "PDI"} for char in clean)


def test_no_character_is_passed_over_that_a_close_look_would_change(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [text for code in range(0x110000) if escaping._CLEAN.fullmatch(text := chr(code))]
    quickly = list(map(clean_text, texts))
    monkeypatch.setattr(escaping, "_CLEAN", re.compile("(?!)"))
    assert list(map(clean_text, texts)) == quickly


@example(["Ada \u3164"], HoleContext.TEXT)
@example(["Ada \uffa0"], HoleContext.HTML)
@given(st.lists(ANY_TEXT | st.text(NAME_LIKE, max_size=8), max_size=5), st.sampled_from(HoleContext))
def test_many_become_what_each_becomes(values: list[str], context: HoleContext) -> None:
    assert list(clean_texts(values)) == list(map(clean_text, values))
    assert list(escape_values(values, context)) == [escape_value(value, context) for value in values]


@pytest.mark.parametrize(
    ("character", "size"),
    [
        ("e\u0301\u0316", 3),
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467", 5),
        ("\U0001f44d\U0001f3fd", 2),
        ("\U0001f1ed\U0001f1f0", 2),
    ],
)
def test_a_long_name_is_cut_between_characters(character: str, size: int) -> None:
    cut = clean_text("x" + character * 300)
    assert cut == "x" + character * ((TEXT_LIMIT - 1) // size)


def test_a_heap_of_marks_is_cut_all_the_same() -> None:
    assert clean_text("e" + "\u0301" * 5000) == "e" + "\u0301" * (TEXT_LIMIT - 1)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("https://news.example.com/u/abc?x=1&y=2#z", "https://news.example.com/u/abc?x=1&y=2#z"),
        ("http://localhost:8000/", "http://localhost:8000/"),
        ("HTTPS://News.Example.com/A", "https://News.Example.com/A"),
        ("mailto:ada@example.org?subject=Hi there", "mailto:ada@example.org?subject=Hi%20there"),
        (" https://x.example/a b ", "https://x.example/a%20b"),
        ("https://x.example/\u738b", "https://x.example/%E7%8E%8B"),
        ("https://b\u00fccher.example:8443/", "https://xn--bcher-kva.example:8443/"),
        ('https://x.example/"><script>', "https://x.example/%22%3E%3Cscript%3E"),
        ("https://x.example/100%/%41%zz", "https://x.example/100%25/%41%25zz"),
        ("https://[::1]:8000/", "https://[::1]:8000/"),
        ("https://x.example/a\r\nb", "https://x.example/ab"),
        ("https://x.example/it's(1)", "https://x.example/it's(1)"),
        ("javascript:alert(1)", ""),
        ("java\tscript:alert(1)", ""),
        ("\x01javascript:alert(1)", ""),
        ("JaVaScRiPt:alert(1)", ""),
        ("data:text/html,x", ""),
        ("vbscript:x", ""),
        ("file:///etc/passwd", ""),
        ("//x.example/", ""),
        ("/u/abc", ""),
        ("x.example", ""),
        ("https:x.example", ""),
        ("https:///x", ""),
        ("https://[::1/", ""),
        ("https://good.example\\@evil.example/", ""),
        ("https://\u2603\u0338.example/", ""),
        ("mailto:", ""),
        ("mailto://x.example/", ""),
        ("", ""),
    ],
)
def test_urls_are_encoded_or_left_out(raw: str, clean: str) -> None:
    assert clean_url(raw) == clean


def test_a_url_too_long_is_left_out_and_never_cut() -> None:
    whole = "https://x.example/" + "a" * (URL_LIMIT - 18)
    assert clean_url(whole) == whole
    assert clean_url(whole + "a") == ""
    assert clean_url("https://x.example/" + "\u738b" * (URL_LIMIT // 9)) == ""


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(["", "https://", "http://x.example/", "mailto:", "https://x.example/?q=", "javascript:"]), ANY_TEXT
)
def test_any_text_is_a_safe_url_or_none(start: str, rest: str) -> None:
    url = clean_url(start + rest)
    assert clean_url(url) == url
    if not url:
        return
    assert url.isascii()
    assert url.isprintable()
    assert not set(url) & set(' <>"\\^`{|}')
    assert urlsplit(url).scheme in {"http", "https", "mailto"}


@settings(deadline=None, max_examples=200)
@given(ANY_TEXT)
def test_html_values_read_back_as_the_cleaned_value(raw: str) -> None:
    escaped = escape_value(raw, HoleContext.HTML)
    assert not set(escaped) & set("<>\"'")
    assert unescape(escaped) == clean_text(raw)


def test_each_context_escapes_in_its_own_way() -> None:
    name, url = "Ada & 'Co' <x>", "https://x.example/?a=1&b='2'"
    assert escape_value(name, HoleContext.HTML) == "Ada &amp; &#x27;Co&#x27; &lt;x&gt;"
    assert escape_value(name, HoleContext.TEXT) == name
    assert escape_value(url, HoleContext.HTML_URL) == "https://x.example/?a=1&amp;b=&#x27;2&#x27;"
    assert escape_value(url, HoleContext.TEXT_URL) == url
