"""One pace for all workers, on a real PostgreSQL: never more than the rate, whoever dies, whatever their clocks say."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from fresh_databases import PostgresServer, make_tables
from ledger_runs import NOW, ledger_of, plan, planned
from pace_workers import WrongClock, started, used
from send_simulation import LETTERHEAD, TERMS, Listening, ScriptedProvider, accept, member, recipient, rendered

from newsletter.delivery.clock import SystemClock
from newsletter.delivery.pace_records import Tally
from newsletter.delivery.run_values import Halt
from newsletter.delivery.send import SendResult, send_run
from newsletter.delivery.shared_pacing import SharedLimiter, bucket_of, valid_for
from newsletter.errors import TemporaryError
from newsletter.store.audience import SqlAudience
from newsletter.store.run_signals import RunSignals
from newsletter.store.shared_pace import SqlPaceRecords, SqlTally

#: A moment of the machine's own: processes notice it a little late.
SLACK = 0.05


@pytest.fixture
def shared(postgres: sa.Engine) -> sa.Engine:
    make_tables(postgres)
    return postgres


@pytest.fixture
def url(shared: sa.Engine) -> str:
    return shared.url.render_as_string(hide_password=False)


def limiter(engine: sa.Engine, rate: float | None, *, off: float = 0.0, **per_domain: float) -> SharedLimiter:
    domains = {f"{name}.example": of_domain for name, of_domain in per_domain.items()}
    return SharedLimiter(rate, domains, SqlPaceRecords(engine, "vendor"), WrongClock(off))


def soon(one: SharedLimiter, seconds: float) -> dt.datetime:
    return one._clock.now() + dt.timedelta(seconds=seconds)


def took(one: SharedLimiter, count: int, seconds: float) -> float | None:
    """After how many seconds it had them; None: not within `seconds`."""
    start = time.monotonic()
    return time.monotonic() - start if one.take(count, threading.Event(), soon(one, seconds)) else None


def assert_within(went: list[tuple[float, int]], rate: float) -> None:
    """In no interval more than rate × (t + VALID) + max(rate / 2, 1, the largest call), over all."""
    went = sorted(went)
    burst = rate * (valid_for(rate) + SLACK) + max(bucket_of(rate).most, *(count for _, count in went))
    for first in range(len(went)):
        total = 0
        for at, count in went[first:]:
            total += count
            assert total <= rate * (at - went[first][0]) + burst + 1e-6, (at - went[first][0], total)


@pytest.mark.parametrize(("rate", "largest"), [(400.0, 20), (400.0, 350), (20.0, 1)])
def test_workers_in_processes_never_exceed_the_rate_and_use_it(url: str, rate: float, largest: int) -> None:
    seconds = 3.0
    workers = [started(url, rate, largest, seconds, seed) for seed in range(4)]
    went = [one for worker in workers for one in used(worker)]
    assert_within(went, rate)
    lasted = max(at for at, _ in went) - min(at for at, _ in went)
    # a twentieth of the takes sleep their slice away, and half of another fourth is given back late
    assert sum(count for _, count in went) >= 0.4 * rate * lasted


def test_a_worker_that_dies_takes_no_more_than_a_slice_along(url: str, shared: sa.Engine) -> None:
    rate = 200.0
    workers = [started(url, rate, 10, 30, seed) for seed in range(3)]
    time.sleep(1.5)
    for worker in workers:
        worker.kill()
    died = time.monotonic()
    for worker in workers:
        used(worker)
    mine, total = limiter(shared, rate), 0
    while time.monotonic() < died + 3:
        if took(mine, 10, 1) is not None:
            total += 10
    left = 3 * rate - 3 * rate / 4 - 30  # of each dead one at most a slice, and a call
    assert left <= total <= 3 * rate + 1.5 * rate


def test_a_hold_is_noticed_by_all_within_two_seconds(shared: sa.Engine) -> None:
    one, other, unlimited = limiter(shared, 1_000), limiter(shared, 1_000, off=9e4), limiter(shared, None, off=-9e4)
    for each in (one, other, unlimited):
        assert took(each, 5, 1) is not None
    start = time.monotonic()
    one.hold_until(soon(one, 3))
    assert one.held_until is not None
    for each in (other, unlimited):
        while each.try_take(1) and time.monotonic() < start + 2:
            time.sleep(0.02)
    assert time.monotonic() < start + 2
    for each in (one, other, unlimited):
        assert took(each, 1, 5) is not None
        assert 2.9 < time.monotonic() - start < 4.5
    # a shorter one changes nothing, and one that is over holds up nobody
    one.hold_until(soon(one, -5))
    assert took(other, 1, 1) is not None


def test_a_longer_hold_stays(shared: sa.Engine) -> None:
    one, other = limiter(shared, 10), limiter(shared, 10)
    one.hold_until(soon(one, 60))
    other.hold_until(soon(other, 1))
    fresh = limiter(shared, 10)
    assert took(fresh, 1, 0.2) is None
    assert 58 < SqlPaceRecords(shared, "vendor").held() <= 60
    assert SqlPaceRecords(shared, "another").held() == 0.0


def test_domains_have_a_pace_of_their_own_over_all(shared: sa.Engine) -> None:
    workers = [limiter(shared, None, gmail=20.0), limiter(shared, None, off=5e4, gmail=20.0)]
    people = [member(number) for number in range(1, 9)]
    people = [type(one)(one.id, f"p{one.id}@{('gmail', 'other')[one.id % 2]}.example", one.address) for one in people]
    start, went = time.monotonic(), list[tuple[float, int]]()
    while time.monotonic() < start + 2:
        for each in workers:
            assert each.take(1, threading.Event(), soon(each, 1))
            assert each.admit is not None
            admission = each.admit(people)
            admitted = [people[place].key for place in admission.places]
            assert sum(key.endswith("other.example") for key in admitted) == 4
            if gmail := len(admitted) - 4:
                went.append((time.monotonic(), gmail))
        time.sleep(0.01)
    assert_within(went, 20.0)
    assert sum(count for _, count in went) >= 0.7 * 2 * 20


def test_a_slow_rate_is_kept_and_a_token_that_was_not_needed_is_not_lost(shared: sa.Engine) -> None:
    one = limiter(shared, 1.0)
    assert took(one, 1, 0.5) is not None
    for _ in range(5):
        one.give_back(1)
        assert one.try_take(1)
    assert took(one, 1, 0.5) is None
    assert took(one, 1, 2) is not None


def test_whoever_wants_much_gets_its_turn_among_those_who_want_little(shared: sa.Engine) -> None:
    stop, small = threading.Event(), limiter(shared, 100.0)
    thread = threading.Thread(target=lambda: [small.take(5, stop, soon(small, 30)) for _ in range(2_000)])
    thread.start()
    time.sleep(0.5)
    large = limiter(shared, 100.0)
    assert took(large, 80, 5) is not None
    stop.set()
    thread.join()


def test_while_the_database_is_away_nothing_goes_and_afterwards_it_does(
    shared: sa.Engine, postgres_server: PostgresServer
) -> None:
    one = limiter(shared, 1_000.0)
    assert took(one, 1, 1) is not None
    time.sleep(1.1)  # what is left of the slice is void
    with postgres_server.away():
        shared.dispose()
        assert not one.try_take(1)
        assert took(one, 1, 0.7) is None
        one.hold_until(soon(one, 0.5))  # it holds here
        assert one.held_until is not None
        with pytest.raises(TemporaryError):
            SqlPaceRecords(shared, "vendor").held()
    assert took(one, 1, 5) is not None


def test_a_clock_of_the_server_that_is_set_back_gives_nothing_and_stops_nothing(shared: sa.Engine) -> None:
    records, bucket = SqlPaceRecords(shared, "vendor"), bucket_of(100.0)
    assert records.reserve(bucket, 50).wait == 0.0
    with shared.begin() as connection:
        connection.execute(sa.text("UPDATE pace SET at = at + 3600"))
    assert records.reserve_at_once(bucket, 40) is None  # no gift of an hour
    assert records.reserve(bucket, 10).wait == pytest.approx(0.1, abs=0.02)
    time.sleep(0.3)
    assert records.reserve(bucket, 10).wait == 0.0
    with shared.begin() as connection:
        connection.execute(sa.text("UPDATE pace SET at = at - 3600"))
    assert records.reserve_at_once(bucket, 50) is not None  # as much as the bucket holds, and no more
    assert records.reserve(bucket, 10).wait == pytest.approx(0.1, abs=0.03)


def test_a_stop_ends_the_wait_at_once(shared: sa.Engine) -> None:
    one, stop = limiter(shared, 0.01), threading.Event()
    assert took(one, 1, 1) is not None
    threading.Timer(0.2, stop.set).start()
    start = time.monotonic()
    assert not one.take(1, stop, soon(one, 60))
    assert time.monotonic() - start < 1


class TestTally:
    @pytest.fixture
    def run_id(self, shared: sa.Engine, tmp_path: Path) -> int:
        return planned(SqlAudience(shared, b"key"), ledger_of(shared, tmp_path), 10, size=5)

    def test_the_calls_of_all_count_and_a_new_start_begins_anew(
        self, shared: sa.Engine, run_id: int, tmp_path: Path
    ) -> None:
        one, other = SqlTally(shared, run_id), SqlTally(shared, run_id)
        assert one.add(lost=True, refused=0, decided=0) == Tally(1, 0, 0)
        assert other.add(lost=True, refused=0, decided=0) == Tally(2, 0, 0)
        assert one.add(lost=False, refused=3, decided=10) == Tally(0, 3, 10)
        assert other.add(lost=False, refused=1, decided=10) == Tally(0, 4, 20)
        ledger_of(shared, tmp_path).take(run_id, now=NOW).close(now=NOW)
        assert one.add(lost=True, refused=0, decided=0) == Tally(1, 0, 0)


@pytest.fixture
def signals(shared: sa.Engine) -> Iterator[RunSignals]:
    running = RunSignals(shared)
    assert running.listening.wait(10)
    yield running
    running.close()


class TestHearing:
    @pytest.fixture
    def run_id(self, shared: sa.Engine, tmp_path: Path) -> int:
        return planned(SqlAudience(shared, b"key"), ledger_of(shared, tmp_path), 10, size=5)

    def test_a_pause_is_heard_of_at_once_and_only_by_those_it_concerns(
        self, shared: sa.Engine, signals: RunSignals, run_id: int, tmp_path: Path
    ) -> None:
        ledger = ledger_of(shared, tmp_path)
        other = plan(ledger, edition="evening").run_id
        with signals.of_run(run_id) as changed, signals.of_run(other) as not_concerned:
            changed.clear()
            not_concerned.clear()
            ledger.pause(run_id, "lunch", now=NOW)
            assert changed.wait(1)
            changed.clear()
            ledger.cancel(run_id, now=NOW)
            assert changed.wait(1)
            assert not not_concerned.wait(0.3)

    def test_where_the_connection_is_lost_it_listens_again_and_tells_all(
        self, shared: sa.Engine, signals: RunSignals, run_id: int, tmp_path: Path
    ) -> None:
        with signals.of_run(run_id) as changed:
            changed.clear()
            with shared.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
                connection.exec_driver_sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'"
                )
            assert changed.wait(5)
            assert signals.listening.wait(10)
            changed.clear()
            ledger_of(shared, tmp_path).pause(run_id, "lunch", now=NOW)
            assert changed.wait(1)

    @pytest.mark.parametrize("heard", [True, False])
    def test_a_worker_that_waits_for_tokens_stops_within_two_seconds(
        self, shared: sa.Engine, run_id: int, tmp_path: Path, heard: bool
    ) -> None:
        """It learns of it by a notice, and where none arrives because it asks."""
        ledger, slow = ledger_of(shared, tmp_path), limiter(shared, 0.001)
        assert slow.try_take(1)
        signals = RunSignals(shared) if heard else None
        changed = threading.Event()
        ended: list[tuple[SendResult, float]] = []
        now = dt.datetime.now(dt.UTC)

        def work() -> None:
            clock = SystemClock()
            result = send_run(
                ledger.take(run_id, now=clock.now()),
                ScriptedProvider(accept),
                recipients_of=lambda members: list(map(recipient, members)),
                rendered=rendered,
                letterhead=LETTERHEAD,
                terms=replace(TERMS, deadline=now + dt.timedelta(hours=1)),
                limiter=slow,
                clock=clock,
                stop=threading.Event(),
                observer=Listening(),
                changed=changed,
            )
            ended.append((result, time.monotonic()))

        with shared.begin() as connection:
            connection.execute(sa.text("UPDATE run SET deadline = :end"), {"end": int(now.timestamp()) + 3600})
        with signals.of_run(run_id) if signals else nullcontext(changed) as heard_of:
            changed = heard_of
            thread = threading.Thread(target=work)
            thread.start()
            time.sleep(1.0)
            start = time.monotonic()
            ledger_of(shared, tmp_path).pause(run_id, "lunch", now=now)
            thread.join(10)
        if signals:
            signals.close()
        [(result, at)] = ended
        assert result.halt is Halt.PAUSED
        assert at - start < (1.0 if heard else 2.0)
