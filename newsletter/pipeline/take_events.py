"""Draws the consequences of events that wait: marks in the ledger, suppressions in the audience, and they are settled.

Every step can be done again: whatever stops the process between two of them, the next look does the rest.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from newsletter.audience.people import Person, SuppressionReason
from newsletter.audience.store import AudienceStore
from newsletter.delivery.ledger import Ledger
from newsletter.delivery.names import RunName
from newsletter.errors import TemporaryError
from newsletter.events.deciding import (
    SoftLimit,
    Suppressing,
    marks_of,
    may_suppress,
    soft_since,
    suppression_by_soft_bounces,
    suppressions_by,
)
from newsletter.events.inbox import EventInbox
from newsletter.events.model import IN_THE_LEDGER, Event, EventKind, KeptEvent
from newsletter.settings.loaded import Loaded

#: Events of one look. The transactions that follow hold up a send on SQLite for some hundredths of a second.
_AT_A_TIME = 500
#: Rows of one deletion.
_PRUNED_AT_A_TIME = 5_000


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of events: how many were `settled`, of how many deliveries something is `news`, how many `suppressions`
    are new. `failures` says why some wait on, by the error."""

    settled: int = 0
    news: int = 0
    suppressions: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Taken) -> Taken:
        failures = dict(self.failures)
        for why, number in other.failures.items():
            failures[why] = failures.get(why, 0) + number
        return Taken(
            self.settled + other.settled, self.news + other.news, self.suppressions + other.suppressions, failures
        )


@dataclass(frozen=True, slots=True)
class EventTools:
    """Where events are kept, and what they have consequences for. `lists_of` are the lists of a newsletter that is in
    the settings, by its name."""

    inbox: EventInbox
    ledger: Ledger
    audience: AudienceStore
    soft_limit: SoftLimit
    lists_of: Mapping[str, Sequence[str]]


def event_tools(loaded: Loaded, inbox: EventInbox, ledger: Ledger, audience: AudienceStore) -> EventTools:
    """The tools by the settings."""
    bounces = loaded.settings.bounces
    lists = {name: newsletter.lists or (name,) for name, newsletter in loaded.settings.newsletters.items()}
    return EventTools(inbox, ledger, audience, SoftLimit(bounces.soft_limit, bounces.soft_within), lists)


def take_events(
    tools: EventTools, *, now: Callable[[], dt.datetime], stop: Callable[[], bool] = lambda: False
) -> Taken:
    """Settles what waits, some hundred at a time, until nothing does or `stop` says so.

    What fails by itself waits on, and keeps nothing else from being settled. Raises TemporaryError: then all that is
    left does.
    """
    taken, last = Taken(), 0
    while not stop() and (some := tools.inbox.waiting(limit=_AT_A_TIME, after=last)):
        taken += _take(tools, some, now())
        last = some[-1].id
    return taken


def prune_events(tools: EventTools, *, keep: dt.timedelta, now: dt.datetime) -> int:
    """Removes settled events that are older than `keep`; how many."""
    removed = 0
    while number := tools.inbox.prune(before=now - keep, limit=_PRUNED_AT_A_TIME):
        removed += number
    return removed


def _take(tools: EventTools, kept: Sequence[KeptEvent], now: dt.datetime) -> Taken:
    taken = Taken()
    by_run: dict[RunName | None, list[KeptEvent]] = {}
    for one in kept:
        by_run.setdefault(one.event.run, []).append(one)
    settled: list[int] = []
    for name, members in by_run.items():
        done, came = _take_run(tools, name, members, now)
        settled += done
        taken += came
    over = frozenset(settled)
    gone = [one.id for one in kept if one.id in over and _is_of_erased(tools, one.event)]
    tools.inbox.settled(settled, gone=gone, now=now)
    return replace(taken, settled=len(settled))


def _take_run(
    tools: EventTools, name: RunName | None, kept: Sequence[KeptEvent], now: dt.datetime
) -> tuple[list[int], Taken]:
    """The numbers of those that are settled, and what came of them."""
    news: int | None = 0
    about: _About | None = _About((None,))
    try:
        if name is not None:
            news = tools.ledger.witness(name, marks_of(one.event for one in kept).get(name, {}), now=now)
            about = _about(tools, name, kept) if news is not None else None
    except TemporaryError:
        raise
    except Exception as error:  # noqa: BLE001 - one run must not keep the events of all others from being settled
        return [], Taken(failures={_named(error): len(kept)})
    settled, taken = [], Taken(news=news or 0)
    for one in kept:
        try:
            taken += Taken(suppressions=_suppress(tools, one.event, about, now) if about else 0)
        except TemporaryError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            taken += Taken(failures={_named(error): 1})
        else:
            settled.append(one.id)
    return settled, taken


@dataclass(frozen=True, slots=True)
class _About:
    """What an unsubscription is from, and the run whose members the events must be about."""

    lists: Sequence[str | None]
    run_id: int | None = None


def _about(tools: EventTools, name: RunName, kept: Sequence[KeptEvent]) -> _About | None:
    """None where it does not matter, or the run is not there."""
    run = tools.ledger.run(name) if any(may_suppress(one.event) for one in kept) else None
    return _About(tools.lists_of.get(name.newsletter) or run.selection.lists, run.id) if run else None


def _suppress(tools: EventTools, event: Event, about: _About, now: dt.datetime) -> int:
    """How many suppressions are new."""
    person = _person(tools, event, about) if may_suppress(event) else None
    if person is None:
        return 0
    new = 0
    for one in _suppressions(tools, event, person, about.lists, now):
        source, note = event.source, one.note
        if one.reason is SuppressionReason.UNSUBSCRIBE:
            new += tools.audience.unsubscribe(person.key, one.list, source=source, note=note, now=now)
        else:
            new += tools.audience.suppress(person.key, one.reason, one.list, source=source, note=note, now=now)
    return new


def _suppressions(
    tools: EventTools, event: Event, person: Person, lists: Sequence[str | None], now: dt.datetime
) -> Sequence[Suppressing]:
    if event.kind is not EventKind.SOFT_BOUNCE:
        return suppressions_by(event, person, lists)
    assert person.id is not None
    bounces = tools.inbox.soft_bounces(person.id, since=soft_since(person, tools.soft_limit, now))
    one = suppression_by_soft_bounces(event, bounces, tools.soft_limit)
    return [one] if one else []


def _person(tools: EventTools, event: Event, about: _About) -> Person | None:
    """Whom the event is about; None where they are nobody of ours: unknown, erased, or no member of the run."""
    number, key = event.subscriber_id, event.key
    person = tools.audience.person_of(number) if number else tools.audience.person(key) if key else None
    if person is None or person.id is None:
        return None
    if about.run_id is not None and tools.ledger.delivery(about.run_id, person.key) is None:
        return None
    return person


def _is_of_erased(tools: EventTools, event: Event) -> bool:
    """Whether it came in about somebody who was erased before: what it says of them must not be kept."""
    if event.kind in IN_THE_LEDGER:
        return False
    if event.subscriber_id:
        return tools.audience.person_of(event.subscriber_id) is None
    person = tools.audience.person(event.key) if event.key else None
    return person is not None and person.id is None and _was_erased(person)


def _was_erased(person: Person) -> bool:
    return any(one.reason is SuppressionReason.ERASED for one in person.suppressions)


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
