"""Planning a run: its members are frozen, once, whatever happens at the same moment or later. On both databases."""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from ledger_runs import DAILY, DEADLINE, NOW, TODAY, claims, ledger_of, load, people, plan, readers

from newsletter.audience.model import Exclusion, Member
from newsletter.audience.people import Frozen, Selection, SuppressionReason
from newsletter.delivery.states import RunState
from newsletter.errors import GuardRefused
from newsletter.store import freezing, standings, tables
from newsletter.store.audience import SqlAudience
from newsletter.store.engine import reading, writing
from newsletter.store.ledger import SqlLedger
from newsletter.store.packing import unpack


@pytest.fixture
def ledger(database: sa.Engine, tmp_path: Path) -> SqlLedger:
    return ledger_of(database, tmp_path)


def members_of(database: sa.Engine, store: SqlAudience, run: Frozen) -> list[list[Member]]:
    """The members of each batch, as they are now."""
    with reading(database) as connection:
        packed = connection.scalars(
            sa.select(tables.batch.c.members).where(tables.batch.c.run_id == run.run_id).order_by(tables.batch.c.number)
        ).all()
    return [list(store.members(unpack(one))) for one in packed]


def frozen_keys(database: sa.Engine, store: SqlAudience, run: Frozen) -> list[str]:
    """The members of all batches; an import gives ids in no order that is promised."""
    return sorted(one.key for batch in members_of(database, store, run) for one in batch)


