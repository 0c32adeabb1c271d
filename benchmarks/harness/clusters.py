"""Workers on hosts of their own, and the PostgreSQL that they share, with what it took.

A host is a copy of the project: its worker sees nobody else's lock files and journal, as on another machine.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.harness.projects import ISSUE
from benchmarks.render import NAMES
from newsletter.project_files import copy_project
from newsletter.store.engine import open_engine, writing
from newsletter.store.upgrade import upgrade

_PEOPLE = """
INSERT INTO subscriber (key, address, name, created_at)
SELECT 'reader' || i || '@example.org', 'reader' || i || '@example.org',
       CAST(:names AS json) ->> CAST(i % :many AS int) || ' ' || i, :then
FROM generate_series(0, :count - 1) AS s(i)
"""
_LIST = "INSERT INTO mailing_list (name) VALUES ('daily-buzz')"
_MEMBERSHIPS = """
INSERT INTO membership (list_id, subscriber_id, state, since) SELECT 1, id, 'subscribed', :then FROM subscriber
"""
_CONSENTS = """
INSERT INTO consent (subscriber_id, list_id, at, source, recorded_at)
SELECT subscriber_id, list_id, since, 'form', since FROM membership
"""
#: Seconds a worker may take to come up, and between two looks at what there is.
_START, _LOOK = 30.0, 0.1


class Server:
    """A PostgreSQL of ours, behind `engine`, whose processes we may look at."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        folder = Path(str(self._ask("SHOW data_directory")))
        self._pid = int((folder / "postmaster.pid").read_text("ascii").splitlines()[0])
        self._made = 0

    def url(self, database: str) -> str:
        """Of one of its databases."""
        return self.engine.url.set(database=database).render_as_string(hide_password=False)

    def filled(self, people: int) -> str:
        """A new database in which so many people may be mailed."""
        name = self._new("")
        engine = open_engine(self.url(name), Path("/"))
        upgrade(engine)
        given = {"count": people, "names": json.dumps(NAMES), "many": len(NAMES), "then": 1_735_689_600}
        with writing(engine) as connection:
            for statement in (_PEOPLE, _LIST, _MEMBERSHIPS, _CONSENTS):
                connection.execute(sa.text(statement), given)
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
        engine.dispose()
        return name

    @contextmanager
    def copy(self, database: str) -> Iterator[str]:
        """Another of the same; gone afterwards."""
        name = self._new(f"TEMPLATE {database}")
        try:
            yield name
        finally:
            self._tell(f"DROP DATABASE {name} (FORCE)")

    def commits(self, database: str) -> int:
        """Transactions that were kept. Connections tell of theirs at the latest when they end."""
        return int(self._ask(f"SELECT xact_commit FROM pg_stat_database WHERE datname = '{database}'") or 0)

    def connections(self, database: str) -> int:
        """How many there are at this moment."""
        return int(self._ask(f"SELECT numbackends FROM pg_stat_database WHERE datname = '{database}'") or 0)

    def cpu(self) -> float:
        """Seconds of processor time that its processes took so far, those included that ended."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text("ascii", "replace").rpartition(")")[2].split()
            except OSError:  # it ended
                continue
            own, of_ended = sum(map(int, fields[11:13])), sum(map(int, fields[13:15]))
            if int(stat.parent.name) == self._pid:
                ticks += own + of_ended
            elif int(fields[1]) == self._pid:
                ticks += own
        return ticks / os.sysconf("SC_CLK_TCK")

    def _new(self, how: str) -> str:
        self._made += 1
        name = f"bench{self._made}"
        self._tell(f"CREATE DATABASE {name} {how}")
        return name

    def _ask(self, statement: str) -> Any:
        with self.engine.connect() as connection:
            return connection.exec_driver_sql(statement).scalar()

    def _tell(self, statement: str) -> None:
        with self.engine.connect() as connection:
            connection.exec_driver_sql(statement)


@dataclass
class Took:
    """What PostgreSQL, and the workers, took from the start of the workers to their end; `connections`: the most at one
    time. Seconds."""

    seconds: float = 0.0
    commits: int = 0
    cpu: float = 0.0
    workers_cpu: float = 0.0
    connections: int = 0
    #: what `newsletter send` printed
    sheet: Mapping[str, object] = field(default_factory=dict)


def make_project(folder: Path) -> None:
    """A project with the sample issue and no subscriber files."""
    copy_project(folder)
    (folder / "issues" / "2026-01-07.txt").write_bytes(ISSUE.read_bytes())
    for file in (folder / "subscribers").glob("*.csv"):
        file.unlink()


def send_with(
    server: Server,
    database: str,
    folder: Path,
    settings: Mapping[str, str],
    workers: int,
    people: int,
    idle: float = 0.0,
) -> Took:
    """Starts so many workers, each on a copy of the project in `folder`, hands them the issue for so many people, and
    waits until it is over; for 0 people they are idle, `idle` seconds. Raises RuntimeError unless all were accepted."""
    took = Took()
    # it knows of the issue in another database, and would have it that this one was restored
    (folder / "var" / "journal.ndjson").unlink(missing_ok=True)
    commits, cpu, start = server.commits(database), server.cpu(), time.monotonic()
    with _workers(server, database, folder, settings, workers, took):
        if people:
            command = [sys.executable, "-m", "newsletter", "send", "2026-01-07", "--confirm", str(people), "--json"]
            done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{done.returncode}: {done.stderr}{done.stdout}")
            took.sheet = json.loads(done.stdout.splitlines()[-1])
            if (took.sheet["state"], took.sheet["accepted"]) != ("finished", people):
                raise RuntimeError(f"the ledger says {took.sheet}")
        else:
            time.sleep(idle)
    took.seconds = time.monotonic() - start
    took.commits, took.cpu = server.commits(database) - commits, server.cpu() - cpu
    return took


@contextmanager
def _workers(
    server: Server, database: str, folder: Path, settings: Mapping[str, str], number: int, took: Took
) -> Iterator[None]:
    processes: list[subprocess.Popen[bytes]] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK):
            took.connections = max(took.connections, server.connections(database))

    looking = threading.Thread(target=look)
    hosts = [folder.with_name(f"{folder.name}-host-{one}") for one in range(number)]
    try:
        for host in hosts:
            shutil.copytree(folder, host)
            with (host / "log").open("wb") as log:
                command = [sys.executable, "-m", "newsletter", "-v", "worker"]
                processes.append(subprocess.Popen(command, cwd=host, env=settings, stdout=log, stderr=log))
        _wait_for(hosts)
        looking.start()
        yield
        took.workers_cpu = sum(map(_end, processes))
    finally:
        over.set()
        if looking.ident:
            looking.join()
        for process in processes:
            if process.returncode is None:
                process.kill()
                process.wait()
        for host in hosts:
            shutil.rmtree(host, ignore_errors=True)


def _wait_for(hosts: Sequence[Path]) -> None:
    end = time.monotonic() + _START
    while not all("worker_began" in (host / "log").read_text("utf-8") for host in hosts):
        if time.monotonic() > end:
            raise RuntimeError("".join((host / "log").read_text("utf-8") for host in hosts))
        time.sleep(_LOOK)


def _end(process: subprocess.Popen[bytes]) -> float:
    """Seconds of processor time that it took."""
    process.send_signal(signal.SIGTERM)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # it is no longer there to be asked
    if process.returncode:
        raise RuntimeError(f"a worker ended with {process.returncode}")
    return used.ru_utime + used.ru_stime
