"""Runs that workers send, a batch each: what holds whoever takes, dies, is late or comes twice. On PostgreSQL."""

from __future__ import annotations

import datetime as dt
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
import time_machine
from fresh_databases import ERASURE_KEY, empty_tables
from ledger_runs import (
    DAILY,
    DEADLINE,
    NOW,
    S,
    die,
    in_zones,
    later,
    ledger_of,
    load,
    plan_of,
    readers,
    report,
    send_all,
    states,
    windows,
)

from newsletter.audience.model import Member
from newsletter.delivery.clock import SystemClock
from newsletter.delivery.ledger import BatchLedger, RunLost
from newsletter.delivery.model import Accepted, Busy, Outcome, Refused, Unknown
from newsletter.delivery.observing import Unobserved
from newsletter.delivery.run_values import (
    Admission,
    Claim,
    Halt,
    NotTaken,
    Report,
    Settlement,
    Sharing,
    Wish,
    WorkerRecord,
)
from newsletter.delivery.states import Mark, RunState
from newsletter.errors import GuardRefused, TemporaryError
from newsletter.pipeline.share_run import look_on
from newsletter.store import recovery, senders, tables
from newsletter.store.audience import SqlAudience
from newsletter.store.batch_ledger import SqlBatchLedger
from newsletter.store.engine import open_engine, reading, writing
from newsletter.store.journal import Claimed, Entry, Event, Journal
from newsletter.store.ledger import SqlLedger
from newsletter.store.run_rows import change_run, read_run, share_run
from newsletter.store.senders import LEASE

SHARING = Sharing("1.0", "abc")


@pytest.fixture
def shared(_postgres_database: str, tmp_path: Path) -> Iterator[sa.Engine]:
    """A PostgreSQL database with its tables and nothing in them."""
    engine = open_engine(_postgres_database, tmp_path)
    empty_tables(engine)
    yield engine
    engine.dispose()


def worker(
    database: sa.Engine, folder: Path, host: str = "", monkeypatch: pytest.MonkeyPatch | None = None
) -> SqlLedger:
    """A worker's ledger; with a `host`: on a machine of its own, which sees nobody else's locks."""
    if not host or monkeypatch is None:
        return ledger_of(database, folder)
    with monkeypatch.context() as patched:
        patched.setattr(senders, "this_host", lambda: host)
        return ledger_of(database, folder / host)


def begun(
    database: sa.Engine, folder: Path, count: int = 6, *, size: int = 2, limit: int | None = None
) -> tuple[int, str]:
    """A run of so many, handed to workers: its number and its uid."""
    load(SqlAudience(database, ERASURE_KEY), readers(count))
    ledger = ledger_of(database, folder)
    plan = plan_of(size=size)
    frozen = ledger.plan(replace(plan, program="1.0", setup="abc", shared=Sharing("1.0", "abc", limit=limit)), now=NOW)
    run = ledger.run(plan.name)
    assert run is not None
    return frozen.run_id, run.uid


def jobs(database: sa.Engine) -> list[tuple[int, dt.datetime | None]]:
    """What waits in the queue: (batch, not before)."""
    with reading(database) as connection:
        rows = connection.execute(
            sa.text(
                "SELECT (args->>'batch')::int AS batch, scheduled_at FROM procrastinate_jobs "
                "WHERE status = 'todo' ORDER BY id"
            )
        )
        return [(row.batch, row.scheduled_at) for row in rows]


def forget_jobs(database: sa.Engine) -> None:
    with writing(database) as connection:
        connection.execute(sa.text("DELETE FROM procrastinate_jobs"))


def before_the_run(database: sa.Engine) -> None:
    """The database as it was before anything was planned: restored from a backup."""
    with writing(database) as connection:
        for table in ("procrastinate_jobs", "attempt", "delivery_note", "batch", "run"):
            connection.execute(sa.text(f"DELETE FROM {table}"))


def taken(ledger: SqlLedger, uid: str, number: int, now: dt.datetime = NOW) -> SqlBatchLedger:
    found = ledger.take_batch(uid, number, now=now)
    assert isinstance(found, SqlBatchLedger), found
    return found


def not_taken(ledger: SqlLedger, uid: str, number: int, now: dt.datetime = NOW) -> NotTaken:
    found = ledger.take_batch(uid, number, now=now)
    assert isinstance(found, NotTaken)
    return found


def one_claim(handle: BatchLedger, size: int = 10, now: dt.datetime = NOW) -> Claim:
    [claim] = handle.exchange([], [Wish(size)], now=now).claims
    assert claim is not None
    return claim


def run_state(ledger: SqlLedger) -> RunState:
    run = ledger.run(plan_of().name)
    assert run is not None
    return run.state


def test_a_job_a_batch_is_enqueued_with_the_plan_and_in_no_other_case(shared: sa.Engine, tmp_path: Path) -> None:
    run_id, uid = begun(shared, tmp_path)
    assert [number for number, _ in jobs(shared)] == [1, 2, 3]
    run = ledger_of(shared, tmp_path).shared_run(uid)
    assert run is not None
    assert (run.state, run.shared, run.program, run.setup) == (RunState.SENDING, True, "1.0", "abc")
    with pytest.raises(GuardRefused, match="already planned"):
        begun(shared, tmp_path)
    assert len(jobs(shared)) == 3, "what is undone enqueues nothing"
    with reading(shared) as connection:
        payload = connection.scalar(sa.text("SELECT args FROM procrastinate_jobs ORDER BY id LIMIT 1"))
    assert payload == {"run": uid, "batch": 1}
    assert run_id == run.id


def test_workers_send_a_batch_each_and_the_last_one_ends_the_run(shared: sa.Engine, tmp_path: Path) -> None:
    run_id, uid = begun(shared, tmp_path)
    ledger = worker(shared, tmp_path)
    handles = [taken(ledger, uid, number) for number in (1, 2, 3)]
    for number, handle in enumerate(handles, 1):
        assert handle.balance.planned == 2
        assert send_all(handle).halt is Halt.DONE
        assert handle.balance.of(S.ACCEPTED) == 2
        closed = handle.close(now=NOW)
        assert closed.state is (RunState.FINISHED if number == 3 else RunState.SENDING)
    assert states(ledger, run_id) == {S.ACCEPTED: 6}
    assert handles[0].close(now=NOW).state is RunState.FINISHED, "twice is no harm"
    ledger.leave(now=NOW)
    assert list((tmp_path / "locks").iterdir()) == []


