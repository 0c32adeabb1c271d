"""The body of `POST /v3/mail/send`, and who cannot stand in it. Pure.

One body carries one variant of the issue to many recipients: the content stands in it once, with a key in each hole,
and each personalization holds what replaces the keys, escaped for where it goes. The vendor looks for keys as literal
strings and says nothing of escaping. All but the personalizations is written once for an issue. Sources: the vendor's
pages on mail/send, its limits and its errors.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from operator import itemgetter
from typing import Any

from newsletter.delivery.model import Batch, Recipient, Refused
from newsletter.providers.sendgrid_transport import Body
from newsletter.rendering.escaping import clean_text, escape_value, plain_pattern
from newsletter.rendering.headers import (
    PLAIN_ADDRESS,
    PLAIN_LINK,
    AddressError,
    ascii_address,
    list_id_field,
    mailbox_parts,
    message_id_value,
    token_field,
    unsubscribe_value,
)
from newsletter.rendering.holes import missing_value
from newsletter.rendering.letter import Letterhead
from newsletter.rendering.model import Hole, HoleContext, Holed, RenderedIssue, Variant

#: Personalizations, and recipients, of one request.
MOST_RECIPIENTS = 1000
#: Keys and values together, of one personalization. The vendor's pages name 10,000 and 50,000: the smaller one holds.
SUBSTITUTION_BYTES = 10_000
#: The vendor takes less than 30 MB.
MOST_BYTES = 30_000_000

#: A text as JSON, by the same code that `json.dumps` has.
_quoted = json.encoder.encode_basestring_ascii
#: The vendor refuses names that hold these; `=?` begins an encoded-word, which readers decode wherever it stands.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9](?: ?[A-Za-z0-9]){0,99}")
_PLAIN_ID = r"<[A-Za-z0-9.-]{1,80}@[A-Za-z0-9.-]{1,253}>"
#: No line is like this.
_NOT_PLAIN = "\0"
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
    """One request: its body, and whom it is for."""

    recipients: tuple[Recipient, ...]
    body: Body

    @property
    def too_large(self) -> bool:
        """Whether the body is over what the vendor takes."""
        return len(self.body) >= MOST_BYTES


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
    groups: dict[tuple[Variant, int], list[Recipient]] = {}
    times: dict[str, int] = {}
    for recipient in batch.recipients:
        key = recipient.address.casefold()
        if not key.isascii():
            with suppress(AddressError):  # whom no message can be made for is refused below
                key = ascii_address(recipient.address).casefold()
        times[key] = times.get(key, -1) + 1
        groups.setdefault((recipient.variant, times[key]), []).append(recipient)
    made = []
    for (variant, _), members in groups.items():
        request = _request(batch, rendered[variant], members, refused, sandbox)
        if request.recipients:
            made.append(request)
    return Requests(tuple(made), refused)


def _request(
    batch: Batch,
    rendered: RenderedIssue,
    members: Sequence[Recipient],
    refused: dict[str, Refused],
    sandbox: bool,
) -> Request:
    frame = _frame(batch.letterhead, rendered, sandbox, _free_nonce(rendered, members))
    arguments = "".join(
        f"{_quoted(name)}: {_quoted(value)}, "
        for name, value in (("nl_run", batch.run), ("nl_call", batch.call_id))
        if value
    )
    taken: list[Recipient] = []
    personalizations: list[str] = []
    for recipient in members:
        personalization = frame.plain.personalization(frame, recipient, arguments) if frame.plain else None
        if personalization is not None:
            taken.append(recipient)
            personalizations.append(personalization)
            continue
        try:
            address = ascii_address(recipient.address)
        except AddressError as error:
            # the address itself stands beside the reason, wherever it is shown
            refused[recipient.id] = Refused(str(error).replace(repr(recipient.address), "the address"))
            continue
        substitutions, size = _substitutions(frame, recipient)
        if size > SUBSTITUTION_BYTES:
            refused[recipient.id] = Refused(f"the values of this recipient are over {SUBSTITUTION_BYTES} bytes")
            continue
        taken.append(recipient)
        # All headers here: what the vendor does with some here and some beside the content is not documented.
        headers = f'"Message-ID": {_quoted(message_id_value(recipient.message_id))}'
        if not batch.letterhead.transactional:
            link = unsubscribe_value(recipient.unsubscribe_url, recipient.unsubscribe_mailto)
            headers = f'{headers}, "List-Unsubscribe": {_quoted(link)}'
        # what comes back in every event of this message: our numbers, and nothing of the person
        personalizations.append(
            f'{{"to": [{_person(recipient.name, address)}], "substitutions": {{{substitutions}}}, '
            f'"headers": {{{headers}{frame.headers}}}, '
            f'"custom_args": {{{arguments}"nl_delivery": {_quoted(recipient.id)}}}}}'
        )
    return Request(tuple(taken), _joined('{"personalizations": [', personalizations, f"], {frame.rest}"))


def _joined(start: str, personalizations: list[str], end: str) -> Body:
    """One text of them, of a megabyte or more: no more copies of it than must be, as several threads have one each."""
    personalizations[:1] = [f"{start}{one}" for one in personalizations[:1]] or [start]
    personalizations[-1] += end
    text = ", ".join(personalizations)
    personalizations.clear()
    return Body(text, "ascii")


@dataclass(frozen=True, slots=True)
class _Frame:
    """What all requests of one variant have in common: `rest` of the body behind the personalizations, the `headers` of
    each of these that are everybody's, the keys for each name with the contexts they stand in, and their bytes."""

    rest: str
    headers: str
    keys: Sequence[tuple[str, Sequence[str], Sequence[HoleContext]]]
    bytes_of_keys: int
    plain: _Plain | None


