"""What the routes of the public side have in common: the settings, the stores, the keys and the pages."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from newsletter.access.model import TokenStore
from newsletter.audience.signups import SignUpStore
from newsletter.audience.store import AudienceStore
from newsletter.delivery.archive import Archive
from newsletter.delivery.ledger import Ledger
from newsletter.delivery.links import LinkMaker
from newsletter.events.inbox import EventInbox
from newsletter.events.tracking import TrackingStore
from newsletter.metrics import Metrics
from newsletter.rendering.words import Words
from newsletter.settings.loaded import Loaded
from newsletter.settings.model import Newsletter
from newsletter.web.pages import Pages


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, slots=True)
class Public:
    """Made once when the web part starts, by `newsletter.web.serving`."""

    loaded: Loaded
    audience: AudienceStore
    signups: SignUpStore
    ledger: Ledger
    archive: Archive
    events: EventInbox
    tracking: TrackingStore
    tokens: TokenStore
    keys: Sequence[str]
    pages: Pages
    words_of: Callable[[str], Words]
    now: Callable[[], dt.datetime] = _now
    #: Set when somebody asked for a newsletter: its mail may be due.
    asked: threading.Event = field(default_factory=threading.Event)
    metrics: Metrics = field(default_factory=Metrics)
    #: Set where events came in that are to be settled.
    events_arrived: threading.Event = field(default_factory=threading.Event)
    _links: dict[str, LinkMaker] = field(default_factory=dict)

    def newsletter(self, name: str) -> Newsletter | None:
        """The newsletter of this name."""
        return self.loaded.settings.newsletters.get(name)

    def words(self, name: str) -> Words:
        """The words in the language of this newsletter; of the site where there is none of the name."""
        newsletter, site = self.newsletter(name), self.loaded.settings.site
        return self.words_of(newsletter.language or site.language if newsletter else site.language)

    def links(self, name: str) -> LinkMaker:
        """What makes and reads the tokens of this newsletter, also of one that is no longer in the settings."""
        made = self._links.get(name) or LinkMaker(self.loaded.settings.site.base_url, name, self.keys)
        if self.newsletter(name) is not None:  # of all the names that somebody may ask for, these are few
            self._links[name] = made
        return made

    def path(self, path: str) -> str:
        """The path of a page (`/archive/daily-buzz`) behind the prefix that base_url may have."""
        return urlsplit(self.loaded.settings.site.base_url).path.rstrip("/") + path