def test_a_batch_gives_its_worker_nothing_of_another_one(shared: sa.Engine, tmp_path: Path) -> None:
    _, uid = begun(shared, tmp_path)
    handle = taken(worker(shared, tmp_path), uid, 2)
    exchange = handle.exchange([], [Wish(10), Wish(10)], now=NOW)
    assert [claim and (claim.batch, len(claim.members)) for claim in exchange.claims] == [(2, 2), None]
    assert exchange.halt is None


def test_a_second_job_finds_the_batch_in_living_hands_and_another_asks_again(shared: sa.Engine, tmp_path: Path) -> None:
    _, uid = begun(shared, tmp_path)
    ledger = worker(shared, tmp_path)
    handle = taken(ledger, uid, 1)
    one_claim(handle)
    forget_jobs(shared)
    again = not_taken(ledger, uid, 1)
    assert "in the hands of" in again.why
    assert jobs(shared) == [(1, again.again_at)]
    assert again.again_at is not None
    assert NOW < again.again_at <= later(5)


def test_what_a_dead_worker_had_in_flight_is_unknown_and_never_sent_again(shared: sa.Engine, tmp_path: Path) -> None:
    run_id, uid = begun(shared, tmp_path, 5, size=5)
    handle = taken(worker(shared, tmp_path), uid, 1)
    lost = one_claim(handle, 2)
    die(handle)
    other = taken(worker(shared, tmp_path), uid, 1)
    claimed = one_claim(other)
    assert {one.id for one in lost.members}.isdisjoint(one.id for one in claimed.members)
    assert other.exchange([report(claimed)], [Wish(1)], now=NOW).halt is Halt.DONE
    assert other.close(now=NOW).state is RunState.HELD
    assert states(worker(shared, tmp_path), run_id) == {S.ACCEPTED: 3, S.UNKNOWN: 2}


