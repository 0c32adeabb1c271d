"""The rendered HTML, read once into plain values for all checks to look at."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from html.parser import HTMLParser

from newsletter.rendering.model import Hole, HoleContext, Holed

_VOID = frozenset(
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"]
)
#: Elements inside a line; every other one begins and ends one, so that its words do not run into its neighbours'.
_INLINE = frozenset(
    [
        "a",
        "abbr",
        "b",
        "bdi",
        "bdo",
        "cite",
        "code",
        "del",
        "em",
        "font",
        "i",
        "ins",
        "kbd",
        "mark",
        "q",
        "s",
        "small",
        "span",
        "strong",
        "sub",
        "sup",
        "u",
        "wbr",
    ]
)
_UNSEEN = frozenset({"head", "script", "style", "template", "title"})
#: `<!--[if !mso]><!-->` opens what Outlook for Windows does not see, `<!--<![endif]-->` closes it.
_HIDDEN_FROM_OUTLOOK = re.compile(r"\[if\s+!\s*mso", re.IGNORECASE)

#: The host of the links that stand in for holes; the name is reserved (RFC 2606).
HOLE_HOST = "hole.invalid"


@dataclass(frozen=True, slots=True)
class Element:
    """One start tag with its attributes in order, and the text up to its end tag (images count with their alt)."""

    tag: str
    attributes: tuple[tuple[str, str], ...]
    text: str = ""
    #: Inside `<!--[if !mso]><!-->`: Outlook for Windows does not see it.
    hidden_from_outlook: bool = False

    def get(self, name: str) -> str | None:
        """The value of an attribute, empty if it has none; None if it is not there."""
        return dict(self.attributes).get(name)


@dataclass(frozen=True, slots=True)
class Page:
    """What stands in the HTML: elements in order, contents of `<style>`, comments, and the text a reader reads."""

    elements: tuple[Element, ...]
    styles: tuple[str, ...]
    comments: tuple[str, ...]
    text: str

    def all(self, *tags: str) -> tuple[Element, ...]:
        """The elements with one of these names, in order."""
        return tuple(element for element in self.elements if element.tag in tags)


def with_samples(holed: Holed) -> str:
    """The text with a harmless sample in each hole: a URL at a reserved host, or the hole's name; no image of opens."""
    parts = [holed.static[0]]
    for hole, static in zip(holed.holes, holed.static[1:], strict=True):
        parts += [_sample(hole), static]
    return "".join(parts)


def _sample(hole: Hole) -> str:
    match hole.context:
        case HoleContext.HTML_URL | HoleContext.TEXT_URL:
            return f"https://{HOLE_HOST}/{hole.name}"
        case HoleContext.IMAGE:
            return ""
        case _:
            return hole.name


@functools.lru_cache(maxsize=8)
def read_page(html: Holed) -> Page:
    """Read rendered HTML; holes hold samples. Never fails: broken markup gives what can be made out."""
    reader = _Reader()
    reader.feed(with_samples(html))
    reader.close()
    return reader.page()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._elements: list[Element] = []
        self._open: list[int] = []
        self._texts: dict[int, list[str]] = {}
        self._styles: list[str] = []
        self._comments: list[str] = []
        self._page_text: list[str] = []
        self._hidden_from_outlook = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = tuple((name, value or "") for name, value in attrs)
        index = len(self._elements)
        self._elements.append(Element(tag, attributes, hidden_from_outlook=self._hidden_from_outlook))
        self._break_line(tag)
        if tag == "img":
            self._say(dict(attributes).get("alt", ""), to_page=False)
        if tag not in _VOID:
            self._open.append(index)
            if tag == "a":
                self._texts[index] = []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        self._break_line(tag)
        # An end tag closes the innermost element of its name and what was left open inside it.
        for depth in range(len(self._open) - 1, -1, -1):
            if self._elements[self._open[depth]].tag == tag:
                del self._open[depth:]
                return

    def handle_data(self, data: str) -> None:
        inside = [self._elements[index].tag for index in self._open]
        if inside and inside[-1] == "style":
            self._styles.append(data)
        elif not _UNSEEN.intersection(inside):
            self._say(data, to_page=True)

    def handle_comment(self, data: str) -> None:
        if data.rstrip().endswith("<!") and _HIDDEN_FROM_OUTLOOK.search(data):
            self._hidden_from_outlook = True
        elif data.strip().lower() == "<![endif]":
            self._hidden_from_outlook = False
        self._comments.append(data)

    def _break_line(self, tag: str) -> None:
        if tag not in _INLINE:
            self._page_text.append("\n")

    def _say(self, text: str, *, to_page: bool) -> None:
        for index in self._open:
            if index in self._texts:
                self._texts[index].append(text)
        if to_page:
            self._page_text.append(text)

    def page(self) -> Page:
        elements = tuple(
            Element(one.tag, one.attributes, " ".join("".join(self._texts[at]).split()), one.hidden_from_outlook)
            if at in self._texts
            else one
            for at, one in enumerate(self._elements)
        )
        return Page(elements, tuple(self._styles), tuple(self._comments), "".join(self._page_text))
