"""An HTTP server that answers as SendGrid's mail/send does, looks at nothing, and counts.

    python -m benchmarks.sinks.http [--port N] [--delay MS] [--marker TEXT]

Requests are read by their Content-Length, on connections that stay open; each is answered 202 with an X-Message-Id.
Recipients are how often --marker stands in the bodies, by default '"to"', once in each personalization.
"""

from __future__ import annotations

import argparse
import re

from benchmarks.sinks.loop import FRONT, Counts, serve

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
_SCOPES = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 24\r\n\r\n{"scopes":["mail.send"]}'


class HttpSink:
    """All connections. `marker` stands once in a body for each recipient."""

    def __init__(self, *, marker: bytes = b'"to"') -> None:
        self.counts = Counts()
        self.marker = marker

    def conversation(self) -> HttpTalk:
        return HttpTalk(self)


class HttpTalk:
    """One connection."""

    greeting = b""

    def __init__(self, sink: HttpSink) -> None:
        self.rest = b""
        self.closing = False
        self._sink = sink
        #: Octets of the body that are still to come, those of `rest` not counted; None: headers are read.
        self._missing: int | None = None
        self._recipients = 0

    def read(self, buffer: bytearray, start: int, end: int) -> bytes:
        answers: list[bytes] = []
        marker = self._sink.marker
        at, seen = start, len(self.rest) if self._missing is not None else 0
        self.rest = b""
        while at < end:
            if self._missing is None:
                blank = buffer.find(b"\r\n\r\n", at, end)
                if blank < 0:
                    self.rest = bytes(buffer[at:end])
                    self.closing = len(self.rest) > FRONT
                    return b"".join(answers) or (b"HTTP/1.1 431 Too large\r\n\r\n" if self.closing else b"")
                head = bytes(buffer[at : blank + 2])
                at, seen = blank + 4, 0
                length = _LENGTH.search(head)
                self._missing = int(length[1]) if length else 0
                self.closing = self.closing or _CLOSE.search(head) is not None
                if head.startswith(b"GET "):
                    answers.append(_SCOPES)
                    self._missing = None
                    continue
            stop = min(end, at + seen + self._missing)
            self._recipients += buffer.count(marker, at, stop)
            self._missing -= stop - at - seen
            if self._missing:
                # a marker may stand across two reads, and must not be counted twice
                self.rest = bytes(buffer[max(at, stop - len(marker) + 1) : stop])
                break
            at, seen, self._missing = stop, 0, None
            answers.append(self._accepted())
        return b"".join(answers)

    def _accepted(self) -> bytes:
        counts = self._sink.counts
        counts.took(self._recipients)
        self._recipients = 0
        return b"HTTP/1.1 202 Accepted\r\nX-Message-Id: sink-%017d\r\nContent-Length: 0\r\n\r\n" % counts.messages


def main() -> None:
    parser = argparse.ArgumentParser(description="Takes mail as SendGrid does, and counts it.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0, help="milliseconds from a request to its answer")
    parser.add_argument("--marker", default='"to"', help="what stands in a body once for each recipient")
    options = parser.parse_args()
    serve(HttpSink(marker=options.marker.encode()), port=options.port, delay=options.delay / 1000)


if __name__ == "__main__":
    main()