def test_on_another_host_a_worker_is_dead_when_its_lease_is_over_and_not_before(
    shared: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, uid = begun(shared, tmp_path, 4, size=4)
    one, two = worker(shared, tmp_path, "one", monkeypatch), worker(shared, tmp_path, "two", monkeypatch)
    handle = taken(one, uid, 1)
    claim = one_claim(handle, 2)
    again = not_taken(two, uid, 1, later(LEASE - 1))
    assert again.again_at == later(LEASE + 1), "not sooner than it may be dead"
    other = taken(two, uid, 1, later(LEASE + 1))
    assert states(two, run_id) == {S.UNKNOWN: 2, S.PLANNED: 2}
    # the first one was only late: what it reports counts, and it gets nothing more
    with pytest.raises(RunLost):
        handle.exchange([report(claim)], [Wish(1)], now=later(LEASE + 2))
    assert states(two, run_id) == {S.ACCEPTED: 2, S.PLANNED: 2}
    with pytest.raises(RunLost):
        handle.keep(now=later(LEASE + 2))
    handle.abandon()
    assert send_all(other, now=later(LEASE + 3)).halt is Halt.DONE
    assert other.close(now=later(LEASE + 3)).state is RunState.FINISHED


def test_a_stopped_worker_of_this_host_loses_its_batch_with_its_lease(shared: sa.Engine, tmp_path: Path) -> None:
    """It holds its lock as long as it exists; but past its lease it makes no call."""
    _, uid = begun(shared, tmp_path, 4, size=4)
    handle = taken(worker(shared, tmp_path), uid, 1)
    one_claim(handle, 2)
    not_taken(worker(shared, tmp_path), uid, 1, later(LEASE))
    taken(worker(shared, tmp_path), uid, 1, later(LEASE + 1))
    with pytest.raises(RunLost):
        handle.exchange([], [Wish(1)], now=later(LEASE + 1))


def test_a_claim_that_is_kept_just_before_the_batch_is_taken_over_is_unknown_and_its_report_counts(
    shared: sa.Engine, tmp_path: Path
) -> None:
    """A worker that slept wakes up, claims, sees that its lease is over, makes no call and says so."""
    run_id, uid = begun(shared, tmp_path, 4, size=4)
    handle = taken(worker(shared, tmp_path), uid, 1)
    claim = one_claim(handle, 2, now=later(1))
    other = taken(worker(shared, tmp_path), uid, 1, later(LEASE + 2))
    not_tried = Report(claim, {one.id: Busy("not tried") for one in claim.members}, retry_at=later(LEASE + 2))
    with pytest.raises(RunLost):
        handle.exchange([not_tried], [], now=later(LEASE + 2))
    assert states(worker(shared, tmp_path), run_id) == {S.RETRY_WAIT: 2, S.PLANNED: 2}
    assert send_all(other, now=later(LEASE + 4)).halt is Halt.DONE
    assert states(worker(shared, tmp_path), run_id) == {S.ACCEPTED: 4}


def test_a_batch_that_waits_for_a_retry_is_put_down_with_a_job_at_that_time(shared: sa.Engine, tmp_path: Path) -> None:
    run_id, uid = begun(shared, tmp_path, 2)
    forget_jobs(shared)
    ledger = worker(shared, tmp_path)
    handle = taken(ledger, uid, 1)
    claim = one_claim(handle)
    busy = Report(claim, {one.id: Busy("greylisted") for one in claim.members}, retry_at=later(60))
    assert handle.exchange([busy], [Wish(2)], now=NOW).halt is Halt.LATER
    assert handle.close(now=NOW).state is RunState.SENDING
    assert jobs(shared) == [(1, later(60))]
    early = not_taken(ledger, uid, 1, later(30))
    assert early.again_at == later(60)
    again = taken(ledger, uid, 1, later(60))
    assert send_all(again, now=later(60)).halt is Halt.DONE
    assert again.close(now=later(60)).state is RunState.FINISHED
    assert states(ledger, run_id) == {S.ACCEPTED: 2}


def test_a_short_wait_is_waited_out(shared: sa.Engine, tmp_path: Path) -> None:
    _, uid = begun(shared, tmp_path, 2)
    handle = taken(worker(shared, tmp_path), uid, 1)
    claim = one_claim(handle)
    busy = Report(claim, {one.id: Busy("one moment") for one in claim.members}, retry_at=later(3))
    exchange = handle.exchange([busy], [Wish(2)], now=NOW)
    assert (exchange.halt, exchange.next_due) == (None, later(3))
    assert send_all(handle, now=later(3)).halt is Halt.DONE


def test_a_worker_that_ends_in_good_order_puts_the_rest_back_for_another(shared: sa.Engine, tmp_path: Path) -> None:
    run_id, uid = begun(shared, tmp_path, 4, size=4)
    forget_jobs(shared)
    ledger = worker(shared, tmp_path)
    handle = taken(ledger, uid, 1)
    claim = one_claim(handle, 2)
    handle.exchange([report(claim)], [], now=NOW)
    handle.close(now=NOW)
    assert jobs(shared) == [(1, NOW)]
    assert states(ledger, run_id) == {S.ACCEPTED: 2, S.PLANNED: 2}
    assert send_all(taken(worker(shared, tmp_path), uid, 1)).halt is Halt.DONE


class Slowly:
    """What a wish asks: four a second of `slow.example`, all others at once."""

    def __init__(self) -> None:
        self.now, self.tokens = NOW, 0.0

    def at(self, now: dt.datetime) -> None:
        self.tokens = min(1.0, self.tokens + 4 * (now - self.now).total_seconds())
        self.now = now

    def __call__(self, members: Sequence[Member]) -> Admission:
        places = []
        for place, one in enumerate(members):
            slow = one.key.endswith("@slow.example")
            if not slow or self.tokens >= 1:
                self.tokens -= slow
                places.append(place)
        return Admission(places, self.now + dt.timedelta(seconds=0.25))


def next_job(database: sa.Engine, now: dt.datetime) -> int | None:
    """The batch of the job that a worker gets next; it is gone then."""
    with writing(database) as connection:
        found: int | None = connection.scalar(
            sa.text(
                "DELETE FROM procrastinate_jobs WHERE id = (SELECT min(id) FROM procrastinate_jobs "
                "WHERE scheduled_at <= :now) RETURNING (args->>'batch')::int"
            ),
            {"now": now},
        )
    return found


def test_a_slow_recipient_domain_holds_up_nobody_else(shared: sa.Engine, tmp_path: Path) -> None:
    """One thread has four batches, half of each at a domain that gets four a second."""
    slow = [replace(one, key=f"{n}@slow.example", address=f"{n}@slow.example") for n, one in enumerate(readers(80))]
    rows = [one for start in range(0, 80, 20) for one in [*slow[start : start + 10], *readers(10, start + 1000)]]
    load(SqlAudience(shared, ERASURE_KEY), rows)
    ledger, admit, now = worker(shared, tmp_path), Slowly(), NOW
    plan = replace(plan_of(size=20), program="1.0", setup="abc", shared=SHARING)
    ledger.plan(plan, now=NOW)
    run = ledger.run(plan.name)
    assert run is not None
    went: dict[bool, list[float]] = {True: [], False: []}
    visits = 0
    while run_state(ledger) is RunState.SENDING:
        number = next_job(shared, now)
        if number is None:
            now += dt.timedelta(seconds=0.25)
            continue
        handle = ledger.take_batch(run.uid, number, now=now)
        if isinstance(handle, NotTaken):
            continue
        visits += 1
        reports: list[Report] = []
        while True:
            admit.at(now)
            exchange = handle.exchange(reports, [Wish(5, admit)], now=now)
            reports = [report(claim) for claim in exchange.claims if claim is not None]
            for claim in filter(None, exchange.claims):
                for one in claim.members:
                    went[one.key.endswith("@slow.example")].append((now - NOW).total_seconds())
            if exchange.halt is not None:
                break
            if not reports:
                assert exchange.next_due is not None
                now = max(now, exchange.next_due)
        handle.close(now=now)
    assert {which: len(times) for which, times in went.items()} == {True: 40, False: 40}
    assert max(went[False]) < 1, "the others wait for none of them"
    assert max(went[True]) < 14, "four a second"
    assert visits < 12, "what must wait is not taken all the time"
    assert run_state(ledger) is RunState.FINISHED


def test_who_must_wait_for_long_for_their_domain_are_not_looked_at_all_the_time(
    shared: sa.Engine, tmp_path: Path
) -> None:
    _, uid = begun(shared, tmp_path, 2)
    forget_jobs(shared)
    handle = taken(worker(shared, tmp_path), uid, 1)
    [claim] = handle.exchange([], [Wish(2, lambda _: Admission([0], later(20)))], now=NOW).claims
    assert claim is not None
    assert handle.exchange([report(claim)], [Wish(2, lambda _: Admission([], later(20)))], now=NOW).halt is Halt.LATER
    handle.close(now=NOW)
    assert jobs(shared) == [(1, later(20))]


class TestSteering:
    def test_a_pause_reaches_everybody_with_the_next_claim_and_resuming_gives_every_batch_a_job(
        self, shared: sa.Engine, tmp_path: Path
    ) -> None:
        run_id, uid = begun(shared, tmp_path)
        ledger = worker(shared, tmp_path)
        handle = taken(ledger, uid, 1)
        claim = one_claim(handle, 1)
        assert ledger.pause(run_id, "stop", now=NOW)
        assert handle.exchange([report(claim)], [Wish(1)], now=NOW).halt is Halt.PAUSED
        with pytest.raises(GuardRefused, match="is being sent by"):
            ledger.share(run_id, SHARING, now=NOW)
        assert handle.close(now=NOW).state is RunState.PAUSED
        not_taken(ledger, uid, 2)
        forget_jobs(shared)
        assert ledger.share(run_id, SHARING, now=NOW).state is RunState.SENDING
        assert [number for number, _ in jobs(shared)] == [1, 2, 3]
        for number in (1, 2, 3):
            batch = taken(ledger, uid, number)
            send_all(batch)
            batch.close(now=NOW)
        assert states(ledger, run_id) == {S.ACCEPTED: 6}
        assert run_state(ledger) is RunState.FINISHED

    def test_the_time_of_retries_counts_anew_when_it_is_handed_over_again(
        self, shared: sa.Engine, tmp_path: Path
    ) -> None:
        run_id, uid = begun(shared, tmp_path)
        ledger = worker(shared, tmp_path)
        handle = taken(ledger, uid, 1)
        handle.exchange([report(one_claim(handle, 2), Busy("later"), retry_at=later(100_000))], [], now=NOW)
        ledger.pause(run_id, "stop", now=NOW)
        handle.close(now=NOW)
        ledger.share(run_id, SHARING, now=later(3_600))
        assert one_claim(taken(ledger, uid, 1, later(3_600)), 2, later(3_600)).first_at == later(3_600)

    def test_a_cancelled_run_ends_when_the_last_calls_are_reported(self, shared: sa.Engine, tmp_path: Path) -> None:
        run_id, uid = begun(shared, tmp_path)
        ledger = worker(shared, tmp_path)
        handle = taken(ledger, uid, 1)
        claim = one_claim(handle, 1)
        ledger.cancel(run_id, now=NOW)
        assert [run.id for run in ledger.unfinished()] == [run_id]
        assert handle.exchange([report(claim)], [Wish(1)], now=NOW).halt is Halt.CANCELLED
        closed = handle.close(now=NOW)
        assert closed.state is RunState.CANCELLED
        assert closed.ended_at == NOW
        assert states(ledger, run_id) == {S.ACCEPTED: 1, S.CANCELLED: 5}

    def test_what_a_worker_left_that_died_in_a_cancelled_run_is_held(self, shared: sa.Engine, tmp_path: Path) -> None:
        run_id, uid = begun(shared, tmp_path)
        ledger = worker(shared, tmp_path)
        handle = taken(ledger, uid, 1)
        one_claim(handle, 1)
        ledger.cancel(run_id, now=NOW)
        die(handle)
        not_taken(worker(shared, tmp_path), uid, 1)
        assert states(ledger, run_id) == {S.UNKNOWN: 1, S.CANCELLED: 5}
        assert run_state(ledger) is RunState.HELD

    def test_the_deadline_lets_the_rest_expire_for_whoever_comes_last(self, shared: sa.Engine, tmp_path: Path) -> None:
        run_id, uid = begun(shared, tmp_path)
        ledger = worker(shared, tmp_path)
        handle = taken(ledger, uid, 1)
        claim = one_claim(handle, 1)
        assert handle.exchange([report(claim)], [Wish(1)], now=DEADLINE).halt is Halt.DEADLINE
        assert handle.close(now=DEADLINE).state is RunState.EXPIRED
        assert states(ledger, run_id) == {S.ACCEPTED: 1, S.EXPIRED: 5}
        not_taken(ledger, uid, 2, DEADLINE)

    def test_a_limit_holds_over_all_workers(self, shared: sa.Engine, tmp_path: Path) -> None:
        run_id, uid = begun(shared, tmp_path, 6, limit=3)
        ledger = worker(shared, tmp_path)
        first, second = taken(ledger, uid, 1), taken(ledger, uid, 2)
        one, two = one_claim(first, 2), one_claim(second, 2)
        assert (len(one.members), len(two.members)) == (2, 1)
        assert first.exchange([report(one)], [Wish(2)], now=NOW).halt is Halt.DONE
        assert second.exchange([report(two)], [Wish(2)], now=NOW).halt is Halt.PAUSED
        first.close(now=NOW)
        assert second.close(now=NOW).reason == "the limit is reached"
        assert states(ledger, run_id) == {S.ACCEPTED: 3, S.PLANNED: 3}
        ledger.share(run_id, SHARING, now=NOW)
        for number in (2, 3):
            batch = taken(ledger, uid, number)
            send_all(batch)
            batch.close(now=NOW)
        assert run_state(ledger) is RunState.FINISHED

    @pytest.mark.parametrize(("pause", "told"), [("535 bad credentials", ["535 bad credentials"]), ("", [])])
    def test_a_limited_run_that_stopped_before_its_limit_is_told_as_any_other(
        self, shared: sa.Engine, tmp_path: Path, pause: str, told: list[str]
    ) -> None:
        _, uid = begun(shared, tmp_path, limit=1)
        ledger, heard = worker(shared, tmp_path), list[str]()
        handle = taken(ledger, uid, 1)
        if pause:
            handle.pause(pause, now=NOW)
        else:
            send_all(handle)
        handle.close(now=NOW)

        class Hearing(Unobserved):
            def paused(self, reason: str) -> None:
                heard.append(reason)

        look_on(
            plan_of().name,
            ledger,
            threading.Event(),
            clock=SystemClock(),
            on_balance=lambda _: None,
            observer=Hearing(),
        )
        assert heard == told

    def test_one_process_may_take_over_what_workers_sent_and_their_jobs_come_to_nothing(
        self, shared: sa.Engine, tmp_path: Path
    ) -> None:
        run_id, uid = begun(shared, tmp_path)
        ledger = worker(shared, tmp_path)
        handle = taken(ledger, uid, 1)
        one_claim(handle, 1)
        with pytest.raises(GuardRefused, match="is being sent by"):
            ledger.take(run_id, now=NOW)
        die(handle)
        alone = worker(shared, tmp_path).take(run_id, now=NOW)
        assert "not for workers" in not_taken(ledger, uid, 2).why
        send_all(alone)
        assert alone.close(now=NOW).state is RunState.HELD
        assert states(ledger, run_id) == {S.ACCEPTED: 5, S.UNKNOWN: 1}

    def test_unknowns_that_are_to_be_sent_again_go_out_by_a_job_of_their_own(
        self, shared: sa.Engine, tmp_path: Path
    ) -> None:
        run_id, uid = begun(shared, tmp_path, 4)
        ledger = worker(shared, tmp_path)
        handle = taken(ledger, uid, 1)
        claim = one_claim(handle)
        lost = report(claim, Unknown("reset"))
        handle.exchange([lost], [Wish(1)], now=NOW)
        handle.close(now=NOW)
        forget_jobs(shared)
        assert ledger.settle(run_id, Settlement.RESEND, now=NOW) == 2
        assert ledger.tend(now=NOW) == 2, "of the one that is open again, and of the one that lost its job"
        assert sorted(number for number, _ in jobs(shared)) == [1, 2]
        for number in (1, 2):
            batch = taken(ledger, uid, number)
            send_all(batch)
            batch.close(now=NOW)
        assert states(ledger, run_id) == {S.ACCEPTED: 4}

    def test_an_event_settles_an_unknown_while_others_send_and_when_nobody_does(
        self, shared: sa.Engine, tmp_path: Path
    ) -> None:
        run_id, uid = begun(shared, tmp_path, 4)
        ledger = worker(shared, tmp_path)
        claims = []
        for number in (1, 2):
            batch = taken(ledger, uid, number)
            claims.append(one_claim(batch))
            batch.exchange([report(claims[-1], Unknown("reset"))], [Wish(1)], now=NOW)
            if number == 1:
                assert ledger.evidence(run_id, claims[0].members[0].id, Mark.DELIVERED, now=NOW)
            batch.close(now=NOW)
        assert run_state(ledger) is RunState.HELD
        for member in (claims[0].members[1], *claims[1].members):
            assert ledger.evidence(run_id, member.id, Mark.DELIVERED, now=NOW)
        assert run_state(ledger) is RunState.FINISHED


class TestTending:
    def test_batches_without_a_job_get_theirs_and_those_with_one_no_second(
        self, shared: sa.Engine, tmp_path: Path
    ) -> None:
        begun(shared, tmp_path)
        ledger = worker(shared, tmp_path)
        assert ledger.tend(now=NOW) == 0
        forget_jobs(shared)  # as after a restore
        assert ledger.tend(now=NOW) == 3
        assert ledger.tend(now=NOW) == 0
        assert [number for number, _ in jobs(shared)] == [1, 2, 3]

    def test_a_job_for_later_does_not_hide_a_batch_that_is_due_now(self, shared: sa.Engine, tmp_path: Path) -> None:
        run_id, uid = begun(shared, tmp_path, 4, size=4)
        forget_jobs(shared)
        ledger = worker(shared, tmp_path)
        handle = taken(ledger, uid, 1)
        first = one_claim(handle, 2)
        [second] = handle.exchange([report(first, Unknown("lost"))], [Wish(2)], now=NOW).claims
        assert second is not None
        busy = Report(second, {one.id: Busy("later") for one in second.members}, retry_at=later(900))
        handle.exchange([busy], [Wish(2)], now=NOW)
        handle.close(now=NOW)
        assert jobs(shared) == [(1, later(900))]
        assert ledger.tend(now=NOW) == 0, "it is not due before"
        ledger.settle(run_id, Settlement.RESEND, now=NOW)
        assert [ledger.tend(now=NOW), ledger.tend(now=NOW)] == [1, 0]
        assert jobs(shared) == [(1, later(900)), (1, NOW)]

    def test_a_job_that_asks_again_in_a_moment_is_enough(self, shared: sa.Engine, tmp_path: Path) -> None:
        _, uid = begun(shared, tmp_path, 4)
        ledger = worker(shared, tmp_path)
        handle = taken(ledger, uid, 1)
        forget_jobs(shared)
        not_taken(ledger, uid, 1)
        ledger.put_back(uid, 2, at=later(1))
        assert ledger.tend(now=NOW) == 0
        handle.close(now=NOW)

    def test_a_dead_worker_whose_job_is_gone_is_found(self, shared: sa.Engine, tmp_path: Path) -> None:
        run_id, uid = begun(shared, tmp_path, 2)
        handle = taken(worker(shared, tmp_path), uid, 1)
        one_claim(handle, 1)
        die(handle)
        forget_jobs(shared)
        ledger = worker(shared, tmp_path)
        assert ledger.tend(now=NOW) == 1
        send_all(taken(ledger, uid, 1))
        assert states(ledger, run_id) == {S.ACCEPTED: 1, S.UNKNOWN: 1}

    def test_a_run_is_ended_whose_last_worker_died_before_it_could(self, shared: sa.Engine, tmp_path: Path) -> None:
        run_id, uid = begun(shared, tmp_path, 2)
        ledger = worker(shared, tmp_path)
        handle = taken(ledger, uid, 1)
        send_all(handle)
        die(handle)  # its batch is done with, and in nobody's hands
        assert run_state(ledger) is RunState.SENDING
        ledger.tend(now=NOW)
        assert run_state(ledger) is RunState.FINISHED
        assert states(ledger, run_id) == {S.ACCEPTED: 2}

    def test_a_run_that_nobody_sends_expires_with_its_deadline(self, shared: sa.Engine, tmp_path: Path) -> None:
        run_id, _ = begun(shared, tmp_path)
        ledger = worker(shared, tmp_path)
        ledger.tend(now=DEADLINE)
        assert run_state(ledger) is RunState.EXPIRED
        assert states(ledger, run_id) == {S.EXPIRED: 6}

    def test_a_paused_run_gets_no_jobs(self, shared: sa.Engine, tmp_path: Path) -> None:
        run_id, _ = begun(shared, tmp_path)
        ledger = worker(shared, tmp_path)
        ledger.pause(run_id, "", now=NOW)
        forget_jobs(shared)
        assert ledger.tend(now=NOW) == 0


def test_what_the_journal_of_this_machine_knows_better_than_a_restored_database_is_unknown(
    shared: sa.Engine, tmp_path: Path
) -> None:
    run_id, uid = begun(shared, tmp_path, 4)
    ledger = worker(shared, tmp_path)
    handle = taken(ledger, uid, 1)
    send_all(handle)
    handle.close(now=NOW)
    with writing(shared) as connection:  # the batch as it was before
        connection.execute(
            sa.text(
                "UPDATE batch SET states = (SELECT states FROM batch WHERE number = 2), claims = 0, due_at = 1 "
                "WHERE number = 1"
            )
        )
        connection.execute(sa.text("DELETE FROM attempt"))
    restored = worker(shared, tmp_path)
    assert isinstance(restored.take_batch(uid, 1, now=NOW), NotTaken)
    assert states(restored, run_id) == {S.UNKNOWN: 2, S.PLANNED: 2}


@pytest.mark.parametrize("later_on", [False, True], ids=["planned for workers", "handed over later"])
def test_who_handed_a_run_over_knows_of_it_when_the_database_does_not_any_more(
    shared: sa.Engine, tmp_path: Path, later_on: bool
) -> None:
    """The claims stand in the workers' journals, on other machines."""
    scheduler = worker(shared, tmp_path / "scheduler")
    load(SqlAudience(shared, ERASURE_KEY), readers(2))
    plan = plan_of(size=2)
    frozen = scheduler.plan(plan if later_on else replace(plan, shared=SHARING), now=NOW)
    if later_on:
        scheduler.refuse_forgotten(plan.name)
        scheduler.share(frozen.run_id, SHARING, now=NOW)
    before_the_run(shared)
    with pytest.raises(GuardRefused, match="was sent before"):
        scheduler.refuse_forgotten(plan.name)
    with pytest.raises(GuardRefused, match="was sent before"):
        scheduler.plan(replace(plan, shared=SHARING), now=NOW)
    assert scheduler.run(plan.name) is None


def test_a_worker_that_sent_another_run_of_this_name_pauses_this_one(shared: sa.Engine, tmp_path: Path) -> None:
    """Whoever planned it anew has no journal of it: another scheduler, or one whose disk is gone."""
    _, uid = begun(shared, tmp_path / "planner", 4)
    handle = taken(worker(shared, tmp_path / "sender"), uid, 1)
    send_all(handle)
    handle.close(now=NOW)
    before_the_run(shared)
    anew = worker(shared, tmp_path / "another planner")
    frozen = anew.plan(replace(plan_of(size=2), shared=SHARING), now=NOW)
    run = anew.run(plan_of().name)
    assert run is not None
    restored = worker(shared, tmp_path / "sender")
    with pytest.raises(GuardRefused, match="was sent before by"):
        restored.take_batch(run.uid, 2, now=NOW)
    paused = anew.run(run.name)
    assert paused is not None
    assert (paused.state, "was sent before by" in paused.reason) == (RunState.PAUSED, True)
    not_taken(restored, run.uid, 1)  # a job that was left over says nothing more
    assert states(anew, frozen.run_id) == {S.PLANNED: 4}
    anew.share(frozen.run_id, SHARING, now=NOW)
    with pytest.raises(GuardRefused, match="was sent before by"):
        restored.take_batch(run.uid, 1, now=NOW)


def test_threads_of_a_worker_read_its_journal_once_for_each_run(
    shared: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, uid = begun(shared, tmp_path, 8)
    ledger = worker(shared, tmp_path)
    reads: list[str] = []
    inner = Journal.entries

    def slowly(self: Journal, run: str) -> Iterator[Entry]:
        reads.append(run)
        time.sleep(0.2)
        return inner(self, run)

    monkeypatch.setattr(Journal, "entries", slowly)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: taken(ledger, uid, number), range(1, 5)))
    assert len(reads) == 1


