"""Runs as they are kept: read, held for the rest of a transaction, counted and ended."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from newsletter.audience.people import Selection
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import Balance, RunRecord
from newsletter.delivery.states import CLAIMABLE, OVER, RunState, settled_state
from newsletter.errors import UsageError
from newsletter.store import run_sums
from newsletter.store.advisory_locks import RUNS
from newsletter.store.person_rows import moment, seconds
from newsletter.store.run_signals import tell_change
from newsletter.store.shared_pace import forget_tally
from newsletter.store.state_bytes import marks_of, states_of
from newsletter.store.tables import run

RunRow = sa.Row[Any]


class UnbalancedRun(Exception):
    """The recipients of a run do not add up. A mistake of this program, or a damaged database."""


def run_name(newsletter: str, issue_date: str, edition: str) -> RunName:
    """The name by the columns."""
    return RunName(newsletter, f"{issue_date}.{edition}" if edition else issue_date)


def name_of(row: RunRow) -> RunName:
    """The run's name."""
    return run_name(row.newsletter, row.issue_date, row.edition)


def packed_selection(selection: Selection) -> str:
    """The selection as a JSON object, without what it leaves open."""
    parts = {
        "lists": list(selection.lists),
        "with_tags": list(selection.with_tags),
        "without_tags": list(selection.without_tags),
        "attributes": dict(selection.attributes),
    }
    return json.dumps({name: part for name, part in parts.items() if part}, ensure_ascii=False, sort_keys=True)


def unpacked_selection(kept: str) -> Selection:
    """The selection."""
    parts = json.loads(kept)
    return Selection(
        tuple(parts.get("lists", ())),
        tuple(parts.get("with_tags", ())),
        tuple(parts.get("without_tags", ())),
        parts.get("attributes", {}),
    )


def record(row: RunRow, sender: str) -> RunRecord:
    """The run as others see it; `sender` has it in hand."""
    return RunRecord(
        id=row.id,
        name=name_of(row),
        issue_date=dt.date.fromisoformat(row.issue_date),
        edition=row.edition,
        state=RunState(row.state),
        content_hash=row.content_hash,
        subject=row.subject,
        provider=row.provider,
        batch_size=row.batch_size,
        selection=unpacked_selection(row.selection),
        planned_at=moment(row.created_at),
        deadline=moment(row.deadline),
        started_at=None if row.started_at is None else moment(row.started_at),
        ended_at=None if row.ended_at is None else moment(row.ended_at),
        reason=row.reason,
        sender=sender,
        shared=bool(row.shared),
        uid=row.uid,
        program=row.program,
        setup=row.setup,
    )


def read_run(connection: sa.Connection, run_id: int, *, hold: bool = False) -> RunRow:
    """The run. `hold`: nobody else changes it, or claims of it, until this transaction ends. Raises UsageError.

    Whoever holds several things takes the run first, then batches by number: so no two wait for each other.
    """
    wanted = (_HELD_IN_TURN if _queues(connection) else _HELD) if hold else _ONE
    row = connection.execute(wanted, {"of_run": run_id}).one_or_none()
    if row is None:
        raise UsageError(f"there is no run with the number {run_id}")
    return row


def find_run(connection: sa.Connection, name: RunName) -> RunRow | None:
    """The run of this name."""
    date, _, edition = name.slot.partition(".")
    which = {"newsletter": name.newsletter, "issue_date": date, "edition": edition}
    return connection.execute(_NAMED, which).one_or_none()


def find_uid(connection: sa.Connection, uid: str) -> RunRow | None:
    """The run of this uid."""
    return connection.execute(sa.select(run).where(run.c.uid == uid)).one_or_none()


def share_run(connection: sa.Connection, run_id: int) -> RunRow:
    """The run, whose state and sender stay as they are until this transaction ends; others may share it."""
    wanted = _SHARED_IN_TURN if _queues(connection) else _SHARED
    return connection.execute(wanted, {"of_run": run_id}).one()


