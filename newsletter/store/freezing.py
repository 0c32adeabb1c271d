"""Planning a run: its audience becomes frozen batches, in one transaction with the run itself."""

from __future__ import annotations

import datetime as dt
import secrets
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import sqlalchemy as sa

from newsletter.audience.model import Exclusion, Member
from newsletter.audience.people import Frozen, PlannedAudience, Selection
from newsletter.delivery.run_values import RunPlan
from newsletter.delivery.states import DeliveryState, RunState
from newsletter.errors import GuardRefused
from newsletter.store.packing import pack
from newsletter.store.person_rows import MEMBER_COLUMNS, seconds
from newsletter.store.person_rows import members as as_members
from newsletter.store.run_rows import packed_selection, run_name
from newsletter.store.run_windows import KeptWindow, kept_window, new_window
from newsletter.store.selecting import ELIGIBLE, PAUSED, PENDING, SUPPRESSED
from newsletter.store.standings import everyone, numbers
from newsletter.store.state_bytes import alike
from newsletter.store.tables import batch, run, run_exclusion, subscriber

_REASONS = {SUPPRESSED: Exclusion.SUPPRESSED, PENDING: Exclusion.PENDING, PAUSED: Exclusion.PAUSED}
#: How many are held at a time.
_BATCHES_A_TIME = 500
#: Ids in one statement; SQLite takes 32,766 values, and a plan for more is no better.
_IDS_A_TIME = 1_000


def freeze(connection: sa.Connection, plan: RunPlan, *, now: dt.datetime) -> tuple[Frozen, str]:
    """Plans a run; see `Ledger.plan`. Returns it and its uid. Holds some thousand ids at a time, however large the
    audience; of a run with windows 8 bytes a person."""
    if plan.batch_size < 1:
        raise ValueError("a batch has at least one member")
    uid = secrets.token_hex(8)
    run_id = _new_run(connection, plan, uid, now)
    counts: Counter[int] = Counter()
    number = 0
    for window, members in _windows(connection, plan, seconds(now), counts):
        first = number + 1
        due_at = max(seconds(now), window.opens_at) if window else seconds(now)
        number = _new_batches(connection, run_id, number, members, plan.batch_size, due_at)
        if window:
            new_window(connection, run_id, window, range(first, number + 1))
    planned, excluded = counts[ELIGIBLE], _excluded(counts)
    if plan.expected is not None and plan.expected != planned:
        raise GuardRefused(
            f"{plan.expected:,} recipients were confirmed, and the audience of {plan.name} has {planned:,}",
            hint="Somebody joined or left meanwhile. Look at the count again, and confirm that one.",
        )
    connection.execute(sa.update(run).where(run.c.id == run_id).values(planned=planned))
    if excluded:
        connection.execute(
            sa.insert(run_exclusion),
            [{"run_id": run_id, "reason": reason, "count": count} for reason, count in excluded.items()],
        )
    return Frozen(run_id, planned, excluded), uid


def plan(connection: sa.Connection, selection: Selection, *, now: dt.datetime) -> PlannedAudience:
    """Whom `freeze` would take and whom it would leave out, by their ids; nothing is recorded. 8 bytes a person."""
    members: array[int] = array("q")
    left_out: dict[Exclusion, array[int]] = {reason: array("q") for reason in _REASONS.values()}
    for some in everyone(connection, selection, seconds(now)):
        for (standing, _), ids in some.items():
            (members if standing == ELIGIBLE else left_out[_REASONS[standing]]).extend(ids)
    return PlannedAudience(members, {reason: ids for reason, ids in left_out.items() if ids})


def count(connection: sa.Connection, selection: Selection, *, now: dt.datetime) -> Mapping[str, int]:
    """`planned`, and how many are left out for each reason that occurs."""
    counts = numbers(connection, selection, seconds(now))
    return {"planned": counts[ELIGIBLE]} | {str(reason): number for reason, number in _excluded(counts).items()}


def timezones(connection: sa.Connection, selection: Selection, *, now: dt.datetime) -> list[str]:
    """The time zones of those whom `freeze` would take, as they are kept, sorted; '' of those who have none."""
    found = everyone(connection, selection, seconds(now), zoned=True)
    return sorted({zone for some in found for standing, zone in some if standing == ELIGIBLE})