def one_batch_from_a_backup(database: sa.Engine, number: int) -> None:
    """The batch as it was before it was ever claimed: the members of all batches stand in one state then."""
    with writing(database) as connection:
        which = {"number": number}
        connection.execute(
            sa.text(
                "UPDATE batch SET states = (SELECT states FROM batch WHERE claims = 0 LIMIT 1), claims = 0, "
                "attempts = 0, due_at = 1, sender_id = NULL WHERE number = :number"
            ),
            which,
        )
        connection.execute(sa.text("DELETE FROM attempt WHERE batch = :number"), which)


def test_a_worker_that_lives_through_a_restore_does_not_send_again(shared: sa.Engine, tmp_path: Path) -> None:
    run_id, uid = begun(shared, tmp_path)
    ledger = worker(shared, tmp_path)
    for number in (1, 2):
        handle = taken(ledger, uid, number)
        send_all(handle)
        handle.close(now=NOW)
    one_batch_from_a_backup(shared, 2)
    forget_jobs(shared)
    again = not_taken(ledger, uid, 2)
    assert jobs(shared) == [(2, again.again_at)]
    not_taken(ledger, uid, 2, later(1))
    assert states(ledger, run_id) == {S.ACCEPTED: 2, S.UNKNOWN: 2, S.PLANNED: 2}


