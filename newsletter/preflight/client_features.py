"""Which features of HTML and CSS a page uses, by their names in the can-I-email data."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field
from typing import Any

import tinycss2  # type: ignore[import-untyped] # no types are published for it

from newsletter.preflight.page import Element, Page

#: Elements whose feature is not called `html-` + the element.
_ELEMENTS = {
    **dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6"), "html-h1-h6"),
    **dict.fromkeys(("ul", "ol", "dl"), "html-lists"),
    **dict.fromkeys(
        [
            "article",
            "aside",
            "details",
            "figcaption",
            "figure",
            "footer",
            "header",
            "main",
            "mark",
            "nav",
            "section",
            "summary",
            "time",
        ],
        "html-semantics",
    ),
    **dict.fromkeys(("map", "area"), "html-image-maps"),
    "b": "html-strong",
}
#: Attributes whose feature is not called `html-` + the attribute.
_ATTRIBUTES = {
    "srcset": "html-srcset",
    "sizes": "html-srcset",
    "loading": "html-loading-attribute",
    "usemap": "html-image-maps",
}
_IMAGES = {"jpeg": "jpg", "svgz": "svg", "tif": "tiff", "heic": "heif"}
#: Properties whose feature is neither `css-` + the property nor `css-` + a shorthand it begins with.
_PROPERTIES = (
    (r"(?:column-|row-)?gap|grid-(?:column-|row-)?gap", "css-gap"),
    (r"left|right|top|bottom", "css-left-right-top-bottom"),
    (r"grid-template(?:-.+)?|grid", "css-grid-template"),
    (r"columns|column-(?!count).+", "css-column-layout-properties"),
    (r"block-size", "css-block-inline-size"),
    (r"border-(?:start|end)-(?:start|end)-radius", "css-border-radius-logical"),
    (r"border-(?:top|bottom)-(?:left|right)-radius", "css-border-radius"),
    (r"border-(?:inline|block)", "css-border-inline-block"),
    (r"border-(?:inline|block)-(?:width|style|color)", "css-border-inline-block-longhand"),
    (r"border-(?:inline|block)-(?:start|end)(?:-.+)?", "css-border-inline-block-individual"),
    (r"(margin|padding)-(?:inline|block)", r"css-\1-inline-block"),
    (r"(margin|padding)-(inline|block)-(?:start|end)", r"css-\1-\2-start-end"),
    (r"mask(?:-.+)?", "css-mask-image"),
    (r"flex-flow", "css-flex-wrap"),
    (r"hyphenate-limit-.+", "css-hyphenate-limit-chars"),
    (r"--.+", "css-variables"),
)
#: Properties that begin like a shorthand and are no part of it; the data says nothing about them.
_ALONE = frozenset({"font-family", "font-style", "font-variant", "background-attachment", "flex-grow", "flex-shrink"})
_FUNCTIONS = {
    "calc": "css-unit-calc",
    "var": "css-variables",
    **{name: f"css-function-{name}" for name in ("clamp", "max", "min", "light-dark")},
    **{name: f"css-{name}" for name in ("rgb", "rgba", "linear-gradient", "radial-gradient", "conic-gradient")},
    **dict.fromkeys(("lch", "oklch", "lab", "oklab"), "css-modern-color"),
}
_KEYWORDS = {
    "initial": "css-unit-initial",
    **dict.fromkeys(("fit-content", "min-content", "max-content"), "css-intrinsic-size"),
    **dict.fromkeys(("system-ui", "ui-serif", "ui-sans-serif", "ui-rounded", "ui-monospace"), "css-sytem-ui"),
}
_DISPLAY = {
    "flex": "css-display-flex",
    "inline-flex": "css-display-flex",
    "grid": "css-display-grid",
    "none": "css-display-none",
}
_MEDIA = ("prefers-color-scheme", "prefers-reduced-motion", "orientation", "hover", "device-pixel-ratio")
_COMBINATORS = {
    "+": "css-selector-adjacent-sibling",
    "~": "css-selector-general-sibling",
    ">": "css-selector-child",
    "*": "css-selector-universal",
}


@dataclass(slots=True)
class Uses:
    """How often each feature is used, by slug: in the open, and only in `<style>`, where a client may ignore it.

    `hidden_from_outlook` are those of the first that Outlook for Windows never gets to see.
    """

    plain: Counter[str] = field(default_factory=Counter)
    progressive: Counter[str] = field(default_factory=Counter)
    hidden_from_outlook: Set[str] = frozenset()


def uses_of(page: Page, known: Set[str]) -> Uses:
    """The features a page uses, out of the `known` slugs; what stands in MSO comments is Outlook's own."""
    seen_by_outlook: Counter[str] = Counter()
    hidden: Counter[str] = Counter()
    of_styles: dict[str, list[str]] = {}  # most elements are styled like others
    for element in page.elements:
        found = [slug for slug in _element_features(element, known, of_styles) if slug in known]
        (hidden if element.hidden_from_outlook else seen_by_outlook).update(found)
    uses = Uses(plain=seen_by_outlook + hidden, hidden_from_outlook=hidden.keys() - seen_by_outlook.keys())
    for style in page.styles:
        rules = tinycss2.parse_stylesheet(style, skip_comments=True, skip_whitespace=True)
        uses.progressive.update(slug for slug in _rules_features(rules, known) if slug in known)
    return uses


