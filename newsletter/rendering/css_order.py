"""Finds where premailer would let the wrong one of two related declarations win.

It collects an element's declarations in a dict, in which a property that is set again keeps its first position. So
`margin: 0`, then `margin-top: 5px`, then `margin: 1px` comes out as `margin:1px; margin-top:5px`, and the top margin is
5px instead of 1px. Seldom, silent, and in no way visible in the template.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from itertools import combinations
from typing import Any, NamedTuple

import tinycss2  # type: ignore[import-untyped] # no types are published for it
from lxml import etree
from lxml.cssselect import CSSSelector

from newsletter.rendering.css_lint import CssFault
from newsletter.rendering.template_folder import INLINE_CSS

#: Properties of borders that no border shorthand sets.
_NO_SHORTHAND = re.compile(r"border-(?:radius|collapse|spacing|image)|border-\w+-\w+-radius")


class _Set(NamedTuple):
    """A property that is set, and the line of inline.css; no line for a style attribute, which is `style` then."""

    name: str
    line: int | None
    style: str = ""


def check_order(page: str, css: str) -> None:
    """Raises CssFault for an element of `page` whose declarations premailer would put into the wrong order.

    `css` has passed `check_inline_css`, so that premailer's simple way of weighing selectors is right.
    """
    tree = etree.fromstring(page, etree.HTMLParser())
    found: defaultdict[Any, list[_Set]] = defaultdict(list)
    for selector, declarations in _rules(css):
        for element in selector(tree):
            found[element] += declarations
    for element, declarations in found.items():
        _check([*declarations, *_own(element.get("style", ""))], element)


@functools.lru_cache(maxsize=4096)
def _own(style: str) -> tuple[_Set, ...]:
    nodes = tinycss2.parse_blocks_contents(style, skip_comments=True, skip_whitespace=True)
    return tuple(_Set(node.lower_name, None, style) for node in nodes)


@functools.lru_cache(maxsize=64)
def _rules(css: str) -> tuple[tuple[CSSSelector, list[_Set]], ...]:
    """Each selector and what its rule sets, the one that weighs least first (ids, classes, elements, place)."""
    weighed = []
    for place, rule in enumerate(tinycss2.parse_stylesheet(css, skip_comments=True, skip_whitespace=True)):
        nodes = tinycss2.parse_blocks_contents(rule.content, skip_comments=True, skip_whitespace=True)
        declarations = [_Set(node.lower_name, node.source_line) for node in nodes]
        for selector in tinycss2.serialize(rule.prelude).split(","):
            elements = len(re.findall(r"(?:^|[\s>+~])[^\s>+~.#]", selector.strip()))
            weight = (selector.count("#"), selector.count("."), elements, place)
            weighed.append((weight, CSSSelector(selector), declarations))
    weighed.sort(key=lambda one: one[0])
    return tuple((selector, declarations) for _, selector, declarations in weighed)


def _check(declarations: list[_Set], element: Any) -> None:
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for at, declaration in enumerate(declarations):
        first.setdefault(declaration.name, at)
        last[declaration.name] = at
    for one, other in combinations(first, 2):
        if _related(one, other) and (first[one] < first[other]) != (last[one] < last[other]):
            loser, winner = sorted((one, other), key=lambda name: -last[name])
            right = declarations[last[loser]]
            tag = f'<{element.tag} class="{element.get("class", "")}">'
            raise CssFault(
                f"premailer would let {winner!r} win over this {loser!r} on {tag}",
                sheet="" if right.line is None else INLINE_CSS,
                line=right.line,
                text=right.style,
                hint=f"set {loser!r} in fewer rules for this element, or write all in one property",
            )


def _related(one: str, other: str) -> bool:
    """Whether one sets what the other sets too."""
    if one.startswith("border") and other.startswith("border"):
        return not _NO_SHORTHAND.match(one) and not _NO_SHORTHAND.match(other)
    if {one, other} == {"font", "line-height"}:
        return True
    return one.startswith(f"{other}-") or other.startswith(f"{one}-")