def test_a_worker_that_has_a_batch_while_the_database_is_restored_claims_nobody_again(
    shared: sa.Engine, tmp_path: Path
) -> None:
    run_id, uid = begun(shared, tmp_path, 4)
    ledger = worker(shared, tmp_path)
    handle = taken(ledger, uid, 1)
    claim = one_claim(handle, 1)
    one_batch_from_a_backup(shared, 1)
    with writing(shared) as connection:
        mine = {"sender": handle._sender.id}
        connection.execute(sa.text("UPDATE batch SET sender_id = :sender, due_at = NULL WHERE number = 1"), mine)
    with pytest.raises(RunLost):
        handle.exchange([report(claim)], [Wish(2)], now=NOW)
    handle.abandon()
    not_taken(ledger, uid, 1)
    rest = taken(ledger, uid, 1, later(1))
    assert [one.id for one in one_claim(rest, now=later(1)).members] != [claim.members[0].id]
    assert states(ledger, run_id)[S.UNKNOWN] == 1


@pytest.mark.parametrize("paused", [False, True])
def test_a_worker_compares_its_journal_with_all_runs_that_are_not_over(
    shared: sa.Engine, tmp_path: Path, paused: bool
) -> None:
    run_id, uid = begun(shared, tmp_path)
    ledger = worker(shared, tmp_path)
    for number in (1, 2):
        handle = taken(ledger, uid, number)
        send_all(handle)
        handle.close(now=NOW)
    one_batch_from_a_backup(shared, 1)
    one_batch_from_a_backup(shared, 2)
    if paused:
        ledger.pause(run_id, "a restore", now=NOW)
    assert worker(shared, tmp_path / "another").compare_journal(now=NOW) == []
    assert states(ledger, run_id) == {S.PLANNED: 6}
    assert ledger.compare_journal(now=NOW) == []
    assert states(ledger, run_id) == {S.UNKNOWN: 4, S.PLANNED: 2}


