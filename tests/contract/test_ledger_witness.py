"""What a provider reports of many deliveries at once: the same as of one after the other, and quick."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa
from fresh_databases import ERASURE_KEY, empty_tables
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_runs import NOW, S, claims, in_zones, ledger_of, load, plan, planned, readers, report, states, windows

from newsletter.delivery.model import Accepted, Busy, Outcome, Refused, Unknown
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import Halt, Report, Wish
from newsletter.delivery.states import Mark, RunState
from newsletter.store.audience import SqlAudience
from newsletter.store.journal import Event, Journal
from newsletter.store.ledger import SqlLedger

RUN = RunName("buzz", "2026-01-07")
OTHER = RunName("buzz", "2026-01-07.evening")
OUTCOMES: tuple[Outcome, ...] = (Accepted(), Refused("no", "550"), Busy("later"), Unknown("lost"))


@pytest.fixture
def ledger(database: sa.Engine, tmp_path: Path) -> SqlLedger:
    return ledger_of(database, tmp_path)


def sent_twice_alike(ledger: SqlLedger, store: SqlAudience, outcomes: Sequence[Outcome], *, closed: bool) -> None:
    """Two runs of the same members, in windows and batches, whose calls ended alike; some were not made at all."""
    load(store, in_zones(readers(len(outcomes)), "home", "late", "far"))
    opened = windows(home=(0, 6), late=(-1, 6), far=(-2, 6))
    for edition in ("", "evening"):
        run_id = plan(ledger, edition=edition, size=3, window_of=opened).run_id
        handle = ledger.take(run_id, now=NOW)
        by_person = dict(enumerate(outcomes))
        exchange = handle.exchange([], [Wish(3)] * max(1, len(outcomes) // 4), now=NOW)
        reports = [
            Report(claim, {one.id: by_person[one.id % len(outcomes)] for one in claim.members}, retry_at=NOW)
            for claim in exchange.claims
            if claim is not None
        ]
        handle.exchange(reports, [], now=NOW)
        if closed:
            handle.close(now=NOW)


@pytest.fixture(params=["let go", "in hand"])
def closed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "let go")


def test_many_at_once_are_the_same_as_one_after_the_other_in_any_order_and_number(
    database: sa.Engine, tmp_path: Path, closed: bool
) -> None:
    folders = itertools.count()

    @settings(max_examples=12 if database.dialect.name == "sqlite" else 6)
    @given(
        outcomes=st.lists(st.sampled_from(OUTCOMES), min_size=3, max_size=24),
        told=st.lists(st.tuples(st.integers(0, 27), st.sampled_from([Mark(0), *Mark])), max_size=40),
        parts=st.integers(1, 4),
        data=st.data(),
    )
    def holds(outcomes: list[Outcome], told: list[tuple[int, Mark]], parts: int, data: st.DataObject) -> None:
        empty_tables(database)
        ledger = ledger_of(database, tmp_path / str(next(folders)))
        sent_twice_alike(ledger, SqlAudience(database, ERASURE_KEY), outcomes, closed=closed)
        one_by_one, at_once = ledger.run(RUN), ledger.run(OTHER)
        assert one_by_one is not None
        assert at_once is not None
        news = sum(ledger.evidence(one_by_one.id, person, mark, now=NOW) for person, mark in told)
        again = data.draw(st.permutations([*told, *told[: len(told) // 2]]))
        told_news = sum(ledger.witness(OTHER, some, now=NOW) or 0 for some in in_parts(again, parts))
        assert marks_of(ledger, OTHER) == marks_of(ledger, RUN)
        assert (told_news > 0) == (news > 0)
        found, expected = ledger.run(OTHER), ledger.run(RUN)
        assert found is not None
        assert expected is not None
        assert (found.state, found.ended_at) == (expected.state, expected.ended_at)
        assert ledger.balance(found.id) == ledger.balance(expected.id)
        assert ledger.balance(found.id).balances

    holds()


def in_parts(told: Sequence[tuple[int, Mark]], parts: int) -> Iterator[Mapping[int, Mark]]:
    for start in range(parts):
        marks: dict[int, Mark] = {}
        for person, mark in told[start::parts]:
            marks[person] = marks.get(person, Mark(0)) | mark
        yield marks


def marks_of(ledger: SqlLedger, name: RunName) -> dict[int, tuple[S, Mark]]:
    run = ledger.run(name)
    assert run is not None
    return {one.subscriber_id: (one.state, one.marks) for one in ledger.deliveries(run.id, list(S))}


def test_a_run_that_is_not_there_is_told_apart_from_no_news(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    planned(audience_store, ledger, 2, size=2)
    assert ledger.witness(RunName("buzz", "2020-01-01"), {1: Mark.DELIVERED}, now=NOW) is None
    assert ledger.witness(RunName("test of buzz", "2026-01-07"), {1: Mark.DELIVERED}, now=NOW) is None
    assert ledger.witness(RUN, {999: Mark.DELIVERED}, now=NOW) == 0
    assert ledger.witness(RUN, {}, now=NOW) == 0


def test_the_last_unknown_that_is_settled_ends_the_run_and_the_journal_says_so(
    ledger: SqlLedger, audience_store: SqlAudience, tmp_path: Path
) -> None:
    run_id = planned(audience_store, ledger, 7, size=3)
    handle = ledger.take(run_id, now=NOW)
    given_out = claims(handle, 3, 3, 3)
    handle.exchange([report(claim, Unknown("reset")) for claim in given_out], [], now=NOW)
    assert handle.close(now=NOW).state is RunState.HELD
    people = [member.id for claim in given_out for member in claim.members]
    assert ledger.witness(RUN, dict.fromkeys(people[:6], Mark(0)), now=NOW) == 6
    assert states(ledger, run_id) == {S.ACCEPTED: 6, S.UNKNOWN: 1}
    assert ended(tmp_path) == 0
    assert ledger.witness(RUN, dict.fromkeys(people, Mark.DELIVERED), now=NOW) == 7
    found = ledger.run(RUN)
    assert found is not None
    assert (found.state, found.ended_at) == (RunState.FINISHED, NOW)
    assert ended(tmp_path) == 1
    assert ledger.reasons(run_id) == {}
    assert ledger.balance(run_id).marks == {Mark.DELIVERED: 7}


def ended(folder: Path) -> int:
    return sum(entry.event is Event.ENDED for entry in Journal(folder / "journal.ndjson").entries(str(RUN)))


def test_each_batch_is_read_and_written_once(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    planned(audience_store, ledger, 600, size=200)
    statements: list[str] = []

    def heard(_c: object, _u: object, statement: str, *_: object) -> None:
        statements.append(statement)

    sa.event.listen(database, "before_cursor_execute", heard)
    try:
        assert ledger.witness(RUN, dict.fromkeys(range(1, 601), Mark.DELIVERED), now=NOW) == 600
    finally:
        sa.event.remove(database, "before_cursor_execute", heard)
    assert sum(statement.startswith("UPDATE batch") for statement in statements) == 3
    assert len(statements) < 30


def test_events_come_in_while_a_living_sender_has_the_run(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    """The sender goes on, loses nothing, and learns what was told when it closes the run."""
    run_id = planned(audience_store, ledger, 400, size=10)
    handle = ledger.take(run_id, now=NOW)
    accepted: list[int] = []
    done = threading.Event()
    faults: list[BaseException] = []

    def tell() -> None:
        try:
            while not done.is_set():
                some = accepted[-60:]
                if some:
                    ledger.witness(RUN, dict.fromkeys(some, Mark.DELIVERED), now=NOW)
            ledger.witness(RUN, dict.fromkeys(accepted, Mark.DELIVERED), now=NOW)
        except BaseException as error:  # noqa: BLE001 - told in the test's own thread
            faults.append(error)

    telling = threading.Thread(target=tell)
    telling.start()
    try:
        reports: list[Report] = []
        while (exchange := handle.exchange(reports, [Wish(10)] * 4, now=NOW)).halt is not Halt.DONE:
            # the events of a call may come before its answer
            accepted += [member.id for claim in exchange.claims if claim for member in claim.members]
            reports = [report(claim) for claim in exchange.claims if claim]
    finally:
        done.set()
        telling.join()
    assert not faults, faults
    assert handle.close(now=NOW).state is RunState.FINISHED
    assert states(ledger, run_id) == {S.ACCEPTED: 400}
    assert handle.balance == ledger.balance(run_id)
    assert ledger.balance(run_id).marks == {Mark.DELIVERED: 400}
