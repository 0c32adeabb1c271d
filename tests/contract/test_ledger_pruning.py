"""Runs whose time is over lose their recipients, and never that they went out, nor their sums. On both databases."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from audience_tables import contents
from ledger_runs import (
    DEADLINE,
    NOW,
    S,
    all_of,
    claims,
    in_zones,
    ledger_of,
    load,
    plan,
    planned,
    readers,
    report,
    send_all,
    windows,
)

from newsletter.delivery.model import Accepted, Outcome, Refused, Unknown
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import Balance, Report, Settlement, Wish
from newsletter.delivery.states import Mark, RunState
from newsletter.errors import GuardRefused
from newsletter.store import pruning
from newsletter.store.audience import SqlAudience
from newsletter.store.ledger import SqlLedger
from newsletter.store.pruning import Prunable, PrunedRuns, prunable_runs, prune_runs

TODAYS = RunName("buzz", "2026-01-07")
LATER, EARLIER = NOW + dt.timedelta(days=1), NOW - dt.timedelta(days=1)


@pytest.fixture
def ledger(database: sa.Engine, tmp_path: Path) -> SqlLedger:
    return ledger_of(database, tmp_path)


def prune(
    database: sa.Engine,
    *,
    runs: dt.datetime = LATER,
    attempts: dt.datetime = LATER,
    stop: Callable[[], bool] = lambda: False,
) -> PrunedRuns:
    return prune_runs(database, runs_before=runs, attempts_before=attempts, stop=stop)


def sent(ledger: SqlLedger, run_id: int) -> Balance:
    """The run goes out: one in each batch is refused, in words of their own."""
    handle = ledger.take(run_id, now=NOW)
    reports: list[Report] = []
    while True:
        exchange = handle.exchange(reports, [Wish(1_000)], now=NOW)
        claim = exchange.claims[0]
        if claim is None:
            break
        first, *rest = claim.members
        outcomes: dict[int, Outcome] = {
            first.id: Refused("no such user", code="550"),
            **{one.id: Accepted() for one in rest},
        }
        reports = [Report(claim, outcomes, reference="250 queued")]
    handle.close(now=NOW)
    balance = ledger.balance(run_id)
    assert balance.balances
    return balance


@pytest.mark.parametrize("windowed", [False, True])
def test_a_pruned_run_keeps_its_sums_its_name_and_its_guard(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience, windowed: bool
) -> None:
    load(audience_store, in_zones(readers(7), "east", "home"))
    run_id = plan(ledger, window_of=windows(home=(0, 1), east=(0, 2)) if windowed else None).run_id
    before, record, excluded = sent(ledger, run_id), ledger.run(TODAYS), ledger.excluded(run_id)
    number = len(contents(database)["batch"])
    done = prune(database)
    assert done == PrunedRuns(runs=1, recipients=7, batches=number, attempts=number, notes=number)
    assert (ledger.balance(run_id), ledger.run(TODAYS), ledger.excluded(run_id)) == (before, record, excluded)
    left = contents(database)
    assert [left[name] for name in ("batch", "attempt", "delivery_note", "run_window")] == [[], [], [], []]
    assert ledger.delivery(run_id, readers(1)[0].key) is None
    assert list(ledger.deliveries(run_id, list(S))) == []
    with pytest.raises(GuardRefused, match="2026-01-07"):
        plan(ledger)
    # what comes late, or is asked for late, does no harm
    assert ledger.witness(TODAYS, {1: Mark.BOUNCED}, now=LATER) == 0
    assert ledger.retry(run_id, [S.REJECTED], LATER, now=NOW) == 0
    assert ledger.balance(run_id) == before
    assert prune(database) == PrunedRuns()


def test_calls_and_words_go_first(database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id = planned(audience_store, ledger, 6, size=3)
    before = sent(ledger, run_id)
    assert prunable_runs(database, runs_before=EARLIER, attempts_before=LATER) == Prunable(1, 1)
    assert prune(database, runs=EARLIER) == PrunedRuns(attempts=2, notes=2)
    rejected = list(ledger.deliveries(run_id, [S.REJECTED]))
    assert [(one.reason, one.attempts) for one in rejected] == [("", 0)] * 2
    assert ledger.balance(run_id) == before
    assert prunable_runs(database, runs_before=LATER, attempts_before=LATER) == Prunable(1, 0, 1, 6)
    # words cannot outlive the recipients
    assert prune(database, attempts=EARLIER) == PrunedRuns(runs=1, recipients=6, batches=2)
    assert prunable_runs(database, runs_before=LATER, attempts_before=LATER) == Prunable()


def test_what_ended_later_stays(database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience) -> None:
    sent(ledger, planned(audience_store, ledger, 4, size=2))
    before = contents(database)
    assert prune(database, runs=NOW, attempts=NOW) == PrunedRuns()
    assert contents(database) == before


@pytest.mark.parametrize("state", ["planned", "sending", "paused", "held"])
def test_a_run_that_is_not_over_stays_whole(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience, state: str
) -> None:
    run_id = planned(audience_store, ledger, 4, size=2)
    if state != "planned":
        handle = ledger.take(run_id, now=NOW)
        granted = claims(handle, 2, 2) if state == "held" else claims(handle, 2)
        if state != "sending":
            outcome = Unknown("reset") if state == "held" else Accepted()
            handle.exchange([report(claim, outcome) for claim in granted], [], now=NOW)
        if state == "paused":
            ledger.pause(run_id, "lunch", now=NOW)
        if state != "sending":
            handle.close(now=NOW)
    assert ledger.unfinished()[0].state == state
    before = contents(database)
    assert prune(database) == PrunedRuns()
    assert contents(database) == before


def test_an_unknown_outcome_keeps_a_run_whole_until_it_is_settled(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned(audience_store, ledger, 4, size=2)
    handle = ledger.take(run_id, now=NOW)
    first, second = claims(handle, 2, 2)
    handle.exchange([Report(first, all_of(first, Unknown("reset"))), report(second)], [], now=NOW)
    handle.close(now=NOW)
    # as a database of another program's making might have it: over, and somebody's outcome open
    with database.begin() as connection:
        connection.execute(sa.text("UPDATE run SET state = 'finished', ended_at = 1"))
    assert prune(database) == PrunedRuns()
    ledger.settle(run_id, Settlement.ACCEPTED, now=NOW)
    assert prune(database).recipients == 4


def test_it_may_end_anywhere_and_every_sum_holds_meanwhile(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "_ROWS", 3)
    run_id = planned(audience_store, ledger, 20, size=2)
    before, found, parts = sent(ledger, run_id), PrunedRuns(), 0
    while True:
        asked = itertools.count()
        done = prune(database, stop=lambda asked=asked: next(asked) > 2)  # type: ignore[misc]
        if done == PrunedRuns():
            break
        parts += 1
        assert ledger.balance(run_id) == before
        found = PrunedRuns(*(one + other for one, other in zip(_values(found), _values(done), strict=True)))
    assert found == PrunedRuns(runs=1, recipients=20, batches=10, attempts=10, notes=10)
    assert parts > 3


def test_a_run_that_was_opened_again_meanwhile_keeps_the_rest(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "_ROWS", 3)
    run_id = planned(audience_store, ledger, 20, size=2)
    before, asked = sent(ledger, run_id), itertools.count()

    def stop() -> bool:
        if next(asked) == 10:  # attempts and words are gone, and some of the batches
            assert ledger.retry(run_id, [S.REJECTED], DEADLINE, now=NOW) > 0
        return False

    done = prune(database, stop=stop)
    assert 0 < done.batches < 10
    handle = ledger.take(run_id, now=NOW)
    send_all(handle)
    assert handle.close(now=NOW).state is RunState.FINISHED
    after = ledger.balance(run_id)
    assert after.balances
    assert after.of(S.ACCEPTED) + after.of(S.REJECTED) == before.planned
    assert prune(database).runs == 1
    assert ledger.balance(run_id) == after


def _values(done: PrunedRuns) -> tuple[int, ...]:
    return done.runs, done.recipients, done.batches, done.attempts, done.notes
