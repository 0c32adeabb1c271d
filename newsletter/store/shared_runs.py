"""Runs that workers send: each batch is in the hands of one of them, and no process has the run.

Every function takes a connection within a transaction of the caller's. Whoever changes the run as a whole holds its
row alone; whoever has a batch shares it, then holds the batch: so what is said here of a run that is held stays true.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import replace

import sqlalchemy as sa

from newsletter.delivery.run_values import Sharing, WorkerRecord
from newsletter.delivery.states import OVER, DeliveryState, RunState
from newsletter.store import jobs, recovery
from newsletter.store.batch_rows import read_batches
from newsletter.store.person_rows import seconds
from newsletter.store.run_rows import RunRow, change_run, settle_run
from newsletter.store.senders import Senders
from newsletter.store.settling import expire_run
from newsletter.store.tables import attempt, batch, run, sender

#: A run that workers send or sent, and that is not at its end; or of which somebody has a batch yet.
UNSETTLED = sa.and_(
    run.c.shared == 1,
    run.c.ended_at.is_(None),  # else nobody has any; without this all batches of all runs are looked through
    sa.or_(
        run.c.state == RunState.SENDING.value,
        sa.exists().where(batch.c.run_id == run.c.id, batch.c.sender_id.is_not(None)),
    ),
)


def hands(connection: sa.Connection, run_id: int) -> list[int]:
    """The senders that have a batch of the run, living or dead."""
    wanted = sa.select(batch.c.sender_id).where(batch.c.run_id == run_id, batch.c.sender_id.is_not(None))
    return sorted(int(one) for one in connection.scalars(wanted.distinct()) if one is not None)


def is_open(connection: sa.Connection, run_id: int) -> bool:
    """Whether something of the run is left to send, or in hands."""
    due = sa.select(batch.c.number).where(batch.c.run_id == run_id, batch.c.due_at.is_not(None)).limit(1)
    # the first is found by an index, and is there until the last minute
    return connection.scalar(due) is not None or bool(hands(connection, run_id))


def living_hands(
    connection: sa.Connection, senders: Senders, run_id: int, now: dt.datetime, *, hold: bool = False
) -> str:
    """Who of those that have a batch lives: `host pid 123 and 2 more`; '' for nobody."""
    found = list(dict.fromkeys(senders.living_among(connection, hands(connection, run_id), now, hold=hold)))
    return f"{found[0]} and {len(found) - 1} more" if len(found) > 1 else "".join(found)


def workers(connection: sa.Connection, senders: Senders, run_id: int, now: dt.datetime) -> list[WorkerRecord]:
    """The processes that made an attempt of the run or have a batch of it: each of a worker's threads is a sender.

    Who has nothing in hand renews no lease: it is gone where one of its threads was ended, or has something in hand and
    is silent, and no other lives for certain.
    """
    attempts, held, in_flight = Counter[int](), Counter[int](), Counter[int]()
    made = sa.select(attempt.c.sender_id, sa.func.count()).where(attempt.c.run_id == run_id)
    for one, number in connection.execute(made.group_by(attempt.c.sender_id)):
        attempts[one] += number
    for row in read_batches(connection, run_id, batch.c.sender_id.is_not(None)):
        assert row.sender_id is not None
        held[row.sender_id] += 1
        in_flight[row.sender_id] += row.number_in(DeliveryState.IN_FLIGHT)
    found: dict[str, WorkerRecord] = {}
    mine = sorted({*attempts, *held})
    ended = set(connection.scalars(sa.select(sender.c.id).where(sender.c.id.in_(mine), sender.c.ended_at.is_not(None))))
    lives, dead = set[str](), set[str]()
    for one in mine:
        name = senders.name(connection, one)
        if senders.living(connection, one, now, by_lease=True):
            lives.add(name)
        elif one in ended or held[one]:
            dead.add(name)
        before = found.get(name, WorkerRecord(name, True, 0, 0, 0))
        found[name] = WorkerRecord(
            name,
            True,
            before.attempts + attempts[one],
            before.batches + held[one],
            before.in_flight + in_flight[one],
        )
    return [replace(found[name], living=name in lives or name not in dead) for name in sorted(found)]


def recover_hands(connection: sa.Connection, senders: Senders, row: RunRow, now: dt.datetime) -> list[int]:
    """What dead workers left of the run; their numbers. Those that live keep what they have."""
    dead = [one for one in hands(connection, row.id) if not senders.living(connection, one, now, by_lease=True)]
    for one in dead:
        recovery.recover(connection, row, one, senders.name(connection, one), now)
        senders.end(connection, one, now)
    return dead


def begin(connection: sa.Connection, row: RunRow, sharing: Sharing, now: dt.datetime) -> RunRow:
    """Hands the run, which is held and in nobody's hands, to workers: with a job for each batch that has none."""
    if sharing.limit is not None and sharing.limit < 1:
        raise ValueError("a limit lets at least one through")
    recovery.count_anew(connection, row.id, now)
    if sharing.resend_unknown:
        recovery.resend_unknown(connection, row.id, now)
    row = change_run(
        connection,
        row.id,
        state=RunState.SENDING.value,
        reason="",
        started_at=row.started_at or seconds(now),
        ended_at=None,
        sender_id=None,
        shared=1,
        allowance=sharing.limit,
        program=sharing.program,
        setup=sharing.setup,
    )
    jobs.defer(connection, row.uid, jobs.orphans(connection, row.id, row.uid, now))
    return end(connection, row, now)


def end(connection: sa.Connection, row: RunRow, now: dt.datetime) -> RunRow:
    """Where nobody has a batch of the run, which is held: what is left expires if its deadline is over, and where
    nothing is left it gets the state that follows."""
    if not row.shared or hands(connection, row.id):
        return row
    if seconds(now) >= row.deadline and row.state not in OVER:
        expire_run(connection, row.id)
    return settle_run(connection, row, now)
