"""What a process left behind: calls whose answer nobody wrote down, and what a restored database does not know."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa

from newsletter.delivery.states import CLAIMABLE, Change, DeliveryState, RunState
from newsletter.store.attempts import (
    NewAttempt,
    begin_attempts,
    close_attempts,
    close_attempts_of,
    give_reason,
)
from newsletter.store.batch_rows import BatchRow, read_batch, read_batches, walk_batches
from newsletter.store.delivery_notes import keep_notes
from newsletter.store.journal import Claimed, Entry
from newsletter.store.person_rows import seconds
from newsletter.store.run_rows import RunRow
from newsletter.store.state_bytes import alike
from newsletter.store.tables import batch

_S = DeliveryState
_RESTORED = "it was claimed before the database was restored from a backup"


def recover(
    connection: sa.Connection, row: RunRow, sender_id: int, who: str, now: dt.datetime, number: int | None = None
) -> None:
    """This sender is dead: calls that were under way become unknown, and what it had may be claimed again; `number`:
    that batch alone."""
    words = f"the process that made the call ({who}) ended before the answer was written down"
    which = [batch.c.sender_id == sender_id] if number is None else [batch.c.number == number]
    for one in read_batches(connection, row.id, *which):
        lost = one.places(_S.IN_FLIGHT)
        for place in lost:
            one.change(place, Change.LOSE)
        _put_down(connection, row, one, lost, words, now)
    close_attempts_of(connection, row.id, sender_id, now)


def let_go_of(
    connection: sa.Connection, row: RunRow, sender_id: int, handed: Mapping[tuple[int, int], set[int]], now: dt.datetime
) -> None:
    """The run's sender stops: batches in its hands may be claimed again.

    `handed` are (batch, attempt) → subscribers of claims that it never reported: they become unknown. Of others in
    flight it is certain that no call was made.
    """
    words = "the sending process stopped before the answer was written down"
    for one in read_batches(connection, row.id, batch.c.sender_id == sender_id):
        out = handed.get((one.number, one.attempts), set())
        lost = [place for place in one.places(_S.IN_FLIGHT) if one.ids[place] in out]
        for place in lost:
            one.change(place, Change.LOSE)
        for place in one.places(_S.IN_FLIGHT):
            one.change(place, Change.POSTPONE)
        _put_down(connection, row, one, lost, words, now)
    close_attempts_of(connection, row.id, sender_id, now)


def count_anew(connection: sa.Connection, run_id: int, now: dt.datetime) -> None:
    """Somebody sends the run again: `retry_for` does not run while nobody does, and who waits for another try has it
    now, for whatever was in the way may be gone."""
    left = batch.c.sender_id.is_(None) & batch.c.due_at.is_not(None) & batch.c.first_at.is_not(None)
    due_at = sa.case((batch.c.due_at > seconds(now), seconds(now)), else_=batch.c.due_at)
    connection.execute(sa.update(batch).where(batch.c.run_id == run_id, left).values(first_at=None, due_at=due_at))


def resend_unknown(connection: sa.Connection, run_id: int, now: dt.datetime) -> None:
    """Whatever is unknown is to be tried again."""
    for one in walk_batches(connection, run_id, may_hold(_S.UNKNOWN)):
        for place in one.places(_S.UNKNOWN):
            one.change(place, Change.RESEND)
        reopen(one, now)
        one.save(connection)


def reopen(one: BatchRow, now: dt.datetime) -> None:
    """Somebody in the batch is to be tried again, counting from now: so it is due, unless a process has it in hand."""
    one.first_at = None
    if one.sender_id is None:
        one.let_go(seconds(now))


def claims_granted(connection: sa.Connection, run_id: int) -> Mapping[int, int]:
    """Batch → how many claims of its members were granted, as far as the database knows."""
    rows = connection.execute(sa.select(batch.c.number, batch.c.claims).where(batch.c.run_id == run_id))
    return {number: claims for number, claims in rows}  # noqa: C416 - dict() does not take rows, for the types


def forgotten(entries: Iterable[Entry], uid: str, known: Mapping[int, int]) -> Mapping[int, Sequence[Claimed]]:
    """Batch → claims that the journal has and a database does not know that was restored: `known` as `claims_granted`
    gives it, `uid` is the run's."""
    lost: dict[int, list[Claimed]] = {}
    for entry in entries:
        if entry.uid == uid:
            for claim in entry.claims:
                if claim.number > known.get(claim.batch, 0):
                    lost.setdefault(claim.batch, []).append(claim)
    return lost


def forget(
    connection: sa.Connection, run_id: int, lost: Mapping[int, Sequence[Claimed]], sender_id: int, now: dt.datetime
) -> None:
    """Whoever was in one of these claims becomes unknown, unless the database knows the claim by now."""
    for number, claims in sorted(lost.items()):
        one = read_batch(connection, run_id, number)
        if one is not None and (unknown := [claim for claim in claims if claim.number > one.claims]):
            _forget(connection, one, unknown, sender_id, now)


def may_hold(*states: DeliveryState) -> sa.ColumnElement[bool]:
    """The condition that a batch may have members in one of these states: it is mixed, or they are alike."""
    others = [alike(state) for state in DeliveryState if state not in states]
    return batch.c.states.not_in(others)


def _forget(
    connection: sa.Connection, one: BatchRow, claims: Iterable[Claimed], sender_id: int, now: dt.datetime
) -> None:
    """Those in these claims become unknown, as members of the attempts that they were claimed for."""
    attempts: dict[int, list[int]] = {}
    for claim in claims:
        one.claims = max(one.claims, claim.number)
        places = attempts.setdefault(claim.attempt, [])
        for place in claim.places:
            if place < len(one.ids) and one.state(place) in CLAIMABLE:
                one.change(place, Change.CLAIM)
                one.change(place, Change.LOSE)
                places.append(place)
    for number, places in sorted(attempts.items()):
        if number > one.attempts:
            new = NewAttempt(one.number, number, sorted(places), len(one.ids))
            begin_attempts(connection, one.run_id, sender_id, [new], now)
            close_attempts(connection, one.run_id, [(one.number, number)], now)
            give_reason(connection, one.run_id, one.number, number, _RESTORED)
        else:  # the database knows it, and has words of its own for it
            keep_notes(connection, one.run_id, {one.ids[place]: ("", _RESTORED) for place in places}, now)
    one.attempts = max(one.attempts, *attempts)
    if one.sender_id is None:  # else somebody sends the rest of it, and has calls out
        one.let_go(seconds(now))
    one.save(connection)


def _put_down(
    connection: sa.Connection, row: RunRow, one: BatchRow, lost: list[int], words: str, now: dt.datetime
) -> None:
    if row.state == RunState.CANCELLED:
        for place in one.places(*CLAIMABLE):
            one.change(place, Change.CANCEL)
    one.let_go(seconds(now))
    one.save(connection)
    if not lost:
        return
    if one.claimable:  # the words of an attempt would be those of its other members too
        keep_notes(connection, row.id, {one.ids[place]: ("", words) for place in lost}, now)
    else:
        give_reason(connection, row.id, one.number, one.attempts, words)
