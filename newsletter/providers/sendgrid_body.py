"""The body of `POST /v3/mail/send` as a plain dict, and who cannot stand in it. Pure.

One body carries one variant of the issue to many recipients: the content stands in it once, with a key in each hole,
and each personalization holds what replaces the keys, escaped for where it goes. The vendor looks for keys as literal
strings and says nothing of escaping. Sources: the vendor's pages on mail/send, its limits and its errors.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from newsletter.delivery.model import Batch, Recipient, Refused
from newsletter.rendering.escaping import clean_text, escape_value
from newsletter.rendering.headers import (
    AddressError,
    ascii_address,
    list_id_field,
    mailbox_parts,
    message_id_field,
    token_field,
    unsubscribe_field,
)
from newsletter.rendering.holes import missing_value
from newsletter.rendering.letter import Letterhead
from newsletter.rendering.model import Hole, Holed, RenderedIssue, Variant

#: Personalizations, and recipients, of one request.
MOST_RECIPIENTS = 1000
#: Keys and values together, of one personalization. The vendor's pages name 10,000 and 50,000: the smaller one holds.
SUBSTITUTION_BYTES = 10_000
#: The vendor takes less than 30 MB.
MOST_BYTES = 30_000_000

#: JSON in ASCII writes a character of two octets in UTF-8 as six, and no other grows more.
_WORST_ESCAPE = 3
#: What a personalization has beside its substitutions, at most: headers are lines of up to 998 octets.
_OTHER_BYTES = 8_000

#: The vendor refuses names that hold these; `=?` begins an encoded-word, which readers decode wherever it stands.
_NOT_IN_NAMES = re.compile(r"[;,]|=\?")
_TRACKING = {
    # what is left out falls back to the account's settings, whatever those are
    "click_tracking": {"enable": False, "enable_text": False},
    "open_tracking": {"enable": False},
    "subscription_tracking": {"enable": False},
    "ganalytics": {"enable": False},
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request: its body, whom it is for, and how many bytes it has at most."""

    recipients: tuple[Recipient, ...]
    body: dict[str, Any]
    most_bytes: int

    @property
    def too_large(self) -> bool:
        """Whether the body, as the `sendgrid` package writes it, is over what the vendor takes."""
        # written out only where the bound leaves a doubt: that takes as long as all the rest
        return self.most_bytes >= MOST_BYTES and len(json.dumps(self.body)) >= MOST_BYTES


@dataclass(frozen=True, slots=True)
class Requests:
    """What becomes of a batch: requests to make one after the other, and whom no message can be made for."""

    requests: tuple[Request, ...]
    refused: Mapping[str, Refused]


def requests_for(batch: Batch, rendered: Mapping[Variant, RenderedIssue], *, sandbox: bool) -> Requests:
    """The requests of a batch: one for each variant, in the order in which the batch first names it.

    An address that stands twice in a batch goes into a request of its own: one double would fail the whole request.
    Raises TemplateError where the letterhead, the content or a hole cannot be written for anybody.
    """
    refused: dict[str, Refused] = {}
    groups: dict[tuple[Variant, int], list[tuple[Recipient, str]]] = {}
    times: dict[str, int] = {}
    for recipient in batch.recipients:
        try:
            address = ascii_address(recipient.address)
        except AddressError as error:
            # the address itself stands beside the reason, wherever it is shown
            refused[recipient.id] = Refused(str(error).replace(repr(recipient.address), "the address"))
            continue
        key = address.casefold()
        times[key] = times.get(key, -1) + 1
        groups.setdefault((recipient.variant, times[key]), []).append((recipient, address))
    made = []
    for (variant, _), members in groups.items():
        request = _request(batch, rendered[variant], members, refused, sandbox)
        if request.recipients:
            made.append(request)
    return Requests(tuple(made), refused)


