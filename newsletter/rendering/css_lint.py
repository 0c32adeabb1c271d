"""Finds CSS that would not survive: what cssutils (behind premailer) drops with no more than a log line, what premailer
applies where it does not belong, and what a mail client would give up on.

Each declaration and selector that is not of the plainest sort is given to cssutils on its own, and must come back. So
nothing depends on what was logged, on premailer's caches, or on which thread asked first.
"""

from __future__ import annotations

import functools
import html
import logging
import re
import threading
from collections.abc import Iterator
from typing import Any

import cssutils
import tinycss2  # type: ignore[import-untyped] # no types are published for it

from newsletter.rendering.template_folder import HEAD_CSS, INLINE_CSS

#: cssutils keeps state in its modules and is not safe in threads; whoever calls it, or premailer, holds this.
CSSUTILS = threading.Lock()
_QUIET = logging.getLogger(f"{__name__}.cssutils")
_QUIET.propagate = False
_QUIET.addHandler(logging.NullHandler())
cssutils.log.setLog(_QUIET)

_TERM = (
    r"(?:#(?:[0-9a-fA-F]{3}){1,2}|-?[0-9]+(?:\.[0-9]+)?(?:px|em|%)?"
    r"|-?[a-zA-Z]+(?:-[a-zA-Z]+)*|'[a-zA-Z]+(?: [a-zA-Z]+)*')"
)
#: What nearly every declaration and selector looks like: cssutils keeps all of these (a test asks it), and is not asked
#: about each, which would take longer than the inlining.
PLAIN_DECLARATION = re.compile(rf"[a-z]+(?:-[a-z]+)*: {_TERM}(?:(?: |, ?){_TERM})*", re.ASCII)
_COMPOUND = r"(?:[a-z][a-z0-9]*|(?:[a-z][a-z0-9]*)?(?:\.[a-z][a-z0-9-]*)+)"
_COMPLEX = rf"{_COMPOUND}(?: (?:[>+] )?{_COMPOUND})*"
PLAIN_SELECTOR = re.compile(rf"{_COMPLEX}(?:,\s*{_COMPLEX})*", re.ASCII)

