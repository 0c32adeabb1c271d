"""A small issue with every kind of hole, and batches of recipients to send it to."""

from __future__ import annotations

import datetime as dt

from newsletter.delivery.model import Batch, Recipient
from newsletter.rendering.letter import Letterhead, message_id
from newsletter.rendering.model import Hole, HoleContext, Holed, RenderedIssue, Variant

RUN = "daily-buzz/2026-01-07"
LETTERHEAD = Letterhead(
    "Daily Buzz <buzz@news.example.com>",
    "editor@example.com",
    "daily-buzz.news.example.com",
    "Daily Buzz",
    "2026-01-07:daily-buzz:issue:daily-buzz",
    dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC),
)
SUBJECT = "A morning — with “coffee”, & more <now>"
PLAIN: Variant = (("tier", ""),)
GOLD: Variant = (("tier", "gold"),)


def issue(variant: Variant = PLAIN) -> RenderedIssue:
    """The issue for one variant: its HTML and text begin with the tier."""
    tier = dict(variant)["tier"] or "plain"
    html = Holed(
        (
            f'<!DOCTYPE html>\n<html><body title="{tier}"><p id="',
            '">Good morning ',
            ', caf\u00e9 \U0001f4f0</p>\n<a href="',
            '">leave</a> ',
            "</body></html>\n",
        ),
        (
            Hole("name", HoleContext.HTML),
            Hole("name", HoleContext.HTML),
            Hole("unsubscribe_url", HoleContext.HTML_URL),
            Hole("email", HoleContext.HTML),
        ),
    )
    text = Holed(
        (f"{tier}: Good morning ", ", caf\u00e9\n.a dot\nLeave: ", "\n"),
        (Hole("name", HoleContext.TEXT), Hole("unsubscribe_url", HoleContext.TEXT_URL)),
    )
    return RenderedIssue(SUBJECT, "", html, text, "5a" * 32, variant)


RENDERED = {PLAIN: issue(PLAIN), GOLD: issue(GOLD)}


def recipient(number: int, name: str = "", address: str = "", variant: Variant = PLAIN) -> Recipient:
    """Somebody with values of their own."""
    url = f"https://news.example.com/unsubscribe/daily-buzz/token{number}?a=1&b=2"
    address = address or f"p{number}@example.com"
    return Recipient(
        id=str(number),
        address=address,
        name=name,
        message_id=message_id(RUN, str(number), "news.example.com"),
        unsubscribe_url=url,
        values={"name": name, "email": address, "unsubscribe_url": url},
        variant=variant,
    )


def batch(*recipients: Recipient, number: int = 1, letterhead: Letterhead = LETTERHEAD) -> Batch:
    """A batch of these, for its first call."""
    return Batch(RUN, number, letterhead, recipients, call_id=f"call-{number}-1")
