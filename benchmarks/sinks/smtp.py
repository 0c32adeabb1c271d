"""An SMTP server that takes every message, looks at none, and counts.

    python -m benchmarks.sinks.smtp [--port N] [--delay MS] [--plain]

It has PIPELINING and 8BITMIME, and nothing with --plain. Answers to what was read at once are written at once.

The final dot is looked for near the end of what was read alone. Whoever waits for the answer to a message has written
its dot, perhaps the next envelope, and nothing else; so the dot is near the end, or the octets do not end with a line,
and more come. Where they end with a line and have no dot near the end, all are searched. What is not understood: more
than 1,024 octets of commands behind a dot, with a read that ends within a line of them.
"""

from __future__ import annotations

import argparse

from benchmarks.sinks.loop import Counts, serve

_DOT = b"\r\n.\r\n"
#: The next envelope is shorter.
_NEAR = 1024

_ANSWERS = {
    b"MAIL": b"250 2.1.0 Ok\r\n",
    b"RCPT": b"250 2.1.5 Ok\r\n",
    b"DATA": b"354 End data with <CR><LF>.<CR><LF>\r\n",
    b"RSET": b"250 2.0.0 Ok\r\n",
    b"NOOP": b"250 2.0.0 Ok\r\n",
    b"HELO": b"250 sink.example\r\n",
    b"QUIT": b"221 2.0.0 Bye\r\n",
}
_TAKEN = b"250 2.0.0 Ok: taken\r\n"


class SmtpSink:
    """All connections. `plain`: no extension is offered."""

    def __init__(self, *, plain: bool = False) -> None:
        self.counts = Counts()
        offered = () if plain else (b"PIPELINING", b"8BITMIME")
        lines = (b"sink.example", *offered)
        ehlo = b"".join(b"250%b%b\r\n" % (b" " if line is lines[-1] else b"-", line) for line in lines)
        self.answers = {**_ANSWERS, b"EHLO": ehlo}

    def conversation(self) -> SmtpTalk:
        return SmtpTalk(self)


class SmtpTalk:
    """One connection."""

    greeting = b"220 sink.example ESMTP\r\n"

    def __init__(self, sink: SmtpSink) -> None:
        self.rest = b""
        self.closing = False
        self._sink = sink
        self._in_content = False
        self._recipients = 0

    def read(self, buffer: bytearray, start: int, end: int) -> bytes:
        answers: list[bytes] = []
        at = start
        known = self._sink.answers
        while True:
            if self._in_content:
                dot = buffer.find(_DOT, max(at, end - _NEAR), end)
                if dot < 0 and buffer[end - 1] == 10:
                    dot = buffer.find(_DOT, at, end)
                if dot < 0:
                    self.rest = bytes(buffer[max(at, end - len(_DOT) + 1) : end])
                    break
                self._in_content = False
                at = dot + len(_DOT)
                self._sink.counts.took(self._recipients)
                self._recipients = 0
                answers.append(_TAKEN)
            line_end = buffer.find(b"\r\n", at, end)
            if line_end < 0:
                self.rest = bytes(buffer[at:end])
                break
            verb = bytes(buffer[at : at + 4]).upper()
            at = line_end + 2
            answers.append(known.get(verb, b"502 5.5.2 Not here\r\n"))
            if verb == b"RCPT":
                self._recipients += 1
            elif verb == b"DATA":
                self._in_content = True
                at -= 2  # the end of this line and a dot end the message, too
            elif verb == b"QUIT":
                self.closing = True
        return b"".join(answers)


def main() -> None:
    parser = argparse.ArgumentParser(description="Takes mail, and counts it.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0, help="milliseconds from a request to its answer")
    parser.add_argument("--plain", action="store_true", help="no PIPELINING, no 8BITMIME")
    options = parser.parse_args()
    serve(SmtpSink(plain=options.plain), port=options.port, delay=options.delay / 1000)


if __name__ == "__main__":
    main()
