"""Mail clients: what the HTML uses that some of them do not support, by the can-I-email data.

A template author wants to hear of what breaks the mail, not of every property Outlook ignores. So a feature is reported
by its own finding only where it stands in the open and a whole family of clients lacks it and the mail suffers; what
degrades quietly, what is only in `<style>`, and what is supported in part is summed up in one line each.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from newsletter.preflight.check import Found, check
from newsletter.preflight.client_data import FAMILIES, OTHER_FAMILIES, OUTLOOK_WINDOWS, Feature, Support, support_data
from newsletter.preflight.client_features import Uses, uses_of
from newsletter.preflight.model import Examined, Level
from newsletter.preflight.page import Page, read_page

#: What every HTML mail has, whatever a client makes of it; there is nothing to decide about these.
UNAVOIDABLE = frozenset({"html-body", "html-style", "html-doctype", "html-comments", "css-comments"})

#: Features without which a mail still reads as it should: an ornament is missing, a line breaks elsewhere, a hint to a
#: browser or a screen reader is not taken.
QUIET = frozenset(
    {
        # ornament
        "css-border-radius", "css-box-shadow", "css-text-shadow", "css-letter-spacing", "css-word-spacing",
        "css-opacity", "css-transition", "css-animation", "css-outline", "css-outline-offset", "css-cursor",
        "css-text-decoration-color", "css-text-decoration-line", "css-text-decoration-style",
        "css-text-decoration-thickness", "css-text-decoration-skip-ink", "css-text-underline-offset",
        "css-text-underline-position", "css-font-kerning", "css-font-stretch", "css-border-spacing",
        "css-list-style-position", "css-accent-color", "css-color-scheme", "css-caption-side", "css-empty-cells",
        "css-text-indent",
        # where lines and boxes break; widths are also given as attributes
        "css-hyphens", "css-hyphenate-character", "css-hyphenate-limit-chars", "css-word-break", "css-overflow-wrap",
        "css-word-wrap", "css-text-wrap", "css-text-overflow", "css-white-space", "css-white-space-collapse",
        "css-orphans", "css-widows", "css-table-layout", "css-max-width", "css-min-width", "css-min-height",
        "css-box-sizing", "css-text-justify", "css-text-align-last",
        # ways to hide the preheader; the others beside them still do
        "css-max-height", "css-overflow", "css-visibility", "css-height",
        # fonts: the next of the list is taken
        "css-sytem-ui",
        # hints
        "html-role", "html-aria-hidden", "html-aria-label", "html-aria-labelledby", "html-aria-describedby",
        "html-aria-live", "html-lang", "html-dir", "html-abbr", "html-acronym", "html-semantics",
        "html-meta-color-scheme", "html-target", "html-loading-attribute", "html-wbr", "html-bdi", "html-dfn",
        "html-hidden", "html-srcset", "html-anchor-links",
    }
)  # fmt: skip
_BACKGROUND_IMAGE = frozenset(
    {"css-background-image", "css-background-size", "css-background-position", "css-background-repeat"}
)
_VML_BACKGROUND = re.compile(r"<v:(?:fill|image)\b", re.IGNORECASE)
#: More names than these make a line nobody reads; `check --json` says no more than the line does.
_MOST_NAMES = 12


@functools.lru_cache(maxsize=8)
def _uses(page: Page) -> Uses:
    known = support_data().features.keys() - UNAVOIDABLE
    return uses_of(page, frozenset(known))


def _lacking(feature: Feature, uses: Uses, level: Support) -> list[str]:
    """The families, the most read first, whose support of the feature is `level`."""
    skip = {OUTLOOK_WINDOWS} if feature.slug in uses.hidden_from_outlook else set()
    return [name for name, clients in FAMILIES.items() if name not in skip and feature.in_family(clients) is level]


def _quiet(slug: str, page: Page) -> bool:
    has_vml = any(_VML_BACKGROUND.search(comment) for comment in page.comments)
    return slug in QUIET or (has_vml and slug in _BACKGROUND_IMAGE)


def _plain_features(examined: Examined) -> Iterator[tuple[Feature, int, Uses, Page]]:
    page = read_page(examined.rendered.public_html)
    uses = _uses(page)
    for slug, count in sorted(uses.plain.items()):
        yield support_data().features[slug], count, uses, page


def _summed_up(named: list[tuple[str, list[str]]]) -> str:
    """Features with their families, those with the same families together: `gap, position (Gmail, Outlook.com)`."""
    grouped: dict[str, list[str]] = {}
    for title, families in named[:_MOST_NAMES]:
        grouped.setdefault(", ".join(families), []).append(title)
    said = "; ".join(f"{', '.join(titles)} ({families})" for families, titles in grouped.items())
    return said + (f"; and {len(named) - _MOST_NAMES} more" if len(named) > _MOST_NAMES else "")


def _dated(message: str) -> str:
    return f"{message} (can-I-email data of {support_data().updated})"


@check(
    "client-support",
    Level.WARN,
    means="A whole family of mail clients does not support a feature that the mail relies on.",
    do="Read the feature's page at caniemail.com and use another way, or give those clients something else.",
)
def client_support(examined: Examined) -> Iterator[Found]:
    """One finding a feature, with the families that lack it; only features outside `<style>`."""
    for feature, count, uses, page in _plain_features(examined):
        families = _lacking(feature, uses, Support.NO)
        if families and not _quiet(feature.slug, page):
            others = [name for name, clients in OTHER_FAMILIES.items() if feature.in_family(clients) is Support.NO]
            times = "once" if count == 1 else f"{count} times"
            message = f"{feature.title}, used {times}, is not supported by {', '.join(families + others)}"
            yield Found(_dated(message), hint=f"See {feature.page} for what works instead.")


@check(
    "client-quiet",
    Level.INFO,
    means="Some clients ignore features of the mail, which stays readable without them.",
    do="Nothing; look at the mail without its `<style>` and in Outlook if in doubt.",
)
def client_quiet(examined: Examined) -> Iterator[Found]:
    """One finding for all: ornaments, line breaks, hints."""
    named = [
        (feature.title, families)
        for feature, _, uses, page in _plain_features(examined)
        if _quiet(feature.slug, page) and (families := _lacking(feature, uses, Support.NO))
    ]
    if named:
        yield Found(_dated(f"{len(named)} features are ignored by some clients, quietly: {_summed_up(named)}"))


@check(
    "client-partly",
    Level.INFO,
    means="Some clients support features of the mail in part, or only some of their apps do.",
    do="Nothing, as long as the template keeps to table layout; the pages at caniemail.com give the conditions.",
)
def client_partly(examined: Examined) -> Iterator[Found]:
    """One finding for all features that no family lacks altogether and some family has in part."""
    named = [
        (feature.title, families)
        for feature, _, uses, _page in _plain_features(examined)
        if not _lacking(feature, uses, Support.NO) and (families := _lacking(feature, uses, Support.PARTLY))
    ]
    if named:
        yield Found(_dated(f"{len(named)} features are supported in part: {_summed_up(named)}"))


@check(
    "client-style-block",
    Level.INFO,
    means="The `<style>` block (phones, dark mode) uses features that some clients ignore.",
    do="Nothing, as long as the mail reads well without `<style>`: everything it relies on must be inline.",
)
def client_style_block(examined: Examined) -> Iterator[Found]:
    """One finding for all features that stand in `<style>` only."""
    uses = _uses(read_page(examined.rendered.public_html))
    named = []
    for slug in sorted(uses.progressive.keys() - uses.plain.keys()):
        feature = support_data().features[slug]
        if families := _lacking(feature, uses, Support.NO):
            named.append((feature.title, families))
    if named:
        yield Found(_dated(f"{len(named)} features of the <style> block are not seen everywhere: {_summed_up(named)}"))
