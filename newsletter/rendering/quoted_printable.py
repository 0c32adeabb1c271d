"""Quoted-printable (RFC 2045, section 6.7) in pieces that may be joined: segments encoded once, values between them.

Each piece starts at column 0 and, unless it ends the body, ends with a line break, a soft one if need be. So any value
can follow any segment and no line is longer than 76 characters. Beyond the RFC, what mail transport alters is encoded
too: a leading `.` (SMTP doubles it), a leading `From ` (mailboxes quote it), blanks at the end of a line.
"""

from __future__ import annotations

import re

_LINE = 75  # leaves room for the `=` of a soft break
#: Ends a line of the encoded text, and none of the text itself.
SOFT_BREAK = "=\r\n"
_UNSAFE = re.compile("[^ -<>-~]")
_LINE_ENDS = re.compile("\r\n|\r|\n")
_ESCAPES = {chr(byte): f"={byte:02X}" for byte in range(256)}


def encode_segment(text: str, *, last: bool = False) -> bytes:
    """A piece of a body, line ends as CRLF. `last` says that nothing follows it. UnicodeEncodeError on a surrogate."""
    *whole, rest = _LINE_ENDS.split(text)
    encoded = [SOFT_BREAK.join(_wrap(_escape_end(_escape(line)))) + "\r\n" for line in whole]
    if last:
        encoded.append(SOFT_BREAK.join(_wrap(_escape_end(_escape(rest)))))
    elif rest:
        encoded.append(SOFT_BREAK.join(_wrap(_escape(rest))) + SOFT_BREAK)
    return "".join(encoded).encode("ascii")


def encode_value(value: str) -> bytes:
    """A value without line breaks, to stand between two segments."""
    if not value:
        return b""
    escaped = _escape(value)
    if len(escaped) <= _LINE and escaped[0] != "." and not escaped.startswith("From "):
        return (escaped + SOFT_BREAK).encode("ascii")
    return (SOFT_BREAK.join(_wrap(escaped)) + SOFT_BREAK).encode("ascii")


def _escape(line: str) -> str:
    if line.isascii() and line.isprintable():
        return line.replace("=", "=3D")
    return _UNSAFE.sub(lambda match: _ESCAPES[match[0]], line.encode("utf-8").decode("latin-1"))


def _escape_end(line: str) -> str:
    return f"{line[:-1]}=20" if line.endswith(" ") else line


def _wrap(line: str) -> list[str]:
    """The escaped line as pieces of at most 75 characters that cut no `=XX` apart and may each start a line."""
    pieces = []
    start, size = 0, len(line)
    while True:
        opening = ""
        if line.startswith(".", start):
            opening = "=2E"
        elif line.startswith("From ", start):
            opening = "=46"
        if opening:
            start += 1
        end = start + _LINE - len(opening)
        if end >= size:
            pieces.append(opening + line[start:])
            return pieces
        if line[end - 1] == "=":
            end -= 1
        elif line[end - 2] == "=":
            end -= 2
        pieces.append(opening + line[start:end])
        start = end
