"""Long lists in parts, one after the other: people, deliveries, runs, suppressions, issues."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from newsletter.audience.model import ConsentState
from newsletter.audience.people import Person, Selection, Suppression
from newsletter.audience.store import AudienceStore
from newsletter.delivery.ledger import Ledger
from newsletter.delivery.run_values import Balance, Delivery, RunRecord
from newsletter.delivery.states import DeliveryState
from newsletter.pipeline.people import state_of

_Item = TypeVar("_Item")
#: How many people are looked at for one part, whoever of them is wanted.
LOOKED_AT = 2_000
#: Recipients that are read at once of a list of all of them.
_READ_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Part(Generic[_Item]):
    """Some of a list; `last` is behind what to go on, None at its end. A part may be short, and yet not the last."""

    items: Sequence[_Item]
    last: str | None


def some_people(
    store: AudienceStore, selection: Selection, state: ConsentState | None, *, after: str, limit: int
) -> Part[Person]:
    """The people of the selection by key, from the one behind `after`; with a `state`, those who are in it on one of
    its lists, or over all lists where it has every one."""
    most = limit if state is None else LOOKED_AT
    found: list[Person] = []
    last, everywhere = after, set(selection.lists) >= set(store.lists())
    with _closed(store.people(selection, after=after, limit=most + 1)) as people:
        for number, person in enumerate(people):
            if len(found) == limit or number == most:
                return Part(found, last)
            last = person.key
            if state is None or state in _states(person, selection, everywhere=everywhere):
                found.append(person)
    return Part(found, None)


def _states(person: Person, selection: Selection, *, everywhere: bool) -> set[ConsentState]:
    if everywhere:
        return {state_of(person)}
    return {one.state for one in person.memberships if one.list in selection.lists}


def some_suppressions(store: AudienceStore, *, standing_only: bool, after: int, limit: int) -> Part[Suppression]:
    """The suppressions by number, the oldest first, from the one behind `after`."""
    with _closed(store.suppressions(standing_only=standing_only, after=after)) as found:
        return _part(found, limit, lambda one: one.id)


def some_deliveries(
    ledger: Ledger, run: RunRecord, states: Sequence[DeliveryState], *, after: int, limit: int
) -> Part[Delivery]:
    """The deliveries of a run by subscriber number, from the one behind `after`; without `states`, in any."""
    with _closed(ledger.deliveries(run.id, states or tuple(DeliveryState), after=after)) as found:
        return _part(found, limit, lambda one: one.subscriber_id)


def every_delivery(ledger: Ledger, run: RunRecord, states: Sequence[DeliveryState]) -> Iterator[Delivery]:
    """The deliveries of a run in these states by subscriber number; read in parts, so that whoever reads slowly keeps
    no transaction open."""
    after: int | None = 0
    while after is not None:
        part = some_deliveries(ledger, run, states, after=after, limit=_READ_AT_ONCE)
        yield from part.items
        after = None if part.last is None else int(part.last)


def some_runs(
    ledger: Ledger, newsletter: str | None, *, before: int | None, limit: int
) -> Part[tuple[RunRecord, Balance]]:
    """The runs with their balance sheets, the latest first, from the one before the run of the number `before`."""
    part = _part(ledger.runs(newsletter, limit=limit + 1, before=before), limit, lambda run: run.id)
    return Part([(run, ledger.balance(run.id)) for run in part.items], part.last)


def some_of(items: Iterable[_Item], key: Callable[[_Item], str], *, after: str, limit: int) -> Part[_Item]:
    """Those of a short list, in descending order of `key`, from the one behind `after` ('': from its beginning)."""
    ordered = sorted(items, key=key, reverse=True)
    return _part((one for one in ordered if not after or key(one) < after), limit, key)


def _part(items: Iterable[_Item], limit: int, number: Callable[[_Item], object]) -> Part[_Item]:
    found = list(islice(items, limit + 1))
    return Part(found[:limit], str(number(found[limit - 1])) if len(found) > limit else None)


@contextmanager
def _closed(items: Iterator[_Item]) -> Iterator[Iterator[_Item]]:
    """A store's generator holds its transaction until it is exhausted or closed."""
    try:
        yield items
    finally:
        if isinstance(items, Generator):
            items.close()