def test_what_a_journal_knows_of_a_batch_in_living_hands_leaves_it_there(shared: sa.Engine, tmp_path: Path) -> None:
    run_id, uid = begun(shared, tmp_path, 6, size=5)
    ledger = worker(shared, tmp_path)
    handle = taken(ledger, uid, 1)
    for _ in range(3):
        handle.exchange([report(one_claim(handle, 1))], [], now=NOW)
    handle.close(now=NOW)
    with writing(shared) as connection:  # the batch as it was before
        states_before = "(SELECT states FROM batch WHERE number = 2)"
        connection.execute(
            sa.text(f"UPDATE batch SET states = {states_before}, claims = 0, attempts = 0, due_at = 1 WHERE number = 1")
        )
        connection.execute(sa.text("DELETE FROM attempt"))
    other = taken(worker(shared, tmp_path / "another"), uid, 1)
    claim = one_claim(other, 1)
    worker(shared, tmp_path).compare_journal(now=NOW)
    assert states(ledger, run_id) == {S.IN_FLIGHT: 1, S.UNKNOWN: 2, S.PLANNED: 3}
    not_taken(worker(shared, tmp_path / "third"), uid, 1)
    [following] = other.exchange([report(claim)], [Wish(5)], now=NOW).claims
    assert following is not None
    assert len(following.members) == 2
    assert other.exchange([report(following)], [Wish(1)], now=NOW).halt is Halt.DONE
    assert states(ledger, run_id) == {S.ACCEPTED: 3, S.UNKNOWN: 2, S.PLANNED: 1}


