"""The relaxed forms of headers and bodies (RFC 6376, section 3.4), for many messages that are almost the same.

What is the same in every message of an issue comes as the same objects, piece for piece. Its relaxed form is
remembered, and the start of a body hashed once: only what comes behind the first value of a recipient is hashed anew.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile

#: A field's name in small letters, and the field in relaxed form with its CRLF.
Field = tuple[bytes, bytes]

_CRLF = b"\r\n"
#: As numbers, which are found ten times faster than octets of length one.
_TAB, _CR, _SPACE = b"\t\r "
_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_FIELD_NAME = re.compile(rb"[!-9;-~]+")
_BLANKS = re.compile(rb"[ \t]+")
_BLANKS_AT_LINE_END = re.compile(rb"[ \t]+\r\n")

#: Kept of headers: some ten pieces are the same in all messages, the others are one recipient's and soon forgotten.
_MOST_PIECES = 256
#: Issues and variants whose bodies are kept: as many as encoders are.
_MOST_BODIES = 64


class RelaxedHeaders:
    """Headers in relaxed form. May be shared between threads."""

    def __init__(self) -> None:
        self._kept: dict[bytes, tuple[Field, ...]] = {}

    def fields(self, header: bytes | Sequence[bytes]) -> list[Field]:
        """The fields of a header, whole or in pieces, up to the empty line that may end it. Raises ValueError."""
        if isinstance(header, bytes):
            return self._fields_of_whole(header)
        found: list[Field] = []
        for piece in header:
            fields = self._kept.get(piece)
            if fields is None:
                if piece and (piece[-2:] != _CRLF or piece[:1] in {b" ", b"\t"}):
                    # a field that goes on in the next piece
                    return self._fields_of_whole(b"".join(header))
                fields = tuple([_field(raw) for raw in _FIELD_END.split(piece.rstrip(_CRLF)) if raw])
                self._keep(piece, fields)
            found += fields
        return found

    def _fields_of_whole(self, header: bytes) -> list[Field]:
        found: list[Field] = []
        for raw in _FIELD_END.split(header.rstrip(_CRLF)):
            fields = self._kept.get(raw)
            if fields is None:
                fields = (_field(raw),)
                self._keep(raw, fields)
            found += fields
        return found

    def _keep(self, piece: bytes, fields: tuple[Field, ...]) -> None:
        if len(self._kept) >= _MOST_PIECES:
            self._kept = {}
        self._kept[piece] = fields


def unfolded(value: bytes) -> bytes:
    """The value of a field on one line, its blanks in relaxed form (RFC 6376, section 3.4.2)."""
    if _CR in value:
        value = value.replace(_CRLF, b"")
    value = value.strip(b" \t")
    if _TAB in value or (_SPACE in value and b"  " in value):
        value = _BLANKS.sub(b" ", value)
    return value


def _field(raw: bytes) -> Field:
    name, colon, value = raw.partition(b":")
    name = name.rstrip(b" \t").lower()
    if not colon or not _FIELD_NAME.fullmatch(name):
        raise ValueError(f"{raw[:60]!r} is no header field")
    return name, b"".join((name, b":", unfolded(value), _CRLF))


class RelaxedBodies:
    """SHA-256 of bodies in relaxed form (RFC 6376, section 3.4.4). May be shared between threads."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, bytes], _Pattern] = {}

    def digest(self, body: Sequence[bytes]) -> bytes:
        """The hash of a body, cut into any pieces. One that ends in the middle of a line gets the CRLF it has on the
        wire."""
        if body:
            pattern = self._pattern(body)
            rest = pattern.rest_of(body)
            if rest and rest != _CRLF and not rest.endswith(b"\r\n\r\n"):
                hashed = pattern.start_hashed.copy()
                hashed.update(rest)
                return hashed.digest()
        # a line that goes on in the next piece, or empty lines at the end, perhaps in several pieces
        return hashlib.sha256(_relaxed_body(b"".join(body))).digest()

    def _pattern(self, body: Sequence[bytes]) -> _Pattern:
        key = (len(body), body[0])
        pattern = self._kept.get(key)
        if pattern is None:
            pattern = _Pattern(tuple(map(_known, body)))
        elif pattern.compared and tuple(body[: len(pattern.start)]) == pattern.start:
            return pattern
        else:
            pattern = pattern.compared_with(body)
        if len(self._kept) >= _MOST_BODIES:
            self._kept = {}
        self._kept[key] = pattern
        return pattern


@dataclass(frozen=True, slots=True)
class _Pattern:
    """What is known of the bodies that begin with one piece and have as many.

    `rest`: pieces behind the start, as they were once, each with its relaxed form. `start`: the first pieces, the same
    in all bodies seen, never all of a body; none before two were `compared`. `start_hashed`: the hash of its form.
    """

    rest: tuple[tuple[bytes | None, bytes], ...]
    start: tuple[bytes, ...] = ()
    start_hashed: hashlib._Hash = field(default_factory=hashlib.sha256)
    compared: bool = False

    def compared_with(self, body: Sequence[bytes]) -> _Pattern:
        """The pattern of those bodies and this one."""
        before = [*self.start, *(piece for piece, _ in self.rest)]
        # `before` has None for a piece that is never the same, and never the last: the rest must not be empty
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, body[:-1], strict=False)))
        known = tuple(map(_known, body))
        hashed = hashlib.sha256(b"".join(form for _, form in known[:same]))
        return _Pattern(known[same:], tuple(body[:same]), hashed, compared=True)

    def rest_of(self, body: Sequence[bytes]) -> bytes:
        """The relaxed form of what comes behind the start, empty lines at its end included; b"" where it is not to be
        had piece for piece."""
        forms = []
        for piece, (known, form) in zip(body[len(self.start) :], self.rest, strict=True):
            if piece == known:
                forms.append(form)
            elif piece[-2:] == _CRLF:
                forms.append(_relaxed(piece))
            elif piece:
                return b""
        return b"".join(forms)


def _known(piece: bytes) -> tuple[bytes | None, bytes]:
    """A piece and its relaxed form; None for one whose last line goes on in the next: it is never the same."""
    return (piece, _relaxed(piece)) if piece[-2:] == _CRLF or not piece else (None, b"")


def _relaxed_body(body: bytes) -> bytes:
    if body and not body.endswith(_CRLF):
        body += _CRLF
    form = _relaxed(body)
    end = len(form)
    while form.endswith(_CRLF, 0, end):
        end -= 2
    return form[:end] + _CRLF if end else b""


def _relaxed(piece: bytes) -> bytes:
    """Runs of blanks become one, those at the end of a line none. Each line by itself: pieces may be done apart."""
    if _TAB not in piece and (_SPACE not in piece or (b"  " not in piece and b" \r\n" not in piece)):
        return piece
    return _BLANKS.sub(b" ", _BLANKS_AT_LINE_END.sub(_CRLF, piece))
