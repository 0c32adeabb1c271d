"""Reads a message that came back: what it says of mail of ours, and what in it shows whose mail that was. Pure.

Delivery status notifications (RFC 3464), complaints (RFC 5965), and what servers wrote before there was a standard, or
still write without it. What a message says proves nothing by itself: anybody can write one. See
`pipeline.whose_mail`.
"""

from __future__ import annotations

import datetime as dt
import email
import email.policy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from email.utils import parsedate_to_datetime
from enum import StrEnum

from newsletter.events.model import EventKind
from newsletter.events.odd_bounces import odd_failures
from newsletter.events.server_words import failure, status_of

#: Bytes of one message that are looked at. A newsletter that is returned whole is far smaller.
MOST_BYTES = 1 << 20
#: The same, for formats without a structure: they say what happened at the beginning.
_ODD_BYTES = 1 << 16
#: Parts with parts of their own within `MOST_BYTES`; mail has some five. A message made of hundreds, one in the other,
#: takes the parser a quarter of a minute: of such a one the first `_ODD_BYTES` are looked at.
_NESTED = 20
#: Findings of one message; ours goes to one recipient.
_MOST = 50
#: Characters of a server's words that are kept.
_WORDS = 500
#: Parts of one message that are looked at.
_PARTS = 200
#: Where servers write the address that a message was delivered for, the surest first.
_ADDRESSED = ("Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "To", "Cc", "Return-Path")
_ACTIONS = {
    "fail": None,
    # not of RFC 3464, and written by some
    "error": None,
    "delayed": EventKind.DEFERRED,
    "delivered": EventKind.DELIVERED,
    "relayed": EventKind.DELIVERED,
    "expanded": EventKind.DELIVERED,
}
_COMPLAINTS = {
    "abuse": EventKind.COMPLAINED,
    "fraud": EventKind.COMPLAINED,
    # of early drafts of RFC 5965, and still in use
    "opt-out": EventKind.UNSUBSCRIBED,
    "opt-out-list": EventKind.UNSUBSCRIBED,
}
#: A returned mail that stands in the text itself, and not in a part of its own, begins with one of these.
_ORIGINAL = re.compile(
    r"^(?:>?(?:return-path|received|message-id|from|subject|x-[a-z-]+):"
    r"|.{0,60}(?:original (?:message|mail)|copy of (?:the|your) message|returned (?:message|mail)|your message reads"
    r"|message (?:headers?|text) follow))",
    re.IGNORECASE | re.MULTILINE,
)
#: Who writes bounces, by the sender's name or address.
_A_SERVER = re.compile(r"mailer-daemon|postmaster|mail delivery", re.IGNORECASE)


class Sort(StrEnum):
    """What kind of message came."""

    #: A server tells of a delivery.
    BOUNCE = "bounce"
    #: A mailbox provider tells what a reader said of a mail.
    COMPLAINT = "complaint"
    #: A mailbox answers by itself: out of office, a receipt.
    AUTO_REPLY = "auto_reply"
    #: A program wrote it, and does not say that it answers anything.
    GENERATED = "generated"
    #: Anything else: somebody wrote, or a format that nobody knows.
    LETTER = "letter"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a message says of one recipient. `address` is as it stands there, '' where none does; `code` and
    `reason` are the server's."""

    kind: EventKind
    address: str = ""
    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ReturnedMessage:
    """A message that came to the address for bounces.

    `addressed` are the fields that say which address it came to, the surest first; `sender_told` is the envelope sender
    that a complaint names; `quoted` is all of the message as text, the mail that it returns within.
    """

    sort: Sort
    findings: tuple[Finding, ...] = ()
    addressed: tuple[str, ...] = ()
    sender_told: str = ""
    quoted: str = ""
    message_id: str = ""
    subject: str = ""
    at: dt.datetime | None = None


def read_message(data: bytes) -> ReturnedMessage:
    """What the message says, as far as its first `MOST_BYTES` tell. Never raises, whatever the bytes."""
    try:
        return _read(data[:MOST_BYTES])
    except Exception:  # noqa: BLE001 - the standard library's parser stumbles in many ways over what strangers write
        return ReturnedMessage(Sort.LETTER)


def _read(data: bytes) -> ReturnedMessage:
    if data.lower().count(b"multipart/") > _NESTED:
        data = data[:_ODD_BYTES]
    message = email.message_from_bytes(data, policy=email.policy.compat32)
    parts = list(_parts(message))
    sort, findings, told = _complaint(parts)
    if not findings:
        sort, findings = Sort.BOUNCE, tuple(_statuses(parts))
    if not findings and _is_auto_reply(message):
        sort = Sort.AUTO_REPLY
    elif not findings:
        begun = message if len(data) <= _ODD_BYTES else email.message_from_bytes(data[:_ODD_BYTES])
        findings = tuple(_odd(begun, parts))
        generated = _field(message, "Auto-Submitted").lower() not in ("", "no")
        sort = Sort.BOUNCE if findings else Sort.GENERATED if generated else Sort.LETTER
    return ReturnedMessage(
        sort,
        findings[:_MOST],
        tuple(str(value) for name in _ADDRESSED for value in message.get_all(name, []))[:_PARTS],
        told,
        _quoted(data, parts),
        _clean(_field(message, "Message-ID")),
        _clean(_field(message, "Subject")),
        _date(_field(message, "Date")),
    )


def _parts(message: Message, left: int = _PARTS) -> Iterator[Message]:
    """The parts of the message itself, and not of one that is attached to it."""
    waiting = [message]
    while waiting and left:
        part = waiting.pop(0)
        left -= 1
        yield part
        if part.get_content_maintype() == "multipart" and part.is_multipart():
            waiting += [one for one in part.get_payload() if isinstance(one, Message)]


def _complaint(parts: list[Message]) -> tuple[Sort, tuple[Finding, ...], str]:
    """A report in the Abuse Reporting Format."""
    for part in parts:
        if part.get_content_type() != "message/feedback-report" or not part.is_multipart():
            continue
        report = part.get_payload(0)
        assert isinstance(report, Message)
        told = _field(report, "Feedback-Type").lower()
        recipients = report.get_all("Original-Rcpt-To", []) or report.get_all("Removal-Recipient", [])
        words = " ".join(filter(None, (told, _field(report, "User-Agent"))))
        kind = _COMPLAINTS.get(told, EventKind.OTHER)
        code, words = _clean(told)[:40], _clean(words)
        found = [Finding(kind, _address(str(one)), code, words) for one in recipients[:_MOST] or [""]]
        return Sort.COMPLAINT, tuple(found), _field(report, "Original-Mail-From")
    return Sort.LETTER, (), ""


def _statuses(parts: list[Message]) -> Iterator[Finding]:
    """Delivery status notifications: one finding for each recipient in them."""
    for part in parts:
        if part.get_content_type() in ("message/delivery-status", "message/global-delivery-status"):
            for block in _blocks(part):
                finding = _status(block, parts)
                if finding is not None:
                    yield finding


def _blocks(part: Message) -> Iterator[Message]:
    """The groups of fields of a delivery status: of the message, then of each recipient."""
    payload = part.get_payload()
    for block in payload[: 2 * _MOST] if isinstance(payload, list) else ():
        if isinstance(block, Message):
            yield block
            # of message/global-delivery-status (RFC 6533) the parser knows the first group only
            rest = block.get_payload()
            if isinstance(rest, str):
                yield from map(email.message_from_string, re.split(r"\r?\n\r?\n", rest)[:_MOST])


def _status(block: Message, parts: list[Message]) -> Finding | None:
    original, final = _field(block, "Original-Recipient"), _field(block, "Final-Recipient")
    action = _field(block, "Action").lower()
    status = _field(block, "Status")
    if not (original or final or action):
        return None
    words = _field(block, "Diagnostic-Code").partition(";")[2].strip() or _field(block, "Diagnostic-Code")
    address = _address(original) or _address(final)
    known = next((kind for word, kind in _ACTIONS.items() if action.startswith(word)), EventKind.OTHER)
    if known is EventKind.OTHER:  # no action that anybody knows: the class of the status says as much
        first = status_of(status)[:1]
        known = {"2": EventKind.DELIVERED, "4": EventKind.DEFERRED}.get(first)
        if not first:
            return None
    if known is not None:
        return Finding(known, address, status_of(status) or status_of(words), _clean(words))
    said = words or f"{status} {_explained(parts)}"
    kind, code = failure(status, said)
    return Finding(kind, address, code, _clean(said))


def _odd(message: Message, parts: list[Message]) -> Iterator[Finding]:
    """What is written in a format of a server's own."""
    own = set(map(id, _parts(message)))
    if any(id(part) not in own and part.get_content_type() == "message/delivery-status" for part in message.walk()):
        return  # somebody sends on what came to them
    temporary, permanent = odd_failures(message)
    words = _explained(parts)
    for address in permanent:
        kind, code = failure("", words)
        yield Finding(kind, address, code, _clean(words))
    for address in temporary:
        yield Finding(EventKind.DEFERRED, address, status_of(words), _clean(words))


def _explained(parts: list[Message]) -> str:
    """What is written for people, without the mail that is returned within it."""
    for part in parts:
        if part.get_content_maintype() == "text" and part.get_content_subtype() in ("plain", "html"):
            text = _text(part).strip()
            if part.get_content_subtype() == "html":
                text = re.sub(r"<[^<>]{0,500}>", " ", text[: 8 * _WORDS])
            begins = _ORIGINAL.search(text, 1)
            return text[: begins.start() if begins else None][: 4 * _WORDS]
    return ""


def _is_auto_reply(message: Message) -> bool:
    """An answer by the mailbox itself (RFC 3834), and not by a server that could not deliver, whatever that one calls
    its own."""
    written_by = f"{_field(message, 'From')} {_field(message, 'Return-Path')}"
    if message.get("X-Failed-Recipients") or _A_SERVER.search(written_by):
        return False
    return (
        _field(message, "Auto-Submitted").lower().startswith("auto-replied")
        or _field(message, "Precedence").lower() in ("auto_reply", "auto-reply")
        or any(message.get(name) for name in ("X-Autoreply", "X-Autorespond", "X-Autoresponder"))
    )


def _quoted(data: bytes, parts: list[Message]) -> str:
    """The whole message as text in which links can be looked for: soft line ends and folding are taken away; of parts
    in base64 what they say stands behind it."""
    text = re.sub(r"=\r?\n|\r?\n(?=[ \t])", "", data.decode("latin-1"))
    encoded = [part for part in parts if str(part.get("Content-Transfer-Encoding", "")).strip().lower() == "base64"]
    return "\n".join([text, *map(_text, encoded)])


def _text(part: Message) -> str:
    payload = part.get_payload(decode=True)
    return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""


def _field(message: Message, name: str) -> str:
    """A field on one line; '' where there is none."""
    return " ".join(str(message.get(name, "")).split())


def _address(field: str) -> str:
    """The address in `rfc822; ben@example.com` (RFC 3464, 2.3), or in angle brackets; '' where there is none."""
    value = field.partition(";")[2] or field
    # RFC 3461, 4: `+` and two hexadecimal digits; `+3D` of an address that has it is written `+2B3D`
    if field.lower().startswith(("rfc822;", "utf-8;")):
        value = re.sub(r"\+([2-7][0-9A-F])", lambda found: chr(int(found[1], 16)), value)
    found = re.search(r"[^\s<>;,()\"]{1,64}@[^\s<>;,()\"@]{1,255}", value[:1000])
    return found[0].strip(".") if found else ""


def _clean(text: str) -> str:
    """A server's words on one line, without what a terminal obeys."""
    line = " ".join(text[: 4 * _WORDS].split())
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in line)[:_WORDS]


def _date(text: str) -> dt.datetime | None:
    try:
        at = parsedate_to_datetime(text)
        return (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
