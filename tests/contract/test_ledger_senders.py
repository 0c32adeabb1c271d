"""Who has a run in hand, and who may take it: locks on one host, leases across hosts. On both databases."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from ledger_runs import NOW, S, claims, die, later, ledger_of, planned, report, states

from newsletter.delivery.ledger import RunLost
from newsletter.delivery.run_values import Wish
from newsletter.errors import GuardRefused, OutputError, TemporaryError
from newsletter.store import senders, tables
from newsletter.store.audience import SqlAudience
from newsletter.store.engine import reading, writing
from newsletter.store.ledger import SqlLedger
from newsletter.store.senders import LEASE, MARGIN, SenderLock, is_held


@pytest.fixture
def ledger(database: sa.Engine, tmp_path: Path) -> SqlLedger:
    return ledger_of(database, tmp_path)


_PROCESS = """
import sys, time
from pathlib import Path
import sqlalchemy as sa
from ledger_runs import NOW, ledger_of
from newsletter.delivery.run_values import Wish
from newsletter.errors import GuardRefused
from newsletter.store.engine import open_engine

engine = open_engine(sys.argv[1], Path("/"))
ledger = ledger_of(engine, Path(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
try:
    handle = ledger.take(int(sys.argv[3]), now=NOW)
except GuardRefused as refusal:
    print("refused:", refusal.message, flush=True)
else:
    [claim] = handle.exchange([], [Wish(2)], now=NOW).claims
    print("took it, and claimed", len(claim.members), flush=True)
    sys.stdin.readline()
"""


@contextmanager
def processes(database: sa.Engine, folder: Path, run_id: int, count: int = 1) -> Iterator[list[subprocess.Popen[str]]]:
    """So many, ready to take the run at a word."""
    url = database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", _PROCESS, url, str(folder), str(run_id)]
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    running = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
        )
        for _ in range(count)
    ]
    try:
        assert [read(one) for one in running] == ["ready"] * count
        yield running
    finally:
        for one in running:
            one.kill()
            one.communicate(timeout=30)


def read(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_of_four_processes_at_once_one_gets_the_run_also_after_a_dead_one(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience, tmp_path: Path
) -> None:
    run_id = planned(audience_store, ledger, 8, size=2)
    for dead in range(2):
        with processes(database, tmp_path, run_id, 4) as running:
            for one in running:
                tell(one)
            said = sorted(read(one) for one in running)
            [of_winner] = [line for line in said if line.startswith("took it")]
            assert of_winner == "took it, and claimed 2"
            assert all(line.startswith("refused: buzz/2026-01-07 is being sent by ") for line in said[:3])
            [record] = ledger.runs()
            assert record.sender.endswith(tuple(f"pid {one.pid}" for one in running))
        assert ledger.runs()[0].sender == "", "they were killed"
        assert states(ledger, run_id).get(S.UNKNOWN, 0) == 2 * dead


def test_a_stopped_process_is_not_robbed_on_its_own_host_however_long_it_stands(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience, tmp_path: Path
) -> None:
    run_id = planned(audience_store, ledger, 4, size=2)
    with processes(database, tmp_path, run_id) as [process]:
        tell(process)
        assert read(process).startswith("took it")
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(GuardRefused, match=f"is being sent by .* pid {process.pid}"):
            ledger.take(run_id, now=later(100 * LEASE))
        process.kill()
        process.wait(30)
        ledger.take(run_id, now=later(1))
    assert states(ledger, run_id) == {S.UNKNOWN: 2, S.PLANNED: 2}


def of_another_host(database: sa.Engine) -> None:
    """All senders so far are of a machine that shares nothing but the database."""
    with writing(database) as connection:
        connection.execute(sa.update(tables.sender).values(host="elsewhere 1234"))


def test_a_process_of_another_host_is_dead_when_its_lease_is_over(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience, tmp_path: Path
) -> None:
    run_id = planned(audience_store, ledger, 4, size=2)
    old = ledger.take(run_id, now=NOW)
    claims(old, 2)
    of_another_host(database)
    if database.dialect.name == "sqlite":  # on a local disk there is no other host: another name of this one
        with pytest.raises(GuardRefused, match="is being sent by elsewhere pid"):
            ledger.take(run_id, now=later(100 * LEASE))
        return
    other = ledger_of(database, tmp_path / "other")
    with pytest.raises(GuardRefused, match="is being sent by elsewhere pid"):
        other.take(run_id, now=later(LEASE))
    old.keep(now=later(LEASE))
    with pytest.raises(GuardRefused):
        other.take(run_id, now=later(2 * LEASE))
    new = other.take(run_id, now=later(2 * LEASE + 1))
    assert states(ledger, run_id) == {S.UNKNOWN: 2, S.PLANNED: 2}
    with pytest.raises(RunLost):
        old.keep(now=later(2 * LEASE + 2))
    with pytest.raises(RunLost):
        old.exchange([], [Wish(2)], now=later(2 * LEASE + 2))
    new.keep(now=later(2 * LEASE + 2))


def test_where_the_lock_file_is_gone_the_lease_counts(
    ledger: SqlLedger, audience_store: SqlAudience, tmp_path: Path
) -> None:
    run_id = planned(audience_store, ledger, 4, size=2)
    handle = ledger.take(run_id, now=NOW)
    assert handle.may_call()
    [lock] = (tmp_path / "locks").iterdir()
    lock.unlink()
    assert not handle.may_call(), "nobody else can see that it is alive"
    with pytest.raises(GuardRefused):
        ledger.take(run_id, now=later(LEASE))
    ledger.take(run_id, now=later(LEASE + 1))


def test_calls_are_made_only_well_within_the_lease(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = planned(audience_store, ledger, 4, size=2)
    clock = [1000.0]
    monkeypatch.setattr(senders, "boot_time", lambda: clock[0])
    handle = ledger.take(run_id, now=NOW)
    clock[0] += LEASE - MARGIN - 0.1
    assert handle.may_call()
    clock[0] += 0.2
    by_lock = database.dialect.name == "sqlite"
    assert handle.may_call() is by_lock
    [claim] = claims(handle, 2, now=later(21))
    assert handle.may_call(), "the exchange renewed it"
    clock[0] += LEASE
    handle.keep(now=later(50))
    assert handle.may_call()
    with reading(database) as connection:
        assert connection.scalar(sa.select(tables.sender.c.lease_until)) == later(50 + LEASE).timestamp()
    handle.exchange([report(claim)], [], now=later(50))
    handle.close(now=later(50))
    assert not handle.may_call()


def test_a_closed_run_leaves_no_lock_and_a_dead_ones_is_cleared_away(
    ledger: SqlLedger, audience_store: SqlAudience, tmp_path: Path
) -> None:
    run_id = planned(audience_store, ledger, 4, size=2)
    die(ledger.take(run_id, now=NOW))
    handle = ledger.take(run_id, now=NOW)
    assert [path.name for path in (tmp_path / "locks").iterdir()] == ["sender-2.lock"]
    handle.close(now=NOW)
    assert list((tmp_path / "locks").iterdir()) == []


def test_a_run_is_not_taken_while_its_journal_cannot_be_read(
    ledger: SqlLedger, audience_store: SqlAudience, tmp_path: Path
) -> None:
    run_id = planned(audience_store, ledger, 4, size=2)
    (tmp_path / "journal.ndjson").write_text("rubbish\n")
    with pytest.raises(OutputError, match=r"journal\.ndjson:1: this line of the journal cannot be read"):
        ledger.take(run_id, now=NOW)
    assert not list(tmp_path.glob("locks/*"))


def test_a_take_that_fails_leaves_no_lock(
    ledger: SqlLedger, audience_store: SqlAudience, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = planned(audience_store, ledger, 4, size=2)

    def fails(*_: object) -> None:
        assert list((tmp_path / "locks").iterdir())
        raise TemporaryError("the connection was lost")

    monkeypatch.setattr("newsletter.store.ledger.count_members", fails)
    with pytest.raises(TemporaryError):
        ledger.take(run_id, now=NOW)
    assert list((tmp_path / "locks").iterdir()) == []


def test_a_number_that_a_living_process_has_from_before_a_restoration_is_not_taken(
    ledger: SqlLedger, audience_store: SqlAudience, tmp_path: Path
) -> None:
    run_id = planned(audience_store, ledger, 4, size=2)
    other = SenderLock(tmp_path / "locks" / "sender-1.lock")
    handle = ledger.take(run_id, now=NOW)
    assert handle.may_call()
    assert sorted(path.name for path in (tmp_path / "locks").iterdir()) == ["sender-1.lock", "sender-2.lock"]
    other.release()


def test_a_lock_ends_with_its_process_even_where_a_forked_child_lives_on(tmp_path: Path) -> None:
    script = """
import os, sys, time
from pathlib import Path
from newsletter.store.senders import SenderLock
lock = SenderLock(Path(sys.argv[1]))
child = os.fork()
if child == 0:
    os.close(1)
    time.sleep(60)
    os._exit(0)
print(child, flush=True)
os.read(0, 1)
os.kill(os.getpid(), 9)
"""
    path = tmp_path / "locks" / "sender-1.lock"
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    child = int(read(parent))
    try:
        assert is_held(path) is True
        tell(parent)
        parent.wait(30)
        for _ in range(100):  # the child may not have got to its own first line
            if not is_held(path):
                break
            time.sleep(0.05)
        assert is_held(path) is False
        os.kill(child, 0)  # it is still there
    finally:
        os.kill(child, signal.SIGKILL)
        parent.communicate(timeout=30)


def test_a_lock_that_nobody_has_any_more_is_free(tmp_path: Path) -> None:
    path = tmp_path / "sender-1.lock"
    assert is_held(path) is None
    lock = SenderLock(path)
    assert is_held(path) is True
    with pytest.raises(BlockingIOError):
        SenderLock(path)
    assert lock.proves
    del lock
    assert is_held(path) is False
    again = SenderLock(path)
    again.release()
    again.release()
    assert is_held(path) is None
