"""What follows from an event: marks in the ledger, and whom not to mail any more. Pure.

Events come late, in any order and more than once. What a person or an operator did after an event is not undone by it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from newsletter.audience.people import Person, SuppressionReason
from newsletter.delivery.names import RunName
from newsletter.delivery.states import Mark
from newsletter.events.model import MARKS, Event, EventKind

_R = SuppressionReason


class Dropped(StrEnum):
    """Why a provider did not even try: the `code` of an event of the kind DROPPED, if the provider said."""

    #: Mail to them bounced before.
    BOUNCED = "bounced"
    #: It is no address.
    INVALID = "invalid"
    #: They called something spam before.
    SPAM = "spam"
    #: They left by the provider's means.
    UNSUBSCRIBED = "unsubscribed"
    #: Anything else: the content, the account.
    OTHER = "other"


#: Kinds that end mail to somebody, for all lists or (UNSUBSCRIBE) for those of the run's newsletter.
_OF_KIND: Mapping[EventKind, SuppressionReason] = {
    EventKind.HARD_BOUNCE: _R.HARD_BOUNCE,
    EventKind.COMPLAINED: _R.COMPLAINT,
    EventKind.UNSUBSCRIBED: _R.UNSUBSCRIBE,
}
_OF_DROPPED: Mapping[str, SuppressionReason] = {
    Dropped.BOUNCED: _R.HARD_BOUNCE,
    Dropped.INVALID: _R.HARD_BOUNCE,
    Dropped.SPAM: _R.COMPLAINT,
    Dropped.UNSUBSCRIBED: _R.UNSUBSCRIBE,
}
#: A server's words in the note of a suppression.
_LONGEST_WORDS = 200


@dataclass(frozen=True, slots=True)
class SoftLimit:
    """So many soft bounces within `within` count as a hard one."""

    most: int
    within: dt.timedelta


@dataclass(frozen=True, slots=True)
class Suppressing:
    """Somebody must not be mailed: `list` None is all lists."""

    reason: SuppressionReason
    list: str | None
    note: str


def marks_of(events: Iterable[Event]) -> Mapping[RunName, Mapping[int, Mark]]:
    """What to note of each delivery, by run and subscriber, whatever the order of the events."""
    marks: dict[RunName, dict[int, Mark]] = {}
    for one in events:
        if one.run is not None and one.subscriber_id is not None and one.kind in MARKS:
            of_run = marks.setdefault(one.run, {})
            of_run[one.subscriber_id] = of_run.get(one.subscriber_id, Mark(0)) | MARKS[one.kind]
    return marks


def reason_of(event: Event) -> SuppressionReason | None:
    """Why the person must not be mailed after this event by itself; None where they may."""
    return _OF_DROPPED.get(event.code) if event.kind is EventKind.DROPPED else _OF_KIND.get(event.kind)


def may_suppress(event: Event) -> bool:
    """Whether the event, by itself or with others, can end mail to somebody."""
    return event.kind is EventKind.SOFT_BOUNCE or reason_of(event) is not None


def suppressions_by(event: Event, person: Person, lists: Sequence[str | None]) -> Sequence[Suppressing]:
    """What to record; nothing where something newer speaks against it. `lists` are those of the run's newsletter;
    (None,) where no run is known."""
    reason = reason_of(event)
    if reason is None:
        return ()
    scopes: Sequence[str | None] = lists if reason is _R.UNSUBSCRIBE else (None,)
    return [Suppressing(reason, one, _note(event)) for one in scopes if not _outdated(event, person, reason, one)]


def soft_since(person: Person, limit: SoftLimit, now: dt.datetime) -> dt.datetime:
    """From when on soft bounces count: those before an operator lifted a hard bounce do not."""
    return max([now - limit.within, *_lifts(person, _R.HARD_BOUNCE)])


def suppression_by_soft_bounces(event: Event, bounces: int, limit: SoftLimit) -> Suppressing | None:
    """The same of one that bounces softly, for whom `bounces` are counted."""
    if bounces < limit.most:
        return None
    within = f"{limit.within.days} days" if limit.within.days else str(limit.within)
    note = f"{bounces} soft bounces within {within}, the last: {_note(event)}"
    return Suppressing(_R.HARD_BOUNCE, None, note)


def _outdated(event: Event, person: Person, reason: SuppressionReason, list_name: str | None) -> bool:
    """Whether it was lifted since, or the person asked for the list since."""
    newer = list(_lifts(person, reason, list_name))
    if reason is _R.UNSUBSCRIBE:
        newer += [one.at for one in person.consents if list_name in (None, one.list)]
    return any(moment > event.at for moment in newer)


def _lifts(person: Person, reason: SuppressionReason, list_name: str | None = None) -> Iterable[dt.datetime]:
    for one in person.suppressions:
        if one.reason is reason:
            lifts = [lift for lift in one.lifted_for if list_name in (None, lift.list)]
            yield from (lift.at for lift in ([one.lift] if one.lift else []) + lifts)


def _note(event: Event) -> str:
    """The provider's words."""
    code = "" if event.kind is EventKind.DROPPED or event.code in event.reason else event.code
    words = " ".join(part for part in (code, event.reason) if part) or event.kind.value.replace("_", " ")
    about = f" ({event.run})" if event.run else ""
    return words[:_LONGEST_WORDS] + about
