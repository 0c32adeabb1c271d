"""The words by which files say whether somebody gets mail: `status` of a program's export, `reason` of a blocklist.

A word that nobody knows is never taken for consent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from types import MappingProxyType

from newsletter.audience.csv_cells import clean
from newsletter.audience.people import SuppressionReason


class Standing(Enum):
    """What a word says of somebody who is not gone."""

    #: Nothing against mailing them; nor is it a consent.
    OPEN = "open"
    #: They were asked, and have not answered.
    UNCONFIRMED = "unconfirmed"
    #: Nobody can tell.
    UNCLEAR = "unclear"


def _plain(text: str) -> str:
    return re.sub(r"[\s_-]+", "", text.casefold())


#: Compared without case, spaces, hyphens and underscores.
_DEPARTURES = {
    SuppressionReason.UNSUBSCRIBE: "unsubscribed, unsubscribe, unsub, unsubbed, opted out, opt out, left, gone,"
    " removed, deleted, erased, inactive, cancelled, canceled, non-subscribed, not subscribed",
    SuppressionReason.HARD_BOUNCE: "hard bounce, hard bounced, bounce, bounced, cleaned, invalid",
    SuppressionReason.COMPLAINT: "complaint, complained, spam, spam complaint, spam report, abuse, junk",
    SuppressionReason.MANUAL: "manual, suppressed, blocklisted, blacklisted, blocked, banned, disabled, archived",
}
_OTHERS = {
    Standing.OPEN: "subscribed, enabled, active, confirmed, opted in, opt in",
    Standing.UNCONFIRMED: "pending, unconfirmed, not confirmed",
}
_SAID: Mapping[str, SuppressionReason | Standing] = MappingProxyType(
    {
        "": Standing.OPEN,
        **{_plain(word): reason for reason, words in _DEPARTURES.items() for word in words.split(",")},
        **{_plain(word): standing for standing, words in _OTHERS.items() for word in words.split(",")},
    }
)
#: In a sentence, such as Mailchimp's `ABUSE (reported as spam)`.
_COMPLAINT = re.compile(r"\babuse|\bspam\b|\bcomplain", re.IGNORECASE)
#: Longer texts are no such word.
_LONGEST = 100


def standing_of(text: str) -> SuppressionReason | Standing:
    """What a cell says of somebody: why they must not be mailed, or how they stand."""
    return _standing(text) if len(text) <= _LONGEST else Standing.UNCLEAR


@lru_cache(1_000)
def _standing(text: str) -> SuppressionReason | Standing:
    return _SAID.get(_plain(clean(text, _LONGEST)), Standing.UNCLEAR)


def departure_of(text: str) -> SuppressionReason | None:
    """The reason that a word or a sentence gives for leaving; None where it gives none."""
    said = standing_of(text)
    if isinstance(said, SuppressionReason):
        return said
    return SuppressionReason.COMPLAINT if _COMPLAINT.search(text) else None
