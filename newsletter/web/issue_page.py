"""An issue of the archive as a page: the HTML that was mailed, a bar above it, and headers that let nothing run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from html.parser import HTMLParser
from itertools import accumulate

from markupsafe import Markup

from newsletter.delivery.archive import PublishedIssue
from newsletter.rendering.words import Words

#: What may stand in a Content-Security-Policy header as the origin of an image. What was kept is looked at again.
_ORIGIN = re.compile(r"https?://[a-z0-9\[\]:.-]+")
#: The colours are the system's, light or dark as the mail is. 44 px high.
_BAR = Markup(
    '<nav aria-label="{label}" style="box-sizing:border-box;margin:0;padding:0 12px;border-bottom:1px solid #8a909c;'
    "background:Canvas;color:CanvasText;font:14px/20px -apple-system,Segoe UI,Arial,sans-serif;text-align:center;"
    'word-spacing:normal">{links}</nav>'
)
_LINK = Markup('<a href="{url}" style="display:inline-block;padding:12px 8px;color:inherit">{text}</a>')
_HEAD = Markup(
    '<link rel="canonical" href="{url}">'
    '<link rel="alternate" type="application/atom+xml" title="{title}" href="{feed}">'
    '<meta name="description" content="{description}">'
)


def issue_page(
    issue: PublishedIssue, words: Words, *, title: str, url: str, archive_path: str, subscribe_path: str
) -> str:
    """The issue's own HTML. The bar leads to all issues, and to the form where there is one (`subscribe_path`)."""
    links = [_LINK.format(url=archive_path, text=words("archive.all_issues"))]
    if subscribe_path:
        links.append(_LINK.format(url=subscribe_path, text=words("archive.subscribe")))
    bar = _BAR.format(label=words("archive.bar", newsletter=title), links=Markup(" · ").join(links))
    head = _HEAD.format(url=url, title=title, feed=f"{archive_path}/feed.atom", description=issue.preheader)
    return _framed(issue.html, str(head), str(bar))


def issue_headers(issue: PublishedIssue) -> Mapping[str, str]:
    """No script, no form, no frame, and images from where the issue has its own: whatever is in its HTML."""
    images = " ".join(["data:", *(one for one in issue.image_origins if _ORIGIN.fullmatch(one))])
    policy = [
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        f"img-src {images}",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # what a link opens in a new tab is a page like any other
        "sandbox allow-popups allow-popups-to-escape-sandbox allow-top-navigation-by-user-activation",
    ]
    # browsers show no page that is sandboxed and asks for an opener of its own origin (HTML, "create navigation params
    # by fetching")
    return {"Content-Security-Policy": "; ".join(policy), "Cross-Origin-Opener-Policy": "unsafe-none"}


@lru_cache(maxsize=64)
def _framed(html: str, head: str, bar: str) -> str:
    """`head` at the end of the page's head, `bar` at the start of its body, and a landmark around the rest of that, for
    those who hear the page; where it has no such parts, it stays as it is."""
    seams = _Seams(html)
    main, end = ("<main>", "</main>") if seams.body_ends else ("", "")
    pieces = [(seams.head_ends, head), (seams.body_begins, bar + main), (seams.body_ends, end)]
    for at, piece in sorted(((at, piece) for at, piece in pieces if at), reverse=True):
        html = html[:at] + piece + html[at:]
    return html


class _Seams(HTMLParser):
    """Where the head of a page ends, and its body begins and ends: offsets, 0 where there is none."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.head_ends = 0
        self.body_begins = 0
        self.body_ends = 0
        self._lines = [0, *accumulate(len(line) + 1 for line in html.split("\n"))]
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - as called
        """See HTMLParser."""
        if tag == "body" and not self.body_begins:
            self.body_begins = self._at() + len(self.get_starttag_text() or "")

    def handle_endtag(self, tag: str) -> None:
        """See HTMLParser."""
        if tag == "head" and not self.head_ends:
            self.head_ends = self._at()
        elif tag == "body" and self.body_begins:
            self.body_ends = self._at()

    def _at(self) -> int:
        line, column = self.getpos()
        return self._lines[line - 1] + column
