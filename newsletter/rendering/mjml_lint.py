"""Finds what is wrong with MJML before the MJML library sees it, and takes out of its way what it stumbles over.

The library (mrml 6) accepts unknown tags, unknown attributes and stray text without a word, panics on a bare `>` after
non-ASCII text, and brings the process down on deep nesting. So its input is held to well-formed XML of known elements
first. Three things it gets wrong in good MJML, and they are rewritten: it refuses blanks between some of its elements,
it drops a line break between two HTML elements, which runs their words together, and it garbles unusual characters in
attributes.
"""

from __future__ import annotations

import difflib
import functools
import importlib.resources
import json
import re
from dataclasses import dataclass

from newsletter.rendering.mjml_syntax import (
    REVEALED,
    TOKEN,
    VOID,
    MjmlFault,
    attributes,
    check_text,
    check_well_formed,
    plain_values,
)

__all__ = ["MAX_DEPTH", "MjmlFault", "lint"]

#: Element depth beyond which the parsers further down (libxml2, mrml) start to misbehave; they do at about 250.
MAX_DEPTH = 100

#: What the library does not do, though MJML has it.
_UNSUPPORTED = {
    "mj-include": "use Jinja's {% include %}",
    "mj-html-attributes": "write the attributes into the HTML",
    "mj-style": "put the CSS into head.css or inline.css",
    "mj-font": "web fonts do not load in most mail clients; name installed fonts",
}
#: The library reads conditional comments inside these only.
_WITH_CONDITIONS = frozenset({"mj-text", "mj-raw"})
#: Allowed on every element that is drawn.
_CLASSES = frozenset({"css-class", "mj-class"})
_NOT_DRAWN = frozenset({"mjml", "mj-attributes", "mj-breakpoint", "mj-head", "mj-preview", "mj-raw", "mj-title"})
_HTML_NAME = re.compile(r"[a-z][a-z0-9-]*(?::[a-z][a-z0-9-]*)?")
_BLANK = " \t\r\n\ufeff"

#: What an element may hold: these elements, or HTML, or text, or defaults for elements (see mjml_elements.json).
_Holds = frozenset[str] | str


@dataclass(frozen=True, slots=True)
class _Facts:
    """What an MJML element may hold, and the attributes it allows."""

    holds: _Holds
    attributes: frozenset[str]


@functools.cache
def _elements() -> dict[str, _Facts]:
    text = importlib.resources.files(__package__).joinpath("mjml_elements.json").read_text("utf-8")
    return {
        name: _Facts(
            facts["holds"] if isinstance(facts["holds"], str) else frozenset(facts["holds"]),
            frozenset(facts["attributes"]) | (frozenset() if name in _NOT_DRAWN else _CLASSES),
        )
        for name, facts in json.loads(text)["elements"].items()
    }


def lint(mjml: str) -> str:
    """The same document as the MJML library must get it. Raises the first MjmlFault there is."""
    check_well_formed(mjml)
    return _Walk(mjml).run()


