"""A batch as it is read, changed and written back; only where nobody else has changed it in between."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from newsletter.delivery.states import CLAIMABLE, STATE_BITS, Change, DeliveryState, Mark, after, changed
from newsletter.store.packing import unpack
from newsletter.store.run_windows import candidates
from newsletter.store.state_bytes import STATES, number_in, pack_states, places_in, unpack_states
from newsletter.store.tables import batch

#: Batches read at a time where all of a run's are looked at.
_ROWS_A_TIME = 200


class Stale(Exception):
    """Somebody else changed the batch since it was read; the transaction is to be undone and begun again."""


@dataclass(slots=True, eq=False)
class BatchRow:
    """One batch. `moves` counts what `change` and `mark` did: (byte before, byte after) → how many members."""

    run_id: int
    number: int
    ids: Sequence[int]
    states: bytearray
    attempts: int
    claims: int
    first_at: int | None
    call_size: int | None
    due_at: int | None
    sender_id: int | None
    kept: bytes
    moves: Counter[tuple[int, int]] = field(default_factory=Counter)
    #: what the row has besides the states, as it was read
    _read: tuple[int | None, ...] = ()

    def __post_init__(self) -> None:
        self._read = self._others()

    def place(self, subscriber_id: int) -> int | None:
        """The place of this member, from 0; None where they are none."""
        found = bisect_left(self.ids, subscriber_id)
        return found if found < len(self.ids) and self.ids[found] == subscriber_id else None

    def all_in(self, places: Sequence[int], state: DeliveryState) -> bool:
        """Whether each of these members is in `state`, and nothing was reported of them."""
        states, whole = self.states, _stretch(places, len(self.states))
        return set(states[whole] if whole else [states[place] for place in places]) == {state}

    def all_places(self, subscriber_ids: Sequence[int]) -> Sequence[int] | None:
        """The places of these members, in their order; None where somebody is none."""
        first = self.place(subscriber_ids[0]) if subscriber_ids else None
        if first is None:
            return None
        run = range(first, first + len(subscriber_ids))
        if list(self.ids[run.start : run.stop]) == list(subscriber_ids):  # as they are claimed for the first time
            return run
        places = [place for one in subscriber_ids if (place := self.place(one)) is not None]
        return places if len(places) == len(subscriber_ids) else None

    def state(self, place: int) -> DeliveryState:
        """The state of the member at this place."""
        found = STATES[self.states[place]]
        assert found is not None
        return found

    def change(self, place: int, change: Change) -> DeliveryState:
        """Changes one member's state and returns it. Raises ForbiddenChange."""
        before = self.states[place]
        state = after(self.state(place), change)
        self._put(place, before, before & ~STATE_BITS | state)
        return state

    def change_all(self, places: Sequence[int], change: Change) -> None:
        """The same for each of these members. Raises ForbiddenChange, and changes nobody."""
        states = self.states
        whole = _stretch(places, len(states))
        befores = Counter(states[whole] if whole else [states[place] for place in places])
        afters = {before: changed(before, change) for before in befores}
        if whole and len(afters) == 1:
            states[whole] = bytes(afters.values()) * len(places)
        else:
            for place in places:
                states[place] = afters[states[place]]
        for before, number in befores.items():
            if afters[before] != before:
                self.moves[before, afters[before]] += number

    def mark(self, place: int, mark: Mark) -> None:
        """Adds what a provider reported of one member."""
        before = self.states[place]
        self._put(place, before, before | mark)

    def places(self, *wanted: DeliveryState) -> list[int]:
        """The places of the members in one of these states."""
        return places_in(self.states, wanted)

    def number_in(self, state: DeliveryState) -> int:
        """How many members are in `state`."""
        return number_in(self.states, state)

    def counts(self) -> Counter[int]:
        """How many members have each byte of state and marks."""
        return Counter(self.states)

    @property
    def claimable(self) -> bool:
        """Whether anybody is left to be claimed, now or later."""
        return any(map(self.number_in, CLAIMABLE))

    def let_go(self, due_at: int) -> None:
        """No process has it any more; what is left may be claimed from `due_at` on."""
        self.sender_id = None
        self.due_at = due_at if self.claimable else None

    def copy(self) -> BatchRow:
        """The same, to be changed by itself."""
        other = BatchRow(
            self.run_id,
            self.number,
            self.ids,
            bytearray(self.states),
            self.attempts,
            self.claims,
            self.first_at,
            self.call_size,
            self.due_at,
            self.sender_id,
            self.kept,
        )
        other._read = self._read
        return other

    def save(self, connection: sa.Connection) -> None:
        """Writes it, if it was changed. Raises Stale where its states are not those that were read."""
        states, others = pack_states(self.states), self._others()
        if states == self.kept and others == self._read:
            return
        written = connection.execute(
            _SAVE,
            {
                "of_run": self.run_id,
                "of_number": self.number,
                "read_states": self.kept,
                "states": states,
                "attempts": self.attempts,
                "claims": self.claims,
                "first_at": self.first_at,
                "call_size": self.call_size,
                "due_at": self.due_at,
                "sender_id": self.sender_id,
            },
        )
        if written.rowcount != 1:
            raise Stale
        self.kept, self._read = states, others

    def _put(self, place: int, before: int, after: int) -> None:
        if before != after:
            self.states[place] = after
            self.moves[before, after] += 1

    def _others(self) -> tuple[int | None, ...]:
        return self.attempts, self.claims, self.first_at, self.call_size, self.due_at, self.sender_id