def _element_features(element: Element, known: Set[str], of_styles: dict[str, list[str]]) -> Iterator[str]:
    yield _ELEMENTS.get(element.tag, f"html-{element.tag}")
    for name, value in element.attributes:
        if name == "style":
            if value not in of_styles:
                declarations = tinycss2.parse_blocks_contents(value, skip_comments=True, skip_whitespace=True)
                of_styles[value] = list(_rules_features(declarations, known))
            yield from of_styles[value]
        elif name in {"width", "height"} and element.tag not in {"img", "table", "td", "th"}:
            continue
        else:
            yield _ATTRIBUTES.get(name, f"html-{name}")
    href = element.get("href") or ""
    if element.tag == "a" and len(href) > 1 and href.startswith("#"):
        yield "html-anchor-links"
    if href.lower().startswith("mailto:"):
        yield "html-mailto-links"
    if element.tag in {"input", "button"}:
        yield f"html-{element.tag}-{(element.get('type') or 'text').lower()}"
    if element.tag == "meta" and element.get("name") in {"color-scheme", "supported-color-schemes"}:
        yield "html-meta-color-scheme"
    source = (element.get("src") or "").lower() if element.tag == "img" else ""
    if source.startswith("data:"):
        yield "image-base64"
    elif suffix := re.search(r"\.([a-z0-9]{3,5})(?:[?#]|$)", source):
        yield f"image-{_IMAGES.get(suffix.group(1), suffix.group(1))}"


def _rules_features(nodes: Iterable[Any], known: Set[str]) -> Iterator[str]:
    for node in nodes:
        if node.type == "declaration":
            yield from _declaration_features(node, known)
        elif node.type == "qualified-rule":
            yield from _selector_features(node.prelude)
            yield from _rules_features(tinycss2.parse_blocks_contents(node.content, skip_comments=True), known)
        elif node.type == "at-rule":
            yield f"css-at-{node.lower_at_keyword}"
            if node.lower_at_keyword == "media":
                condition = tinycss2.serialize(node.prelude).lower()
                yield from (f"css-at-media-{name}" for name in _MEDIA if name in condition)
            if node.content is not None:
                yield from _rules_features(tinycss2.parse_blocks_contents(node.content, skip_comments=True), known)


def property_feature(name: str, known: Set[str]) -> str:
    """The feature of a property, or of the shorthand it belongs to; empty if the data has neither."""
    if f"css-{name}" in known:
        return f"css-{name}"
    for pattern, slug in _PROPERTIES:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(slug)
    while "-" in name and name not in _ALONE and not name.startswith(("-", "mso-")):
        name = name.rpartition("-")[0]
        if f"css-{name}" in known:
            return f"css-{name}"
    return ""


def _declaration_features(declaration: Any, known: Set[str]) -> Iterator[str]:
    name = declaration.lower_name
    yield property_feature(name, known)
    if declaration.important:
        yield "css-important"
    # Outlook's own properties and vendors' are for the one client that knows them.
    if not name.startswith(("mso-", "-")) or name.startswith("--"):
        yield from _value_features(declaration.value, name)


def _value_features(tokens: Iterable[Any], name: str) -> Iterator[str]:
    for token in tokens:
        if token.type == "dimension":
            yield f"css-unit-{token.lower_unit}"
        elif token.type == "percentage":
            yield "css-unit-percent"
        elif token.type == "function":
            yield _FUNCTIONS.get(token.lower_name.removeprefix("repeating-"), "")
            yield from _value_features(token.arguments, name)
        elif token.type == "ident":
            yield _KEYWORDS.get(token.lower_value, "")
            if name == "display":
                yield _DISPLAY.get(token.lower_value, "")


def _selector_features(tokens: list[Any]) -> Iterator[str]:
    colons = 0
    for token in tokens:
        if token.type == "literal" and token.value == ":":
            colons += 1
            continue
        if colons and token.type in {"ident", "function"}:
            name = token.lower_value if token.type == "ident" else token.lower_name
            kind = "element" if colons > 1 or name in {"before", "after", "first-letter", "first-line"} else "class"
            yield f"css-pseudo-{kind}-{name}"
        elif token.type == "[] block":
            yield "css-selector-attribute"
        elif token.type == "literal":
            yield _COMBINATORS.get(token.value, "")
        colons = 0
