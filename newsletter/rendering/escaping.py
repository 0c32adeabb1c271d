"""What becomes of a subscriber's value before it stands in a mail: cleaned, then escaped for where it stands.

Cleaning is the same everywhere; escaping depends on the hole's context. Nothing here raises on any input: a name is
cleaned and kept, a URL that cannot be used becomes empty.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from html import escape
from urllib.parse import SplitResult, quote, urlsplit

import idna

from newsletter.rendering.model import HoleContext
from newsletter.rendering.plain_columns import PATH_PART, PlainColumn

#: The longest text value, in code points. Longer ones are cut.
TEXT_LIMIT = 200
#: The longest URL, in characters once percent-encoded. A longer one becomes empty: a URL that is cut leads elsewhere.
URL_LIMIT = 2000

_SCHEMES = frozenset({"http", "https", "mailto"})

# Words of printable ASCII, and of letters and digits of any script, with single spaces between them: nothing to clean,
# but for the fillers among them. Most names and all codes are this.
_CLEAN = re.compile(r"[!-~\w]++(?: [!-~\w]++)*+")
_CLEAN_LINES = PlainColumn(f"(?:{_CLEAN.pattern})?+", TEXT_LIMIT)
_FILLERS = "\u3164\uffa0"  # Hangul: letters that look like nothing
# What HTML leaves alone, too.
_PLAIN_TEXT = re.compile(r"[A-Za-z0-9][A-Za-z0-9@_+.-]*+(?: [A-Za-z0-9@_+.-]++)*+")
_PLAIN_URL = re.compile(r"https?://[A-Za-z0-9.-]++(?::[0-9]{1,5}+)?+(?:/[A-Za-z0-9._~-]*+)*+")
_TEXTS = frozenset({HoleContext.HTML, HoleContext.TEXT})
_LINKS = frozenset({HoleContext.HTML_URL, HoleContext.TEXT_URL})
# Percent signs, quotes and brackets are left to the slow way, which looks at them closely.
_CLEAN_URL = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]+)?(?:[/?#][A-Za-z0-9._~:/?#@!$&*+,;=-]*)?")

_HARMFUL = re.compile(
    "["
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # controls that are no white space
    "\u00ad\u200b\u2060-\u2064\ufeff\u180e"  # soft hyphen, zero-width spaces, invisible operators, BOM
    "\u202a-\u202e\u2066-\u2069\u206a-\u206f"  # bidi embeddings, overrides and isolates; deprecated format characters
    f"{_FILLERS}"
    "\ufff9-\ufffb\U000e0000-\U000e007f"  # interlinear annotation; tags, which carry hidden text
    "\ud800-\udfff\ufdd0-\ufdef"  # surrogates and noncharacters
    + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000))
    + "]"
)
_SPACES = re.compile(r"\s+")
# Joiners and direction marks are kept where they shape text (Persian, Malayalam, emoji); at the start they shape
# nothing and would only make an empty name look filled.
_INVISIBLE = "\u200c\u200d\u200e\u200f\u061c"
_ZWJ = "\u200d"
_URL_PART = re.compile(r"[A-Za-z0-9_-]*")
_NOT_IN_URL = re.compile(r"[^A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def clean_text(value: str, limit: int | None = TEXT_LIMIT) -> str:
    """The value on one line: no control, bidi-override, hidden or surrogate characters, white space collapsed.

    Cut to `limit` code points without splitting a character from its marks; cleaning twice changes nothing more.
    """
    if (limit is None or len(value) <= limit) and _CLEAN.fullmatch(value) and not _filled(value):
        return value
    text = _SPACES.sub(" ", _HARMFUL.sub("", value)).strip(" ")
    start = 0
    # A mark at the start would sit on the letter before the hole (and `>` with U+0338 composes into another character).
    while start < len(text) and (text[start] in _INVISIBLE or text[start] == " " or _is_mark(text[start])):
        start += 1
    text = text[start:]
    return text if limit is None or len(text) <= limit else _cut(text, limit)


def clean_texts(values: Sequence[str]) -> Sequence[str]:
    """The same of many."""
    if _CLEAN_LINES.all(values) and not any(map(_filled, values)):
        return values
    return list(map(clean_text, values))


def clean_url(value: str) -> str:
    """The value as an absolute http, https or mailto URL of ASCII characters, percent-encoded; empty if it is none.

    Hosts of other scripts become A-labels (RFC 5891). Source of the allowed characters: RFC 3986, section 2.
    """
    if len(value) <= URL_LIMIT and _CLEAN_URL.fullmatch(value):
        return value
    url = _HARMFUL.sub("", value).strip()
    try:
        parts = urlsplit(url)
    except ValueError:  # an unfinished [IPv6] host
        return ""
    if parts.scheme not in _SCHEMES:
        return ""
    if parts.scheme == "mailto":
        if not parts.path or parts.netloc:
            return ""
    else:
        netloc = _ascii_netloc(parts)
        if not netloc:
            return ""
        url = parts._replace(netloc=netloc).geturl()
    url = _LONE_PERCENT.sub("%25", url)
    url = _NOT_IN_URL.sub(lambda match: quote(match[0], safe=""), url)
    return url if len(url) <= URL_LIMIT else ""


def escape_value(value: str, context: HoleContext) -> str:
    """The raw value of one subscriber, made safe for the place it goes to."""
    if context is HoleContext.HTML:
        return escape(clean_text(value))
    if context is HoleContext.TEXT:
        return clean_text(value)
    if context is HoleContext.HTML_URL:
        return escape(clean_url(value))
    if context is HoleContext.URL_PART:
        return value if _URL_PART.fullmatch(value) else ""
    if context is HoleContext.IMAGE:
        url = clean_url(value)
        return f'<img src="{escape(url)}" width="1" height="1" alt="" style="display:block">' if url else ""
    return clean_url(value)


def escape_values(values: Sequence[str], context: HoleContext) -> Sequence[str]:
    """The same of many; texts together, which is half the work."""
    if context not in _TEXTS:
        return [escape_value(value, context) for value in values]
    clean = clean_texts(values)  # on one line each
    return escape("\n".join(clean)).split("\n") if context is HoleContext.HTML and clean else clean


def plain_text(value: str) -> bool:
    """Whether it is a name, an address or the like that is the same in every context of texts. Most are."""
    return len(value) <= TEXT_LIMIT and _PLAIN_TEXT.fullmatch(value) is not None


def plain_pattern(contexts: Iterable[HoleContext]) -> tuple[str, int, str] | None:
    """A pattern of values of one line that `escape_value` leaves as they are in each of these contexts, where they have
    no more characters than the number, and their `ends` (see `PlainColumn`); None where there is none for them."""
    if _TEXTS.issuperset(contexts):
        return f"(?:{_PLAIN_TEXT.pattern})?+", TEXT_LIMIT, ""
    return (_PLAIN_URL.pattern, URL_LIMIT, PATH_PART) if _LINKS.issuperset(contexts) else None


@lru_cache(maxsize=4096)
def ascii_domain(domain: str) -> str:
    """A domain as A-labels (RFC 5891, with the mapping of UTS 46); ValueError if it cannot be one."""
    if domain.isascii():
        return domain
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise ValueError(str(error)) from error


def _ascii_netloc(parts: SplitResult) -> str:
    if not parts.hostname or "\\" in parts.netloc:  # browsers read a backslash as a slash: the host would be another
        return ""
    if parts.netloc.isascii():
        return parts.netloc
    user, at, host = parts.netloc.rpartition("@")
    name, colon, port = host.partition(":")
    try:
        return f"{user}{at}{ascii_domain(name)}{colon}{port}"
    except ValueError:
        return ""


def _filled(text: str) -> bool:
    return not text.isascii() and any(map(text.__contains__, _FILLERS))


def _is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] == "M"


def _cut(text: str, limit: int) -> str:
    """The first `limit` code points or a few fewer, so that no visible character is cut apart.

    Marks, joined emoji, skin tones and flags are kept whole; a longer heap of marks than `limit` is cut anyway.
    """
    end = limit
    while end > 0 and _continues(text, end):
        end -= 1
    return text[: end or limit].rstrip(" ")


def _continues(text: str, at: int) -> bool:
    char, before = text[at], text[at - 1]
    if _is_mark(char) or char in _INVISIBLE or before == _ZWJ or "\U0001f3fb" <= char <= "\U0001f3ff":
        return True
    if not "\U0001f1e6" <= char <= "\U0001f1ff":
        return False
    # Two regional indicators make a flag: an odd number of them before means that this one completes a pair.
    before_it = text[:at]
    indicators = len(before_it) - len(before_it.rstrip("".join(map(chr, range(0x1F1E6, 0x1F200)))))
    return indicators % 2 == 1
