"""Names that try to be more than names, read back by the standard library's parser as a mail client would."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mime_examples import BOUNDARY, HEADERS, HOSTILE, URL, Reader, body, make, parsed, recipient_of

from newsletter.rendering.escaping import clean_text


def check(name: str) -> None:
    """All that must hold of a message to someone with this name."""
    raw = make(name)
    assert make(name) == raw

    assert re.fullmatch(rb"[\x20-\x7e\r\n]*", raw)
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", raw)
    head, _, rest = raw.partition(b"\r\n\r\n")
    assert max(map(len, head.split(b"\r\n"))) <= 998
    for line in rest.split(b"\r\n"):
        assert len(line) <= 76
        assert not line.startswith((b".", b"From "))
        assert not line.endswith((b" ", b"\t"))
    for line in head.split(b"\r\n"):
        assert len(line) <= 78 or line == f"List-Unsubscribe: <{URL}>".encode() or kept_whole(line)
        for word in re.findall(rb"=\?utf-8\?.*?\?=", line):
            assert len(word) <= 75

    message = parsed(raw)
    assert [part.defects for part in message.walk()] == [[], [], []]
    assert [part.get_content_type() for part in message.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    assert message.keys() == HEADERS
    for part in message.walk():
        assert [value.defects for value in part.values()] == [()] * len(part.keys())

    kept = clean_text(name)
    assert recipient_of(raw) == (kept, "ada@example.org")
    assert message["List-Unsubscribe"] == f"<{URL}>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"

    text = body(message, "plain")
    assert text == f"{kept}\n\nGood morning {kept},\n.dot\nFrom x\nblank at the end \ncaf\u00e9\n\nLeave: {URL}"
    reader = Reader()
    reader.feed(body(message, "html"))
    assert reader.tags == ["html", "body", "p", "b", "p", "a"]
    assert (reader.title, reader.who, reader.href) == (kept, kept, URL)


def kept_whole(line: bytes) -> bool:
    """Whether a long line is one ASCII word of a name, which has no blank to fold at."""
    return b" " not in line.removeprefix(b"To: ").lstrip()


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_name_arrives_as_text_and_nothing_else(name: str) -> None:
    check(name)


@settings(deadline=None, max_examples=200)
@given(st.text(st.characters(exclude_categories=()), max_size=260))
def test_any_text_is_a_safe_name(name: str) -> None:
    check(name)


#: Text made of what headers, MIME, SMTP and HTML give a meaning to.
_TOKENS = st.sampled_from(
    [
        *"\"\\'<>(),;:@.=?_&%{}[]\t\r\n \u00e9\u738b\U0001f600\u0301\u200d",
        *("=?", "?=", "=?utf-8?q?", "\r\n", "--", BOUNDARY),
        *("From ", "=20", "=\r\n", "<b>", "&amp;", "Ada", "a" * 70),
    ]
)


@settings(deadline=None, max_examples=200)
@given(st.lists(_TOKENS, max_size=30).map("".join))
def test_any_text_of_dangerous_pieces_is_a_safe_name(name: str) -> None:
    check(name)