@lru_cache(maxsize=64)
def _frame(letterhead: Letterhead, rendered: RenderedIssue, sandbox: bool, nonce: str) -> _Frame:
    holes = tuple(dict.fromkeys((*rendered.text.holes, *rendered.html.holes)))
    keys = {hole: f"z{nonce}{hole.context.value}{number:03d}z" for number, hole in enumerate(holes)}
    body: dict[str, Any] = {
        "from": json.loads(_person(*mailbox_parts("From", letterhead.sender))),
        "subject": clean_text(rendered.subject, limit=None),
        "content": [
            {"type": "text/plain", "value": _keyed(rendered.text, keys)},
            {"type": "text/html", "value": _keyed(rendered.html, keys)},
        ],
        "tracking_settings": _TRACKING,
        "mail_settings": {"sandbox_mode": {"enable": sandbox}, "footer": {"enable": False}},
    }
    if letterhead.reply_to:
        body["reply_to"] = json.loads(_person(*mailbox_parts("Reply-To", letterhead.reply_to)))
    by_name: dict[str, list[Hole]] = {}
    for hole in holes:
        by_name.setdefault(hole.name, []).append(hole)
    return _Frame(
        rest=json.dumps(body)[1:],
        headers=_headers(letterhead),
        keys=[
            (name, [f"{_quoted(keys[hole])}: " for hole in of_name], [hole.context for hole in of_name])
            for name, of_name in by_name.items()
        ],
        bytes_of_keys=sum(map(len, keys.values())),
        plain=_plain(by_name, keys, letterhead),
    )


@dataclass(frozen=True, slots=True)
class _Plain:
    """For recipients all of whose values are plain, as nearly all are: looked at together, and put into their places by
    one call. `lines` is what their values look like, a line each, in at most `most` characters; `template` has places
    for what `pick` picks of these, and of who is addressed, the arguments, and the recipient's number."""

    lines: re.Pattern[str]
    most: int
    template: str
    pick: Callable[[Sequence[str]], tuple[str, ...]]

    def personalization(self, frame: _Frame, recipient: Recipient, arguments: str) -> str | None:
        """Theirs; None where they are not like that."""
        values = recipient.values
        own = [values.get(name, _NOT_PLAIN) for name, _, _ in frame.keys]
        lines = [recipient.name, recipient.address, recipient.message_id, recipient.unsubscribe_url, *own]
        text = "\n".join(lines)
        if recipient.unsubscribe_mailto or len(text) > self.most or not self.lines.fullmatch(text):
            return None
        person = f'"email": "{recipient.address}"'
        if recipient.name:
            person = f'{person}, "name": "{recipient.name}"'
        return self.template % self.pick([*lines, person, arguments, _quoted(recipient.id)])


