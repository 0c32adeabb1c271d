"""Planning a run: its members are frozen, once, whatever happens at the same moment or later. On both databases."""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from newsletter.audience.model import Exclusion, Subscriber
from newsletter.audience.people import Consent, Frozen, ImportTerms, Selection, SuppressionReason
from newsletter.errors import GuardRefused
from newsletter.store import freezing, tables
from newsletter.store.audience import SqlAudience
from newsletter.store.engine import reading

NOW = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
TODAY = dt.date(2026, 1, 7)
DAILY = Selection(lists=("daily",))
FORM = Consent("daily", NOW, "form")


def rows(*names: str, agreed: bool = True) -> list[Subscriber]:
    at = NOW if agreed else None
    return [Subscriber(f"{name}@example.com", f"{name}@example.com", lists=("daily",), consent_at=at) for name in names]


def numbered(first: int, count: int) -> list[Subscriber]:
    return rows(*(f"reader{number:05}" for number in range(first, first + count)))


def load(store: SqlAudience, people: list[Subscriber]) -> None:
    store.import_rows(people, ImportTerms(into="daily", source="test"), now=NOW)


def freeze(
    store: SqlAudience, day: dt.date = TODAY, edition: str = "", selection: Selection = DAILY, size: int = 2
) -> Frozen:
    return store.freeze("buzz", (day, edition), selection, content_hash="c0ffee", batch_size=size, now=NOW)


def frozen_keys(store: SqlAudience, run: Frozen, batches: int) -> list[str]:
    """The members of all batches; an import gives ids in no order that is promised."""
    return sorted(one.key for number in range(1, batches + 1) for one in store.batch_members(run.run_id, number))


def counted(database: sa.Engine, table: sa.Table) -> int:
    with reading(database) as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def test_a_run_holds_its_members_in_batches_by_id_and_counts_all_others(
    database: sa.Engine, audience_store: SqlAudience
) -> None:
    load(audience_store, rows("ana", "ben", "cid", "dan", "eve") + rows("fay", agreed=False))
    audience_store.suppress("ben@example.com", SuppressionReason.MANUAL, None, source="cli", now=NOW)
    run = freeze(audience_store)
    assert (run.planned, run.excluded) == (4, {Exclusion.SUPPRESSED: 1, Exclusion.PENDING: 1})
    batches = [audience_store.batch_members(run.run_id, number) for number in (1, 2)]
    assert [len(one) for one in batches] == [2, 2]
    members = [one for batch in batches for one in batch]
    assert {one.key[:3] for one in members} == {"ana", "cid", "dan", "eve"}
    assert [one.id for one in members] == sorted({one.id for one in members})
    with pytest.raises(KeyError):
        audience_store.batch_members(run.run_id, 3)
    with reading(database) as connection:
        [kept] = connection.execute(sa.select(tables.run))
        left_out = {reason: count for _, reason, count in connection.execute(sa.select(tables.run_exclusion))}
        sizes = connection.scalars(sa.select(tables.batch.c.size).order_by(tables.batch.c.number)).all()
    assert (kept.newsletter, kept.issue_date, kept.edition) == ("buzz", "2026-01-07", "")
    assert (kept.state, kept.content_hash, kept.planned) == ("planned", "c0ffee", 4)
    assert left_out == {"suppressed": 1, "pending": 1}
    assert sizes == [2, 2]


def test_an_audience_of_nobody_is_a_run_without_batches(database: sa.Engine, audience_store: SqlAudience) -> None:
    run = freeze(audience_store)
    assert (run.planned, run.excluded) == (0, {})
    assert counted(database, tables.batch) == 0


