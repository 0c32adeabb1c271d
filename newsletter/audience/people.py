"""What is kept about a person: subscriptions, consents, suppressions. Times carry their zone (UTC when read back)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from newsletter.audience.model import ConsentState, Exclusion


class SuppressionReason(StrEnum):
    """Why an address must not be mailed."""

    #: The person left. Their own confirmation lifts it, or an operator's `--reconsent`.
    UNSUBSCRIBE = "unsubscribe"
    #: The mailbox does not exist. An operator alone lifts it.
    HARD_BOUNCE = "hard_bounce"
    #: The person called it spam. An operator alone lifts it.
    COMPLAINT = "complaint"
    #: An operator keeps the address out. An operator alone lifts it.
    MANUAL = "manual"
    #: The person was erased; only a keyed hash of the address is left. Their own confirmation lifts it, or an operator.
    ERASED = "erased"


class LiftedBy(StrEnum):
    """Who lifts a suppression."""

    #: The person, by confirming a subscription.
    CONFIRMATION = "confirmation"
    #: An operator, who gives a reason.
    OPERATOR = "operator"


#: Whom each suppression yields to. An import, a sync or an API call is not among them, ever.
MAY_LIFT: Mapping[SuppressionReason, frozenset[LiftedBy]] = {
    SuppressionReason.UNSUBSCRIBE: frozenset({LiftedBy.CONFIRMATION, LiftedBy.OPERATOR}),
    SuppressionReason.HARD_BOUNCE: frozenset({LiftedBy.OPERATOR}),
    SuppressionReason.COMPLAINT: frozenset({LiftedBy.OPERATOR}),
    SuppressionReason.MANUAL: frozenset({LiftedBy.OPERATOR}),
    SuppressionReason.ERASED: frozenset({LiftedBy.CONFIRMATION, LiftedBy.OPERATOR}),
}


def may_lift(reason: SuppressionReason, by: LiftedBy) -> bool:
    """Whether a suppression for this reason yields to `by`."""
    return by in MAY_LIFT[reason]


@dataclass(frozen=True, slots=True)
class Lift:
    """The record that ends a suppression; with a `list`, for that list alone."""

    at: dt.datetime
    by: LiftedBy
    note: str = ""
    list: str | None = None


@dataclass(frozen=True, slots=True)
class Suppression:
    """One record. `list` is None where it holds for all lists; `lift` is what ended it, `lifted_for` what ended it for
    some of them. `key` is an address key or, of an erased person, `hmac:` and a keyed hash."""

    id: int
    key: str
    reason: SuppressionReason
    list: str | None
    at: dt.datetime
    source: str = ""
    note: str = ""
    lift: Lift | None = None
    lifted_for: tuple[Lift, ...] = ()

    def stands(self, list_name: str | None = None) -> bool:
        """Whether it holds for this list (None: for any)."""
        if self.lift is not None or list_name is None:
            return self.lift is None
        return self.list in {None, list_name} and all(one.list != list_name for one in self.lifted_for)


@dataclass(frozen=True, slots=True)
class Consent:
    """One record of somebody asking for a list: when, where, in what words, from which IP address if it was kept."""

    list: str
    at: dt.datetime
    source: str = ""
    wording: str = ""
    ip: str = ""
    recorded_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class OpensConsent:
    """One record of somebody consenting to opens being measured (`given`), or taking that back, and in what words."""

    given: bool
    at: dt.datetime
    wording: str = ""
    ip: str = ""


@dataclass(frozen=True, slots=True)
class Membership:
    """Somebody's state on one list, and since when."""

    list: str
    state: ConsentState
    since: dt.datetime


@dataclass(frozen=True, slots=True)
class Person:
    """Everything held about one address. `id` is None where only suppressions are left of them."""

    id: int | None
    key: str
    address: str
    name: str = ""
    language: str = ""
    timezone: str = ""
    tags: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    created_at: dt.datetime | None = None
    #: No mail before then, by their own wish.
    paused_until: dt.datetime | None = None
    #: Whether they consented to opens being measured.
    measures_opens: bool = False
    memberships: tuple[Membership, ...] = ()
    consents: tuple[Consent, ...] = ()
    suppressions: tuple[Suppression, ...] = ()
    #: What they said of opens being measured, the oldest first.
    opens_consents: tuple[OpensConsent, ...] = ()


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a person may change of themselves; None leaves it as it is."""

    name: str | None = None
    language: str | None = None
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class Departure:
    """Somebody, by their number, leaves these lists; `source` says how (`one-click`, `page`)."""

    subscriber_id: int
    lists: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Some subscribers: on any of `lists`, with every one of `with_tags` and none of `without_tags`, and with these
    attribute values."""

    lists: tuple[str, ...]
    with_tags: tuple[str, ...] = ()
    without_tags: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ListStats:
    """One list in numbers. `growth` is subscriptions less departures within the last 30 days."""

    list: str
    subscribed: int
    pending: int
    unsubscribed: int
    suppressed: int
    joined_30_days: int
    left_30_days: int

    @property
    def growth(self) -> int:
        """How much the list grew in 30 days; negative where it shrank."""
        return self.joined_30_days - self.left_30_days


@dataclass(frozen=True, slots=True)
class Frozen:
    """The audience of a run, planned: how many members, and how many are left out for which reason."""

    run_id: int
    planned: int
    excluded: Mapping[Exclusion, int]


@dataclass(frozen=True, slots=True)
class PlannedAudience:
    """Whom a run would have and whom it would leave out, by their ids in ascending order."""

    members: Sequence[int]
    excluded: Mapping[Exclusion, Sequence[int]]


@dataclass(frozen=True, slots=True)
class ImportTerms:
    """What an import may do.

    `into` is the list for rows without one. `confirmed_by` records the operator's claim that the rows without consent
    columns have asked for it; `reconsent`, with the operator's reason, also lifts what an operator may lift.
    """

    into: str
    source: str
    confirmed_by: str = ""
    reconsent: str = ""
    #: Whether the same source another time is the same file; not so of standard input.
    named: bool = False


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """rows = new + updated + unchanged + suppressed + invalid + duplicate; `pending` are those of the new ones."""

    rows: int = 0
    new: int = 0
    updated: int = 0
    unchanged: int = 0
    suppressed: int = 0
    invalid: int = 0
    duplicate: int = 0
    pending: int = 0