class _Walk:
    """One walk over the tokens of a well-formed document."""

    def __init__(self, mjml: str) -> None:
        self._mjml = mjml
        self._kept: list[str] = []
        #: Open elements and what each holds.
        self._open: list[tuple[str, _Holds]] = []
        self._parts: set[str] = set()
        self._condition: int | None = None

    def run(self) -> str:
        end = 0
        for token in TOKEN.finditer(self._mjml):
            self._text(end, token.start())
            self._token(token)
            end = token.end()
        return "".join(self._kept)

    def _token(self, token: re.Match[str]) -> None:
        at, text = token.start(), token.group()
        if token["name"] is not None:
            if token["closing"]:
                self._close(at)
                self._kept.append(text)
            else:
                self._start(token)
                self._kept.append(f"<{token['name']}{plain_values(token['attributes'])}{token['empty']}>")
        elif token["other"]:
            raise MjmlFault("a processing instruction or CDATA section", at, "leave it out; write < as &lt;")
        elif token["comment"] and not text.startswith(("<!--[", "<!--<!")):
            self._comment(at, text)
        else:
            self._conditional(at, text)
            self._kept.append(text)

    def _text(self, start: int, end: int) -> None:
        text = self._mjml[start:end]
        if self._open and self._open[-1][1] in ("html", "text"):
            check_text(text, start)
            # The library drops a text of nothing but white space that begins with a line feed.
            self._kept.append("&#10;" + text[1:] if text[:1] == "\n" and text.isspace() else text)
        elif text.strip(_BLANK):
            inside = f"<{self._open[-1][0]}>" if self._open else "<mjml>"
            at = start + len(text) - len(text.lstrip(_BLANK))
            raise MjmlFault(f"text directly inside {inside}", at, "put it into <mj-text>")

    def _comment(self, at: int, text: str) -> None:
        if self._condition is not None:
            raise MjmlFault("a comment inside a conditional comment", at, "use {# … #}")
        if self._open and self._open[-1][1] == "text":
            raise MjmlFault(f"a comment inside <{self._open[-1][0]}>", at, "use {# … #}")
        if self._open and self._open[-1][1] == "html":
            self._kept.append(text)

    def _conditional(self, at: int, text: str) -> None:
        if self._holder() not in _WITH_CONDITIONS:
            raise MjmlFault(f"a conditional comment inside <{self._holder()}>", at, "it may stand in mj-text or mj-raw")
        hidden = text.endswith("]>")
        if (hidden or text.startswith("<!--")) and self._condition is not None:
            raise MjmlFault("a comment inside a conditional comment", at, "close the first with <![endif]-->")
        if hidden:
            self._condition = at
        elif text == "<![endif]-->":
            self._condition = None
        elif not REVEALED.fullmatch(text):
            raise MjmlFault("a comment that is half a condition", at, "such as <!--[if mso]> … <![endif]-->")

    def _holder(self) -> str:
        """The innermost open MJML element."""
        return next((name for name, _ in reversed(self._open) if name.startswith("mj")), "mjml")

    def _start(self, token: re.Match[str]) -> None:
        at, name = token.start(), token["name"]
        if len(self._open) >= MAX_DEPTH:
            raise MjmlFault(f"elements nested more than {MAX_DEPTH} deep", at)
        given = list(attributes(token["attributes"], token.start("attributes")))
        parent, allowed = self._open[-1] if self._open else ("", frozenset({"mjml"}))
        if allowed == "html":
            holds: _Holds = self._html_element(name, at, closed=bool(token["empty"]))
        elif allowed == "text":
            raise MjmlFault(f"<{name}> inside <{parent}>", at, f"<{parent}> holds text only")
        elif allowed == "defaults":
            holds = self._default(name, at, given)
        else:
            holds = self._mjml_element(name, at, parent, allowed, given)
        if not token["empty"]:
            self._open.append((name, holds))

    def _close(self, at: int) -> None:
        name, holds = self._open.pop()
        if self._condition is not None and name in _WITH_CONDITIONS and holds == "html":
            raise MjmlFault("a conditional comment that is not closed", self._condition, "close it with <![endif]-->")
        if name == "mjml" and "mj-body" not in self._parts:
            raise MjmlFault("no <mj-body>", at, "<mjml> holds <mj-head> and <mj-body>")

    def _html_element(self, name: str, at: int, *, closed: bool) -> _Holds:
        if name == "mjml" or name.startswith("mj-"):
            outer = self._holder()
            raise MjmlFault(f"<{name}> inside <{outer}>", at, f"<{outer}> holds HTML; close it first")
        if not _HTML_NAME.fullmatch(name):
            raise MjmlFault(f"<{name}> is no HTML element", at, "write elements in lower case")
        if name in VOID and not closed:
            raise MjmlFault(f"<{name}> holds nothing", at, f"write <{name}/>")
        return "html"

    def _mjml_element(self, name: str, at: int, parent: str, allowed: _Holds, given: list[tuple[str, int]]) -> _Holds:
        if not parent and name != "mjml":
            raise MjmlFault(f"<{name}> as the outermost element", at, "begin with <mjml>")
        if name in _UNSUPPORTED:
            raise MjmlFault(f"<{name}> is not supported", at, _UNSUPPORTED[name])
        if name not in _elements():
            raise _unknown(name, at)
        if name not in allowed:
            may = ", ".join(sorted(allowed)) or "nothing"
            raise MjmlFault(f"<{name}> directly inside <{parent}>", at, f"<{parent}> may hold {may}")
        if name in {"mj-head", "mj-body"} & self._parts:
            raise MjmlFault(f"a second <{name}>", at, "one is enough")
        self._parts.add(name)
        facts = _elements()[name]
        self._check_attributes(name, given, facts.attributes)
        for attribute, where in given:
            if (name, attribute) == ("mj-raw", "position"):
                raise MjmlFault('mj-raw with a "position" is not supported', where, "put it where it belongs")
        return facts.holds

    def _default(self, name: str, at: int, given: list[tuple[str, int]]) -> _Holds:
        """Children of mj-attributes: mj-all and mj-class take any attribute, others those of their element."""
        if name == "mj-class" and "name" not in dict(given):
            raise MjmlFault("<mj-class> without a name", at, 'such as <mj-class name="quiet" color="#555555"/>')
        if name not in {"mj-all", "mj-class"}:
            if name not in _elements():
                raise _unknown(name, at)
            self._check_attributes(name, given, _elements()[name].attributes)
        return frozenset()

    @staticmethod
    def _check_attributes(name: str, given: list[tuple[str, int]], allowed: frozenset[str]) -> None:
        for attribute, at in given:
            if attribute not in allowed:
                hint = _did_you_mean(attribute, allowed, '"{}"')
                raise MjmlFault(f'unknown attribute "{attribute}" on <{name}>', at, hint)


def _unknown(name: str, at: int) -> MjmlFault:
    if not name.startswith("mj"):
        hint = "HTML must stand inside mj-text, mj-table, mj-button or mj-raw"
        return MjmlFault(f"<{name}> outside an element that holds HTML", at, hint)
    return MjmlFault(f"unknown element <{name}>", at, _did_you_mean(name, frozenset(_elements()), "<{}>"))


def _did_you_mean(word: str, right: frozenset[str], form: str) -> str:
    near = difflib.get_close_matches(word, sorted(right), 1)
    return f"did you mean {form.format(near[0])}?" if near else ""
