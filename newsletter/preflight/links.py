"""The links of the issue and of the rendered HTML: can they be followed, are they safe, do their texts say anything."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import SplitResult, unquote, urlsplit

from newsletter.preflight.check import Found, check
from newsletter.preflight.comparing import folded, shortened
from newsletter.preflight.issue_texts import all_texts, issue_images, issue_links
from newsletter.preflight.model import Examined, Level
from newsletter.preflight.page import HOLE_HOST, Element, read_page

_NOT_IN_URLS = re.compile(r"[\s<>\"{}|\\^`\x00-\x1f\x7f]")
_LABEL = re.compile(r"(?!-)[^\W_](?:[\w-]{0,61}[^\W_])?", re.UNICODE)
#: Things in running text that were meant to be links: Markdown, HTML, and addresses that do not begin as one should.
_LEFTOVERS = (
    (re.compile(r"\]\(\s*(?:https?:|www\.|mailto:|/)[^)\s]*\)?", re.IGNORECASE), "a Markdown link was left as text"),
    (re.compile(r"</?a\b[^>]{0,200}>?", re.IGNORECASE), "HTML was left as text"),
    (re.compile(r"\bhttps?:(?:/{1,2}(?=[\s.,;)]|$)|/?[^/\s.]+\.\S+|///+\S*)", re.IGNORECASE), "a broken address"),
    (
        re.compile(r"\b(?:h?tt?p|htp|hhtp|htttp|hptt|htpp)s?:/{1,2}\S*|\bhttps?//:?\S*", re.IGNORECASE),
        "a broken address",
    ),
)
_WELL_BEGUN = re.compile(r"https?://[^/\s]", re.IGNORECASE)
#: Texts that say nothing about where a link goes (WCAG 2.2, 2.4.4 Link Purpose; technique F84).
_GENERIC_TEXTS = """
    click here | click | click this | click this link | here | read more | read on | more | learn more | more info |
    more information | find out more | see more | details | link | this link | this | this page | this article |
    this story | full story | continue | continue reading | go | website | source | url
"""
_GENERIC = frozenset(map(folded, _GENERIC_TEXTS.split("|")))


def url_problem(url: str) -> str:
    """What is wrong with the address of a link; empty if nothing is. A mail can link to https, http, mailto and tel."""
    if not url.strip():
        return "the address is empty"
    bad = _NOT_IN_URLS.search(url)
    if bad:
        what = "a space" if bad.group().isspace() else f"the character {bad.group()!r}"
        return f"{what} has no place in an address"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return f"cannot be read ({error})"
    match parts.scheme.lower():
        case "http" | "https":
            return host_problem(parts.hostname or "")
        case "mailto":
            problem = "" if re.search(r"[^@]@[^@]+\.", unquote(parts.path)) else "no mail address after mailto:"
        case "tel":
            problem = "" if re.search(r"\d", parts.path) else "no number after tel:"
        case "":
            problem = "does not begin with https://"
        case scheme:
            problem = f'"{scheme}:" is not an address a mail can link to'
    return problem


def host_problem(host: str) -> str:
    """What is wrong with the host of a web address, syntactically; empty if nothing is."""
    if not host:
        return "no host after the scheme"
    if host in {"http", "https"}:
        return "the scheme stands there twice"
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return ""
    labels = host.rstrip(".").split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        return f'"{host}" is not the name of a host'
    if len(labels) == 1 and host != "localhost":
        return f'the host "{host}" has no dot'
    return ""


def is_under(url: str, site: str) -> bool:
    """Whether a web address belongs to a site: same scheme, host and port, and a path at or below the site's own.

    Nothing is under an empty `site`. A path with `..` in it is under none, for it may lead out again.
    """
    try:
        ours, theirs = urlsplit(site), urlsplit(url)
        same = _origin(ours) == _origin(theirs) and bool(ours.hostname)
    except ValueError:
        return False
    start = ours.path.rstrip("/")
    climbs = ".." in unquote(theirs.path).split("/")
    return same and not climbs and (theirs.path == start or theirs.path.startswith(f"{start}/"))


def _origin(parts: SplitResult) -> tuple[str, str, int | None]:
    scheme = parts.scheme.lower()
    port = {"http": 80, "https": 443}.get(scheme) if parts.port is None else parts.port
    return scheme, (parts.hostname or "").rstrip("."), port


def template_links(examined: Examined) -> list[Element]:
    """The links of the HTML that come from the template alone: neither the issue's nor holes."""
    of_issue = {link.url for link in issue_links(examined.issue)}
    return [
        element
        for element in read_page(examined.rendered.public_html).all("a", "area")
        if (href := element.get("href")) is not None and href not in of_issue and HOLE_HOST not in href
    ]


