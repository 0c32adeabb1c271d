"""What the archive keeps of an issue: its mail as it is for everybody, with no value of any subscriber in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urlsplit

from newsletter.delivery.archive import Archive, PublishedIssue
from newsletter.pipeline.prepare import Prepared
from newsletter.rendering.escaping import ascii_domain
from newsletter.rendering.holes import fill

#: Attributes that name one image, besides those of `<a>` and `<link>`; and those that may hold several, in CSS.
_IMAGE = frozenset({"src", "background", "poster"})
_CSS_URL = re.compile(r"""url\(\s*["']?([^"')\s]+)""", re.IGNORECASE)
#: What may stand in a Content-Security-Policy header; anything else is no origin.
_ORIGIN = re.compile(r"https?://(?:[a-z0-9-]+(?:\.[a-z0-9-]+)*|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


def publish_issue(prepared: Prepared, archive: Archive, *, reader: str) -> None:
    """Keeps the issue as the archive shows it, in place of an earlier version."""
    archive.keep(published(prepared, reader=reader))


def published(prepared: Prepared, *, reader: str) -> PublishedIssue:
    """The issue as somebody gets it of whom nothing is known: no name, the word `reader` in place of the address, links
    to the pages that are for all, and none of the links that count."""
    issue, rendered = prepared.issue, prepared.rendered
    site, name = prepared.publication.base_url.rstrip("/"), prepared.name
    may_subscribe = prepared.newsletter.public and prepared.request.loaded.settings.web.signup.enabled
    anybody = f"{site}/subscribe/{name}" if may_subscribe else f"{site}/"
    values = {
        "name": "",
        "email": reader,
        "unsubscribe_url": anybody,
        "preferences_url": anybody,
        "view_url": f"{site}/archive/{name}/{issue.slot}",
    }
    html = fill(rendered.public_html, values)
    return PublishedIssue(
        run=prepared.run,
        issue_date=issue.date,
        title=issue.title,
        subject=rendered.subject,
        preheader=rendered.preheader,
        html=html,
        text=fill(rendered.text, values),
        content_hash=rendered.content_hash,
        image_origins=image_origins(html),
    )


def image_origins(html: str) -> tuple[str, ...]:
    """Where the images of a page come from, each once, sorted: `https://images.example.com`."""
    reader = _Images()
    reader.feed(html)
    reader.close()
    return tuple(sorted({origin for url in reader.urls if (origin := origin_of(url))}))


def origin_of(url: str) -> str:
    """The origin of an http or https URL (RFC 6454), its host as A-labels; '' where it has none."""
    try:
        parts = urlsplit(url.strip())
        host, port = ascii_domain(parts.hostname or ""), parts.port
    except ValueError:  # an unfinished [IPv6] host, a port beyond all ports, a name that cannot be one
        return ""
    origin = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{f':{port}' if port else ''}"
    return origin if _ORIGIN.fullmatch(origin) else ""


class _Images(HTMLParser):
    """Notes the addresses of images: elements, attributes and CSS."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See HTMLParser."""
        for name, value in attrs:
            self.urls += _urls_in(tag, name, value or "")

    def handle_data(self, data: str) -> None:
        """See HTMLParser. Text outside `<style>` names none, and naming one does no harm."""
        if self.cdata_elem == "style":
            self.urls += _CSS_URL.findall(data)


def _urls_in(tag: str, attribute: str, value: str) -> Iterator[str]:
    if attribute in _IMAGE and tag not in {"script", "iframe"}:
        yield value
    elif attribute == "srcset":
        yield from (part.split()[0] for part in value.split(",") if part.strip())
    elif attribute == "style":
        yield from _CSS_URL.findall(value)
