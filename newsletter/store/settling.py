"""Steering a run and settling what is left of it: by operators, by the clock, by what a provider reports later.

Every function takes a connection within a transaction of the caller's, and the run as `read_run` held it.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import sqlalchemy as sa

from newsletter.delivery.run_values import Settlement
from newsletter.delivery.states import CLAIMABLE, Change, DeliveryState, Mark, RunState, after
from newsletter.store.attempts import Attempt, attempts_over
from newsletter.store.batch_rows import BatchRow, batches_of, read_batch, walk_batches
from newsletter.store.delivery_notes import OPERATOR, drop_notes, keep_notes, notes_on
from newsletter.store.person_rows import seconds
from newsletter.store.recovery import may_hold, reopen
from newsletter.store.run_rows import RunRow, change_run
from newsletter.store.run_sums import move
from newsletter.store.run_windows import extend_windows
from newsletter.store.state_bytes import alike
from newsletter.store.tables import batch

_S = DeliveryState
_BY_OPERATOR = {
    Settlement.ACCEPTED: (Change.ASSUME, "an operator's word: it was accepted"),
    Settlement.RESEND: (Change.RESEND, "an operator had it sent again"),
    Settlement.ABANDON: (Change.ABANDON, "an operator gave it up"),
}
#: States that what a provider reports turns into ACCEPTED.
_PROVABLE = frozenset({_S.UNKNOWN, _S.IN_FLIGHT, _S.RETRY_WAIT, _S.ABANDONED})
#: What an operator may open for another try.
RETRIABLE = frozenset({_S.REJECTED, _S.EXPIRED})


def pause_run(connection: sa.Connection, row: RunRow, reason: str) -> None:
    """Stops it for everybody."""
    change_run(connection, row.id, state=RunState.PAUSED.value, reason=reason)


def expire_run(connection: sa.Connection, run_id: int) -> None:
    """The deadline is over: whatever may still be claimed expires."""
    _end_claimable(connection, run_id, Change.EXPIRE)


def cancel_run(connection: sa.Connection, row: RunRow) -> RunRow:
    """Whatever may still be claimed is cancelled."""
    _end_claimable(connection, row.id, Change.CANCEL)
    return change_run(connection, row.id, state=RunState.CANCELLED.value, reason="")


def settle_unknown(
    connection: sa.Connection, run_id: int, settlement: Settlement, only: Collection[int] | None, now: dt.datetime
) -> int:
    """Settles the unknown outcomes, `only` those of these subscribers; how many."""
    change, words = _BY_OPERATOR[settlement]
    chosen = None if only is None else frozenset(only)
    settled = 0
    for one in walk_batches(connection, run_id, may_hold(_S.UNKNOWN)):
        places = [place for place in one.places(_S.UNKNOWN) if chosen is None or one.ids[place] in chosen]
        if not places:
            continue
        notes = _operators_words(connection, one, places, words)
        for place in places:
            one.change(place, change)
        if settlement is Settlement.RESEND:
            reopen(one, now)
        one.save(connection)
        keep_notes(connection, run_id, notes, now)
        settled += len(places)
    return settled


def open_again(
    connection: sa.Connection, run_id: int, states: Sequence[DeliveryState], deadline: dt.datetime, now: dt.datetime
) -> int:
    """Rejected or expired deliveries wait for another try, until `deadline` where they have a window; how many."""
    if not RETRIABLE.issuperset(states):
        raise ValueError("only what was rejected or has expired can be tried again")
    opened = 0
    batches: list[int] = []
    for one in walk_batches(connection, run_id, may_hold(*states)):
        places = one.places(*states)
        for place in places:
            one.change(place, Change.RETRY)
        if places:
            reopen(one, now)
            one.save(connection)
            batches.append(one.number)
        opened += len(places)
    extend_windows(connection, run_id, batches, seconds(deadline))
    return opened


def record_marks(connection: sa.Connection, row: RunRow, marks: Mapping[int, Mark]) -> tuple[int, int]:
    """Puts down what a provider reported of deliveries, by subscriber: of how many it is news, how many it settled."""
    news, run_id = 0, row.id
    settled: list[int] = []
    moves: Counter[tuple[int, int]] = Counter()
    for number, ids in batches_of(connection, run_id, sorted(marks)).items():
        one = read_batch(connection, run_id, number, hold=True)
        if one is None:
            continue
        for subscriber_id in ids:
            place = one.place(subscriber_id)
            assert place is not None, "members are frozen"
            before = one.states[place]
            if one.state(place) in _PROVABLE:
                one.change(place, Change.EVIDENCE)
                settled.append(subscriber_id)
            one.mark(place, marks[subscriber_id])
            news += one.states[place] != before
        if one.moves:
            if one.sender_id is None and not one.claimable:
                one.due_at = None
            one.save(connection)
            moves += one.moves
    drop_notes(connection, run_id, settled)
    if row.summed:
        move(connection, run_id, moves.items())
    return news, len(settled)


def words_of(attempts: Sequence[Attempt], place: int) -> tuple[str, dt.datetime | None]:
    """The words that the last attempt has for all of its members, and when it ended; of the one at this place."""
    for one in reversed(attempts):
        if one.covers(place):
            return one.reason, one.at
    return "", None


def _end_claimable(connection: sa.Connection, run_id: int, change: Change) -> None:
    for state in CLAIMABLE:
        # whole batches that nobody touched, without a look at each
        connection.execute(
            sa.update(batch)
            .where(batch.c.run_id == run_id, batch.c.states == alike(state))
            .values(states=alike(after(state, change)), due_at=None)
        )
    for one in walk_batches(connection, run_id, may_hold(*CLAIMABLE)):
        places = one.places(*CLAIMABLE)
        for place in places:
            one.change(place, change)
        if places:
            one.due_at = None
            one.save(connection)


def _operators_words(
    connection: sa.Connection, one: BatchRow, places: Sequence[int], words: str
) -> dict[int, tuple[str, str]]:
    """The operator's word, and behind it what was said before."""
    before = notes_on(connection, one.run_id, [one.ids[place] for place in places])
    attempts = attempts_over(connection, one.run_id, one.number)
    notes = {}
    for place in places:
        note = before.get(one.ids[place])
        said = note.reason if note else words_of(attempts, place)[0]
        notes[one.ids[place]] = (OPERATOR, f"{words}; before: {said}" if said else words)
    return notes