@check(
    "link-syntax",
    Level.ERROR,
    means="A link cannot be followed: its address is broken, or it was left as plain text.",
    do="Correct the address; in a text file put it on a line of its own, or at the end of the paragraph.",
)
def link_syntax(examined: Examined) -> Iterator[Found]:
    """Links and images of the issue, addresses in its texts that were not recognised, and links of the template."""
    for link in issue_links(examined.issue):
        if problem := url_problem(link.url):
            yield Found(f"the link {shortened(link.url)}: {problem}", link.line)
    for image in issue_images(examined.issue):
        if problem := url_problem(image.url):
            yield Found(f"the image {shortened(image.url)}: {problem}", image.line)
    for text, line in all_texts(examined.issue):
        if leftover := link_leftover(text):
            yield Found(leftover, line)
    for element in template_links(examined):
        href = element.get("href") or ""
        if not href.startswith("#") and (problem := url_problem(href)):
            yield Found(f"the template's link {shortened(href or element.text)}: {problem}")


def link_leftover(text: str) -> str:
    """The first thing in `text` that was meant to be a link and is none; empty if there is none."""
    for pattern, what in _LEFTOVERS:
        for match in pattern.finditer(text):
            if not _WELL_BEGUN.match(match.group()):
                return f"{what}: {shortened(match.group())}"
    return ""


@check(
    "link-anchor",
    Level.WARN,
    means="A link of the template leads to a place in the mail that is not there.",
    do="Give the place the id that the link names; leave the link out where the place is left out.",
)
def link_anchor(examined: Examined) -> Iterator[Found]:
    """`#top` and `#` alone lead to the top everywhere (HTML, 7.4.6.4)."""
    page = read_page(examined.rendered.public_html)
    places = {value for element in page.elements for name, value in element.attributes if name in {"id", "name"}}
    for element in page.all("a", "area"):
        href = element.get("href") or ""
        if href.startswith("#") and href[1:] not in places | {"", "top"}:
            yield Found(f'the link "{shortened(element.text)}" leads to {href}, which is not in the mail')


@check(
    "link-insecure",
    Level.WARN,
    means="A link or an image is fetched without encryption.",
    do="Write https:// if the site answers there, as nearly all do.",
)
def link_insecure(examined: Examined) -> Iterator[Found]:
    """`http:` in the issue or the template. The newsletter's own `base_url` has a check of its own."""
    own = examined.publication.base_url
    for link in issue_links(examined.issue):
        if link.url.lower().startswith("http:"):
            yield Found(f"the link {shortened(link.url)} is not https", link.line)
    images = list(issue_images(examined.issue))
    for image in images:
        if image.url.lower().startswith("http:"):
            yield Found(f"the image {shortened(image.url)} is not https", image.line)
    known = {image.url for image in images}
    elsewhere = [element.get("href") or "" for element in template_links(examined)]
    elsewhere += [element.get("src") or "" for element in read_page(examined.rendered.public_html).all("img")]
    for url in elsewhere:
        if url.lower().startswith("http:") and url not in known and not is_under(url, own):
            yield Found(f"the template's {shortened(url)} is not https")


@check(
    "link-text",
    Level.WARN,
    means="The text of a link says nothing about its target; read aloud or in a list of links it is useless.",
    do="Link the words that name what is behind it.",
)
def link_text(examined: Examined) -> Iterator[Found]:
    """Generic texts ("click here", "read more"), and links without any text. A story's own link has its headline."""
    of_stories = {story.link for story in examined.issue.stories()}
    for link in issue_links(examined.issue):
        if link.url in of_stories and not link.text:
            continue
        if problem := _text_problem(link.text):
            yield Found(problem, link.line)
    for element in template_links(examined):
        if problem := _text_problem(element.get("aria-label") or element.text):
            yield Found(f"in the template: {problem}")


def _text_problem(text: str) -> str:
    if not text.strip():
        return "a link has no text"
    return f'"{shortened(text)}" says nothing about its target' if folded(text) in _GENERIC else ""
