"""Runs whose time is over lose what is long about them: first their calls and words, later who their recipients were.

Each run stays as a row, with its sums: that it went out must never be forgotten. Only runs that are over lose
anything, and none that has an unknown outcome or something left to send. All is done in short transactions, each of
which leaves every sum as it was, so that it may end anywhere and go on another day.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from newsletter.delivery.states import CLAIMABLE, OVER, DeliveryState
from newsletter.store.engine import reading, writing
from newsletter.store.person_rows import seconds
from newsletter.store.run_rows import read_run
from newsletter.store.run_sums import add, count_members
from newsletter.store.state_bytes import count_bytes, states_of
from newsletter.store.tables import attempt, batch, delivery_note, run, run_window

#: Rows of one transaction. Whoever writes meanwhile waits for so many at most.
_ROWS = 250
#: How many of what a transaction removed, and whether there may be more.
_Step = tuple[Counter[str], bool]
_NOTHING: _Step = Counter(), False
_UNSETTLED = frozenset({*CLAIMABLE, DeliveryState.IN_FLIGHT, DeliveryState.UNKNOWN})


@dataclass(frozen=True, slots=True)
class PrunedRuns:
    """How many were removed: batches with their recipients (`runs` of them to the last), attempts, and words."""

    runs: int = 0
    recipients: int = 0
    batches: int = 0
    attempts: int = 0
    notes: int = 0


def prune_runs(
    engine: sa.Engine, *, runs_before: dt.datetime, attempts_before: dt.datetime, stop: Callable[[], bool]
) -> PrunedRuns:
    """Removes the attempts and words of runs that ended before `attempts_before`, and the batches of those that ended
    before `runs_before`, the earliest first.

    `stop` is asked between two transactions whether to end; it may wait a moment, for others who write. Raises what
    `newsletter.store.failures` says; what was done is kept.
    """
    found: Counter[str] = Counter()
    for run_id, forget in _candidates(engine, runs_before, max(runs_before, attempts_before)):
        steps: list[Callable[[sa.Connection, int], _Step]] = [_drop_attempts, _drop_notes]
        if forget:
            steps.append(_drop_batches)
        for step in steps:
            while True:
                if stop():
                    return PrunedRuns(**found)
                with writing(engine) as connection:
                    done, more = step(connection, run_id) if _may_lose(connection, run_id) else _NOTHING
                found += done
                if not more:
                    break
    return PrunedRuns(**found)


@dataclass(frozen=True, slots=True)
class Prunable:
    """How many runs would lose anything, how many of them calls or words, how many their recipients, and how many
    recipients those are."""

    runs: int = 0
    of_calls: int = 0
    of_recipients: int = 0
    recipients: int = 0


def prunable_runs(engine: sa.Engine, *, runs_before: dt.datetime, attempts_before: dt.datetime) -> Prunable:
    """What `prune_runs` would remove."""
    found = _candidates(engine, runs_before, max(runs_before, attempts_before))
    forgotten = {one for one, forget in found if forget}
    calls = recipients = 0
    with reading(engine) as connection:
        for one, _ in found:
            calls += any(_has(connection, table, one) for table in (attempt, delivery_note))
            if one in forgotten:
                wanted = sa.select(sa.func.coalesce(sa.func.sum(batch.c.size), 0)).where(batch.c.run_id == one)
                recipients += int(connection.scalar(wanted) or 0)
    return Prunable(len(found), calls, len(forgotten), recipients)


def _has(connection: sa.Connection, table: sa.Table, run_id: int) -> bool:
    wanted = sa.select(sa.literal(1)).select_from(table).where(table.c.run_id == run_id).limit(1)
    return connection.scalar(wanted) is not None


def _candidates(engine: sa.Engine, runs_before: dt.datetime, before: dt.datetime) -> list[tuple[int, bool]]:
    """(run, whether its recipients go too) of those that have something to lose, the earliest first."""
    attempts, notes, batches = (
        sa.select(sa.literal(1)).select_from(table).where(table.c.run_id == run.c.id).exists()
        for table in (attempt, delivery_note, batch)
    )
    old = run.c.ended_at < seconds(runs_before)
    wanted = (
        sa.select(run.c.id, sa.and_(old, batches).label("forget"))
        .where(*_OVER, run.c.ended_at < seconds(before), sa.or_(attempts, notes, sa.and_(old, batches)))
        .order_by(run.c.id)
    )
    with reading(engine) as connection:
        rows = connection.execute(wanted).all()
        return [(row.id, bool(row.forget)) for row in rows if not _unsettled(connection, row.id)]


def _unsettled(connection: sa.Connection, run_id: int) -> bool:
    """Whether somebody's outcome is open. It should not be, in a run that is over; if it is, all is kept."""
    return bool(_UNSETTLED & states_of(count_members(connection, run_id)).keys())


def _may_lose(connection: sa.Connection, run_id: int) -> bool:
    """Whether the run is still over; from here on it stays so, until the transaction ends."""
    row = read_run(connection, run_id, hold=True)
    return row.state in OVER and row.sender_id is None


def _drop_batches(connection: sa.Connection, run_id: int) -> _Step:
    """Some batches become sums; with the last the run's windows go."""
    wanted = sa.select(batch.c.number, batch.c.states, batch.c.size).where(batch.c.run_id == run_id)
    found = connection.execute(wanted.order_by(batch.c.number).limit(_ROWS + 1)).all()
    rows, last = found[:_ROWS], len(found) <= _ROWS
    if not rows:
        return _NOTHING
    counts: Counter[int] = Counter()
    for row in rows:
        counts.update(count_bytes(row.states, row.size))
    if _UNSETTLED & states_of(counts).keys():  # opened again, and not over any more, or damaged
        return _NOTHING
    connection.execute(sa.delete(batch).where(batch.c.run_id == run_id, batch.c.number <= rows[-1].number))
    if not connection.scalar(sa.select(run.c.summed).where(run.c.id == run_id)):  # else these are in them already
        add(connection, run_id, counts)
    if last:
        connection.execute(sa.delete(run_window).where(run_window.c.run_id == run_id))
    return Counter(batches=len(rows), recipients=sum(row.size for row in rows), runs=int(last)), not last


def _drop_attempts(connection: sa.Connection, run_id: int) -> _Step:
    return _drop(connection, attempt, attempt.c.batch, run_id, "attempts")


def _drop_notes(connection: sa.Connection, run_id: int) -> _Step:
    return _drop(connection, delivery_note, delivery_note.c.subscriber_id, run_id, "notes")


def _drop(connection: sa.Connection, table: sa.Table, column: sa.Column[int], run_id: int, what: str) -> _Step:
    """Some rows of the run, in the order of `column`."""
    mine = table.c.run_id == run_id
    numbers = connection.scalars(sa.select(column).where(mine).order_by(column).limit(_ROWS)).all()
    if not numbers:
        return _NOTHING
    gone = connection.execute(sa.delete(table).where(mine, column <= numbers[-1]))
    return Counter({what: gone.rowcount}), len(numbers) == _ROWS


_OVER = (run.c.state.in_(sorted(OVER)), run.c.sender_id.is_(None), run.c.ended_at.is_not(None))