def _stretch(places: Sequence[int], size: int) -> slice | None:
    """Those of `size` places, where each is the one behind the one before: as nearly all claims are."""
    if not places or not 0 <= places[0] <= size - len(places):
        return None
    one_after_the_other = range(places[0], places[0] + len(places))
    same = places == one_after_the_other if isinstance(places, range) else places == list(one_after_the_other)
    return slice(one_after_the_other.start, one_after_the_other.stop) if same else None


def read_batch(connection: sa.Connection, run_id: int, number: int, *, hold: bool = False) -> BatchRow | None:
    """One batch. `hold`: nobody else changes it until this transaction ends; of several, by number."""
    if hold:
        found = connection.execute(_HELD, {"of_run": run_id, "number": number}).one_or_none()
        return None if found is None else _row(found)
    return next(read_batches(connection, run_id, batch.c.number == number), None)


def read_batches(
    connection: sa.Connection, run_id: int, *conditions: sa.ColumnElement[bool], limit: int | None = None
) -> Iterator[BatchRow]:
    """The batches that fulfil the conditions, those due first at the front; all at once."""
    wanted = sa.select(*_COLUMNS).where(batch.c.run_id == run_id, *conditions)
    wanted = wanted.order_by(batch.c.due_at, batch.c.number).limit(limit)
    return map(_row, connection.execute(wanted).all())


def due_batches(
    connection: sa.Connection, run_id: int, now: int, limit: int, only: int | None = None
) -> list[BatchRow]:
    """Those in which something may be claimed now, the longest due first; `only`: the one of this number, if it is."""
    wanted = _DUE if only is None else _DUE.where(batch.c.number == only)
    return list(map(_row, connection.execute(wanted, {"of_run": run_id, "now": now, "most": limit}).all()))


def walk_batches(connection: sa.Connection, run_id: int, *conditions: sa.ColumnElement[bool]) -> Iterator[BatchRow]:
    """The batches that fulfil the conditions, by number; some hundred at a time, and each may be saved on the way."""
    last = 0
    while True:
        wanted = sa.select(*_COLUMNS).where(batch.c.run_id == run_id, batch.c.number > last, *conditions)
        rows = connection.execute(wanted.order_by(batch.c.number).limit(_ROWS_A_TIME)).all()
        yield from map(_row, rows)
        if len(rows) < _ROWS_A_TIME:
            return
        last = rows[-1].number


def batch_of(connection: sa.Connection, run_id: int, subscriber_id: int) -> BatchRow | None:
    """The batch that this person is a member of."""
    for wanted in (_OF_PERSON, _OF_PERSON_IN_WINDOWS):
        for found in connection.execute(wanted, {"of_run": run_id, "id": subscriber_id}).all():
            row = _row(found)
            if row.place(subscriber_id) is not None:
                return row
    return None


def batches_of(connection: sa.Connection, run_id: int, ids: Sequence[int]) -> dict[int, list[int]]:
    """Number → those of these people (ascending) who are members of that batch, by number. Whoever is none is left out.

    Members are frozen: what is found stays true.
    """
    found: dict[int, list[int]] = {}
    # ids ascend within a batch, and within a window over its batches: few of those that were read can hold the next
    near: list[BatchRow] = []
    for one in ids:
        near = [row for row in near if row.ids[-1] >= one]
        row = next((row for row in near if row.place(one) is not None), None)
        if row is None:
            row = batch_of(connection, run_id, one)
            if row is None:
                continue
            near.append(row)
        found.setdefault(row.number, []).append(one)
    return dict(sorted(found.items()))


def _row(found: sa.Row[*tuple[Any, ...]]) -> BatchRow:
    return BatchRow(
        run_id=found.run_id,
        number=found.number,
        ids=unpack(found.members),
        states=unpack_states(found.states, found.size),
        attempts=found.attempts,
        claims=found.claims,
        first_at=found.first_at,
        call_size=found.call_size,
        due_at=found.due_at,
        sender_id=found.sender_id,
        kept=found.states,
    )


_WRITTEN = ("states", "attempts", "claims", "first_at", "call_size", "due_at", "sender_id")
_COLUMNS: tuple[sa.Column[Any], ...] = (
    batch.c.run_id,
    batch.c.number,
    batch.c.members,
    batch.c.size,
    batch.c.states,
    batch.c.attempts,
    batch.c.claims,
    batch.c.first_at,
    batch.c.call_size,
    batch.c.due_at,
    batch.c.sender_id,
)
_RUN = batch.c.run_id == sa.bindparam("of_run")
_SAVE = (
    sa.update(batch)
    .where(_RUN, batch.c.number == sa.bindparam("of_number"), batch.c.states == sa.bindparam("read_states"))
    .values({name: sa.bindparam(name) for name in _WRITTEN})
)
_HELD = sa.select(*_COLUMNS).where(_RUN, batch.c.number == sa.bindparam("number")).with_for_update()
_DUE = (
    sa.select(*_COLUMNS)
    .where(_RUN, batch.c.due_at <= sa.bindparam("now"))
    .order_by(batch.c.due_at, batch.c.number)
    .limit(sa.bindparam("most"))
)
_OF_PERSON = (
    sa.select(*_COLUMNS).where(_RUN, batch.c.first_id <= sa.bindparam("id")).order_by(batch.c.first_id.desc()).limit(1)
)
# Where a run has windows, ids ascend within each of them and not beyond: the batch above is one that may hold the id.
_ONE_A_WINDOW = candidates(sa.bindparam("id"), sa.bindparam("of_run")).subquery()
_OF_PERSON_IN_WINDOWS = (
    sa.select(*_COLUMNS)
    .select_from(_ONE_A_WINDOW.join(batch, batch.c.number == _ONE_A_WINDOW.c.number))
    .where(_RUN, batch.c.first_id <= sa.bindparam("id"), batch.c.last_id >= sa.bindparam("id"))
)
