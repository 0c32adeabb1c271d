"""Mails opened in Chromium, cut off from the network."""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass, field

from playwright.sync_api import Browser, Page, Route

#: Where a mail pretends to come from; the only address that answers, besides the images it is given.
MAIL_URL = "https://mail.example.invalid/"


@dataclass
class MailPage:
    """One mail in one tab; `requests` are the URLs it asked for, other than itself and its images."""

    page: Page
    requests: list[str] = field(default_factory=list)

    def resize(self, width: int, scheme: str) -> Page:
        """The tab at this width, in the light or dark scheme."""
        self.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        self.page.set_viewport_size({"width": width, "height": 900})
        return self.page


def open_mail(browser: Browser, html: str, *, images: frozenset[str] = frozenset()) -> MailPage:
    """`html` in a new tab. `images` are answered with a picture 1000 px wide; all else is refused and noted."""
    opened = MailPage(browser.new_page(viewport={"width": 700, "height": 900}))

    def answer(route: Route) -> None:
        url = route.request.url
        if url == MAIL_URL:
            route.fulfill(body=html, content_type="text/html; charset=utf-8")
        elif url in images:
            route.fulfill(body=wide_picture(), content_type="image/png")
        else:
            opened.requests.append(url)
            route.abort()

    opened.page.route("**/*", answer)
    opened.page.goto(MAIL_URL, wait_until="load")
    return opened


def without_style(html: str) -> str:
    """The mail as clients show it that drop every `<style>`."""
    return re.sub(r"<style\b.*?</style>", "", html, flags=re.DOTALL)


def wide_picture(width: int = 1000, height: int = 4) -> bytes:
    """A grey PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = (b"\0" + b"\x80" * width) * height
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
