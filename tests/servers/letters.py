"""A small issue, and batches of it, for tests that hand mail to a server."""

from __future__ import annotations

import datetime as dt

from newsletter.delivery.model import Batch, Recipient
from newsletter.rendering.letter import Letterhead, message_id
from newsletter.rendering.model import Hole, HoleContext, Holed, RenderedIssue, Variant

LETTERHEAD = Letterhead(
    "Daily Buzz <buzz@news.example.com>",
    "editor@example.com",
    "daily-buzz.news.example.com",
    "Daily Buzz",
    "2026-01-07:daily-buzz:issue:daily-buzz",
    dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC),
)


def issue(size: int = 2_000, variant: Variant = ()) -> RenderedIssue:
    """An issue of about `size` bytes, some lines of which begin with a dot, and some with blanks."""
    filler = "  <p>Some words of  a story, as there are   many.</p>\n.<p>A line that begins with a dot.</p>\n"
    html = Holed(
        (
            "<!DOCTYPE html><html><body>\n<p>Good morning ",
            "</p>\n" + filler * (size // len(filler)) + '<a href="',
            '">leave</a>\n\n</body></html>\n',
        ),
        (Hole("name", HoleContext.HTML), Hole("unsubscribe_url", HoleContext.HTML_URL)),
    )
    text = Holed(
        ("Good morning ", "\n..\n.\nleave: ", "\n\n"),
        (Hole("name", HoleContext.TEXT), Hole("unsubscribe_url", HoleContext.TEXT_URL)),
    )
    return RenderedIssue("A morning — with coffee", "", html, text, "0" * 64, variant)


def recipient(number: int, *, name: str = "", address: str = "", variant: Variant = ()) -> Recipient:
    """Recipient `id7`, `p7@example.com`, for 7."""
    address = address or f"p{number}@example.com"
    url = f"https://news.example.com/unsubscribe/daily-buzz/token{number}"
    return Recipient(
        id=f"id{number}",
        address=address,
        name=name,
        message_id=message_id("daily-buzz/2026-01-07", f"id{number}", "news.example.com"),
        unsubscribe_url=url,
        values={"name": name, "email": address, "unsubscribe_url": url},
        variant=variant,
    )


def batch(count: int, *, first: int = 1) -> Batch:
    """A batch to `count` recipients, the first of whom has the number `first`."""
    return Batch("daily-buzz/2026-01-07", 1, LETTERHEAD, tuple(map(recipient, range(first, first + count))))