def test_a_machine_that_did_not_end_a_run_learns_of_its_end_and_folds_its_claims(
    shared: sa.Engine, tmp_path: Path
) -> None:
    _, uid = begun(shared, tmp_path / "planner", 61, size=60)
    one, other = worker(shared, tmp_path / "one"), worker(shared, tmp_path / "other")
    handle = taken(one, uid, 1)
    reports: list[Report] = []
    while (claim := handle.exchange(reports, [Wish(1)], now=NOW).claims[0]) is not None:
        reports = [report(claim)]
    handle.close(now=NOW)
    assert one.shorten_journal(before=later(3600)) == 0, "it is not over"
    last = taken(other, uid, 2)
    send_all(last)
    assert last.close(now=later(60)).state is RunState.FINISHED
    journal = Journal(tmp_path / "one" / "journal.ndjson")
    before = journal.path.stat().st_size
    assert one.shorten_journal(before=NOW) == 0, "not for long enough"
    assert one._tools.journalled == {}, "nor is it kept in memory"
    saved = one.shorten_journal(before=later(3600))
    assert saved > before / 2
    entries = list(journal.entries(str(plan_of().name)))
    assert [entry.event for entry in entries] == [Event.CLAIMED, Event.ENDED]
    assert entries[1].at == later(60)
    assert recovery.forgotten(entries, uid, {}) == {1: [Claimed(1, 1, 60, list(range(60)))]}
    assert one.shorten_journal(before=later(3600)) == 0


def test_of_many_at_once_one_takes_a_batch(shared: sa.Engine, tmp_path: Path) -> None:
    _, uid = begun(shared, tmp_path, 2)
    ledgers = [worker(shared, tmp_path) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda one: one.take_batch(uid, 1, now=NOW), ledgers))
    assert sum(isinstance(one, SqlBatchLedger) for one in found) == 1