def _plain(by_name: Mapping[str, Sequence[Hole]], keys: Mapping[Hole, str], letterhead: Letterhead) -> _Plain | None:
    """None where some value is never plain."""
    own = [plain_pattern([hole.context for hole in holes]) for holes in by_name.values()]
    if letterhead.transactional or not all(own):
        return None
    lines = [f"(?:{_PLAIN_NAME.pattern})?", PLAIN_ADDRESS, _PLAIN_ID, PLAIN_LINK, *map(str, own)]
    substitutions, places = [], []
    for place, holes in enumerate(by_name.values(), start=4):
        substitutions += [f'"{keys[hole]}": "%s"' for hole in holes]
        places += [place] * len(holes)
    headers = _headers(letterhead).replace("%", "%%")
    return _Plain(
        lines=re.compile("\n".join(f"(?:{line})" for line in lines)),
        most=(SUBSTITUTION_BYTES - sum(map(len, keys.values()))) // max(map(len, by_name.values()), default=1),
        template=(
            f'{{"to": [{{%s}}], "substitutions": {{{", ".join(substitutions)}}}, '
            f'"headers": {{"Message-ID": "%s", "List-Unsubscribe": "<%s>"{headers}}}, '
            '"custom_args": {%s"nl_delivery": %s}}'
        ),
        pick=itemgetter(-3, *places, 2, 3, -2, -1),
    )


def _headers(letterhead: Letterhead) -> str:
    """Those that are everybody's, as JSON behind others."""
    return "".join(f", {_quoted(name)}: {_quoted(said)}" for name, said in _common_headers(letterhead).items())


def _substitutions(frame: _Frame, recipient: Recipient) -> tuple[str, int]:
    """What replaces the keys, escaped, and how many bytes it is with the keys. Raises TemplateError where a hole has no
    value."""
    parts: list[str] = []
    size, values = frame.bytes_of_keys, recipient.values
    for name, keys, contexts in frame.keys:
        if (value := values.get(name)) is None:
            raise missing_value(name, values)
        for key, context in zip(keys, contexts, strict=True):
            escaped = escape_value(value, context)
            size += len(escaped.encode())
            parts.append(key + _quoted(escaped))
    return ", ".join(parts), size


def _free_nonce(rendered: RenderedIssue, recipients: Iterable[Recipient]) -> str:
    """What the keys of a request are made with. No key occurs in the content, the subject or any value, and none within
    another.

    In values neither: whether the vendor looks for keys in what it has just put in is not documented.
    """
    content = _content(rendered)
    values = "\n".join(["\n".join(one.values.values()) for one in recipients]).lower()
    for attempt in count():
        nonce = hashlib.sha256(f"{rendered.content_hash}{attempt}".encode()).hexdigest()[:8]
        if nonce not in values and nonce not in content:
            return nonce
    raise AssertionError("unreachable: there are more nonces than texts can hold")


@lru_cache(maxsize=64)
def _content(rendered: RenderedIssue) -> str:
    return "\n".join([rendered.subject, *rendered.text.static, *rendered.html.static]).lower()


def _person(name: str, address: str) -> str:
    """As JSON."""
    if not _PLAIN_NAME.fullmatch(name):
        name = clean_text(_NOT_IN_NAMES.sub(" ", clean_text(name)))
    if name:
        return f'{{"email": {_quoted(address)}, "name": {_quoted(name)}}}'
    return f'{{"email": {_quoted(address)}}}'


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


def _keyed(holed: Holed, keys: Mapping[Hole, str]) -> str:
    parts = [holed.static[0]]
    for hole, static in zip(holed.holes, holed.static[1:], strict=True):
        parts += (keys[hole], static)
    return "".join(parts)