def counted(database: sa.Engine, table: sa.Table) -> int:
    with reading(database) as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def test_a_run_holds_its_members_in_batches_by_id_and_counts_all_others(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    load(audience_store, people(("ana", "ben", "cid", "dan", "eve")) + people(["fay"], agreed=False))
    audience_store.suppress("ben@example.com", SuppressionReason.MANUAL, None, source="cli", now=NOW)
    run = plan(ledger)
    assert (run.planned, run.excluded) == (4, {Exclusion.SUPPRESSED: 1, Exclusion.PENDING: 1})
    batches = members_of(database, audience_store, run)
    assert [len(one) for one in batches] == [2, 2]
    members = [one for batch in batches for one in batch]
    assert {one.key[:3] for one in members} == {"ana", "cid", "dan", "eve"}
    assert [one.id for one in members] == sorted({one.id for one in members})
    with reading(database) as connection:
        [kept] = connection.execute(sa.select(tables.run))
        left_out = {reason: count for _, reason, count in connection.execute(sa.select(tables.run_exclusion))}
        sizes = connection.scalars(sa.select(tables.batch.c.size).order_by(tables.batch.c.number)).all()
    assert (kept.newsletter, kept.issue_date, kept.edition) == ("buzz", "2026-01-07", "")
    assert (kept.state, kept.content_hash, kept.planned) == ("planned", "c0ffee", 4)
    assert left_out == {"suppressed": 1, "pending": 1} == ledger.excluded(run.run_id)
    assert sizes == [2, 2]


def test_a_planned_run_is_read_back_as_it_was_planned(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    load(audience_store, people(["ana"]))
    selection = Selection(("daily", "weekly"), ("vip",), ("press",), {"city": "Porto"})
    number = plan(ledger, edition="evening", size=7, selection=selection).run_id
    first = plan(ledger).run_id
    [of_morning, of_evening] = ledger.runs("buzz")
    assert (of_morning.id, of_evening.id) == (first, number)
    assert (str(of_evening.name), of_evening.edition) == ("buzz/2026-01-07.evening", "evening")
    assert (of_evening.issue_date, of_evening.state, of_evening.batch_size) == (TODAY, RunState.PLANNED, 7)
    assert (of_evening.selection, of_evening.content_hash) == (selection, "c0ffee")
    assert (of_evening.subject, of_evening.provider) == ("Morning", "disk")
    assert (of_evening.planned_at, of_evening.deadline) == (NOW, DEADLINE)
    assert ledger.run(of_evening.name) == of_evening
    assert ledger.runs("weekly") == []
    assert [one.id for one in ledger.runs(limit=1)] == [first]
    assert [one.id for one in ledger.unfinished()] == [first, number]


def test_a_run_for_another_number_than_was_confirmed_is_not_planned(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    load(audience_store, readers(3))
    with pytest.raises(GuardRefused, match=r"2 recipients were confirmed, and the audience of buzz/2026-01-07 has 3"):
        plan(ledger, expected=2)
    assert counted(database, tables.run) == 0
    assert plan(ledger, expected=3).planned == 3


def test_what_the_journal_knows_and_the_database_does_not_is_not_planned_again(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    load(audience_store, readers(3))

    def forget_runs() -> None:
        with writing(database) as connection:
            for table in (tables.attempt, tables.batch, tables.run):
                connection.execute(sa.delete(table))

    plan(ledger)
    forget_runs()
    handle = ledger.take(plan(ledger).run_id, now=NOW)
    claims(handle, 2)
    handle.close(now=NOW)
    forget_runs()
    with pytest.raises(GuardRefused, match="was sent before, and the database does not know of it") as refused:
        plan(ledger)
    assert "journal" in str(refused.value.place)
    assert "backup" in refused.value.hint
    assert counted(database, tables.run) == 0
    assert plan(ledger, edition="evening").planned == 3


def test_an_audience_of_nobody_is_a_run_without_batches(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run = plan(ledger)
    assert (run.planned, run.excluded) == (0, {})
    assert counted(database, tables.batch) == 0


def test_more_people_than_are_held_at_a_time_are_all_frozen_in_one_order(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standings, "_PEOPLE_A_TIME", 7)
    for name, small in (("_BATCHES_A_TIME", 3), ("_IDS_A_TIME", 5)):
        monkeypatch.setattr(freezing, name, small)
    load(audience_store, readers(100))
    run = plan(ledger, size=9)
    keys = frozen_keys(database, audience_store, run)
    assert len(keys) == run.planned == 100
    assert keys == [one.key for one in readers(100)]
    ids = [one.id for batch in members_of(database, audience_store, run) for one in batch]
    assert ids == sorted(ids) == list(audience_store.plan(DAILY).members)


def test_a_run_is_planned_once_and_an_edition_is_another_run(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    load(audience_store, people(["ana"]))
    plan(ledger)
    with pytest.raises(GuardRefused, match=r"buzz/2026-01-07 is already planned"):
        plan(ledger)
    plan(ledger, edition="evening")
    with pytest.raises(GuardRefused, match=r"buzz/2026-01-07\.evening is already planned"):
        plan(ledger, edition="evening")
    assert plan(ledger, TODAY + dt.timedelta(days=1)).planned == 1


def test_of_many_who_plan_the_same_run_at_once_one_wins(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    load(audience_store, readers(500))
    start = threading.Barrier(4)

    def attempt(_number: int) -> str:
        start.wait()
        try:
            return str(plan(ledger, size=10).planned)
        except GuardRefused as refusal:
            return refusal.message

    with ThreadPoolExecutor(4) as pool:
        outcomes = sorted(pool.map(attempt, range(4)))
    assert outcomes == ["500", *["the run buzz/2026-01-07 is already planned"] * 3]
    assert counted(database, tables.run) == 1
    assert counted(database, tables.batch) == 50


def test_a_plan_that_fails_half_way_leaves_nothing(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(audience_store, readers(20))

    def fails(_counts: object) -> None:
        raise OSError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr(freezing, "_excluded", fails)
        with pytest.raises(OSError, match="power"):
            plan(ledger)
    assert [counted(database, table) for table in (tables.run, tables.batch, tables.run_exclusion)] == [0, 0, 0]
    assert plan(ledger).planned == 20


def test_who_joins_later_waits_and_who_leaves_later_stays_a_member_of_the_run(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    load(audience_store, people(("ana", "ben")))
    run = plan(ledger, size=10)
    load(audience_store, people(["late"]))
    audience_store.unsubscribe("ana@example.com", None, source="link", now=NOW)
    assert frozen_keys(database, audience_store, run) == ["ana@example.com", "ben@example.com"]
    following = plan(ledger, TODAY + dt.timedelta(days=1), size=10)
    assert frozen_keys(database, audience_store, following) == ["ben@example.com", "late@example.com"]


def test_members_are_read_as_they_are_now_and_erased_ones_are_gone(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    load(audience_store, people(("ana", "ben")))
    run = plan(ledger)
    [ana] = people(["ana"])
    load(audience_store, [dataclasses.replace(ana, name="Ana", language="pt", attributes={"city": "Porto"})])
    audience_store.erase("ben@example.com", source="cli", now=NOW)
    [[member]] = members_of(database, audience_store, run)
    assert (member.key, member.name, member.language) == ("ana@example.com", "Ana", "pt")
    assert member.attributes == {"city": "Porto"}


def test_an_import_while_a_run_is_planned_is_in_it_as_a_whole_or_not_at_all(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    load(audience_store, readers(2_000))
    days = [TODAY + dt.timedelta(days=number) for number in range(8)]
    start = threading.Barrier(2)

    def imports() -> None:
        start.wait()
        for first in (2_000, 4_000, 6_000):
            load(audience_store, readers(2_000, first))

    def plans() -> list[Frozen]:
        start.wait()
        return [plan(ledger, day, size=100) for day in days]

    with ThreadPoolExecutor(2) as pool:
        importing, planning = pool.submit(imports), pool.submit(plans)
        importing.result()
        planned = [run.planned for run in planning.result()]
    assert set(planned) <= {2_000, 4_000, 6_000, 8_000}
    assert planned == sorted(planned)
    assert plan(ledger, TODAY, "last").planned == 8_000


def test_the_run_planned_last_is_what_the_next_audience_is_compared_with(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    assert audience_store.last_planned("buzz") is None
    load(audience_store, people(("ana", "ben")))
    plan(ledger)
    load(audience_store, people(["cid"]))
    plan(ledger, TODAY - dt.timedelta(days=7))
    assert audience_store.last_planned("buzz") == 3
    assert audience_store.last_planned("weekly") is None