def test_workers_at_once_with_doubled_jobs_deaths_and_a_pause_send_to_everybody_once(
    shared: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The law: whatever happens, nobody is claimed twice but after a proof that no call was made."""
    run_id, uid = begun(shared, tmp_path, 120, size=6)
    calls: Counter[int] = Counter()
    lock = threading.Lock()
    chance = random.Random(5)
    died: set[int] = set()
    numbers = [*range(1, 21)] * 3
    chance.shuffle(numbers)

    def outcome(member: int) -> Outcome:
        return Refused("no such user") if member % 17 == 0 else Accepted()

    def one_job(number: int) -> None:
        ledger = worker(shared, tmp_path)
        for _ in range(200):
            found = ledger.take_batch(uid, number, now=NOW)
            if isinstance(found, NotTaken):
                if found.again_at is None:
                    return
                time.sleep(0.01)
                continue
            reports: list[Report] = []
            while True:
                [claim] = found.exchange(reports, [Wish(2)], now=NOW).claims
                if claim is None:
                    break
                with lock:
                    calls.update(member.id for member in claim.members)
                    dies = chance.random() < 0.1
                if dies:
                    died.update(member.id for member in claim.members)
                    die(found)
                    return
                reports = [Report(claim, {member.id: outcome(member.id) for member in claim.members})]
            found.close(now=NOW)
            return

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one_job, numbers))
        ledger = worker(shared, tmp_path)
        for number in range(1, 21):  # whose last job died
            one_job(number)
    for number in range(1, 21):
        one_job(number)
    assert max(calls.values()) == 1
    found = states(ledger, run_id)
    assert found.get(S.UNKNOWN, 0) == len(died) > 0
    assert sum(found.values()) == 120
    assert not found.get(S.PLANNED)
    assert not found.get(S.IN_FLIGHT)
    assert run_state(ledger) is RunState.HELD


def test_the_database_says_what_time_it_is(shared: sa.Engine, tmp_path: Path) -> None:
    assert abs((worker(shared, tmp_path).clock() - dt.datetime.now(dt.UTC)).total_seconds()) < 5


def test_batches_of_a_run_with_windows_wait_in_the_queue_for_theirs(shared: sa.Engine, tmp_path: Path) -> None:
    load(SqlAudience(shared, ERASURE_KEY), in_zones(readers(4), "home", "away"))
    ledger = worker(shared, tmp_path)
    plan = plan_of(size=2, selection=DAILY, window_of=windows(home=(0, 2), away=(1, 3)))
    ledger.plan(replace(plan, shared=SHARING), now=NOW)
    assert jobs(shared) == [(1, NOW), (2, later(3600))]


def test_a_worker_that_does_not_learn_whether_it_was_given_the_batch_gives_it_up(
    shared: sa.Engine, tmp_path: Path
) -> None:
    """The line breaks as the transaction is kept: its sender must not live on with a batch that it knows nothing of."""
    run_id, uid = begun(shared, tmp_path, 2)
    ledger = worker(shared, tmp_path)

    taken(ledger, uid, 1).close(now=NOW)
    inner = SqlLedger._living_sender

    def broken(self: SqlLedger, connection: sa.Connection, sender: senders.Sender, now: dt.datetime) -> senders.Sender:
        raise ConnectionError(str(inner(self, connection, sender, now).id))

    ledger._living_sender = broken.__get__(ledger)  # type: ignore[method-assign]
    with pytest.raises(ConnectionError) as lost:
        ledger.take_batch(uid, 1, now=NOW)
    with writing(shared) as connection:  # it was kept after all
        mine = {"sender": int(str(lost.value))}
        connection.execute(sa.text("UPDATE batch SET sender_id = :sender, due_at = NULL"), mine)
    assert send_all(taken(worker(shared, tmp_path), uid, 1)).halt is Halt.DONE
    assert states(ledger, run_id) == {S.ACCEPTED: 2}


def test_whoever_holds_something_and_is_silent_is_gone_and_threads_count_as_one(
    shared: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, uid = begun(shared, tmp_path)
    one = worker(shared, tmp_path, "mail-1", monkeypatch)
    name, pid = plan_of().name, os.getpid()
    with time_machine.travel(NOW, tick=False):
        handles = [taken(one, uid, number) for number in (1, 2)]  # whose locks are let go of with them
        found = one.run(name)
        assert found is not None
        assert found.sender == f"mail-1 pid {pid}", "not `and 1 more`"
    with time_machine.travel(NOW + dt.timedelta(minutes=5), tick=False):
        assert one.workers(run_id) == [WorkerRecord(f"mail-1 pid {pid}", False, 0, 2, 0)]
    assert len(handles) == 2


@time_machine.travel(NOW, tick=False)
def test_status_tells_which_workers_have_a_part_in_a_run(
    shared: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, uid = begun(shared, tmp_path)
    one, two = (worker(shared, tmp_path, host, monkeypatch) for host in ("mail-1", "mail-2"))
    assert one.workers(run_id) == []
    first = taken(one, uid, 1)
    claim = one_claim(first)
    second = taken(two, uid, 2)
    pid = os.getpid()
    assert one.workers(run_id) == [
        WorkerRecord(f"mail-1 pid {pid}", True, 1, 1, 2),
        WorkerRecord(f"mail-2 pid {pid}", True, 0, 1, 0),
    ]
    first.exchange([report(claim, Accepted())], [], now=NOW)
    for handle in (first, second):
        handle.close(now=NOW)
    assert one.any_worker() is False, "the queue has heard of none"
    with writing(shared) as connection:
        connection.execute(sa.text("INSERT INTO procrastinate_workers DEFAULT VALUES"))
    assert one.any_worker() is True
    with writing(shared) as connection:
        connection.execute(sa.text("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '16 seconds'"))
    assert one.any_worker() is False
    with time_machine.travel(NOW + dt.timedelta(hours=1), tick=False):
        assert one.workers(run_id) == [WorkerRecord(f"mail-1 pid {pid}", True, 1, 0, 0)], "who is idle renews no lease"
    one.leave(now=NOW)
    two.leave(now=NOW)
    assert one.workers(run_id) == [WorkerRecord(f"mail-1 pid {pid}", False, 1, 0, 0)]


def test_those_whom_a_worker_thought_dead_did_not_call_for_are_sent_yet_though_the_run_was_held(
    shared: sa.Engine, tmp_path: Path
) -> None:
    run_id, uid = begun(shared, tmp_path, 2)
    handle = taken(worker(shared, tmp_path), uid, 1)
    claim = one_claim(handle)
    ledger, now = worker(shared, tmp_path), later(LEASE + 1)
    not_taken(ledger, uid, 1, now)
    assert run_state(ledger) is RunState.HELD
    forget_jobs(shared)
    not_tried = Report(claim, {one.id: Busy("not tried") for one in claim.members}, retry_at=now)
    with pytest.raises(RunLost):
        handle.exchange([not_tried], [], now=now)
    assert run_state(ledger) is RunState.SENDING
    assert jobs(shared) == [(1, now)]
    again = taken(ledger, uid, 1, now)
    assert send_all(again, now=now).halt is Halt.DONE
    assert again.close(now=now).state is RunState.FINISHED
    assert states(ledger, run_id) == {S.ACCEPTED: 2}


@pytest.mark.parametrize("reason", ["an operator paused it", ""])
def test_a_late_report_does_not_undo_a_pause(shared: sa.Engine, tmp_path: Path, reason: str) -> None:
    run_id, uid = begun(shared, tmp_path, 2)
    handle = taken(worker(shared, tmp_path), uid, 1)
    claim = one_claim(handle)
    ledger, now = worker(shared, tmp_path), later(LEASE + 1)
    ledger.pause(run_id, reason, now=NOW)
    not_taken(ledger, uid, 1, now)
    held = ledger.run(plan_of().name)
    assert held is not None
    assert (held.state, held.reason) == (RunState.HELD, reason or "it was paused")
    not_tried = Report(claim, {one.id: Busy("not tried") for one in claim.members}, retry_at=now)
    with pytest.raises(RunLost):
        handle.exchange([not_tried], [], now=now)
    paused = ledger.run(plan_of().name)
    assert paused is not None
    assert (paused.state, paused.reason) == (RunState.PAUSED, reason or "it was paused")
    not_taken(ledger, uid, 1, now)


def test_a_pause_comes_through_however_many_share_the_run(shared: sa.Engine, tmp_path: Path) -> None:
    """PostgreSQL lets those who share a row pass whoever waits for it alone."""
    run_id, _ = begun(shared, tmp_path)
    stop = threading.Event()

    def share() -> int:
        times = 0
        while not stop.is_set():
            with writing(shared) as connection:
                share_run(connection, run_id)
                connection.execute(sa.text("SELECT pg_sleep(0.05)"))
            times += 1
        return times

    with ThreadPoolExecutor(12) as pool:
        sharers = [pool.submit(share) for _ in range(12)]
        time.sleep(0.5)
        threading.Timer(4, stop.set).start()
        began = time.monotonic()
        try:
            assert worker(shared, tmp_path).pause(run_id, "stop", now=NOW)
            took = time.monotonic() - began
        finally:
            stop.set()
        assert min(one.result() for one in sharers) > 1
    assert took < 2


def test_whoever_waited_for_the_run_sees_it_as_it_is_then(shared: sa.Engine, tmp_path: Path) -> None:
    run_id, _ = begun(shared, tmp_path)

    def look() -> str:
        with writing(shared) as connection:
            return str(share_run(connection, run_id).state)

    with ThreadPoolExecutor(1) as pool:
        with writing(shared) as connection:
            row = read_run(connection, run_id, hold=True)
            waiting = pool.submit(look)
            time.sleep(0.3)
            assert not waiting.done()
            change_run(connection, row.id, state=RunState.PAUSED.value)
        assert waiting.result(10) == RunState.PAUSED


class TestLeases:
    def test_a_lease_counts_from_after_the_wait_for_the_run(
        self, shared: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Else others take the batch while its worker believes that it may call."""
        _, uid = begun(shared, tmp_path)
        clock = [1_000.0]
        monkeypatch.setattr(senders, "boot_time", lambda: clock[0])
        ledger, handles = worker(shared, tmp_path), list[SqlBatchLedger]()
        for act in (lambda: handles.append(taken(ledger, uid, 1)), lambda: handles[0].exchange([], [], now=NOW)):
            began = clock[0]
            with ThreadPoolExecutor(1) as pool:
                with shared.connect() as connection:
                    connection.execute(sa.text("SELECT FROM run FOR UPDATE"))
                    acting = pool.submit(act)
                    time.sleep(0.3)
                    assert not acting.done()
                    clock[0] += 14
                acting.result(30)
            ours = handles[0]._sender
            with reading(shared) as connection:
                kept = connection.scalar(sa.select(tables.sender.c.lease_until).where(tables.sender.c.id == ours.id))
            assert kept is not None
            assert ours.leased == clock[0]
            assert kept == later(clock[0] - began + LEASE).timestamp()
            clock[0] += 10

    def test_a_lease_whose_transaction_was_undone_is_not_believed(
        self, shared: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, uid = begun(shared, tmp_path)
        clock = [1_000.0]
        monkeypatch.setattr(senders, "boot_time", lambda: clock[0])
        handle = taken(worker(shared, tmp_path), uid, 1)
        clock[0] += 7

        def fails(*_: object) -> None:
            raise TemporaryError("the connection was lost")

        sa.event.listen(shared, "commit", fails)
        try:
            for act in (lambda: handle.keep(now=NOW), lambda: handle.exchange([], [Wish(1)], now=NOW)):
                with pytest.raises(TemporaryError):
                    act()
                assert handle._sender.leased == 1_000.0
        finally:
            sa.event.remove(shared, "commit", fails)
        handle.exchange([], [Wish(1)], now=NOW)
        assert handle._sender.leased == clock[0]
