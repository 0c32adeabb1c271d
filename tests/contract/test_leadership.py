"""Of several daemons on one database at most one leads, and another soon after its end. On both databases, with real
processes that are killed and stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from fresh_databases import PostgresServer

from newsletter.errors import OutputError, TemporaryError
from newsletter.schedule.records import Leadership
from newsletter.store import leadership as module
from newsletter.store.engine import sqlite_path
from newsletter.store.leadership import LOCK_FILE, SILENCE, SessionLeadership, leadership, this_process

#: What a daemon does here: it answers each line with whether it leads, and lets go at the word.
_DAEMON = """
import sys
from pathlib import Path
from newsletter.store import leadership as module
from newsletter.store.engine import open_engine

if len(sys.argv) > 3:
    module.SIGN_OF_LIFE, module.SILENCE = 0.5, float(sys.argv[3])
lead = module.leadership(open_engine(sys.argv[1], Path("/")), locks=Path(sys.argv[2]))
print("ready", flush=True)
for line in sys.stdin:
    if line == "close\\n":
        lead.close()
    print(lead.lead(), flush=True)
"""


class Daemon:
    """One process."""

    def __init__(self, database: sa.Engine, locks: Path, *arguments: str) -> None:
        url = database.url.render_as_string(hide_password=False)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _DAEMON, url, str(locks), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self.process.pid

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def leads(self) -> bool:
        self.tell("lead?")
        return self.said() == "True"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=30)


@contextmanager
def daemons(database: sa.Engine, locks: Path, count: int, *arguments: str) -> Iterator[list[Daemon]]:
    running = [Daemon(database, locks, *arguments) for _ in range(count)]
    try:
        assert [one.said() for one in running] == ["ready"] * count
        yield running
    finally:
        for one in running:
            one.kill()


def eventually(what: Callable[[], bool], seconds: float) -> float:
    """After how many seconds it is so; not more than `seconds`."""
    began = time.monotonic()
    while not what():
        assert time.monotonic() < began + seconds, "it takes too long"
        time.sleep(0.05)
    return time.monotonic() - began


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    return tmp_path / "locks"


@pytest.fixture
def lead(database: sa.Engine, locks: Path) -> Iterator[Callable[[], Leadership]]:
    """Makes daemons of this process, as many as are asked for."""
    made: list[Leadership] = []

    def make() -> Leadership:
        made.append(leadership(database, locks=locks))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_one_leads_until_it_lets_go_and_then_another_does_at_once(lead: Callable[[], Leadership]) -> None:
    one, two = lead(), lead()
    assert one.leader() == ""
    assert one.lead()
    assert one.lead(), "it still does"
    assert not two.lead()
    assert one.leader() == two.leader() == this_process()
    assert this_process().endswith(f" pid {os.getpid()}")
    one.close()
    one.close()
    assert two.leader() == ""
    assert two.lead()
    two.close()
    assert lead().lead()


def test_of_many_that_try_at_once_one_leads_and_another_after_it_was_killed(database: sa.Engine, locks: Path) -> None:
    with daemons(database, locks, 4) as running:
        for _ in range(2):
            for one in running:
                one.tell("lead?")
            [leader] = [one for one in running if one.said() == "True"]
            watching = leadership(database, locks=locks)
            assert watching.leader().endswith(f" pid {leader.pid}")
            leader.kill()
            running.remove(leader)
            # measured: well under a second; promised: 30
            assert eventually(lambda: any(one.leads() for one in running), 30) < 30
            assert [one.leads() for one in running].count(True) == 1


def test_a_daemon_that_lets_go_in_good_order_hands_over_at_once(database: sa.Engine, locks: Path) -> None:
    with daemons(database, locks, 2) as [one, two]:
        assert one.leads()
        assert not two.leads()
        one.tell("close")
        one.said()
        eventually(two.leads, 30)


def test_threads_of_one_daemon_may_ask_at_the_same_moment(lead: Callable[[], Leadership]) -> None:
    one, said = lead(), list[bool]()
    threads = [threading.Thread(target=lambda: said.append(one.lead())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == [True] * 8


# on a file


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'newsletter.db'}")
    yield engine
    engine.dispose()


def test_a_stopped_leader_keeps_its_file_and_nobody_else_leads(sqlite: sa.Engine, locks: Path) -> None:
    with daemons(sqlite, locks, 2) as [one, two]:
        assert one.leads()
        one.process.send_signal(signal.SIGSTOP)
        assert not two.leads()
        one.process.send_signal(signal.SIGCONT)
        assert one.leads()


def test_a_leader_whose_file_was_taken_away_leads_no_more_where_another_does(sqlite: sa.Engine, locks: Path) -> None:
    one, two = leadership(sqlite, locks=locks), leadership(sqlite, locks=locks)
    assert one.lead()
    (locks / LOCK_FILE).unlink()
    assert two.lead(), "it cannot see the other"
    assert not one.lead()
    one.close()
    assert two.lead(), "the first one took nothing away"
    (locks / LOCK_FILE).unlink()
    assert two.lead(), "by a new file"
    assert two.leader() == this_process()
    two.close()


def test_nobody_leads_without_the_file_of_the_database_or_with_another_in_its_place(
    sqlite: sa.Engine, locks: Path, tmp_path: Path
) -> None:
    file = sqlite_path(sqlite)
    assert file is not None
    file.touch()
    one = leadership(sqlite, locks=locks)
    assert one.lead()
    file.rename(tmp_path / "away.db")
    with pytest.raises(OutputError, match="the database's file is gone"):
        one.lead()
    shutil.copy(tmp_path / "away.db", file)
    with pytest.raises(OutputError, match="another one than before"):
        one.lead()
    (tmp_path / "away.db").replace(file)
    assert one.lead()
    one.close()


def test_a_folder_that_cannot_be_written_is_told(sqlite: sa.Engine, tmp_path: Path) -> None:
    (tmp_path / "locks").write_text("a file in its place")
    with pytest.raises(OutputError, match="the lock of the leading daemon cannot be made"):
        leadership(sqlite, locks=tmp_path / "locks").lead()


# of a session


def end_sessions(engine: sa.Engine) -> None:
    """As an administrator does, or a network that breaks."""
    with engine.connect() as connection:
        connection.execute(
            sa.text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name LIKE 'newsletter %' AND datname = current_database()"
            )
        )


def test_a_stopped_leader_loses_the_lead_and_notices_before_it_acts(postgres: sa.Engine, locks: Path) -> None:
    with daemons(postgres, locks, 2, "2") as [one, two]:
        assert one.leads()
        time.sleep(3)
        assert not two.leads(), "it gives signs of life, though nobody asks it anything"
        one.process.send_signal(signal.SIGSTOP)
        eventually(two.leads, 30)
        one.process.send_signal(signal.SIGCONT)
        assert not one.leads()
        assert two.leads()


def test_what_is_promised_holds_with_the_times_that_are_used() -> None:
    """Whoever is dead to the server is so within the half minute: a stopped process, a machine, a line."""
    keep = module._KEEPALIVES
    assert SILENCE < 30
    assert module.SIGN_OF_LIFE * 2 < SILENCE
    assert keep["keepalives_idle"] + keep["keepalives_interval"] * keep["keepalives_count"] < 30


def test_a_leader_whose_session_was_ended_does_not_lead_where_another_took_it(postgres: sa.Engine, locks: Path) -> None:
    one, two = leadership(postgres, locks=locks), leadership(postgres, locks=locks)
    try:
        assert one.lead()
        end_sessions(postgres)
        eventually(two.lead, 30)
        assert not one.lead()
        end_sessions(postgres)
        assert eventually(lambda: one.lead() or two.lead(), 30) < 30
        assert [one.lead(), two.lead()].count(True) == 1
    finally:
        one.close()
        two.close()


@contextmanager
def leading(engine: sa.Engine, locks: Path) -> Iterator[tuple[SessionLeadership, psycopg.Connection[Any]]]:
    """A leader, and its session."""
    leader = leadership(engine, locks=locks)
    assert isinstance(leader, SessionLeadership)
    try:
        assert leader.lead()
        assert leader._session is not None
        yield leader, leader._session
    finally:
        leader.close()


def test_nobody_leads_as_soon_as_the_leader_has_let_go(postgres: sa.Engine, locks: Path) -> None:
    with leading(postgres, locks) as (leader, session):
        for number in range(300):  # the server drops them before it lets go of a session's locks
            session.execute(f"CREATE TEMPORARY TABLE t{number} (a text PRIMARY KEY)")
        leader.close()
        assert leader.leader() == ""


def test_a_server_that_does_not_answer_does_not_keep_a_leader_from_ending(postgres: sa.Engine, locks: Path) -> None:
    with leading(postgres, locks) as (leader, session):
        backend = session.info.backend_pid
        os.kill(backend, signal.SIGSTOP)
        goes_on = threading.Timer(30, os.kill, (backend, signal.SIGCONT))
        goes_on.start()
        try:
            leader.close()
            assert " T " in Path(f"/proc/{backend}/stat").read_text(), "it was not waited for"
        finally:
            goes_on.cancel()
            os.kill(backend, signal.SIGCONT)
        eventually(lambda: leader.leader() == "", 30)


def test_each_database_of_a_server_has_a_leader_of_its_own(
    postgres_server: PostgresServer, postgres: sa.Engine, locks: Path
) -> None:
    name = postgres_server.create()
    other = sa.create_engine(postgres_server.url(name))
    one, two = leadership(postgres, locks=locks), leadership(other, locks=locks)
    try:
        assert one.lead()
        assert two.leader() == ""
        assert two.lead()
    finally:
        one.close()
        two.close()
        other.dispose()
        postgres_server.drop(name)


def test_a_server_that_is_away_is_told_and_the_lead_taken_again_when_it_is_back(tmp_path: Path) -> None:
    server = PostgresServer()
    try:
        engine = sa.create_engine(server.url("postgres"), poolclass=sa.NullPool)
        one = leadership(engine, locks=tmp_path)
        assert one.lead()
        with server.away(), pytest.raises(TemporaryError):
            one.lead()
        eventually(one.lead, 30)
        one.close()
        assert not one.lead(), "it is closed"
        engine.dispose()
    finally:
        server.stop()


def test_the_session_is_set_so_that_its_end_is_noticed_on_both_sides(
    postgres: sa.Engine, monkeypatch: pytest.MonkeyPatch, locks: Path
) -> None:
    one = leadership(postgres, locks=locks)
    assert isinstance(one, module.SessionLeadership)
    assert one.lead()
    session = one._session
    assert session is not None
    wanted = session.info.get_parameters()
    assert (wanted["keepalives_idle"], wanted["keepalives_count"], wanted["tcp_user_timeout"]) == ("5", "3", "10000")
    [idle] = session.execute("SELECT current_setting('idle_session_timeout')").fetchone() or [""]
    assert idle == "20s"
    one.close()
    assert session.closed