def change_run(connection: sa.Connection, run_id: int, **values: object) -> RunRow:
    """Writes these columns, and returns the run as it is then. Whoever sends it hears that its state changed."""
    connection.execute(sa.update(run).where(run.c.id == run_id).values(**values))
    if "state" in values:
        tell_change(connection, run_id)
        if values["state"] == RunState.SENDING:
            forget_tally(connection, run_id)
    return connection.execute(_ONE, {"of_run": run_id}).one()


def balance_of(planned: int, counts: Mapping[int, int]) -> Balance:
    """The balance sheet, from the bytes counted."""
    return Balance(planned, states_of(counts), marks_of(counts))


def settle_run(connection: sa.Connection, row: RunRow, now: dt.datetime) -> RunRow:
    """Where nothing is left to send, gives the run the state that follows from its deliveries. Raises UnbalancedRun.

    For a run that no living process has. One that has something left to send stays, or becomes paused if it was held.
    """
    found = run_sums.count_members(connection, row.id)
    counts = states_of(found)
    if sum(counts.values()) != row.planned:
        raise UnbalancedRun(
            f"{name_of(row)}: {row.planned} recipients were planned, and {sum(counts.values())} are found"
        )
    left = any(counts.get(state) for state in CLAIMABLE)
    if row.summed and (left or settled_state(counts) not in OVER):  # a damaged database, or another program's
        run_sums.open_up(connection, row.id)
    if left:
        if row.state == RunState.HELD:
            reason = row.reason or "something is left to send again"
            return change_run(connection, row.id, state=RunState.PAUSED.value, reason=reason)
        return row
    state = settled_state(counts)
    if row.state == RunState.CANCELLED and state in OVER:
        state = RunState.CANCELLED
    ended = (row.ended_at or seconds(now)) if state in OVER else None
    if state in OVER and not row.summed:
        run_sums.keep(connection, row.id, found)
    if (row.state, row.ended_at, row.summed) == (state, ended, state in OVER):
        return row
    values: dict[str, object] = {"state": state.value, "reason": "", "ended_at": ended, "summed": int(state in OVER)}
    if state is RunState.HELD and row.state in {RunState.PAUSED, RunState.HELD}:  # what is left stays paused
        values["reason"] = row.reason or ("it was paused" if row.state == RunState.PAUSED else "")
    return change_run(connection, row.id, **values)


def _queues(connection: sa.Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _in_turn(*, shared: bool) -> sa.Select[Any]:
    """The run and its row's lock, after an advisory lock, in one statement.

    PostgreSQL lets whoever shares a row pass those who wait for it alone: under load a pause would never come through.
    Advisory locks are given in turn. The row's lock is taken last of all in a statement (LockRows stands at the top
    of the plan), and then the row is read anew.
    """
    take = sa.func.pg_advisory_xact_lock_shared if shared else sa.func.pg_advisory_xact_lock
    number = sa.cast(sa.bindparam("of_run"), sa.Integer)
    turn = sa.select(sa.cast(take(sa.cast(RUNS, sa.Integer), number), sa.Text).label("came"))
    gate = turn.cte("gate").prefix_with("MATERIALIZED")
    rows = sa.select(run).select_from(gate.join(run, run.c.id == sa.bindparam("of_run")))
    return rows.with_for_update(read=shared, of=run)


_ONE = sa.select(run).where(run.c.id == sa.bindparam("of_run"))
_NAMED = sa.select(run).where(
    run.c.newsletter == sa.bindparam("newsletter"),
    run.c.issue_date == sa.bindparam("issue_date"),
    run.c.edition == sa.bindparam("edition"),
)
_HELD = _ONE.with_for_update()
_SHARED = _ONE.with_for_update(read=True)
_HELD_IN_TURN, _SHARED_IN_TURN = _in_turn(shared=False), _in_turn(shared=True)
