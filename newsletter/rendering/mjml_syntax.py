"""MJML as a stream of tags, comments and text, and the first place where it is not well-formed XML.

What a line of a conditional comment for Outlook holds (`<!--[if mso]> … <![endif]-->`) is part of the stream: the MJML
library reads its tags like all others, and a tag may be opened in one such comment and closed in the next.
"""

from __future__ import annotations

import html.entities
import re
from collections.abc import Callable, Iterator
from xml.parsers import expat

#: One token of well-formed MJML; what lies between two tokens is text.
TOKEN = re.compile(
    r"""
      (?P<condition> <!--\[if\ [^\[\]<>]*\]>(?!(?:<!)?-->) )
    | (?P<endif>     <!\[endif\]--> )
    | (?P<comment>   <!--.*?--> )
    | <(?P<closing>/?)(?P<name>[^\s/<>!?]+)(?P<attributes>(?:[^"'<>]|"[^"]*"|'[^']*')*?)(?P<empty>/?)>
    | (?P<other>     <[!?] )
    """,
    re.VERBOSE | re.DOTALL,
)
#: `<!--[if !mso]><!-->` and its end, which hide nothing from a parser that does not know them.
REVEALED = re.compile(r"<!--(?:\[if [^\[\]<>]*\]>(?:<!)?|<!\[endif\])-->")

_DELIMITER = re.compile(r"<!--\[if [^\[\]<>]*\]>(?!(?:<!)?-->)|<!\[endif\]-->|<!--.*?-->", re.DOTALL)
_ATTRIBUTE = re.compile(r"""([^\s=]+)\s*=\s*("[^"]*"|'[^']*')""")
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]*")
_NOT_PLAIN = re.compile(r"""[^ -~]|["\\]""")
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]*);")
#: What XML cannot hold (https://www.w3.org/TR/xml/#charsets); lone surrogates make libxml2 cut the page off.
_IMPOSSIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


#: HTML elements that hold nothing and have no closing tag.
VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr")
)
_OPEN_ENTITY = re.compile(r"&[A-Za-z0-9#]*\Z")
_MISMATCH = expat.errors.codes[expat.errors.XML_ERROR_TAG_MISMATCH]
_NO_ELEMENTS = expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS]
_INVALID_TOKEN = expat.errors.codes[expat.errors.XML_ERROR_INVALID_TOKEN]


