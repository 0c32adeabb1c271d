"""The benchmarks' servers take every message once, however its octets are split."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.sinks.http import HttpSink
from benchmarks.sinks.loop import FRONT, Conversation
from benchmarks.sinks.smtp import SmtpSink

_ENVELOPE = b"MAIL FROM:<a@example.com>\r\nrcpt to:<b@example.com>\r\nDATA\r\n"
_CONTENTS = st.sampled_from([b"", b"a\r\n", b"..\r\n.a\r\n", b"0123456789\r\n" * 300])
#: Where reads end: few, or nearly everywhere.
_SIZES = st.lists(st.integers(1, 40) | st.integers(1000, 5000), min_size=1, max_size=20)


def _said(talk: Conversation, octets: bytes, sizes: list[int]) -> Iterator[bytes]:
    """The answers to what is written at once, and read in pieces of these sizes, over and over."""
    at, turn = 0, 0
    while at < len(octets):
        piece = octets[at : at + sizes[turn % len(sizes)]]
        at, turn = at + len(piece), turn + 1
        start = FRONT - len(talk.rest)
        yield talk.read(bytearray(start) + talk.rest + piece, start, FRONT + len(piece))


@given(st.lists(_CONTENTS, min_size=1, max_size=4), _SIZES)
def test_an_smtp_message_is_taken_at_its_dot_and_the_next_envelope_with_it(
    contents: list[bytes], sizes: list[int]
) -> None:
    sink = SmtpSink()
    talk = sink.conversation()
    codes = [b"250"] * 2 + [b"354"]
    turns = [_ENVELOPE, *(content + b".\r\n" + _ENVELOPE for content in contents), b".\r\nQUIT\r\n"]
    for number, written in enumerate(turns):
        said = b"".join(_said(talk, written, sizes))
        expected = codes if not number else [b"250", *codes] if number <= len(contents) else [b"250", b"221"]
        assert [line[:3] for line in said.splitlines()] == expected
    assert sink.counts.messages == sink.counts.recipients == len(contents) + 1
    assert talk.closing


def test_smtp_without_extensions() -> None:
    assert b"".join(_said(SmtpSink(plain=True).conversation(), b"EHLO a\r\n", [3])) == b"250 sink.example\r\n"
    assert b"PIPELINING" in b"".join(_said(SmtpSink().conversation(), b"EHLO a\r\n", [3]))


@given(st.lists(st.sampled_from([b"", b'"to"', b'{"to": 1, "to":2}', b'"to "to" ' * 200]), min_size=1), _SIZES)
def test_http_requests_are_answered_each_and_markers_counted_once(bodies: list[bytes], sizes: list[int]) -> None:
    sink = HttpSink()
    requests = [b"POST /v3/mail/send HTTP/1.1\r\nContent-length: %d\r\n\r\n%b" % (len(body), body) for body in bodies]
    said = b"".join(_said(sink.conversation(), b"".join(requests), sizes))
    assert said.count(b"HTTP/1.1 202 Accepted\r\n") == sink.counts.messages == len(bodies)
    assert sink.counts.recipients == sum(body.count(b'"to"') for body in bodies)
