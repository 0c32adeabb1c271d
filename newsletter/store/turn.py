"""One exchange with the ledger while it is made: what is read, changed and to be written within one transaction.

Nothing of what the process holds in memory (`Hands`) changes before the transaction was kept.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa

from newsletter.delivery.run_values import Claim
from newsletter.delivery.states import Change, DeliveryState
from newsletter.store.attempts import NewAttempt, begin_attempts, close_attempts
from newsletter.store.batch_rows import BatchRow, due_batches, read_batch, read_batches
from newsletter.store.in_hand import InHand, Schedule
from newsletter.store.journal import Claimed
from newsletter.store.person_rows import seconds
from newsletter.store.run_sums import count_members
from newsletter.store.run_windows import RunWindows
from newsletter.store.tables import batch

_S = DeliveryState
#: Batches whose members wait for their turn are kept in hand up to this number.
_MOST_WAITING = 64


@dataclass(slots=True, eq=False)
class Hands:
    """What the process has of its run: batches, what it knows of those it put down again, and the sum of all states.

    `handed` are the claims that were given out and not reported: (batch, attempt) → subscribers. `lost_track`: the
    last transaction may have been kept or not. `outdated`: somebody else changed a batch that is in hand. `only`: the
    batch that is all of the run that it may have; `counts` are that batch's then.
    """

    run_id: int
    sender_id: int
    counts: Counter[int]
    windows: RunWindows = field(default_factory=RunWindows)
    batches: dict[int, InHand] = field(default_factory=dict)
    put_down: dict[int, Schedule] = field(default_factory=dict)
    handed: dict[tuple[int, int], set[int]] = field(default_factory=dict)
    lost_track: bool = False
    outdated: bool = False
    only: int | None = None


class Turn:
    """One transaction over the batches in `hands`."""

    def __init__(self, connection: sa.Connection, hands: Hands, now: dt.datetime) -> None:
        self.connection = connection
        self.now = now
        self.attempts: list[NewAttempt] = []
        self.claims: list[Claim] = []
        #: the same for the journal
        self.claimed: list[Claimed] = []
        self._hands = hands
        self._changed: dict[int, InHand] = {}
        self._put_down: dict[int, Schedule] = {}
        self._let_go: set[int] = set()
        self._close: set[tuple[int, int]] = set()
        self._counts: Counter[int] | None = None
        self._afresh = hands.lost_track
        if hands.lost_track:
            self._find_way_back()
        elif hands.outdated:
            self._read_again()

    def numbers(self) -> list[int]:
        """The batches in hand."""
        kept = () if self._afresh else self._hands.batches
        return sorted({*kept, *self._changed} - self._let_go)

    def batch_size(self) -> int:
        """How many members the batches have, by one that is in hand; 0 where none is."""
        return next((len(one.row.ids) for one in self._hands.batches.values()), 0)

    def batch(self, number: int) -> InHand:
        """The batch, to be changed. Raises ValueError where there is none of this number."""
        there = self.look(number)
        if number in self._changed:
            return self._changed[number]
        if there is not None:
            return self._take(there.copy())
        row = read_batch(self.connection, self._hands.run_id, number)
        if row is None:
            raise ValueError(f"there is no batch {number}")
        return self._take_row(row)

    def look(self, number: int) -> InHand | None:
        """The batch if it is in hand, not to be changed."""
        if number in self._changed:
            return self._changed[number]
        return None if self._afresh or number in self._let_go else self._hands.batches.get(number)

    def due(self, most: int) -> Iterator[InHand]:
        """Batches that are due and in nobody's hands, taken up one after the other."""
        # of those that are read some may be in hand since, and not yet written
        limit = most + len(self._changed)
        for row in due_batches(self.connection, self._hands.run_id, seconds(self.now), limit, self._hands.only):
            if self.look(row.number) is None and row.number not in self._let_go:
                yield self._take_row(row)

    def next_ids(self, most: int, batches: int) -> list[int]:
        """So many who are likely to be claimed next: what is left of the batches in hand, then of some that are due. To
        be called when all is written."""
        ids: list[int] = []
        for number in self.numbers():
            if len(ids) < most and (one := self.look(number)) is not None:
                ids += map(one.row.ids.__getitem__, one.schedule.pending)
        if len(ids) < most:
            for row in due_batches(self.connection, self._hands.run_id, seconds(self.now), batches, self._hands.only):
                ids += row.ids
        return ids[:most]

    def cancel_waiting(self) -> None:
        """The run was cancelled: whoever was granted in a claim that nobody was given waits for no other."""
        for one in self._changed.values():
            for place in one.row.places(_S.RETRY_WAIT):
                one.row.change(place, Change.CANCEL)

    def finish(self) -> None:
        """Puts down what is done with or waits for later, and writes everything. Raises Stale."""
        for number, one in sorted(self._changed.items()):
            self._place(number, one)
        for _, one in sorted(self._changed.items()):
            one.row.save(self.connection)
        if self._afresh:
            self._counts = count_members(self.connection, self._hands.run_id, self._hands.only)
        close_attempts(self.connection, self._hands.run_id, sorted(self._close), self.now)
        begin_attempts(self.connection, self._hands.run_id, self._hands.sender_id, self.attempts, self.now)

    def moves(self) -> Iterator[tuple[tuple[int, int], int]]:
        """((byte before, byte after), of how many members)."""
        for one in self._changed.values():
            yield from one.row.moves.items()

    def kept(self) -> None:
        """The transaction was kept: now the process holds what it wrote."""
        hands = self._hands
        if self._afresh:
            hands.batches.clear()
            hands.put_down.clear()
        if self._counts is not None:
            hands.counts = self._counts
        else:
            for (before, after), number in self.moves():
                hands.counts[before] -= number
                hands.counts[after] += number
        for number, one in self._changed.items():
            one.row.moves.clear()
            hands.put_down.pop(number, None)
            if number in self._let_go:
                hands.batches.pop(number, None)
            else:
                hands.batches[number] = one
        hands.put_down |= self._put_down
        hands.lost_track = hands.outdated = False

    def waiting_until(self) -> dt.datetime | None:
        """When something in hand may be claimed."""
        times = (one.next_at() for number in self.numbers() if (one := self.look(number)) is not None)
        return min((time for time in times if time is not None), default=None)

    def in_flight(self) -> bool:
        """Whether a call of ours is under way."""
        held = (self.look(number) for number in self.numbers())
        return any(one is not None and one.row.number_in(_S.IN_FLIGHT) for one in held)

    def close(self, number: int, attempt: int) -> None:
        """Closes an attempt, should it be open."""
        if attempt:
            self._close.add((number, attempt))

    def _take_row(self, row: BatchRow) -> InHand:
        known = None if self._afresh else self._hands.put_down.get(row.number)
        return self._take(self._in_hand(row, known.copy() if known else Schedule()))

    def _take(self, one: InHand) -> InHand:
        one.row.sender_id, one.row.due_at = self._hands.sender_id, None
        one.tidy()
        self._changed[one.row.number] = one
        self._let_go.discard(one.row.number)
        return one

    def _place(self, number: int, one: InHand) -> None:
        one.tidy()
        row, plan = one.row, one.schedule
        calls = row.number_in(_S.IN_FLIGHT)
        if not calls and not plan.pending:
            self.close(number, row.attempts)
        next_at = one.next_at()
        if calls or (next_at is not None and next_at <= self.now):
            return
        if next_at is not None and plan.pending and len(self.numbers()) <= _MOST_WAITING:
            return
        self._let_go.add(number)
        row.sender_id, row.due_at = None, None if next_at is None else whole_seconds(next_at)
        if next_at is not None and (plan.pending or plan.retry_at > next_at):
            self._put_down[number] = plan

    def _find_way_back(self) -> None:
        """After an error: the database is asked what is in hand. For members in flight in a claim that nobody was
        given no call was made."""
        ours = batch.c.sender_id == self._hands.sender_id
        for row in read_batches(self.connection, self._hands.run_id, ours):
            handed: Collection[int] = self._hands.handed.get((row.number, row.attempts), ())
            for place in row.places(_S.IN_FLIGHT):
                if row.ids[place] not in handed:
                    row.change(place, Change.POSTPONE)
            self._take_row(row)

    def _read_again(self) -> None:
        held = self._hands.batches
        for row in read_batches(self.connection, self._hands.run_id, batch.c.number.in_(list(held))):
            before = held[row.number]
            row.moves.update((was, now) for was, now in zip(before.row.states, row.states, strict=True) if was != now)
            self._take(self._in_hand(row, before.schedule.copy()))

    def _in_hand(self, row: BatchRow, schedule: Schedule) -> InHand:
        return InHand(row, schedule, self._hands.windows.of(row.number))


def whole_seconds(moment: dt.datetime) -> int:
    """The first whole second that is not before it."""
    return math.ceil(moment.timestamp())


def handed_out(claims: Collection[Claim]) -> Mapping[tuple[int, int], set[int]]:
    """(batch, attempt) → the subscribers in these claims."""
    handed: dict[tuple[int, int], set[int]] = {}
    for claim in claims:
        handed.setdefault((claim.batch, claim.attempt), set()).update([member.id for member in claim.members])
    return handed
