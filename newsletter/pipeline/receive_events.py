"""Takes in what a provider posts: read, and kept before anybody is told that it was."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from newsletter.events.inbox import EventInbox
from newsletter.events.model import Event
from newsletter.events.sendgrid_events import Unreadable, read_post


@dataclass(frozen=True, slots=True)
class Received:
    """One post: its events, how many others are not ours to keep, and what was wrong with how many. `unreadable` says
    why nothing at all could be read, '' where it could."""

    events: Sequence[Event] = ()
    passed_over: int = 0
    unusable: Mapping[str, int] | None = None
    unreadable: str = ""


def receive_post(body: bytes) -> Received:
    """What SendGrid posted. Raises nothing."""
    try:
        posted = read_post(body)
    except Unreadable as error:
        return Received(unreadable=str(error))
    return Received(posted.events, posted.passed_over, posted.unusable)


def keep_posts(inbox: EventInbox, posts: Sequence[Sequence[Event]], now: dt.datetime) -> int:
    """Keeps the events of several posts in one transaction; how many are new."""
    return inbox.keep([event for post in posts for event in post], now=now)
