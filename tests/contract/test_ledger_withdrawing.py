"""Planned runs that are taken back, and approvals of what may go out. On both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from audience_tables import contents
from ledger_runs import (
    NOW,
    S,
    claims,
    die,
    in_zones,
    later,
    ledger_of,
    load,
    plan,
    planned,
    readers,
    send_all,
    states,
    windows,
)

from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import Halt
from newsletter.delivery.states import Mark, RunState
from newsletter.errors import GuardRefused, UsageError
from newsletter.store.audience import SqlAudience
from newsletter.store.journal import Entry, Event, Journal
from newsletter.store.ledger import SqlLedger

TODAYS = RunName("buzz", "2026-01-07")


@pytest.fixture
def ledger(database: sa.Engine, tmp_path: Path) -> SqlLedger:
    return ledger_of(database, tmp_path)


@pytest.mark.parametrize("windowed", [False, True])
def test_a_withdrawn_run_was_never_there_and_is_planned_again_under_another_number(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience, windowed: bool
) -> None:
    window_of = windows(home=(0, 1), east=(1, 2)) if windowed else None
    load(audience_store, in_zones(readers(5), "east", "home"))
    audience_store.unsubscribe(readers(1)[0].key, "daily", source="link", now=NOW)
    plan(ledger, edition="evening", window_of=window_of)
    before = contents(database)
    first = plan(ledger, window_of=window_of).run_id
    assert contents(database) != before
    assert ledger.withdraw(first)
    assert contents(database) == before
    assert ledger.run(TODAYS) is None
    load(audience_store, readers(3, first=10))
    again = plan(ledger, window_of=window_of)
    assert again.planned == 7
    assert again.run_id > first, "who still has the old number must not send the new run"
    for act in (lambda: ledger.take(first, now=NOW), lambda: ledger.withdraw(first)):
        with pytest.raises(UsageError, match="there is no run"):
            act()
    handle = ledger.take(again.run_id, now=NOW)
    send_all(handle, now=NOW)
    assert send_all(handle, now=later(3_600)).halt is Halt.DONE
    assert handle.close(now=later(3_600)).state is RunState.FINISHED
    assert states(ledger, again.run_id) == {S.ACCEPTED: 7}


def test_a_run_that_anybody_ever_took_in_hand_is_not_withdrawn(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned(audience_store, ledger, 4, size=2)

    def refused() -> None:
        before = contents(database)
        assert not ledger.withdraw(run_id)
        assert contents(database) == before

    handle = ledger.take(run_id, now=NOW)
    refused()
    handle.close(now=NOW)
    refused()  # nothing of it was tried; but a call may be on its way
    handle = ledger.take(run_id, now=NOW)
    claims(handle, 2)
    refused()
    die(handle)
    refused()
    handle = ledger.take(run_id, now=NOW)
    send_all(handle)
    handle.close(now=NOW)
    refused()


def test_an_operators_word_on_a_planned_run_stands(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id = planned(audience_store, ledger, 4, size=2)
    ledger.pause(run_id, "wait for the editor", now=NOW)
    assert not ledger.withdraw(run_id)
    ledger.cancel(run_id, now=NOW)
    assert not ledger.withdraw(run_id)


@pytest.mark.parametrize("event", [Event.CLAIMED, Event.SHARED, Event.ENDED, Event.REOPENED])
def test_a_run_that_the_journal_knows_more_of_than_the_database_is_not_withdrawn(
    ledger: SqlLedger, audience_store: SqlAudience, tmp_path: Path, event: Event
) -> None:
    run_id = planned(audience_store, ledger, 4, size=2)
    journal = Journal(tmp_path / "journal.ndjson")
    [entry] = journal.entries(str(TODAYS))
    journal.append([Entry(entry.run, entry.uid, event, NOW)])
    assert not ledger.withdraw(run_id)
    assert ledger.take(run_id, now=NOW).run.id == run_id


def test_a_run_of_which_a_provider_reported_something_is_not_withdrawn(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned(audience_store, ledger, 4, size=2)
    [one, *_] = ledger.deliveries(run_id, [S.PLANNED])
    assert ledger.evidence(run_id, one.subscriber_id, Mark.DELIVERED, now=NOW)
    assert not ledger.withdraw(run_id)


def test_of_those_who_take_a_run_and_those_who_withdraw_it_at_once_one_wins(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    load(audience_store, readers(20))
    for number in range(8):
        run_id = plan(ledger, edition=f"no{number}", size=5).run_id
        start = threading.Barrier(4)

        def try_it(act: Callable[[int], object], run_id: int = run_id, start: threading.Barrier = start) -> object:
            start.wait()
            try:
                return act(run_id)  # a handle that nobody keeps is a dead process
            except (UsageError, GuardRefused):
                return None

        def take(run_id: int) -> object:
            return ledger.take(run_id, now=NOW)

        with ThreadPoolExecutor(4) as pool:
            done = [pool.submit(try_it, act) for act in (take, ledger.withdraw, take, ledger.withdraw)]
            assert sum(bool(one.result()) for one in done) == 1


def test_an_approval_pins_the_content_and_a_later_one_takes_its_place(database: sa.Engine, ledger: SqlLedger) -> None:
    evening = RunName("buzz", "2026-01-07.evening")
    assert ledger.approval(TODAYS) is None
    ledger.approve(TODAYS, "c0ffee", by="Ana <ana@example.com>", now=NOW)
    ledger.approve(evening, "decaf", by="", now=NOW)
    assert ledger.approval(TODAYS) == ("c0ffee", NOW, "Ana <ana@example.com>")
    ledger.approve(TODAYS, "7ea", by="Ben\x00\x1b[31m\ud800", now=later(60))
    assert ledger.approval(TODAYS) == ("7ea", later(60), "Ben [31m")
    assert ledger.approval(evening) == ("decaf", NOW, "")
    assert ledger.approval(RunName("other", "2026-01-07")) is None


def test_an_approval_outlives_the_run_that_was_withdrawn(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id = planned(audience_store, ledger, 2, size=2)
    ledger.approve(TODAYS, "c0ffee", by="ana", now=NOW)
    assert ledger.withdraw(run_id)
    assert ledger.approval(TODAYS) == ("c0ffee", NOW, "ana")
