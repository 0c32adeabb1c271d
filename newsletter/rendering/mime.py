"""Complete messages from segments encoded once (RFC 5322, RFC 2045 to 2047).

All that is the same for every recipient (most headers, both bodies) is encoded when the encoder is made. A message is
then a join of those bytes with the few values that differ, each encoded for where it stands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from email.utils import format_datetime
from itertools import repeat

from newsletter.errors import TemplateError
from newsletter.rendering.headers import (
    AddressError,
    ascii_address,
    list_id_field,
    message_id_field,
    message_id_fields,
    recipient_field,
    recipient_fields,
    sender_field,
    text_field,
    token_field,
    unsubscribe_field,
    unsubscribe_fields,
)
from newsletter.rendering.hole_encoding import ValueEncoder
from newsletter.rendering.holes import missing_value
from newsletter.rendering.letter import Letterhead
from newsletter.rendering.model import Hole, Holed, RenderedIssue
from newsletter.rendering.quoted_printable import encode_segment

__all__ = ["HEADER_PIECES", "AddressError", "MessageEncoder", "ascii_address"]

#: So many of a message's first pieces are its header, with the empty line that ends it.
HEADER_PIECES = 7

_TO, _MESSAGE_ID, _UNSUBSCRIBE = 1, 3, 5
#: Octets of a piece that is not worth to be copied.
_LARGE = 4096


class MessageEncoder:
    """Makes the messages of one rendered issue: one per recipient, each complete and ready for SMTP or a file.

    multipart/alternative, text first, both parts quoted-printable UTF-8. Raises TemplateError where the letterhead or
    the rendered issue cannot be written as mail. May be shared between threads.
    """

    def __init__(self, rendered: RenderedIssue, letterhead: Letterhead) -> None:
        self.names = rendered.text.names() | rendered.html.names()
        boundary = _boundary(rendered)
        self._to_a_list = not letterhead.transactional
        parts = [
            sender_field("From", letterhead.sender),
            b"",
            _after_to(rendered, letterhead),
            b"",
            _list_id(letterhead),
            b"",
            _after_unsubscribe(letterhead, boundary),
            _part_head(boundary, "plain"),
        ]
        slots: dict[Hole, list[int]] = {}
        _append_body(parts, slots, rendered.text, "text")
        parts[-1] += b"\r\n" + _part_head(boundary, "html")
        _append_body(parts, slots, rendered.html, "HTML")
        parts[-1] += f"\r\n--{boundary}--\r\n".encode("ascii")
        self._parts = parts
        self._values = _by_name(slots)
        self._stretches = _stretches(parts)

    def message(
        self,
        *,
        to_address: str,
        to_name: str,
        message_id: str,
        unsubscribe_url: str,
        values: Mapping[str, str],
        unsubscribe_mailto: str = "",
    ) -> bytes:
        """The whole message to one recipient, with CRLF line ends; the same bytes each time.

        Raises AddressError if the address cannot stand in a header, TemplateError if a
        hole has no value or the unsubscribe link is no URL, ValueError if `message_id` is none. A transactional message
        has no unsubscribe link, whatever is given.
        """
        return b"".join(
            self.pieces(
                to_address=to_address,
                to_name=to_name,
                message_id=message_id,
                unsubscribe_url=unsubscribe_url,
                values=values,
                unsubscribe_mailto=unsubscribe_mailto,
            )
        )

    def pieces(
        self,
        *,
        to_address: str,
        to_name: str,
        message_id: str,
        unsubscribe_url: str,
        values: Mapping[str, str],
        unsubscribe_mailto: str = "",
    ) -> list[bytes]:
        """The same message in pieces that each end at the end of a line: `HEADER_PIECES` of header, then the body.

        Those that are the same in every message are the same objects.
        """
        parts = self._parts.copy()
        parts[_TO] = recipient_field(to_name, to_address)
        parts[_MESSAGE_ID] = message_id_field(message_id)
        if self._to_a_list:
            parts[_UNSUBSCRIBE] = unsubscribe_field(unsubscribe_url, unsubscribe_mailto)
        for name, encoder, places in self._values:
            try:
                encoded = encoder.encode(values[name])
            except KeyError:
                raise missing_value(name, values) from None
            for place, context in places:
                parts[place] = encoded[context]
        return parts

    def many(
        self,
        *,
        to_addresses: Sequence[str],
        to_names: Sequence[str],
        message_ids: Sequence[str],
        unsubscribe_urls: Sequence[str],
        values: Mapping[str, Sequence[str]],
        unsubscribe_mailtos: Sequence[str],
        joined: bool = False,
    ) -> Iterator[tuple[bytes, ...]]:
        """What `pieces` has of each of several messages, made a column at a time, at half the cost. The addresses are
        as `ascii_address` gives them; `joined`: small pieces side by side come as one, the fewer for a system call.

        Raises what `pieces` does, of any of them; ValueError where there are none.
        """
        if not to_addresses:
            raise ValueError("no messages")
        columns: list[Iterable[bytes]] = [repeat(part) for part in self._parts]
        columns[_TO] = recipient_fields(to_names, to_addresses)
        columns[_MESSAGE_ID] = message_id_fields(message_ids)
        if self._to_a_list:
            columns[_UNSUBSCRIBE] = unsubscribe_fields(unsubscribe_urls, unsubscribe_mailtos)
        for name, encoder, places in self._values:
            if name not in values:
                raise missing_value(name, values)
            encoded = encoder.encode_all(values[name])
            for place, context in places:
                columns[place] = encoded[context]
        if joined:
            columns = [
                columns[first] if last == first else map(b"".join, zip(*columns[first : last + 1]))  # noqa: B905 - some have no end
                for first, last in self._stretches
            ]
        return zip(*columns)  # noqa: B905 - see above


def _stretches(parts: Sequence[bytes]) -> list[tuple[int, int]]:
    """The first and the last of the parts that are to come as one: those between large ones, and each of these."""
    stretches: list[tuple[int, int]] = []
    for place, part in enumerate(parts):
        if stretches and max(len(part), len(parts[place - 1])) < _LARGE:
            stretches[-1] = (stretches[-1][0], place)
        else:
            stretches.append((place, place))
    return stretches


def _by_name(slots: Mapping[Hole, Sequence[int]]) -> list[tuple[str, ValueEncoder, list[tuple[int, int]]]]:
    """For each name its encoder, and where its values go: (the piece, which of the name's contexts)."""
    by_name: dict[str, list[Hole]] = {}
    for hole in slots:
        by_name.setdefault(hole.name, []).append(hole)
    return [
        (
            name,
            ValueEncoder([hole.context for hole in holes]),
            [(piece, number) for number, hole in enumerate(holes) for piece in slots[hole]],
        )
        for name, holes in by_name.items()
    ]


def _boundary(rendered: RenderedIssue) -> str:
    # `=_` cannot occur in quoted-printable text, so no content can end a part early (RFC 2045, section 6.7).
    return "=_" + hashlib.sha256(rendered.content_hash.encode()).hexdigest()[:32]


def _after_to(rendered: RenderedIssue, letterhead: Letterhead) -> bytes:
    reply_to = sender_field("Reply-To", letterhead.reply_to) if letterhead.reply_to else b""
    return reply_to + text_field("Subject", rendered.subject) + token_field("Date", format_datetime(letterhead.date))


def _list_id(letterhead: Letterhead) -> bytes:
    if letterhead.transactional or not letterhead.list_id:
        return b""
    return list_id_field(letterhead.list_name, letterhead.list_id)


def _after_unsubscribe(letterhead: Letterhead, boundary: str) -> bytes:
    feedback = token_field("Feedback-ID", letterhead.feedback_id) if letterhead.feedback_id else b""
    rest = (
        "MIME-Version: 1.0\r\n"
        f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"\r\n'
        "\r\n"
    )  # fmt: skip
    if letterhead.transactional:
        kind = token_field("Auto-Submitted", "auto-generated")
    else:
        kind = token_field("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")
    return kind + feedback + rest.encode("ascii")


def _part_head(boundary: str, subtype: str) -> bytes:
    return (
        f"--{boundary}\r\n"
        f'Content-Type: text/{subtype}; charset="utf-8"\r\n'
        "Content-Transfer-Encoding: quoted-printable\r\n"
        "\r\n"
    ).encode("ascii")


def _append_body(parts: list[bytes], slots: dict[Hole, list[int]], holed: Holed, what: str) -> None:
    """Add a body to `parts`, an empty place for each hole, and note the places in `slots`."""
    try:
        segments = [encode_segment(text) for text in holed.static[:-1]]
        segments.append(encode_segment(holed.static[-1], last=True))
    except UnicodeEncodeError as error:
        raise TemplateError(
            f"the {what} part holds a character that cannot be sent: {error.object[error.start]!r}",
            hint="remove it from the issue or the template",
        ) from error
    parts[-1] += segments[0]
    for hole, segment in zip(holed.holes, segments[1:], strict=True):
        slots.setdefault(hole, []).append(len(parts))
        parts += (b"", segment)
