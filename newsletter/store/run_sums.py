"""The sums of a run: how many members have each byte of state and marks, kept in `run_count`.

Of a run that is over they are those of all its members (`run.summed` is 1): nobody has to read its batches to show it.
Of any other they are those of members whose batches were pruned; its batches have the rest. Who changes members of a
run that is summed changes its sums in the same transaction (`move`).

A run is summed, and opened, by whoever holds it alone; so who shares it sees which of both it is, and it stays so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from newsletter.store.state_bytes import count_bytes
from newsletter.store.tables import batch, run, run_count


def count_members(connection: sa.Connection, run_id: int, number: int | None = None) -> Counter[int]:
    """How many members have each byte of state and marks, those included whose batches were pruned; `number`: those of
    this batch."""
    if number is not None:
        return _count(connection.execute(_OF_BATCH, {"of_run": run_id, "number": number}))
    counts = _kept(connection, run_id)
    counts.update(_count(connection.execute(_OF_RUN_NOT_SUMMED, {"of_run": run_id})))
    return counts


def keep(connection: sa.Connection, run_id: int, counts: Mapping[int, int]) -> None:
    """These are the sums from now on, in place of those that were kept."""
    connection.execute(sa.delete(run_count).where(run_count.c.run_id == run_id))
    rows = [{"run_id": run_id, "byte": byte, "count": number} for byte, number in sorted(counts.items()) if number]
    if rows:
        connection.execute(sa.insert(run_count), rows)


def open_up(connection: sa.Connection, run_id: int) -> None:
    """The run, which is summed and held, is so no more: the sums are those of pruned batches alone again."""
    forgotten = _kept(connection, run_id)
    forgotten.subtract(_count(connection.execute(_OF_RUN, {"of_run": run_id})))
    keep(connection, run_id, forgotten)
    connection.execute(sa.update(run).where(run.c.id == run_id).values(summed=0))


def move(connection: sa.Connection, run_id: int, moves: Iterable[tuple[tuple[int, int], int]]) -> None:
    """Members of a run that is summed got another byte: ((before, after), how many). To be called when the batches are
    written: who waits here holds what everybody takes first."""
    changes: Counter[int] = Counter()
    for (before, after), number in moves:
        changes[before] -= number
        changes[after] += number
    add(connection, run_id, changes)


def add(connection: sa.Connection, run_id: int, changes: Mapping[int, int]) -> None:
    """So many more, or fewer, have each of these bytes."""
    for byte, number in sorted(changes.items()):  # in one order: no two wait for each other
        if number:
            connection.execute(_ADD, {"run_id": run_id, "byte": byte, "number": number})


def _kept(connection: sa.Connection, run_id: int) -> Counter[int]:
    rows = connection.execute(_KEPT, {"of_run": run_id})
    return Counter({byte: number for byte, number in rows})  # noqa: C416 - dict() does not take rows, for the types


def _count(rows: Iterable[sa.Row[Any]]) -> Counter[int]:
    counts: Counter[int] = Counter()
    for row in rows:
        counts.update(count_bytes(row.states, row.size))
    return counts


_KEPT = sa.select(run_count.c.byte, run_count.c.count).where(run_count.c.run_id == sa.bindparam("of_run"))
_OF_RUN = sa.select(batch.c.states, batch.c.size).where(batch.c.run_id == sa.bindparam("of_run"))
_OF_BATCH = _OF_RUN.where(batch.c.number == sa.bindparam("number"))
_OF_RUN_NOT_SUMMED = _OF_RUN.join_from(batch, run, run.c.id == batch.c.run_id).where(
    run.c.id == sa.bindparam("of_run"), run.c.summed == 0
)
_ADD = sa.text(
    """INSERT INTO run_count (run_id, byte, count) VALUES (:run_id, :byte, :number)
    ON CONFLICT (run_id, byte) DO UPDATE SET count = run_count.count + excluded.count"""
)