def test_more_people_than_are_held_at_a_time_are_all_frozen_in_one_order(
    audience_store: SqlAudience, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, small in (("_PEOPLE_A_TIME", 7), ("_GROUPS_A_TIME", 2), ("_BATCHES_A_TIME", 3), ("_IDS_A_TIME", 5)):
        monkeypatch.setattr(freezing, name, small)
    load(audience_store, numbered(0, 100))
    run = freeze(audience_store, size=9)
    keys = frozen_keys(audience_store, run, 12)
    assert len(keys) == run.planned == 100
    assert keys == [one.key for one in numbered(0, 100)]
    ids = [one.id for number in range(1, 13) for one in audience_store.batch_members(run.run_id, number)]
    assert ids == sorted(ids) == list(audience_store.plan(DAILY).members)


def test_a_run_is_planned_once_and_an_edition_is_another_run(audience_store: SqlAudience) -> None:
    load(audience_store, rows("ana"))
    freeze(audience_store)
    with pytest.raises(GuardRefused, match=r"buzz/2026-01-07 is already planned"):
        freeze(audience_store)
    freeze(audience_store, edition="evening")
    with pytest.raises(GuardRefused, match=r"buzz/2026-01-07\.evening is already planned"):
        freeze(audience_store, edition="evening")
    assert freeze(audience_store, TODAY + dt.timedelta(days=1)).planned == 1


def test_of_many_who_plan_the_same_run_at_once_one_wins(database: sa.Engine, audience_store: SqlAudience) -> None:
    load(audience_store, numbered(0, 500))
    start = threading.Barrier(4)

    def attempt(_number: int) -> str:
        start.wait()
        try:
            return str(freeze(audience_store, size=10).planned)
        except GuardRefused as refusal:
            return refusal.message

    with ThreadPoolExecutor(4) as pool:
        outcomes = sorted(pool.map(attempt, range(4)))
    assert outcomes == ["500", *["the run buzz/2026-01-07 is already planned"] * 3]
    assert counted(database, tables.run) == 1
    assert counted(database, tables.batch) == 50


def test_a_plan_that_fails_half_way_leaves_nothing(
    database: sa.Engine, audience_store: SqlAudience, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(audience_store, numbered(0, 20))

    def fails(_counts: object) -> None:
        raise OSError("the power went")

    with monkeypatch.context() as patch:
        patch.setattr(freezing, "_excluded", fails)
        with pytest.raises(OSError, match="power"):
            freeze(audience_store)
    assert [counted(database, table) for table in (tables.run, tables.batch, tables.run_exclusion)] == [0, 0, 0]
    assert freeze(audience_store).planned == 20


def test_who_joins_later_waits_and_who_leaves_later_stays_a_member_of_the_run(audience_store: SqlAudience) -> None:
    load(audience_store, rows("ana", "ben"))
    run = freeze(audience_store, size=10)
    load(audience_store, rows("late"))
    audience_store.unsubscribe("ana@example.com", None, source="link", now=NOW)
    assert frozen_keys(audience_store, run, 1) == ["ana@example.com", "ben@example.com"]
    following = freeze(audience_store, TODAY + dt.timedelta(days=1), size=10)
    assert frozen_keys(audience_store, following, 1) == ["ben@example.com", "late@example.com"]


def test_members_are_read_as_they_are_now_and_erased_ones_are_gone(audience_store: SqlAudience) -> None:
    load(audience_store, rows("ana", "ben"))
    run = freeze(audience_store)
    [ana] = rows("ana")
    load(audience_store, [dataclasses.replace(ana, name="Ana", language="pt", attributes={"city": "Porto"})])
    audience_store.erase("ben@example.com", source="cli", now=NOW)
    [member] = audience_store.batch_members(run.run_id, 1)
    assert (member.key, member.name, member.language) == ("ana@example.com", "Ana", "pt")
    assert member.attributes == {"city": "Porto"}


def test_an_import_while_a_run_is_planned_is_in_it_as_a_whole_or_not_at_all(audience_store: SqlAudience) -> None:
    load(audience_store, numbered(0, 2_000))
    days = [TODAY + dt.timedelta(days=number) for number in range(8)]
    start = threading.Barrier(2)

    def imports() -> None:
        start.wait()
        for first in (2_000, 4_000, 6_000):
            load(audience_store, numbered(first, 2_000))

    def plans() -> list[Frozen]:
        start.wait()
        return [freeze(audience_store, day, size=100) for day in days]

    with ThreadPoolExecutor(2) as pool:
        importing, planning = pool.submit(imports), pool.submit(plans)
        importing.result()
        planned = [run.planned for run in planning.result()]
    assert set(planned) <= {2_000, 4_000, 6_000, 8_000}
    assert planned == sorted(planned)
    assert freeze(audience_store, TODAY, "last").planned == 8_000


def test_the_run_planned_last_is_what_the_next_audience_is_compared_with(audience_store: SqlAudience) -> None:
    assert audience_store.last_planned("buzz") is None
    load(audience_store, rows("ana", "ben"))
    freeze(audience_store)
    load(audience_store, rows("cid"))
    freeze(audience_store, TODAY - dt.timedelta(days=7))
    assert audience_store.last_planned("buzz") == 3
    assert audience_store.last_planned("weekly") is None
