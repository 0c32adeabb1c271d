"""Header fields of a message, as bytes that end with CRLF (RFC 5322, RFC 2047).

Lines are folded at 76 characters, where there is a blank to fold at: the limit of RFC 2047 for lines with
encoded-words, none of which is longer than 75. The standard library is not used for this: its SMTP policy turns a long
List-Unsubscribe into an encoded-word, which no mail client reads as a URL.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

from newsletter.errors import AudienceError, TemplateError
from newsletter.rendering.escaping import ascii_domain, clean_text, clean_url
from newsletter.rendering.letter import message_id as message_id  # noqa: PLC0414 - exported again, beside its field
from newsletter.rendering.plain_columns import PATH_PART, PlainColumn

_LINE = 76
_HARD_LINE = 998  # RFC 5322, section 2.1.1
_WORD = 75  # RFC 2047, section 2
_FOLD = "\r\n "
_AROUND_WORD = len("=?utf-8?q??=")

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOT_ATOM = re.compile(rf"{_ATEXT}(?:\.{_ATEXT})*")
_QUOTED_LOCAL = re.compile(r'"(?:[ !#-\[\]-~]|\\[ -~])+"')  # an empty one is lost by parsers
_ATOMS = re.compile(rf"{_ATEXT}(?: {_ATEXT})*")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DOMAIN = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\]|\[IPv6:[0-9A-Fa-f:.]+\]")
# Patterns that never go back (`++`) are several times as quick. `=?` is left to the slow way, which refuses it.
#: Addresses that a header and an envelope carry as they are, where they have at most `SHORT_ADDRESS` characters: then
#: no part of one is too long. Most are such.
PLAIN_ADDRESS = r"[A-Za-z0-9_+-]++(?:\.[A-Za-z0-9_+-]++)*+@(?:[A-Za-z0-9]++(?:-++[A-Za-z0-9]++)*+\.)++[A-Za-z]{2,63}+"
SHORT_ADDRESS = 64
_PLAIN_ADDRESSES = PlainColumn(PLAIN_ADDRESS, most=SHORT_ADDRESS)
_PLAIN_NAMES = PlainColumn(r"[A-Za-z0-9'-]++(?: [A-Za-z0-9'-]++)*+", most=_LINE)
_MAILBOX = re.compile(r"\s*(?:(?P<name>.*?)\s*<(?P<inner>[^<>]+)>|(?P<bare>[^<>\s]+))\s*", re.DOTALL)
#: Links that a header carries as they are, where they have at most `LONGEST_LINK` characters; most are.
PLAIN_LINK = r"https?://[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)*+(?::[0-9]{1,5}+)?+(?:/[A-Za-z0-9._~-]++)++"
LONGEST_LINK = 900
_PLAIN_LINKS = PlainColumn(PLAIN_LINK, most=LONGEST_LINK, ends=PATH_PART)
#: What a mailto URI carries as it is (RFC 6068), and no more than anybody needs.
_MAILTO_ADDRESS = re.compile(r"[A-Za-z0-9._+=-]{1,64}@[A-Za-z0-9.-]{1,253}")
_MESSAGE_IDS = PlainColumn(r"<[A-Za-z0-9.!#$%&'*+/=^_`{|}~-]++@[A-Za-z0-9.-]++>", most=_HARD_LINE - 12)
_Q_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")


class AddressError(AudienceError):
    """An address that no message header can carry; the message to this one recipient cannot be made."""


@lru_cache(maxsize=64)  # a message asks several times for the same one
def ascii_address(address: str) -> str:
    """The address for a header: its domain as A-labels, the rest as given.

    Raises AddressError for one that is no address, and for a local part that is not ASCII: that needs SMTPUTF8
    (RFC 6531), which is not offered.
    """
    if _PLAIN_ADDRESSES.plain(address):
        return address
    local, at, domain = address.rpartition("@")
    if not local.isascii():
        raise AddressError(
            f"{address!r} has letters before the @ that only SMTPUTF8 can carry",
            hint="ask the subscriber for an address of plain ASCII letters before the @",
        )
    try:
        domain = ascii_domain(domain)
    except ValueError as error:
        raise AddressError(f"{address!r} has a domain that is none: {error}", hint="correct the address") from error
    well_formed = (_DOT_ATOM.fullmatch(local) or _QUOTED_LOCAL.fullmatch(local)) and _DOMAIN.fullmatch(domain)
    # Readers decode encoded-words even where RFC 2047 forbids it, so an address must not look like one.
    if not at or not well_formed or "=?" in local or len(local) > 64:
        raise AddressError(f"{address!r} is not an email address", hint="correct or remove it")
    return f"{local}@{domain}"


def recipient_field(name: str, address: str) -> bytes:
    """`To: Name <address>`; AddressError as in `ascii_address`."""
    [field] = recipient_fields([name], [ascii_address(address)])
    return field


def ascii_addresses(addresses: Sequence[str]) -> Sequence[str]:
    """`ascii_address` of each."""
    if not (odd := _PLAIN_ADDRESSES.others(addresses)):
        return addresses
    made = list(addresses)
    for place in odd:
        made[place] = ascii_address(addresses[place])
    return made


def recipient_fields(names: Sequence[str], addresses: Sequence[str]) -> list[bytes]:
    """`recipient_field` of each; the addresses are as `ascii_address` gives them."""
    longest = max(map(len, names), default=0) + max(map(len, addresses), default=0)
    if longest < _LINE - 8 and _PLAIN_NAMES.all(names):
        return [f"To: {name} <{spec}>\r\n".encode("ascii") for name, spec in zip(names, addresses, strict=True)]
    odd = set(_PLAIN_NAMES.others(names))
    return [
        _mailbox_field("To", name, spec)
        if place in odd or len(name) + len(spec) >= _LINE - 8
        else f"To: {name} <{spec}>\r\n".encode("ascii")
        for place, (name, spec) in enumerate(zip(names, addresses, strict=True))
    ]


def sender_field(field: str, mailbox: str) -> bytes:
    """`From` or `Reply-To` from a mailbox as the config gives it; TemplateError if it is none."""
    return _mailbox_field(field, *mailbox_parts(field, mailbox))


def text_field(field: str, text: str) -> bytes:
    """An unstructured field such as Subject: as it is if ASCII, folded at blanks, else as encoded-words."""
    text = clean_text(text, limit=None)
    if not _readable(text) or len(max(text.split(" "), key=len)) > _HARD_LINE - len(field) - 2:
        return f"{field}: {_encoded_words(text, len(field) + 2)}\r\n".encode("ascii")
    return f"{field}: {_folded(text, len(field) + 2)}\r\n".encode("ascii")


def list_id_field(name: str, list_id: str) -> bytes:
    """`List-Id: Name <identifier>` (RFC 2919); TemplateError if the identifier is no dotted name."""
    if not _DOT_ATOM.fullmatch(list_id):
        hint = "write it like daily-buzz.news.example.com in the newsletter's settings"
        raise TemplateError(f"list_id {list_id!r} is not a list identifier", hint=hint)
    return _mailbox_field("List-Id", name, list_id, bracketed=True)


def token_field(field: str, value: str) -> bytes:
    """A field of plain ASCII that is printed as it stands; TemplateError if it is none or too long for a line."""
    if not (value.isascii() and value.isprintable()) or len(field) + 2 + len(value) > _HARD_LINE:
        hint = "use plain ASCII characters on one line"
        raise TemplateError(f"{field}: {value!r} cannot stand in a header", hint=hint)
    return f"{field}: {value}\r\n".encode("ascii")


def unsubscribe_field(url: str, mailto: str = "") -> bytes:
    """`List-Unsubscribe` with exactly one http or https URI (RFC 2369, RFC 8058), on one line that is never folded.

    Behind it stands `mailto`, where it is given, as RFC 8058 allows: an address to which a mail unsubscribes, too.
    Folding before the URI would be legal, but readers that do not unfold would find no URI at the start of the value.
    TemplateError for anything else: without it the mail must not leave. http is for a dry run on loopback only; the
    guards of a live send refuse it.
    """
    return f"List-Unsubscribe: {unsubscribe_value(url, mailto)}\r\n".encode("ascii")


def unsubscribe_fields(urls: Sequence[str], mailtos: Sequence[str]) -> list[bytes]:
    """`unsubscribe_field` of each."""
    if _PLAIN_LINKS.all(urls) and not any(mailtos):
        return [f"List-Unsubscribe: <{url}>\r\n".encode("ascii") for url in urls]
    return list(map(unsubscribe_field, urls, mailtos))


def unsubscribe_value(url: str, mailto: str = "") -> str:
    """What stands in `unsubscribe_field`, on one line. Raises TemplateError as it does."""
    if not mailto and _PLAIN_LINKS.plain(url):
        return f"<{url}>"
    clean = clean_url(url)
    # Readers decode encoded-words anywhere in a field, so the URL must not hold the start of one. `,` and `>` would end
    # it (RFC 2369); `>` is already encoded.
    clean = clean.replace("=?", "=%3F").replace(",", "%2C")
    other = f", <mailto:{mailto}?subject=unsubscribe>" if mailto else ""
    if mailto and not _MAILTO_ADDRESS.fullmatch(mailto):
        hint = "write unsubscribe_mailto like unsubscribe+{token}@news.example.com in the newsletter's settings"
        raise TemplateError(f"{mailto!r} cannot stand in List-Unsubscribe", hint=hint)
    room = _HARD_LINE - len("List-Unsubscribe: <>") - len(other)
    if not clean.startswith(("https://", "http://")) or len(clean) > room:
        raise TemplateError(
            f"the unsubscribe link {url!r} is not an http or https URL that fits in a header",
            hint="set site.base_url to the public address of this site, such as https://news.example.com",
        )
    return f"<{clean}>{other}"


def message_id_field(value: str) -> bytes:
    """`Message-ID`; ValueError if the value is not `<left@right>`."""
    return f"Message-ID: {message_id_value(value)}\r\n".encode("ascii")


def message_id_fields(values: Sequence[str]) -> list[bytes]:
    """`message_id_field` of each."""
    if _MESSAGE_IDS.all(values):
        return [f"Message-ID: {value}\r\n".encode("ascii") for value in values]
    return list(map(message_id_field, values))


def message_id_value(value: str) -> str:
    """The value again; ValueError if it is not `<left@right>`."""
    if not _MESSAGE_IDS.plain(value):
        raise ValueError(f"{value!r} is not a Message-ID")
    return value


def mailbox_parts(field: str, mailbox: str) -> tuple[str, str]:
    """Name and address of a mailbox as the config gives it; TemplateError, which names `field`, if it is none."""
    hint = "write it as Name <address@example.com> in the newsletter's settings"
    match = _MAILBOX.fullmatch(mailbox)
    if match is None:
        raise TemplateError(f"{field}: {mailbox!r} is not a mailbox", hint=hint)
    try:
        return _unquote(match["name"] or ""), ascii_address(match["inner"] or match["bare"])
    except AddressError as error:
        raise TemplateError(f"{field}: {error.message}", hint=hint) from error


def _mailbox_field(field: str, name: str, spec: str, *, bracketed: bool = False) -> bytes:
    phrase = _phrase(clean_text(name), len(field) + 2)
    text = f"{field}: {phrase}" if phrase else f"{field}:"
    last_line = len(text) - (text.rfind("\r\n") + 2 if "\r\n" in text else 0)
    tail = f"<{spec}>" if phrase or bracketed else spec
    gap = " " if last_line + 1 + len(tail) <= _LINE else _FOLD
    return f"{text}{gap}{tail}\r\n".encode("ascii")


def _phrase(name: str, column: int) -> str:
    """A display name that starts at `column`: atoms or a quoted string if it is ASCII, else encoded-words."""
    if not _readable(name):
        return _encoded_words(name, column)
    if name and not _ATOMS.fullmatch(name):
        name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return _folded(name, column)


def _readable(text: str) -> bool:
    """Whether the text can stand as it is. Readers decode encoded-words even where RFC 2047 forbids it."""
    return text.isascii() and "=?" not in text


def _folded(text: str, column: int) -> str:
    """ASCII text that starts at `column`, folded at its blanks; a longer word is left whole (998 are allowed)."""
    if column + len(text) <= _LINE:
        return text
    lines, line = [], ""
    for word in text.split(" "):
        if line and column + len(line) + 1 + len(word) > _LINE:
            lines.append(line)
            column, line = 1, word
        else:
            line = f"{line} {word}" if line else word
    return _FOLD.join([*lines, line])


def _encoded_words(text: str, column: int) -> str:
    """The text as encoded-words of whole characters, one a line, the first starting at `column` (RFC 2047)."""
    quoted, based = _quoted(text), _base64(text)
    as_base64 = len(based) + 5 < len(quoted)  # a little longer, and a person can read it in the source
    letter, whole = ("b", based) if as_base64 else ("q", quoted)
    room = min(_WORD, _LINE - column) - _AROUND_WORD
    if len(whole) <= room:
        return f"=?utf-8?{letter}?{whole}?="
    write, size = (_base64, _octets) if as_base64 else (_quoted, _q_size)
    return _FOLD.join([f"=?utf-8?{letter}?{write(chunk)}?=" for chunk in _chunks(text, size, room, as_base64)])


def _chunks(text: str, size: Callable[[str], int], room: int, as_base64: bool) -> Iterator[str]:
    """Whole characters, as many as have room in the first word, and in each that follows on a line of its own."""
    start, used = 0, 0
    for at, char in enumerate(text):
        needed = size(char)
        if used and used + needed > (room // 4 * 3 if as_base64 else room):
            yield text[start:at]
            start, used, room = at, 0, _WORD - _AROUND_WORD
        used += needed
    yield text[start:]


@lru_cache(maxsize=1024)  # of all names together there are not many letters
def _q(char: str) -> str:
    if char in _Q_SAFE:
        return char
    return "_" if char == " " else "".join(f"={byte:02X}" for byte in char.encode("utf-8"))


def _q_size(char: str) -> int:
    return len(_q(char))


def _octets(char: str) -> int:
    return len(char.encode("utf-8"))


def _quoted(text: str) -> str:
    return "".join(map(_q, text))


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8")).decode("ascii")


def _unquote(name: str) -> str:
    if len(name) >= 2 and name[0] == name[-1] == '"':
        return re.sub(r"\\(.)", r"\1", name[1:-1])
    return name
