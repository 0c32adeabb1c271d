"""Looking up deliveries: one person's in a run or in all of them, those in certain states, and the words on them."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import attrgetter

import sqlalchemy as sa

from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import Delivery, with_code
from newsletter.delivery.states import STATE_BITS, DeliveryState, Mark
from newsletter.store.attempts import attempts_over
from newsletter.store.batch_rows import BatchRow, batch_of, walk_batches
from newsletter.store.delivery_notes import notes_on
from newsletter.store.recovery import may_hold
from newsletter.store.run_rows import RunRow, name_of
from newsletter.store.run_windows import candidates, ranges_of
from newsletter.store.settling import words_of
from newsletter.store.tables import attempt, batch, delivery_note, run, subscriber

_S = DeliveryState
#: The words of an attempt are about those who are in one of these because of it.
_WITH_WORDS = frozenset({_S.RETRY_WAIT, _S.UNKNOWN, _S.EXPIRED, _S.CANCELLED, _S.ABANDONED})


def delivery(connection: sa.Connection, row: RunRow, key: str) -> Delivery | None:
    """What became of the person with this address key; None where they are no member."""
    person = connection.execute(sa.select(subscriber.c.id).where(subscriber.c.key == key)).scalar()
    one = None if person is None else batch_of(connection, row.id, person)
    place = one.place(person) if one is not None and person is not None else None
    if one is None or place is None:
        return None
    [found] = _of_batch(connection, name_of(row), one, [place])
    return found


def deliveries_of(connection: sa.Connection, subscriber_id: int) -> Sequence[Delivery]:
    """One person's in all runs, the latest first."""
    inner = batch.alias()
    first = (
        sa.select(sa.func.max(inner.c.first_id))
        .where(inner.c.run_id == run.c.id, inner.c.first_id <= subscriber_id)
        .correlate(run)
        .scalar_subquery()
    )
    runs = connection.execute(
        sa.select(run)
        .select_from(run)
        .join(batch, sa.and_(batch.c.run_id == run.c.id, batch.c.first_id == first))
        .where(batch.c.last_id >= subscriber_id)
    ).all()
    in_windows = candidates(sa.literal(subscriber_id)).subquery()
    wanted = sa.select(run).where(run.c.id.in_(sa.select(in_windows.c.run_id)))
    every = {row.id: row for row in (*runs, *connection.execute(wanted))}.values()
    found: list[Delivery] = []
    for row in sorted(every, key=lambda one: (one.created_at, one.id), reverse=True):
        one = batch_of(connection, row.id, subscriber_id)
        place = one.place(subscriber_id) if one is not None else None
        if one is not None and place is not None:
            found += _of_batch(connection, name_of(row), one, [place])
    return found


def deliveries(
    connection: sa.Connection, row: RunRow, states: Sequence[DeliveryState], *, after: int = 0
) -> Iterator[Delivery]:
    """Those in these states, by subscriber number, from the one behind `after`; some hundred batches at a time, of each
    window if there are any."""

    def walk(*conditions: sa.ColumnElement[bool]) -> Iterator[Delivery]:
        for one in walk_batches(connection, row.id, may_hold(*states), batch.c.last_id > after, *conditions):
            if places := [place for place in one.places(*states) if one.ids[place] > after]:
                yield from _of_batch(connection, name_of(row), one, places)

    if ranges := ranges_of(connection, row.id):
        walks = [walk(batch.c.number.between(first, last)) for first, last in ranges]
        return heapq.merge(*walks, key=attrgetter("subscriber_id"))
    return walk()


def reasons(connection: sa.Connection, run_id: int) -> Mapping[tuple[DeliveryState, str], int]:
    """How often each of the words that are kept was given, by the state the delivery is in; the most frequent first.

    A provider's code stands before its words, unless they hold it.
    """
    counts: Counter[tuple[DeliveryState, str]] = Counter()
    noted = connection.execute(
        sa.select(delivery_note.c.subscriber_id, delivery_note.c.code, delivery_note.c.reason)
        .where(delivery_note.c.run_id == run_id)
        .order_by(delivery_note.c.subscriber_id)
    ).all()
    said = connection.scalars(
        sa.select(attempt.c.batch).distinct().where(attempt.c.run_id == run_id, attempt.c.reason != "")
    ).all()
    words = {row.subscriber_id: with_code(row.code, row.reason) for row in noted}
    rows = connection.execute(
        sa.select(batch.c.number, batch.c.first_id, batch.c.last_id).where(batch.c.run_id == run_id)
    )
    firsts = [(number, first, last) for number, first, last in rows]
    wanted = {*said, *_with_notes(firsts, [row.subscriber_id for row in noted])}
    with_words = set(said)
    for one in _these(connection, run_id, sorted(wanted)):
        if one.number not in with_words and words.keys().isdisjoint(one.ids):
            continue
        attempts = attempts_over(connection, run_id, one.number)
        for place, person in enumerate(one.ids):
            state = one.state(place)
            reason = words.get(person) or (words_of(attempts, place)[0] if state in _WITH_WORDS else "")
            if reason:
                counts[state, reason] += 1
    return dict(counts.most_common())


def _of_batch(connection: sa.Connection, name: RunName, one: BatchRow, places: Sequence[int]) -> list[Delivery]:
    ids = [one.ids[place] for place in places]
    notes = notes_on(connection, one.run_id, ids)
    attempts = attempts_over(connection, one.run_id, one.number)
    addresses = _addresses(connection, ids)
    found = []
    for place, person in zip(places, ids, strict=True):
        state, note = one.state(place), notes.get(person)
        words, at = words_of(attempts, place)
        found.append(
            Delivery(
                run=name,
                subscriber_id=person,
                # '' of somebody who was erased
                address=addresses.get(person, ""),
                state=state,
                batch=one.number,
                attempts=sum(attempt.covers(place) for attempt in attempts) if state is not _S.PLANNED else 0,
                marks=Mark(one.states[place] & ~STATE_BITS),
                code=note.code if note else "",
                reason=note.reason if note else words if state in _WITH_WORDS else "",
                at=note.at if note else at if state is not _S.PLANNED else None,
            )
        )
    return found


def _addresses(connection: sa.Connection, ids: Sequence[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for start in range(0, len(ids), 1_000):
        some = list(ids[start : start + 1_000])
        rows = connection.execute(sa.select(subscriber.c.id, subscriber.c.address).where(subscriber.c.id.in_(some)))
        found |= {row.id: row.address for row in rows}
    return found


def _with_notes(batches: Iterable[tuple[int, int, int]], people: Sequence[int]) -> Iterator[int]:
    """The batches that these people (ascending) can be in."""
    for number, first, last in batches:
        at = bisect_left(people, first)
        if at < len(people) and people[at] <= last:
            yield number


def _these(connection: sa.Connection, run_id: int, numbers: Sequence[int]) -> Iterator[BatchRow]:
    for start in range(0, len(numbers), 200):
        yield from walk_batches(connection, run_id, batch.c.number.in_(numbers[start : start + 200]))
