"""Bytes that are text, bytes that are not, and files that are too large."""

from __future__ import annotations

import pytest

from newsletter.errors import IssueError
from newsletter.issue.decode import MAX_BYTES, clean, decode_lines
from newsletter.issue.parse import parse_issue


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"Title\nA\nSaid caf\xe9.\n", "a.txt:3: byte 0xE9 is not UTF-8 text"),
        (b"Title\r\nA\r\nSaid caf\xe9.\r\n", "a.txt:3: byte 0xE9 is not UTF-8 text"),
        (b"Title\rA\rSaid caf\xe9.\r", "a.txt:3: byte 0xE9 is not UTF-8 text"),
        (b"\xef\xbb\xbfTitle\n\xff", "a.txt:2: byte 0xFF is not UTF-8 text"),
        (b"\xed\xa0\x80", "a.txt:1: byte 0xED is not UTF-8 text"),
        ("Title\n".encode("utf-16"), "a.txt:1: the file is UTF-16, not UTF-8"),
        ("Title\n".encode("utf-16-be"), "a.txt:1: control character U+0000: is this a text file?"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "a.txt:3: control character U+0000: is this a text file?"),
        (b"Title\n\nA\x07B\n", "a.txt:3: control character U+0007: is this a text file?"),
        (b"Title\nA\x0cB\n", "a.txt:2: control character U+000C: is this a text file?"),
        ("Title\nA\x85B\n".encode(), "a.txt:2: control character U+0085: is this a text file?"),
        ("A\uffff".encode(), "a.txt:1: control character U+FFFF: is this a text file?"),
        (b"\n" * 200_000, "a.txt:100000: the file has more than 100,000 lines"),
    ],
)
def test_what_is_not_text_is_refused_with_its_line(data: bytes, message: str) -> None:
    with pytest.raises(IssueError) as caught:
        parse_issue(data, source="a.txt")
    assert str(caught.value) == message
    assert caught.value.hint


def test_a_file_over_two_megabytes_is_refused_before_it_is_looked_at() -> None:
    with pytest.raises(IssueError, match=r"^a\.txt: the file is larger than 2,000,000 bytes"):
        parse_issue(b"\x00" * (MAX_BYTES + 1), source="a.txt")
    with pytest.raises(IssueError, match="control character"):
        parse_issue(b"\x00" * MAX_BYTES, source="a.txt")


def test_lines_end_as_editors_count_them() -> None:
    assert decode_lines("a\r\nb\rc\nd\u2028e\n".encode(), "a.txt") == ("a", "b", "c", "d\u2028e", "")


def test_a_byte_order_mark_belongs_to_no_line() -> None:
    assert decode_lines(b"\xef\xbb\xbfa", "a.txt") == ("a",)


def test_clean_is_done_once() -> None:
    for text in ("  a \t b\u00a0c \u200b", "\u200b\u200f\u3164", "\ufeff x \u2060"):
        assert clean(clean(text)) == clean(text)
    assert clean("a\u200db") == "a\u200db"
