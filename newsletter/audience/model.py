"""Who an issue goes to, and who not, and why."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class ConsentState(StrEnum):
    """What a subscriber has said."""

    #: On the list, but nothing shows that they asked for it.
    PENDING = "pending"
    #: They asked for it; `consent_at` says when.
    SUBSCRIBED = "subscribed"
    #: They left.
    UNSUBSCRIBED = "unsubscribed"


class Exclusion(StrEnum):
    """Why someone on the lists is not in the audience. Everyone left out carries exactly one."""

    #: A suppression (unsubscribe, hard bounce, complaint, manual) stands.
    SUPPRESSED = "suppressed"
    #: Consent is not recorded.
    PENDING = "pending"
    #: The address cannot be mailed.
    INVALID = "invalid"
    #: The same person stands on the lists before.
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A person on a list. `address` is as given, for sending; `key` is what tells two people apart."""

    key: str
    address: str
    name: str = ""
    lists: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    timezone: str = ""
    language: str = ""
    consent_at: dt.datetime | None = None
    consent_source: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    #: The row it was read from: `subscribers/daily-buzz.csv:7`.
    place: str = field(default="", compare=False)

    @property
    def state(self) -> ConsentState:
        """Pending until a consent is recorded."""
        return ConsentState.SUBSCRIBED if self.consent_at else ConsentState.PENDING


@dataclass(frozen=True, slots=True)
class Excluded:
    """Someone on the lists who is not mailed, and why; `place` is the row that says so (`file.csv:7`)."""

    address: str
    reason: Exclusion
    detail: str
    place: str
    #: The lists the row is for.
    lists: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Audience:
    """The subscribers an issue goes to, in the order of the lists; everyone else on them, with the reason."""

    members: tuple[Subscriber, ...]
    excluded: tuple[Excluded, ...]

    def excluded_by_reason(self) -> dict[Exclusion, int]:
        """How many are left out for each reason that occurs, in the order of `Exclusion`."""
        counts = {reason: sum(1 for one in self.excluded if one.reason is reason) for reason in Exclusion}
        return {reason: count for reason, count in counts.items() if count}
