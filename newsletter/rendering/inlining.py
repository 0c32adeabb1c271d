"""Moves CSS into style attributes, where Gmail's and Outlook's apps look for it.

Two kinds of CSS come in apart: `inline.css` is moved into the elements and does not stay; `head.css` (media queries,
dark mode) stays in the head as it is, marked so that the inliner leaves it alone. The same goes for the style blocks
that MJML writes. Two inliners can do it: premailer, the default, and css-inline. `css_lint` has looked at all CSS
before, so they do the same to it.
"""

from __future__ import annotations

import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import Any

from newsletter.errors import TemplateError
from newsletter.rendering.css_lint import CSSUTILS, check_head_css, check_inline_css, check_style_attributes
from newsletter.rendering.css_order import check_order

#: premailer's defaults would break the mail; each of these is there for the reason that stands above it.
PREMAILER_OPTIONS: Mapping[str, object] = MappingProxyType(
    {
        # it would strip it inside @media too, and inline styles would beat the rules for dark mode and phones
        "strip_important": False,
        "keep_style_tags": False,
        # width="250" would become width="100%", at which Outlook draws the image in its full size
        "disable_basic_attributes": ["width", "height", "bgcolor", "align", "valign"],
        "align_floating_images": False,
        "allow_network": False,
        "allow_loading_external_files": False,
        "disable_validation": True,
    }
)

#: (HTML, CSS to inline) → HTML
Inliner = Callable[[str, str], str]
#: HTML → how often each placeholder stands in it
CountHoles = Callable[[str], Counter[str]]

_KEEP = 'data-premailer="ignore"'
_COMMENT_OR_STYLE_OR_HEAD = re.compile(r"<!--.*?-->|<style\b([^>]*)>|</head>", re.DOTALL)
_MEDIA = re.compile(r"""\smedia\s*=\s*["']?([^"'>]*)""")
#: The beginning of a comment where it is only written about. In an attribute libxml2 takes it for a server's directive,
#: and writes what follows as it is up to `-->`, quotation marks too (xmlsave.c, xmlBufAttrSerializeTxtContent).
_WRITTEN_COMMENT = re.compile("(?:&lt;|&#0*60;|&#x0*3c;)!--", re.IGNORECASE)
#: Stands at the very end of the body while the inliner works: when it is gone, so is more.
_LAST = "<!--the last of the mail-->"
_END = re.compile(rf"{_LAST}(\s*</body>\s*</html>)\Z")


class DamagedHtml(Exception):
    """The inliner lost part of the page."""


def inline_css(html: str, *, css: str, head_css: str, inliner: Inliner, holes: CountHoles) -> str:
    """`html` with `css` in its style attributes and `head_css` in its head.

    Raises CssFault for CSS that would be lost, and DamagedHtml when anything else was: libxml2 silently cuts a page
    at deep nesting, and nothing may leave with an unsubscribe link missing.
    """
    check_inline_css(css)
    check_head_css(head_css)
    check_style_attributes(html)
    framed = _with_last(_keep_styles(html, head_css))
    before = holes(framed)
    mark = _not_in(framed + css)
    inlined = inliner(_WRITTEN_COMMENT.sub(f"&lt;!{mark}--", framed), css).strip()
    inlined = inlined.replace(f"<!{mark}", "&lt;!").replace(mark, "")
    if not inlined.startswith("<!DOCTYPE html>"):
        raise DamagedHtml("the inlined page does not begin with its doctype")
    if not inlined.endswith("</html>"):
        raise DamagedHtml("the inlined page does not end with </html>")
    if not _END.search(inlined):
        raise DamagedHtml("the inlined page was cut off before its end")
    after = holes(inlined)
    if before != after:
        raise DamagedHtml(f"inlining turned {before.total()} holes into {after.total()}")
    return _END.sub(r"\1", inlined) + "\n"


def _not_in(html: str) -> str:
    """Letters that do not occur in it."""
    letters = "nocomment"
    while letters in html:
        letters += "t"
    return letters


def _keep_styles(html: str, head_css: str) -> str:
    """Marks the style blocks to keep and adds `head_css` as one more, last in the head.

    Blocks for other media are left: premailer skips these by itself and would leave the mark in the mail. Blocks
    inside comments (Outlook's conditionals) are out of its sight anyway.
    """
    block = f'<style {_KEEP} type="text/css">\n{head_css.strip()}\n</style>' if head_css.strip() else ""
    heads = 0

    def mark(match: re.Match[str]) -> str:
        nonlocal heads
        if match.group() == "</head>":
            heads += 1
            return f"{block}</head>"
        attributes = match.group(1)
        media = _MEDIA.search(attributes or "")
        if attributes is None or (media and media[1] not in {"", "all", "screen"}):
            return match.group()
        return f"<style {_KEEP}{attributes}>"

    marked = _COMMENT_OR_STYLE_OR_HEAD.sub(mark, html)
    if heads != 1:
        raise DamagedHtml(f"the MJML library returned a page with {heads or 'no'} end of its head")
    return marked


def _with_last(html: str) -> str:
    body, end, rest = html.rpartition("</body>")
    return f"{body}{_LAST}{end}{rest}"


def premailer_inliner(html: str, css: str) -> str:
    """premailer with the options that keep the mail whole. Raises CssFault where it would change what wins."""
    check_order(html, css)
    with CSSUTILS:
        premailer = _premailer()
        try:
            # pretty_print would add white space of its own
            return str(premailer.Premailer(html, css_text=[css], **PREMAILER_OPTIONS).transform(pretty_print=False))
        except Exception as error:
            raise DamagedHtml(f"premailer failed: {type(error).__name__}: {error}") from error


def _premailer() -> Any:
    """The library, without the HTTP client that it would fetch style sheets with: `allow_network` forbids that, and to
    load it would take as long as to render an issue. Another thread could meet what stands in for it, and keep it."""
    alone = threading.active_count() == 1
    if alone and "premailer" not in sys.modules and "requests" not in sys.modules:
        sys.modules["requests"] = ModuleType("requests")
        try:
            return import_module("premailer")
        finally:
            del sys.modules["requests"]
    return import_module("premailer")


def css_inline_inliner(html: str, css: str) -> str:
    """css-inline (Rust), the optional second backend. Raises TemplateError when it is not installed."""
    try:
        import css_inline  # optional dependency
    except ImportError:
        hint = "pip install 'newsletter[css-inline]', or use premailer"
        raise TemplateError("css-inline is not installed", hint=hint) from None
    inliner = css_inline.CSSInliner(
        keep_style_tags=True, inline_style_tags=False, extra_css=css, load_remote_stylesheets=False
    )
    try:
        inlined = inliner.inline(html)
    except (css_inline.InlineError, UnicodeError) as error:
        raise DamagedHtml(f"css-inline failed: {error}") from error
    return str(inlined).replace(f"<style {_KEEP}", "<style")


INLINERS: Mapping[str, Inliner] = MappingProxyType({"premailer": premailer_inliner, "css-inline": css_inline_inliner})
