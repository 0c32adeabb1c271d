"""Events, departures and operators at the same moment as claims. On both databases."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from ledger_runs import DAILY, NOW, S, ledger_of, planned, report, states

from newsletter.delivery.model import Accepted, Busy
from newsletter.delivery.run_values import Claim, Halt, Report, Wish
from newsletter.delivery.states import Mark, RunState
from newsletter.store import foresight
from newsletter.store.audience import SqlAudience
from newsletter.store.run_ledger import SqlRunLedger


def send(handle: SqlRunLedger, said: Callable[[Claim], None], *, windows: int = 3, size: int = 5) -> Halt:
    """Sends in windows, with several calls under way at a time; each claim is said before it is reported."""
    reports: list[Report] = []
    while True:
        exchange = handle.exchange(reports, [Wish(size)] * windows, now=NOW)
        granted = [claim for claim in exchange.claims if claim is not None]
        for claim in granted:
            said(claim)
        if exchange.halt is not None:
            return exchange.halt
        reports = [report(claim) for claim in granted]


def test_events_that_come_while_their_batch_is_being_sent_are_all_kept(
    database: sa.Engine, audience_store: SqlAudience, tmp_path: Path
) -> None:
    ledger = ledger_of(database, tmp_path)
    run_id = planned(audience_store, ledger, 300, size=50)
    handle = ledger.take(run_id, now=NOW)
    with ThreadPoolExecutor(3) as pool:
        told = []

        def said(claim: Claim) -> None:
            for member in claim.members:
                told.append(pool.submit(ledger.evidence, run_id, member.id, Mark.DELIVERED, now=NOW))
            if len(told) > 20:
                told[-20].result()

        assert send(handle, said) is Halt.DONE
        assert all(one.result() for one in told)
    assert handle.close(now=NOW).state is RunState.FINISHED
    assert states(ledger, run_id) == {S.ACCEPTED: 300}
    assert ledger.balance(run_id).marks == {Mark.DELIVERED: 300}


def test_nobody_is_claimed_after_they_left(
    database: sa.Engine, audience_store: SqlAudience, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foresight, "_WORTH_IT", 1)
    ledger = ledger_of(database, tmp_path)
    run_id = planned(audience_store, ledger, 400, size=40)
    members = list(audience_store.members(audience_store.plan(DAILY).members))
    left: dict[int, float] = {}
    claimed: dict[int, float] = {}
    handle = ledger.take(run_id, now=NOW)
    ready = threading.Event()

    def leave() -> None:
        for member in reversed(members[::2]):
            audience_store.unsubscribe(member.key, "daily", source="link", now=NOW)
            left[member.id] = time.monotonic()
            ready.set()

    with ThreadPoolExecutor(1) as pool:
        leaving = pool.submit(leave)
        ready.wait(30)
        reports: list[Report] = []
        while True:
            before = time.monotonic()
            exchange = handle.exchange(reports, [Wish(4)], now=NOW)
            [claim] = exchange.claims
            if claim is None:
                break
            claimed |= {member.id: before for member in claim.members}
            reports = [report(claim)]
            handle.look_ahead(now=NOW)
        leaving.result()
    assert exchange.halt is Halt.DONE
    assert [one for one, at in claimed.items() if left.get(one, at) < at] == []
    ended = states(ledger, run_id)
    assert ended[S.ACCEPTED] == len(claimed)
    assert ended[S.SUPPRESSED] == 400 - len(claimed) > 0


def test_a_pause_of_another_process_is_seen_by_the_next_claim(
    database: sa.Engine, audience_store: SqlAudience, tmp_path: Path
) -> None:
    ledger = ledger_of(database, tmp_path)
    run_id = planned(audience_store, ledger, 2_000, size=20)
    handle = ledger.take(run_id, now=NOW)
    begun = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send, handle, lambda _: begun.set())
        begun.wait(30)
        paused = ledger_of(database, tmp_path).pause(run_id, "stop", now=NOW)
        assert paused
        assert sending.result(60) is Halt.PAUSED
    assert handle.close(now=NOW).reason == "stop"
    left = states(ledger, run_id)
    assert left[S.PLANNED] > 0
    assert left[S.ACCEPTED] + left[S.PLANNED] == 2_000


def test_an_event_that_settles_what_is_being_reported_waits_for_nobody_who_waits_for_it(
    database: sa.Engine, audience_store: SqlAudience, tmp_path: Path
) -> None:
    """A sender writes the words on a delivery, and an event takes them away: both after the batch."""
    ledger = ledger_of(database, tmp_path)
    run_id = planned(audience_store, ledger, 2, size=2)
    handle = ledger.take(run_id, now=NOW)
    [first] = handle.exchange([], [Wish(2)], now=NOW).claims
    assert first is not None
    one, other = (member.id for member in first.members)
    busy = Report(first, {one: Busy("greylisted"), other: Accepted()}, retry_at=NOW)
    [again] = handle.exchange([busy], [Wish(2)], now=NOW).claims
    assert again is not None
    assert ledger.reasons(run_id) != {}
    held, about_to_write = threading.Event(), threading.Event()

    def before(_c: object, _u: object, statement: str, *_: object) -> None:
        if threading.current_thread().name.startswith("sender") and statement.startswith("UPDATE batch"):
            about_to_write.set()
            held.wait(2)

    def after(_c: object, _u: object, statement: str, *_: object) -> None:
        if threading.current_thread().name.startswith("event") and statement.startswith("SELECT batch"):
            held.set()

    sa.event.listen(database, "before_cursor_execute", before)
    sa.event.listen(database, "after_cursor_execute", after)
    try:
        with ThreadPoolExecutor(1, "sender") as sender, ThreadPoolExecutor(1, "event") as events:
            sent = sender.submit(handle.exchange, [report(again)], [], now=NOW)
            assert about_to_write.wait(30)
            told = events.submit(ledger.evidence, run_id, one, Mark.DELIVERED, now=NOW)
            assert told.result(60)
            sent.result(60)
    finally:
        sa.event.remove(database, "before_cursor_execute", before)
        sa.event.remove(database, "after_cursor_execute", after)
    assert handle.close(now=NOW).state is RunState.FINISHED
    assert states(ledger, run_id) == {S.ACCEPTED: 2}
    assert ledger.reasons(run_id) == {}
