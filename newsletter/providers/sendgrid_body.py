"""The body of `POST /v3/mail/send`, and who cannot stand in it. Pure.

One body carries one variant of the issue to many recipients: the content stands in it once, with a key in each hole,
and each personalization holds what replaces the keys, escaped for where it goes. The vendor looks for keys as literal
strings and says nothing of escaping. All but the personalizations is written once for an issue, and these a column at
a time, not a recipient. Sources: the vendor's
pages on mail/send, its limits and its errors.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain, count, repeat
from typing import Any

from newsletter.delivery.model import Batch, Recipients, Refused
from newsletter.providers.sendgrid_transport import Body
from newsletter.rendering.escaping import TEXT_LIMIT, clean_text, clean_texts, escape_values, plain_pattern
from newsletter.rendering.headers import (
    LONGEST_LINK,
    PLAIN_ADDRESS,
    PLAIN_LINK,
    SHORT_ADDRESS,
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
from newsletter.rendering.model import Hole, Holed, RenderedIssue, Variant
from newsletter.rendering.plain_columns import PATH_PART, PlainColumn

#: Personalizations, and recipients, of one request.
MOST_RECIPIENTS = 1000
#: Keys and values together, of one personalization. The vendor's pages name 10,000 and 50,000: the smaller one holds.
SUBSTITUTION_BYTES = 10_000
#: The vendor takes less than 30 MB.
MOST_BYTES = 30_000_000

#: What becomes of many texts, one by one or together.
_Write = Callable[[Sequence[str]], Sequence[str]]
#: A text as JSON, by the same code that `json.dumps` has.
_quoted = json.encoder.encode_basestring_ascii


class _Plain(PlainColumn):
    """Texts that are the same in JSON and in the place that the pattern is for."""

    def column(self, texts: Sequence[str], odd: _Write) -> Sequence[str]:
        """The texts as they stand in JSON, between the quotes; those that are not plain are written by `odd` before."""
        return _written(texts, self.others(texts), odd)


def _written(texts: Sequence[str], places: Sequence[int], write: _Write) -> Sequence[str]:
    """The texts as they stand in JSON, between the quotes; those at these places are written before."""
    if not places:
        return texts
    column = list(texts)
    for place, written in zip(places, _in_json(write([texts[place] for place in places])), strict=True):
        column[place] = written
    return column


def _in_json(texts: Sequence[str]) -> Sequence[str]:
    """The texts as they stand in JSON, between the quotes."""
    lines = "\n".join(texts)
    if "\\" in lines or lines.count("\n") != len(texts) - 1:  # else what parts the lines can be told from the texts
        return [_quoted(text)[1:-1] for text in texts]
    return _quoted(lines)[1:-1].split("\\n")


#: The vendor refuses names that hold these; `=?` begins an encoded-word, which readers decode wherever it stands.
_NOT_IN_NAMES = re.compile(r"[;,]|=\?")
_PLAIN_NAMES = _Plain(r"(?:[A-Za-z0-9]++(?: [A-Za-z0-9]++)*+)?+", most=TEXT_LIMIT)
_PLAIN_ADDRESSES = _Plain(PLAIN_ADDRESS, most=SHORT_ADDRESS)
_PLAIN_LINKS = _Plain(PLAIN_LINK, LONGEST_LINK, PATH_PART)
_PLAIN_IDS = _Plain(r"<[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)*+@[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)*+>", most=300)
#: Digits of a nonce.
_DIGITS = 8
#: Stands where something of the recipient's goes; in JSON no text holds it.
_PLACE = "\0"
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

    recipients: Recipients
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
    made = []
    for variant, some in _groups(Recipients.of(batch.recipients)):
        request = _request(batch, rendered[variant], some, refused, sandbox)
        if request.recipients:
            made.append(request)
    return Requests(tuple(made), refused)


def _groups(everybody: Recipients) -> Iterable[tuple[Variant, Recipients]]:
    """Those who may stand in one request, with their variant."""
    keys = _address_keys(everybody.addresses)
    if len(set(keys)) == len(keys) and len(set(everybody.variants)) == 1:
        return [(everybody.variants[0], everybody)]
    groups: dict[tuple[Variant, int], list[int]] = {}
    times: Counter[str] = Counter()
    for place, (key, variant) in enumerate(zip(keys, everybody.variants, strict=True)):
        groups.setdefault((variant, times[key]), []).append(place)
        times[key] += 1
    return [(variant, everybody.at(places)) for (variant, _), places in groups.items()]


def _address_keys(addresses: Sequence[str]) -> list[str]:
    """For each address what is the same for two that are the same in a request."""
    plain = "".join(addresses).isascii()
    return list(map(str.casefold, addresses if plain else map(_ascii_or_not, addresses)))


def _ascii_or_not(address: str) -> str:
    if not address.isascii():
        with suppress(AddressError):  # whom no message can be made for is refused
            return ascii_address(address)
    return address


def _request(
    batch: Batch, rendered: RenderedIssue, some: Recipients, refused: dict[str, Refused], sandbox: bool
) -> Request:
    some, addresses = _addressable(some, refused)
    columns_of = _hole_columns(rendered, some)
    holes = list(columns_of.values())
    frame = _frame(batch.letterhead, rendered, sandbox, _free_nonce(rendered, holes), tuple(columns_of))
    fitting = _fitting(frame, columns_of)
    if fitting is not None:
        too_long = Refused(f"the values of this recipient are over {SUBSTITUTION_BYTES} bytes")
        refused.update(dict.fromkeys(set(some.ids).difference(some.ids[place] for place in fitting), too_long))
        some, addresses = some.at(fitting), [addresses[place] for place in fitting]
        holes = [[column[place] for place in fitting] for column in holes]
    # what comes back in every event of a message: our numbers, and nothing of the person
    arguments = "".join(
        f"{_quoted(name)}: {_quoted(value)}, "
        for name, value in (("nl_run", batch.run), ("nl_call", batch.call_id))
        if value
    )
    columns = [
        _people(addresses, some.names),
        *holes,
        _PLAIN_IDS.column(some.message_ids, lambda odd: [*map(message_id_value, odd)]),
        *([] if batch.letterhead.transactional else [_unsubscribe_headers(some)]),
        [arguments] * len(some),
        list(map(_quoted, some.ids)),
    ]
    return Request(some, _body(frame, columns))


def _body(frame: _Frame, columns: Sequence[Sequence[str]]) -> Body:
    """One text of a megabyte or more: no more copies of it than must be, as several threads have one each."""
    first, *others = frame.personalization.split(_PLACE)
    cells: list[Iterable[str]] = [repeat(f", {first}")]
    for column, text in zip(columns, others, strict=True):
        cells += (column, repeat(text))
    written = chain.from_iterable(zip(*cells))  # noqa: B905 - some have no end
    begin = '{"personalizations": ['
    if next(written, None) is not None:
        begin += first
    return Body("".join(chain((begin,), written, (f"], {frame.rest}",))), "ascii")


def _addressable(some: Recipients, refused: dict[str, Refused]) -> tuple[Recipients, Sequence[str]]:
    """Those whose address a request can carry, and these addresses, between the quotes."""
    if _PLAIN_ADDRESSES.all(some.addresses):
        return some, some.addresses
    good: list[int] = []
    addresses = []
    for place, address in enumerate(some.addresses):
        try:
            addresses.append(_quoted(ascii_address(address))[1:-1])
            good.append(place)
        except AddressError as error:
            # the address itself stands beside the reason, wherever it is shown
            refused[some.ids[place]] = Refused(str(error).replace(repr(address), "the address"))
    return some.at(good), addresses


def _people(addresses: Sequence[str], names: Sequence[str]) -> Sequence[str]:
    """What stands behind `"email": `, up to the brace; `addresses` as they stand between quotes."""
    names = _PLAIN_NAMES.column(names, _names)
    return [
        f'"{address}", "name": "{name}"' if name else f'"{address}"'
        for address, name in zip(addresses, names, strict=True)
    ]


def _unsubscribe_headers(some: Recipients) -> Sequence[str]:
    """Between the quotes."""
    urls = some.unsubscribe_urls
    if _PLAIN_LINKS.all(urls) and not any(some.unsubscribe_mailtos):
        return [f"<{url}>" for url in urls]
    return [_quoted(value)[1:-1] for value in map(unsubscribe_value, urls, some.unsubscribe_mailtos)]


@lru_cache(maxsize=64)
def _holes(rendered: RenderedIssue) -> Mapping[str, tuple[Sequence[Hole], _Plain | None]]:
    """By name, each with what its values look like that are the same in all of its contexts (None: no value is)."""
    by_name: dict[str, list[Hole]] = {}
    for hole in dict.fromkeys((*rendered.text.holes, *rendered.html.holes)):
        by_name.setdefault(hole.name, []).append(hole)
    found = {name: plain_pattern([hole.context for hole in holes]) for name, holes in by_name.items()}
    return {
        name: (holes, None if (plain := found[name]) is None else _Plain(*plain)) for name, holes in by_name.items()
    }


def _hole_columns(rendered: RenderedIssue, some: Recipients) -> dict[tuple[Hole, ...], Sequence[str]]:
    """What stands in the holes, between the quotes. Holes of one name in which the same stands share a column, and so
    a key: links are alike in text and HTML, and most of what a request has to say of somebody.

    Raises TemplateError where one has no value.
    """
    columns: dict[tuple[Hole, ...], Sequence[str]] = {}
    for name, (holes, plain) in _holes(rendered).items():
        if name not in some.values:
            raise missing_value(name, some.values)
        values = some.values[name]
        odd = range(len(values)) if plain is None else plain.others(values)
        by_column: list[tuple[list[Hole], Sequence[str]]] = []
        for hole in holes:
            column = _written(values, odd, partial(escape_values, context=hole.context))
            alike = next((sharing for sharing, other in by_column if other is column or other == column), None)
            if alike is None:
                by_column.append(([hole], column))
            else:
                alike.append(hole)
        columns |= {tuple(sharing): column for sharing, column in by_column}
    return columns


def _fitting(frame: _Frame, columns_of: Mapping[tuple[Hole, ...], Sequence[str]]) -> Sequence[int] | None:
    """The places of those whose values are not too long; None: everybody's. A value counts once for each hole, shared
    or not: who else is in a request must not decide whether somebody can be written to."""
    times, holes = list(map(len, columns_of)), columns_of.values()
    longest = sum(number * max(map(len, column), default=0) for number, column in zip(times, holes, strict=True))
    if frame.bytes_of_keys + longest <= SUBSTITUTION_BYTES:  # in JSON no text is shorter
        return None
    sizes = [
        sum(number * len(json.loads(f'"{text}"').encode()) for number, text in zip(times, row, strict=True))
        for row in zip(*holes, strict=True)
    ]
    return [place for place, size in enumerate(sizes) if frame.bytes_of_keys + size <= SUBSTITUTION_BYTES]


@dataclass(frozen=True, slots=True)
class _Frame:
    """What all requests of one variant have in common: a personalization with places for what is the recipient's, the
    `rest` of the body behind these, and the bytes of all keys, as if each hole had its own."""

    personalization: str
    rest: str
    bytes_of_keys: int


@lru_cache(maxsize=64)
def _frame(
    letterhead: Letterhead, rendered: RenderedIssue, sandbox: bool, nonce: str, places: tuple[tuple[Hole, ...], ...]
) -> _Frame:
    """`places` are the holes, those together that share a key."""
    by_place = {sharing: f"z{nonce}{sharing[0].context.value}{number:03d}z" for number, sharing in enumerate(places)}
    keys = {hole: key for sharing, key in by_place.items() for hole in sharing}
    body: dict[str, Any] = {
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
    return _Frame(
        personalization=_personalization(by_place.values(), letterhead),
        rest=json.dumps(body)[1:],
        bytes_of_keys=sum(map(len, keys.values())),
    )


def _personalization(keys: Iterable[str], letterhead: Letterhead) -> str:
    substitutions = ", ".join(f'"{key}": "{_PLACE}"' for key in keys)
    own = f'"Message-ID": "{_PLACE}"'
    if not letterhead.transactional:
        own = f'{own}, "List-Unsubscribe": "{_PLACE}"'
    common = "".join(f", {_quoted(name)}: {_quoted(said)}" for name, said in _common_headers(letterhead).items())
    return (
        f'{{"to": [{{"email": {_PLACE}}}], "substitutions": {{{substitutions}}}, '
        # All headers here: what the vendor does with some here and some beside the content is not documented.
        f'"headers": {{{own}{common}}}, "custom_args": {{{_PLACE}"nl_delivery": {_PLACE}}}}}'
    )


def _free_nonce(rendered: RenderedIssue, holes: Iterable[Sequence[str]]) -> str:
    """What the keys of a request are made with. No key occurs in the content, the subject or what stands in a hole, and
    none within another.

    In these neither: whether the vendor looks for keys in what it has just put in is not documented.
    """
    content, values = _content(rendered), "\n".join(map("\n".join, holes))
    for attempt in count():
        seed = hashlib.sha256(f"{rendered.content_hash}{attempt}".encode()).digest()
        # of digits: these are in a text or not, however the vendor may read capitals
        nonce = f"{int.from_bytes(seed[:8]) % 10**_DIGITS:0{_DIGITS}d}"
        if nonce not in values and nonce not in content:
            return nonce
    raise AssertionError("unreachable: there are more nonces than texts can hold")


@lru_cache(maxsize=64)
def _content(rendered: RenderedIssue) -> str:
    return "\n".join([clean_text(rendered.subject, limit=None), *rendered.text.static, *rendered.html.static])


def _person(name: str, address: str) -> dict[str, str]:
    name = _name(name)
    return {"email": address, "name": name} if name else {"email": address}


def _name(text: str) -> str:
    return clean_text(_NOT_IN_NAMES.sub(" ", clean_text(text)))


def _names(texts: Sequence[str]) -> Sequence[str]:
    """`_name` of each."""
    clean = clean_texts(texts)
    return list(map(_name, clean)) if _NOT_IN_NAMES.search("\n".join(clean)) else clean


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