class MjmlFault(Exception):
    """What is wrong, at which offset (in characters) of the MJML, and what to do; the caller finds the place.

    `opened` is the offset of the tag that was left open, where that is what is wrong.
    """

    def __init__(self, message: str, offset: int, hint: str = "", *, opened: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint
        self.opened = opened


def check_well_formed(mjml: str) -> None:
    """Raises MjmlFault where `mjml` is not well-formed XML, or has a DOCTYPE."""
    impossible = _IMPOSSIBLE.search(mjml)
    if impossible:
        code = f"U+{ord(impossible.group()):04X}"
        raise MjmlFault(f"the character {code}, which no page can hold", impossible.start(), "take it out of the text")
    _Parser(_DELIMITER.sub(_blanked, mjml)).run()


def _blanked(delimiter: re.Match[str]) -> str:
    """Conditional comments without their delimiters, so that what they hold is parsed; offsets stay as they are."""
    text = delimiter.group()
    return text if text.startswith("<!--") and text.endswith("-->") else " " * len(text)


class _Parser:
    """expat, which knows where it is; the MJML library does not say, and accepts much that it does not understand."""

    def __init__(self, xml: str) -> None:
        self._xml = xml
        self._bytes = xml.encode("utf-8")
        #: Open elements, and at which byte each begins.
        self._open: list[tuple[str, int]] = []
        self._parser = expat.ParserCreate("utf-8")
        # With a foreign DTD an undeclared entity (&nbsp;) is no error; `attributes` and `check_text` look at entities.
        self._parser.UseForeignDTD(True)
        self._parser.ExternalEntityRefHandler = lambda *_: 1
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = lambda _: self._open.pop()
        self._parser.StartDoctypeDeclHandler = self._doctype

    def run(self) -> None:
        try:
            self._parser.Parse(self._bytes, True)
        except expat.ExpatError as error:
            raise self._malformed(error) from None

    def _malformed(self, error: expat.ExpatError) -> MjmlFault:
        at = self._offset(self._parser.ErrorByteIndex)
        if self._open and error.code in {_MISMATCH, _NO_ELEMENTS}:
            tag, start = self._open[-1]
            opened = self._offset(start)
            if error.code == _NO_ELEMENTS:
                return MjmlFault(f"<{tag}> is never closed", at, f"add </{tag}>", opened=opened)
            hint = f"write <{tag}/>" if tag in VOID else f"close <{tag}> first"
            at = self._xml.rfind("<", 0, at)
            return MjmlFault(f"a closing tag that does not match <{tag}>", at, hint, opened=opened)
        if error.code == _INVALID_TOKEN:
            return _invalid_token(self._xml, at)
        hint = "MJML must be well-formed XML, from <mjml> to </mjml>: <br/> with a slash, attributes in quotes"
        return MjmlFault(expat.ErrorString(error.code), at, hint)

    def _start(self, name: str, _: dict[str, str]) -> None:
        self._open.append((name, self._parser.CurrentByteIndex))

    def _doctype(self, *_: object) -> None:
        at = self._bytes.rfind(b"<!DOCTYPE", 0, self._parser.CurrentByteIndex + len(b"<!DOCTYPE"))
        raise MjmlFault("a DOCTYPE inside MJML", self._offset(at), "leave it out; the HTML gets one of its own")

    def _offset(self, byte_index: int) -> int:
        return len(self._bytes[: max(byte_index, 0)].decode("utf-8", "ignore"))


def _invalid_token(xml: str, at: int) -> MjmlFault:
    """expat says "not well-formed (invalid token)" to several mistakes; `at` is the first character it cannot take."""
    entity = _OPEN_ENTITY.search(xml, max(0, at - 40), at)
    tag = xml.rfind("<", 0, at)
    if entity:
        return MjmlFault("a bare '&'", entity.start(), "write &amp;")
    if 0 <= tag == at - 1:
        return MjmlFault("a bare '<'", tag, "write &lt;")
    if tag >= 0 and xml.startswith("<!--", tag):
        return MjmlFault("'--' inside a comment", at, "leave it out, or use {# … #}")
    if tag > xml.rfind(">", 0, at):
        shown = " ".join(xml[tag : at + 1].split())
        return MjmlFault(f"a tag that is not well-formed: {shown}…", at, 'attributes are written name="value"')
    return MjmlFault("not well-formed XML", at, "write & as &amp;, < as &lt; and > as &gt;")


def check_text(text: str, offset: int) -> None:
    """Text between tags that stands at `offset`: no bare `>`, and only entities that every HTML parser knows."""
    at = text.find(">")
    if at >= 0:
        # After non-ASCII text it makes the MJML library panic.
        raise MjmlFault("a bare '>' in text", offset + at, "write &gt; (in a style sheet, leave out the > selector)")
    _check_entities(text, offset)


def attributes(source: str, offset: int) -> Iterator[tuple[str, int]]:
    """The names of the attributes in a tag and where they stand; `source`, at `offset`, is what follows its name."""
    for found in _ATTRIBUTE.finditer(source):
        name, value = found.groups()
        at = offset + found.start()
        if not _ATTRIBUTE_NAME.fullmatch(name):
            raise MjmlFault(f'"{name}" is no name for an attribute', at)
        _check_entities(value, offset + found.start(2))
        yield name, at


def plain_values(source: str) -> str:
    """The attributes in a tag with all but printable ASCII as character references, in double quotes.

    The MJML library writes values as Rust writes strings in a program: a line break as `\\n`, a no-break space as
    `\\u{a0}`, a quote as `\\"`.
    """
    return _ATTRIBUTE.sub(lambda found: f'{found[1]}="{_NOT_PLAIN.sub(_reference, found[2][1:-1])}"', source)


def with_values(source: str, value: Callable[[str, str], str | None]) -> str:
    """The attributes in a tag with other values where `value` (name, value as it is written) has one."""

    def replaced(found: re.Match[str]) -> str:
        other = value(found[1], found[2][1:-1])
        return found[0] if other is None else f'{found[1]}="{other}"'

    return _ATTRIBUTE.sub(replaced, source)


def _reference(character: re.Match[str]) -> str:
    return f"&#{ord(character.group())};"


def _check_entities(text: str, offset: int) -> None:
    for entity in _ENTITY.finditer(text):
        # Those of HTML 4; parsers differ about the others.
        if entity[1] not in html.entities.name2codepoint and entity[1] != "apos":
            raise MjmlFault(f"an unknown entity {entity[0]}", offset + entity.start(), "write the character itself")
