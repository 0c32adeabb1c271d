"""Values of events: what a provider, a mail server or a reader's click tells of mail that went out.

The words are those of django-anymail (https://anymail.dev/en/stable/sending/tracking/), bounces told apart.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from newsletter.delivery.names import RunName
from newsletter.delivery.states import Mark


class EventKind(StrEnum):
    """What happened. The values stand in the database; they never change."""

    #: The provider took it, and says so once more.
    SENT = "sent"
    #: The receiving server wants it later; the provider goes on trying.
    DEFERRED = "deferred"
    #: The receiving server took it.
    DELIVERED = "delivered"
    #: Not delivered, and may be another time: mailbox full, server away.
    SOFT_BOUNCE = "soft_bounce"
    #: Not delivered, and never will be: there is no such mailbox.
    HARD_BOUNCE = "hard_bounce"
    #: Not delivered for reasons that are the message's or the sender's: policy, blocked, content.
    BLOCKED = "blocked"
    #: The provider took it and then did not even try (its own suppression list, an invalid address).
    DROPPED = "dropped"
    #: The reader called it spam.
    COMPLAINED = "complained"
    #: The reader left, with the provider's or the mailbox's own means.
    UNSUBSCRIBED = "unsubscribed"
    #: Something else; kept, and without consequence.
    OTHER = "other"


#: What each kind proves of a delivery. Each one proves that the provider took the message; some mark it, too.
MARKS: Mapping[EventKind, Mark] = {
    EventKind.SENT: Mark(0),
    EventKind.DEFERRED: Mark(0),
    EventKind.DELIVERED: Mark.DELIVERED,
    EventKind.SOFT_BOUNCE: Mark.BOUNCED,
    EventKind.HARD_BOUNCE: Mark.BOUNCED,
    EventKind.BLOCKED: Mark.BOUNCED,
    EventKind.DROPPED: Mark.BOUNCED,
    EventKind.COMPLAINED: Mark.COMPLAINED,
    EventKind.UNSUBSCRIBED: Mark(0),
}

#: Kinds of which the ledger's marks say all there is: their rows go once they are settled.
IN_THE_LEDGER = frozenset({EventKind.SENT, EventKind.DEFERRED, EventKind.DELIVERED})


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `run` and `subscriber_id` say which delivery it is about, where that is known; else `key` (the
    address key) says whom. `fingerprint` (16 bytes) is the same whenever the same thing is told again.

    `source` is where it came from: `sendgrid`, `bounces`. `code` and `reason` are the provider's words, raw; of a
    DROPPED one the code is one of `newsletter.events.deciding.Dropped`.
    """

    kind: EventKind
    at: dt.datetime
    source: str
    fingerprint: bytes
    run: RunName | None = None
    subscriber_id: int | None = None
    key: str = ""
    code: str = ""
    reason: str = ""
    reference: str = ""


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """An event as it is kept; `id` ascends in the order in which they came in."""

    id: int
    event: Event
