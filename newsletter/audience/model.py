"""Who an issue goes to, and who not, and why."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from newsletter.audience.people import SuppressionReason


#: What most people have.
NO_ATTRIBUTES: Mapping[str, str] = MappingProxyType({})


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
    #: They wish no mail until a date that is still to come.
    PAUSED = "paused"
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
    consent_wording: str = ""
    consent_ip: str = ""
    #: The row says something about consent that is no date: pending, and no claim of an operator covers it.
    consent_unclear: bool = False
    #: Why they must not be mailed, where the row says so (an export of another program), and since when if it is known.
    left: SuppressionReason | None = None
    left_at: dt.datetime | None = None
    #: The row it was read from: `subscribers/daily-buzz.csv:7`.
    place: str = field(default="", compare=False)
    #: Whether `left` holds for all lists; None: where the row does not say, all but an unsubscribe do.
    left_everywhere: bool | None = None


@dataclass(frozen=True, slots=True)
class SubscriberColumns:
    """Many subscribers, a column at a time: what stands first in each column is of the first of them, and so on.

    To make an object for each of a million rows takes longer than all else there is to do to read them.
    The columns are the fields of `Subscriber`, as long as each other; `attributes` has the names and values of each.
    """

    key: Sequence[str]
    address: Sequence[str]
    name: Sequence[str]
    lists: Sequence[tuple[str, ...]]
    tags: Sequence[tuple[str, ...]]
    timezone: Sequence[str]
    language: Sequence[str]
    consent_at: Sequence[dt.datetime | None]
    consent_source: Sequence[str]
    attributes: Sequence[tuple[tuple[str, str], ...]]
    consent_wording: Sequence[str]
    consent_ip: Sequence[str]
    consent_unclear: Sequence[bool]
    left: Sequence[SuppressionReason | None]
    left_at: Sequence[dt.datetime | None]
    place: Sequence[str]
    left_everywhere: Sequence[bool | None]


class Member(NamedTuple):
    """A subscriber in an audience: what a mail to them needs. `id` is their number in the database, never reused.

    A tuple, as `delivery.model.Recipient` is: a run makes one of each a message, at a quarter of a dataclass's cost.
    """

    id: int
    key: str
    address: str
    name: str = ""
    language: str = ""
    timezone: str = ""
    attributes: Mapping[str, str] = NO_ATTRIBUTES
    #: Whether they consented to opens being measured.
    measures_opens: bool = False


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
    """Whom an issue goes to, in numbers, and the first of those who get it and of those who do not by name.

    `left_out` has the reasons that occur, in the order of `Exclusion`.
    """

    planned: int
    left_out: Mapping[Exclusion, int] = field(default_factory=dict)
    members: tuple[Member, ...] = ()
    excluded: tuple[Excluded, ...] = ()

    @property
    def everyone(self) -> int:
        """All on the lists."""
        return self.planned + sum(self.left_out.values())
