"""The links that count and the image of opens: put into the HTML part where the settings say so, and nowhere else.

Links keep a placeholder through the render chain, as holes do, and get their address at its end. So the same render
gives the HTML that is sent, one whose links lead straight to their targets, and one that is as the editor wrote it.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlsplit

from newsletter.issue.model import Issue
from newsletter.rendering.escaping import clean_url
from newsletter.rendering.mjml_syntax import TOKEN, with_values
from newsletter.rendering.model import Hole, HoleContext, Holed, Publication, Tracking

#: Whose click it is, and the image of opens: holes that no template asks for by name.
TRACK_TOKEN = Hole("track_token", HoleContext.URL_PART)
OPEN_IMAGE = Hole("open_image", HoleContext.IMAGE)
#: More links than these are not counted; each takes one of a render's placeholders.
MOST_LINKS = 900

_LINK = "link "
#: What makes a click, in MJML and in HTML, has `href`; so have these, which nobody clicks.
_NOT_CLICKED = frozenset({"base", "link"})

#: What stands in place of a link: pieces of HTML, and holes.
Address = Sequence[str | Hole]


@dataclass(frozen=True, slots=True)
class ContentLink:
    """A link of the issue: `url` as the editor wrote it, `target` where a click ends, `number` the one its counted
    address has. Links with the same target share it."""

    url: str
    target: str
    number: int


def content_links(issue: Issue, publication: Publication, tracking: Tracking) -> tuple[ContentLink, ...]:
    """The http and https links of the issue to other sites, each once, numbered from 1 in the order of the issue.

    The order is that of the issue and not of the mail: all variants have the same numbers. None where neither clicks
    are counted nor parameters added.
    """
    if not (tracking.clicks or tracking.utm):
        return ()
    numbers: dict[str, int] = {}
    found = []
    for url in dict.fromkeys(_urls(issue)):
        if leads_elsewhere(url, publication.base_url) and (target := clean_url(with_parameters(url, tracking.utm))):
            found.append(ContentLink(url, target, numbers.setdefault(target, len(numbers) + 1)))
    return tuple(found[:MOST_LINKS])


def with_parameters(url: str, utm: Sequence[tuple[str, str]]) -> str:
    """The URL with `utm_` parameters at the end of its query, all else byte for byte as it was. One whose name is there
    already keeps its value."""
    address, hash_sign, fragment = url.partition("#")
    _, question, query = address.partition("?")
    there = {name for name, _ in parse_qsl(query, keep_blank_values=True)}
    names = [(name if name.startswith("utm_") else f"utm_{name}", value) for name, value in utm]
    added = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in names if name not in there)
    if not added:
        return url
    joint = "?" if not question else "" if not query or query.endswith("&") else "&"
    return f"{address}{joint}{added}{hash_sign}{fragment}"


def leads_elsewhere(url: str, base_url: str) -> bool:
    """Whether it is an http or https URL of another site than `base_url`, which may have a path."""
    try:
        theirs, ours = urlsplit(url), urlsplit(base_url)
        same = (theirs.hostname, theirs.port) == (ours.hostname, ours.port)
    except ValueError:
        return False
    if theirs.scheme not in {"http", "https"} or not theirs.hostname:
        return False
    return not (same and f"{theirs.path}/".startswith(f"{ours.path.rstrip('/')}/"))


def with_placeholders(mjml: str, links: Sequence[ContentLink], placeholder: Callable[[str, HoleContext], str]) -> str:
    """MJML with a placeholder in place of each of these links, in whatever element it is clicked."""
    if not links:
        return mjml
    at = {link.url: number for number, link in enumerate(links)}

    def in_tag(tag: str, attributes: str) -> str:
        def value(name: str, text: str) -> str | None:
            number = at.get(html.unescape(text)) if name == "href" else None
            return None if number is None else placeholder(f"{_LINK}{number}", HoleContext.HTML_URL)

        return attributes if tag in _NOT_CLICKED else with_values(attributes, value)

    parts, end = [], 0
    for token in TOKEN.finditer(mjml):
        if token["name"] is not None and not token["closing"]:
            parts += [mjml[end : token.start("attributes")], in_tag(token["name"], token["attributes"])]
            end = token.end("attributes")
    return "".join([*parts, mjml[end:]])


def with_image(page: str, placeholder: Callable[[str, HoleContext], str]) -> str:
    """The page with the placeholder of the image of opens as the last thing in its body."""
    body, end, rest = page.rpartition("</body>")
    return f"{body}{placeholder(OPEN_IMAGE.name, OPEN_IMAGE.context)}{end}{rest}"


@dataclass(frozen=True, slots=True)
class Versions:
    """One page as it is sent, with links that lead straight to their targets, and as the editor wrote it."""

    sent: Holed
    direct: Holed
    public: Holed


def versions(
    page: Holed, links: Sequence[ContentLink], issue: Issue, publication: Publication, tracking: Tracking
) -> Versions:
    """The versions of a page that was rendered with placeholders for `links`."""
    if not links and not tracking.opens:
        return Versions(page, page, page)
    start = clean_url(f"{publication.base_url.rstrip('/')}/c/{publication.name}/{issue.slot}")

    def counted(link: ContentLink) -> Address:
        address = html.escape(f"{start}/{link.number}")
        return [f"{address}/", TRACK_TOKEN] if tracking.per_person else [address]

    def direct(link: ContentLink) -> Address:
        return [html.escape(link.target)]

    def public(link: ContentLink) -> Address:
        return [html.escape(link.url)]

    sent = _with_addresses(page, links, counted if tracking.clicks else direct, image=True)
    return Versions(
        sent=sent,
        direct=_with_addresses(page, links, direct, image=False),
        public=_with_addresses(page, links, public, image=False),
    )


def _with_addresses(
    page: Holed, links: Sequence[ContentLink], address: Callable[[ContentLink], Address], *, image: bool
) -> Holed:
    static, holes = [page.static[0]], []
    for hole, text in zip(page.holes, page.static[1:], strict=True):
        pieces: Address = [hole]
        if hole.name.startswith(_LINK):
            pieces = address(links[int(hole.name.removeprefix(_LINK))])
        elif hole == OPEN_IMAGE and not image:
            pieces = []
        for piece in pieces:
            if isinstance(piece, Hole):
                holes.append(piece)
                static.append("")
            else:
                static[-1] += piece
        static[-1] += text
    return Holed(tuple(static), tuple(holes))


def _urls(issue: Issue) -> Iterator[str]:
    for paragraph in issue.note:
        yield from (link.url for link in paragraph.links)
    for story in issue.stories():
        if story.link:
            yield story.link
        for paragraph in story.paragraphs:
            yield from (link.url for link in paragraph.links)