def _request(
    batch: Batch,
    rendered: RenderedIssue,
    members: Sequence[tuple[Recipient, str]],
    refused: dict[str, Refused],
    sandbox: bool,
) -> Request:
    holes = tuple(dict.fromkeys((*rendered.text.holes, *rendered.html.holes)))
    values = [_values(recipient, holes) for recipient, _ in members]
    keys = _keys(rendered, holes, values)
    common = _common_headers(batch.letterhead)
    taken: list[Recipient] = []
    personalizations: list[dict[str, Any]] = []
    most_bytes = 0
    for (recipient, address), own in zip(members, values, strict=True):
        substitutions = {keys[hole]: value for hole, value in own.items()}
        size = sum(len(key) + len(value.encode()) for key, value in substitutions.items())
        if size > SUBSTITUTION_BYTES:
            refused[recipient.id] = Refused(f"the values of this recipient are over {SUBSTITUTION_BYTES} bytes")
            continue
        taken.append(recipient)
        most_bytes += _WORST_ESCAPE * size + _OTHER_BYTES
        # All headers here: what the vendor does with some here and some beside the content is not documented.
        headers = {"Message-ID": _value(message_id_field(recipient.message_id))}
        if not batch.letterhead.transactional:
            headers["List-Unsubscribe"] = _value(
                unsubscribe_field(recipient.unsubscribe_url, recipient.unsubscribe_mailto)
            )
        personalizations.append(
            {
                "to": [_person(recipient.name, address)],
                "substitutions": substitutions,
                "headers": headers | common,
                "custom_args": _arguments(batch, recipient),
            }
        )
    body = _body(batch.letterhead, rendered, keys, personalizations, sandbox)
    return Request(tuple(taken), body, most_bytes + len(json.dumps(body | {"personalizations": []})))


def _body(
    letterhead: Letterhead,
    rendered: RenderedIssue,
    keys: Mapping[Hole, str],
    personalizations: Sequence[Mapping[str, Any]],
    sandbox: bool,
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "personalizations": list(personalizations),
        "from": _person(*mailbox_parts("From", letterhead.sender)),
        "subject": clean_text(rendered.subject, limit=None),
        "content": [
            {"type": "text/plain", "value": _keyed(rendered.text, keys)},
            {"type": "text/html", "value": _keyed(rendered.html, keys)},
        ],
        "tracking_settings": _TRACKING,
        "mail_settings": {"sandbox_mode": {"enable": sandbox}, "footer": {"enable": False}},
    }
    if letterhead.reply_to:
        body["reply_to"] = _person(*mailbox_parts("Reply-To", letterhead.reply_to))
    return body


def _person(name: str, address: str) -> dict[str, str]:
    name = clean_text(_NOT_IN_NAMES.sub(" ", clean_text(name)))
    return {"email": address, "name": name} if name else {"email": address}


def _common_headers(letterhead: Letterhead) -> dict[str, str]:
    if letterhead.transactional:
        headers = {"Auto-Submitted": "auto-generated"}
    else:
        headers = {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    if letterhead.list_id and not letterhead.transactional:
        headers["List-Id"] = _value(list_id_field(letterhead.list_name, letterhead.list_id))
    if letterhead.feedback_id:
        headers["Feedback-ID"] = _value(token_field("Feedback-ID", letterhead.feedback_id))
    return headers


def _value(field: bytes) -> str:
    """The value of a header field, unfolded."""
    return field.decode("ascii").partition(":")[2].replace("\r\n", "").strip()


def _arguments(batch: Batch, recipient: Recipient) -> dict[str, str]:
    """What comes back in every event of this message: our numbers, and nothing of the person."""
    arguments = {"nl_run": batch.run, "nl_delivery": recipient.id, "nl_call": batch.call_id}
    return {name: value for name, value in arguments.items() if value}


def _values(recipient: Recipient, holes: Iterable[Hole]) -> dict[Hole, str]:
    """What fills each hole, escaped. Raises TemplateError where there is no value."""
    values = {}
    for hole in holes:
        if hole.name not in recipient.values:
            raise missing_value(hole.name, recipient.values)
        values[hole] = escape_value(recipient.values[hole.name], hole.context)
    return values


def _keys(rendered: RenderedIssue, holes: Sequence[Hole], values: Sequence[Mapping[Hole, str]]) -> dict[Hole, str]:
    """A key for each hole. No key occurs in the content, the subject or any value, and none within another.

    In values neither: whether the vendor looks for keys in what it has just put in is not documented.
    """
    content = [rendered.subject, *rendered.text.static, *rendered.html.static]
    texts = "\n".join([*content, *(value for own in values for value in own.values())]).lower()
    for attempt in count():
        nonce = hashlib.sha256(f"{rendered.content_hash}{attempt}".encode()).hexdigest()[:8]
        if nonce not in texts:
            return {hole: f"z{nonce}{hole.context.value}{number:03d}z" for number, hole in enumerate(holes)}
    raise AssertionError("unreachable: there are more nonces than texts can hold")


def _keyed(holed: Holed, keys: Mapping[Hole, str]) -> str:
    parts = [holed.static[0]]
    for hole, static in zip(holed.holes, holed.static[1:], strict=True):
        parts += (keys[hole], static)
    return "".join(parts)
