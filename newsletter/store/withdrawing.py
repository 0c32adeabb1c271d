"""Taking back a planned run: its issue changed before anything of it was tried."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from newsletter.delivery.states import DeliveryState, RunState
from newsletter.store.journal import MAY_HAVE_SENT, Entry, Event
from newsletter.store.run_rows import RunRow
from newsletter.store.state_bytes import alike
from newsletter.store.tables import attempt, batch, run, run_exclusion, run_window


def withdraw(connection: sa.Connection, row: RunRow, entries: Iterable[Entry]) -> bool:
    """Takes the run away, as `read_run` held it; False, and nothing changed, where it was in somebody's hands.

    `entries` are what the journal has of runs of this name: a database from a backup may say "planned" of one that has
    gone out since, and such a run could not be planned again either.
    """
    if row.state != RunState.PLANNED:  # and none that was taken is so again
        return False
    tried = sa.select(attempt.c.run_id).where(attempt.c.run_id == row.id)
    touched = sa.select(batch.c.run_id).where(batch.c.run_id == row.id, batch.c.states != alike(DeliveryState.PLANNED))
    if connection.execute(sa.union_all(tried, touched).limit(1)).first() is not None:
        return False
    if any(one.event in MAY_HAVE_SENT or (one.uid == row.uid and one.event is not Event.PLANNED) for one in entries):
        return False
    for table in (batch, run_window, run_exclusion):
        connection.execute(sa.delete(table).where(table.c.run_id == row.id))
    connection.execute(sa.delete(run).where(run.c.id == row.id))
    return True