def members(connection: sa.Connection, ids: Sequence[int]) -> Iterator[Member]:
    """The people of these ids as they are now, in the same order; those erased since are missing."""
    wanted = sa.select(*MEMBER_COLUMNS).where(subscriber.c.id.in_(sa.bindparam("ids", expanding=True)))
    for start in range(0, len(ids), _IDS_A_TIME):
        some = list(ids[start : start + _IDS_A_TIME])
        found = {row[0]: row for row in connection.execute(wanted, {"ids": some})}
        yield from as_members([found[one] for one in some if one in found])


def last_planned(connection: sa.Connection, newsletter: str) -> int | None:
    """How many members the run had that was planned last; None before the first."""
    return connection.scalar(
        sa.select(run.c.planned).where(run.c.newsletter == newsletter).order_by(run.c.id.desc()).limit(1)
    )


def _new_run(connection: sa.Connection, plan: RunPlan, uid: str, now: dt.datetime) -> int:
    """The run's number. Where two plan the same run at once, the second waits here for the first, and is refused."""
    row = sa.insert(run).values(
        uid=uid,
        newsletter=plan.name.newsletter,
        issue_date=plan.issue_date.isoformat(),
        edition=plan.edition,
        state=RunState.PLANNED.value,
        content_hash=plan.content_hash,
        subject=plan.subject,
        provider=plan.provider,
        batch_size=plan.batch_size,
        selection=packed_selection(plan.selection),
        planned=0,
        created_at=seconds(now),
        deadline=seconds(plan.deadline),
        program=plan.program,
        setup=plan.setup,
    )
    try:
        return int(connection.scalars(row.returning(run.c.id)).one())
    except sa.exc.IntegrityError:
        raise GuardRefused(
            f"the run {run_name(plan.name.newsletter, plan.issue_date.isoformat(), plan.edition)} is already planned",
            hint="an issue goes out once; a second one of the day is an edition",
        ) from None


def _new_batches(
    connection: sa.Connection, run_id: int, number: int, members: Iterator[int], size: int, due_at: int
) -> int:
    """Adds the batches of these people (ascending), numbered on from `number`; the number of the last one."""
    rows: list[dict[str, object]] = []
    while ids := list(islice(members, size)):
        number += 1
        rows.append(_new_batch(run_id, number, ids, due_at))
        if len(rows) == _BATCHES_A_TIME:
            connection.execute(sa.insert(batch), rows)
            rows = []
    if rows:
        connection.execute(sa.insert(batch), rows)
    return number


def _new_batch(run_id: int, number: int, ids: Sequence[int], due_at: int) -> dict[str, object]:
    return {
        "run_id": run_id,
        "number": number,
        "members": pack(ids),
        "size": len(ids),
        "first_id": ids[0],
        "last_id": ids[-1],
        "states": alike(DeliveryState.PLANNED),
        "attempts": 0,
        "claims": 0,
        "due_at": due_at,
    }


def _windows(
    connection: sa.Connection, plan: RunPlan, now: int, counts: Counter[int]
) -> Iterator[tuple[KeptWindow | None, Iterator[int]]]:
    """The windows in the order in which they open, each with the ids of those who may be mailed in it, ascending; None
    for everybody where the run has none. Everybody is counted."""
    if plan.window_of is None:
        yield None, _counted(everyone(connection, plan.selection, now), counts)
        return
    windows: dict[str, KeptWindow] = {}
    members: dict[KeptWindow, array[int]] = {}
    for some in everyone(connection, plan.selection, now, zoned=True):
        found: dict[KeptWindow, list[int]] = {}
        for (standing, zone), ids in some.items():
            counts[standing] += len(ids)
            if standing == ELIGIBLE:
                if zone not in windows:
                    windows[zone] = kept_window(plan.window_of(zone), plan.deadline)
                found.setdefault(windows[zone], []).extend(ids)
        for window, people in found.items():
            members.setdefault(window, array("q")).extend(sorted(people))
    for window in sorted(members):
        yield window, iter(members.pop(window))


def _counted(found: Iterator[dict[tuple[int, str], list[int]]], counts: Counter[int]) -> Iterator[int]:
    """The ids of those who may be mailed; all are counted."""
    for some in found:
        for (standing, _), ids in some.items():
            counts[standing] += len(ids)
        yield from some.get((ELIGIBLE, ""), ())


def _excluded(counts: Mapping[int, int]) -> dict[Exclusion, int]:
    return {reason: counts[standing] for standing, reason in _REASONS.items() if counts.get(standing)}
