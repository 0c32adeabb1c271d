"""HTML from an editor → HTML that is safe in a mail, and what a reader of plain text sees of it.

nh3 (ammonia) takes off everything outside the allowlist. Its output is written again, so that it is well-formed XML as
well, `>` is escaped everywhere (a bare one after non-ASCII text crashes the MJML library) and no control character
remains.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from dataclasses import dataclass
from html.parser import HTMLParser

import nh3

#: Elements inside one another, at most. lxml cuts a document off at about 250, and the template needs some itself.
MAX_DEPTH = 50

_VOID = frozenset({"br", "hr", "img"})
#: Elements that may not stand inside a `<p>`.
_BLOCKS = frozenset({"p", "ul", "ol", "blockquote", "pre", "hr", "table"})
_TABLE = frozenset({"table", "thead", "tbody", "tfoot", "tr", "th", "td", "caption"})
_INLINE = frozenset(
    {"a", "abbr", "b", "br", "cite", "code", "del", "em", "i", "img", "ins", "kbd", "mark", "q", "s", "samp", "small"}
    | {"span", "strong", "sub", "sup", "u", "var"}
)
_TAGS = _BLOCKS | _TABLE | _INLINE | {"li"}
_ATTRIBUTES = {
    "*": {"lang", "dir", "title"},
    "a": {"href"},
    "img": {"src", "alt", "width", "height"},
    "ol": {"start"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan"},
}
_NUMERIC = frozenset({"width", "height", "start", "colspan", "rowspan"})
#: Dropped with all they hold; of other foreign elements the text stays.
_DROPPED = {"script", "style", "title", "template", "iframe", "object", "svg", "math", "noscript", "textarea", "select"}

_CONTROL = re.compile("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]")
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
_NEVER_CLOSED = _VOID | {"input", "meta", "link", "wbr", "area", "base", "col", "embed", "source", "track", "param"}
_WHITE = re.compile("[ \t\r\n]+")


class TooDeepError(ValueError):
    """More than `MAX_DEPTH` elements inside one another."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An `<img>` of a fragment; `url` is "" where the sanitiser took the address off."""

    url: str
    alt: str
    width: int | None


@dataclass(frozen=True, slots=True)
class Fragment:
    """A sanitised piece of HTML; `links` are pairs of target and text; `block` says it has block elements."""

    html: str
    text: str
    links: tuple[tuple[str, str], ...]
    images: tuple[Picture, ...]
    block: bool


def sanitise(source: str) -> Fragment:
    """The part of `source` that may stand in a mail. Raises TooDeepError."""
    _refuse_unclosed(source)
    writer = _Writer()
    writer.feed(_CLEANER.clean(source))
    writer.close()
    return writer.fragment()


def _refuse_unclosed(source: str) -> None:
    # The parser behind nh3 takes quadratic time on thousands of open elements: count before it sees them.
    still_open: Counter[str] = Counter()
    for match in _TAG.finditer(source):
        name = match[2].lower()
        if match[1]:
            still_open[name] = max(0, still_open[name] - 1)
        elif name not in _NEVER_CLOSED:
            still_open[name] += 1
            if still_open[name] > MAX_DEPTH or still_open.total() > 2 * MAX_DEPTH:
                raise TooDeepError


def _keep_attribute(_tag: str, name: str, value: str) -> str | None:
    if name in _NUMERIC and not (value.isascii() and value.isdigit() and len(value) <= 4):
        return None
    return value


_CLEANER = nh3.Cleaner(
    tags=set(_TAGS),
    clean_content_tags=_DROPPED,
    attributes=_ATTRIBUTES,
    attribute_filter=_keep_attribute,
    url_schemes={"https", "http", "mailto"},
    link_rel=None,
)


class _Writer(HTMLParser):
    """Writes sanitised HTML again and notes its text, links and images."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._html: list[str] = []
        self._open: list[str] = []
        self._lines: list[str] = [""]
        self._lists: list[int | None] = []
        self._links: list[tuple[str, str]] = []
        self._target: str | None = None
        self._clicked: list[str] = []
        self._images: list[Picture] = []
        self._block = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: _plain(value or "") for name, value in attrs if not _disguised(name, value or "")}
        written = "".join(f' {name}="{html.escape(value)}"' for name, value in values.items())
        self._html.append(f"<{tag}{written} />" if tag in _VOID else f"<{tag}{written}>")
        if tag not in _VOID:
            self._open.append(tag)
            if len(self._open) > MAX_DEPTH:
                raise TooDeepError
        self._block = self._block or tag in _BLOCKS
        if tag in _BLOCKS or tag in {"tr", "br"}:
            self._new_line(always=tag == "br")
        if tag in {"ul", "ol"}:
            self._lists.append(int(values.get("start", "1")) if tag == "ol" else None)
        elif tag == "li":
            self._new_line()
            self._lines[-1] += self._bullet()
        elif tag in {"td", "th"} and self._lines[-1].strip():
            self._lines[-1] += " | "
        elif tag == "a":
            self._target, self._clicked = values.get("href"), []
        elif tag == "img":
            width = values.get("width")
            self._images.append(Picture(values.get("src", ""), values.get("alt", ""), int(width) if width else None))
            self._say(values.get("alt", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while (closed := self._open.pop()) != tag:
                self._html.append(f"</{closed}>")
            self._html.append(f"</{tag}>")
        if tag in _BLOCKS or tag in {"li", "tr"}:
            self._new_line()
        if tag in {"ul", "ol"} and self._lists:
            self._lists.pop()
        elif tag == "a" and self._target is not None:
            self._links.append((self._target, " ".join("".join(self._clicked).split())))
            self._target = None

    def handle_data(self, data: str) -> None:
        text = _plain(data).replace("\ufeff", "")  # a stray byte order mark, which at a text's start no parser keeps
        self._html.append(html.escape(text, quote=False))
        if "pre" in self._open:
            first, *others = text.split("\n")
            self._lines[-1] += first
            self._lines += others
            self._clicked.append(text)
        else:
            self._say(_WHITE.sub(" ", text))

    def _say(self, text: str) -> None:
        line = self._lines[-1]
        self._lines[-1] += text.lstrip(" ") if not line or line.endswith(" ") else text
        self._clicked.append(text)

    def _new_line(self, always: bool = False) -> None:
        if always or self._lines[-1].strip():
            self._lines.append("")

    def _bullet(self) -> str:
        indent = "  " * (len(self._lists) - 1)
        number = self._lists[-1] if self._lists else None
        if number is None:
            return f"{indent}- "
        self._lists[-1] = number + 1
        return f"{indent}{number}. "

    def fragment(self) -> Fragment:
        """What was read; call it once the input has ended."""
        while self._open:
            self._html.append(f"</{self._open.pop()}>")
        text = "\n".join(line.rstrip() for line in self._lines).strip("\n")
        return Fragment("".join(self._html).strip(), text, tuple(self._links), tuple(self._images), self._block)


def _disguised(name: str, value: str) -> bool:
    # Without its control characters "java\x01script:" would become what the sanitiser took it not to be.
    return name in {"href", "src"} and _CONTROL.search(value) is not None


def _plain(text: str) -> str:
    return _CONTROL.sub("", text)
