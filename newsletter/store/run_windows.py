"""Windows of a run whose recipients get it at their own local time: from when until when their batches may go out."""

from __future__ import annotations

import datetime as dt
import math
from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from newsletter.delivery.run_values import Window
from newsletter.store.person_rows import moment, seconds
from newsletter.store.tables import batch, run_window


class KeptWindow(NamedTuple):
    """A window as the tables keep it, in whole seconds: members may be claimed from `opens_at` until before `deadline`.
    They sort by when they open."""

    opens_at: int
    deadline: int


class RunWindows:
    """The windows of one run, by batch; a run without windows has none for any batch."""

    def __init__(self, windows: Sequence[tuple[int, Window]] = ()) -> None:
        """`windows`: each with the number of its last batch, ascending."""
        self._last = [last for last, _ in windows]
        self._windows = [window for _, window in windows]

    def of(self, number: int) -> Window | None:
        """The window of this batch."""
        place = bisect_left(self._last, number)
        return self._windows[place] if place < len(self._windows) else None


def kept_window(window: Window, run_deadline: dt.datetime) -> KeptWindow:
    """Rounded so that nothing is claimed early or late; it ends with the run at the latest."""
    deadline = min(seconds(window.deadline), seconds(run_deadline))
    return KeptWindow(math.ceil(window.opens_at.timestamp()), deadline)


def new_window(connection: sa.Connection, run_id: int, window: KeptWindow, batches: range) -> None:
    """Adds the window of these batches, behind those that the run has."""
    number = sa.select(sa.func.count() + 1).where(run_window.c.run_id == run_id).scalar_subquery()
    connection.execute(
        sa.insert(run_window).values(
            run_id=run_id,
            number=number,
            first_batch=batches[0],
            last_batch=batches[-1],
            opens_at=window.opens_at,
            deadline=window.deadline,
        )
    )


def windows_of(connection: sa.Connection, run_id: int) -> RunWindows:
    """The run's windows."""
    rows = connection.execute(
        sa.select(run_window.c.last_batch, run_window.c.opens_at, run_window.c.deadline)
        .where(run_window.c.run_id == run_id)
        .order_by(run_window.c.last_batch)
    )
    return RunWindows([(last, Window(moment(opens_at), moment(deadline))) for last, opens_at, deadline in rows])


def ranges_of(connection: sa.Connection, run_id: int) -> list[tuple[int, int]]:
    """(first, last) batch of each window."""
    rows = connection.execute(
        sa.select(run_window.c.first_batch, run_window.c.last_batch)
        .where(run_window.c.run_id == run_id)
        .order_by(run_window.c.number)
    )
    return [(first, last) for first, last in rows]


def extend_windows(connection: sa.Connection, run_id: int, batches: Collection[int], deadline: int) -> None:
    """An operator opened members of these batches again: their windows end at `deadline`."""
    for first, last in ranges_of(connection, run_id):
        if any(first <= number <= last for number in batches):
            connection.execute(
                sa.update(run_window)
                .where(run_window.c.run_id == run_id, run_window.c.first_batch == first)
                .values(deadline=deadline)
            )


def candidates(person: sa.ColumnElement[int], of_run: sa.ColumnElement[int] | None = None) -> sa.Select[Any]:
    """(run_id, number) of the one batch of each window in which this person can be, of the run or of all runs.

    Numbers ascend within a window: it is halved until one batch is left, for all windows at once.
    """
    windows = sa.select(
        run_window.c.run_id, run_window.c.first_batch.label("low"), run_window.c.last_batch.label("high")
    )
    if of_run is not None:
        windows = windows.where(run_window.c.run_id == of_run)
    search = windows.cte("search", recursive=True)
    middle = (search.c.low + search.c.high + 1) // 2
    # a subquery, and no join: PostgreSQL would read every batch there is for it
    first = sa.select(batch.c.first_id).where(batch.c.run_id == search.c.run_id, batch.c.number == middle)
    behind = first.scalar_subquery() <= person
    search = search.union_all(
        sa.select(
            search.c.run_id,
            sa.case((behind, middle), else_=search.c.low),
            sa.case((behind, search.c.high), else_=middle - 1),
        ).where(search.c.low < search.c.high)
    )
    return sa.select(search.c.run_id, search.c.low.label("number")).where(search.c.low == search.c.high)