_COMMENT_OR_TAG = re.compile(r"""<!--.*?-->|<[a-zA-Z](?:[^"'<>]|"[^"]*"|'[^']*')*>""", re.DOTALL)
_STYLE = re.compile(r"""\sstyle\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_OUTLOOK_COM = re.compile(r"\[data-ogs[bc]\]")
_GMAIL = re.compile(r"(?:^|,)\s*u\s*[+~]")
_BELONGS = "it belongs into head.css"


class CssFault(Exception):
    """CSS that would be lost, and what to do.

    `sheet` is `inline.css` or `head.css`, with `line` and `column` from 1; or `""` for a style attribute, and then
    `text` is the declaration that is wrong.
    """

    def __init__(
        self,
        message: str,
        *,
        sheet: str = "",
        line: int | None = None,
        column: int | None = None,
        hint: str = "",
        text: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.sheet = sheet
        self.line = line
        self.column = column
        self.hint = hint
        self.text = text


@functools.lru_cache(maxsize=64)
def check_inline_css(css: str) -> None:
    """Raises CssFault for the first thing in `inline.css` that cannot be moved into style attributes as it is."""
    for rule in _rules(css, INLINE_CSS):
        if rule.type == "at-rule":
            raise _fault(f"the rule @{rule.at_keyword} cannot be inlined", INLINE_CSS, rule, _BELONGS)
        _check_selector(rule)
        seen: set[str] = set()
        for node in _content(rule.content, INLINE_CSS):
            if node.type != "declaration":
                raise _fault("a rule inside a rule cannot be inlined", INLINE_CSS, node, "write it out")
            if node.important:
                hint = f"leave it out; a rule that must win over style attributes: {_BELONGS}"
                raise _fault("!important cannot be inlined", INLINE_CSS, node, hint)
            if node.lower_name in seen:
                hint = "the inliner keeps the last one only"
                raise _fault(f"{node.name!r} is set twice in one rule", INLINE_CSS, node, hint)
            seen.add(node.lower_name)
            if not _survives(node):
                raise _fault(f"the inliner would drop {_shown(node)!r}", INLINE_CSS, node, "write it in older CSS")


@functools.lru_cache(maxsize=64)
def check_head_css(css: str) -> None:
    """Raises CssFault for what breaks the page or makes mail clients skip rules of `head.css`."""
    at = css.find("</")
    if at >= 0:
        line, column = css.count("\n", 0, at) + 1, at - css.rfind("\n", 0, at)
        message = "a closing tag in CSS"
        raise CssFault(message, sheet=HEAD_CSS, line=line, column=column, hint="leave out <style>")
    for rule in _rules(css, HEAD_CSS):
        _check_nested(rule)


def check_style_attributes(page: str) -> None:
    """Raises CssFault for the first declaration in a style attribute of `page` that the inliner would drop."""
    for tag in _COMMENT_OR_TAG.findall(page):
        # Outlook's conditional comments are out of the inliner's sight.
        style = None if tag.startswith("<!--") else _STYLE.search(tag)
        if style:
            _check_style(style[1] or style[2] or "")


def place_in_tags(mjml: str, text: str) -> int | None:
    """Where `text` first stands in a style attribute of `mjml`, else in any attribute; None if nowhere as it is."""
    tags = [tag for tag in _COMMENT_OR_TAG.finditer(mjml) if not tag.group().startswith("<!--")]
    styles = [(tag.start() + style.start(), style.group()) for tag in tags if (style := _STYLE.search(tag.group()))]
    for start, within in [*styles, *((tag.start(), tag.group()) for tag in tags)]:
        at = within.find(text, within.find("=") + 1)
        if at >= 0:
            return start + at
    return None


@functools.lru_cache(maxsize=4096)
def _check_style(style: str) -> None:
    nodes = tinycss2.parse_blocks_contents(html.unescape(style), skip_comments=True, skip_whitespace=True)
    for node in nodes:
        if node.type != "declaration":
            message, text = "a style attribute that is no CSS", style
        elif not _survives(node):
            message, text = f"the inliner would drop {_shown(node)!r}", tinycss2.serialize(node.value).strip()
        else:
            continue
        raise CssFault(message, text=text, hint='such as style="color: #555555"')


def _rules(css: str, sheet: str) -> Iterator[Any]:
    nodes = tinycss2.parse_stylesheet(css, skip_comments=True, skip_whitespace=True)
    for node in nodes:
        if node.type == "error":
            message = "CSS that is no rule"
            raise CssFault(message, sheet=sheet, line=node.source_line, hint="a brace too many or too few?")
        yield node
    # A block that is never closed swallows all that follows, and is no error to a CSS parser.
    if nodes and tinycss2.serialize(tinycss2.parse_component_value_list(css)).count("}") > css.count("}"):
        raise _fault("a block that is never closed", sheet, nodes[-1], "add }")


def _content(content: list[Any], sheet: str) -> Iterator[Any]:
    for node in tinycss2.parse_blocks_contents(content, skip_comments=True, skip_whitespace=True):
        if node.type == "error":
            message = "CSS that is no declaration"
            raise CssFault(message, sheet=sheet, line=node.source_line, hint="such as color: #555555;")
        yield node


def _check_nested(rule: Any) -> None:
    if rule.content is not None:
        for node in _content(rule.content, HEAD_CSS):
            if node.type != "declaration":
                _check_nested(node)


def _check_selector(rule: Any) -> None:
    selector = tinycss2.serialize(rule.prelude).strip()
    message = f"the selector {' '.join(selector.split())!r} cannot be inlined"
    if _OUTLOOK_COM.search(selector) or _GMAIL.search(selector):
        raise _fault(message, INLINE_CSS, rule, f"it means the page of a mail client; {_BELONGS}")
    if ":" in selector:
        raise _fault(message, INLINE_CSS, rule, f"a state or a part of an element; {_BELONGS}")
    if "*" in selector or "[" in selector or "\\" in selector:
        # premailer leaves out the first, weighs the second wrongly, and takes the third for something else
        raise _fault(message, INLINE_CSS, rule, "name the elements, or give them a class")
    if PLAIN_SELECTOR.fullmatch(selector):
        return
    with CSSUTILS:
        rules = cssutils.parseString(f"{selector} {{ color: red }}", validate=False).cssRules
        known = len(rules) == 1 and rules[0].type == rules[0].STYLE_RULE
        known = known and rules[0].selectorList.length == selector.count(",") + 1
    if not known:
        raise _fault(message, INLINE_CSS, rule, "it is no selector that the inliner knows")


def _survives(declaration: Any) -> bool:
    shown = _shown(declaration)
    if PLAIN_DECLARATION.fullmatch(shown):
        return True
    with CSSUTILS:
        return len(cssutils.parseStyle(shown, validate=False).getProperties()) == 1


def _shown(declaration: Any) -> str:
    return f"{declaration.name}: {tinycss2.serialize(declaration.value).strip()}"


def _fault(message: str, sheet: str, node: Any, hint: str) -> CssFault:
    return CssFault(message, sheet=sheet, line=node.source_line, column=node.source_column, hint=hint)
