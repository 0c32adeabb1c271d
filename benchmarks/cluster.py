"""Workers on one PostgreSQL: what 1, 2 and 4 send together, what a batch costs, and what the database carries.

    .venv/bin/python benchmarks/cluster.py [--short]

The first table: `newsletter worker` in processes of its own, on hosts of its own, sends the sample issue over SMTP to a
server that answers 20 and 200 ms late, so that neither of them waits for a processor. Messages a second are counted
from the first that the server accepted to the last. Transactions and processor time of PostgreSQL are those of the
whole run by its batches, and that of workers by their messages, without what idle workers take.

The second: workers' exchanges with the ledger alone, in threads of this process, whose own work in Python is most of
what limits them. What PostgreSQL took for it says what it would carry.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from newsletter.delivery.model import Accepted
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import Halt, NotTaken, Report, RunPlan, Sharing, Wish
from newsletter.store.engine import open_engine
from newsletter.store.ledger import SqlLedger

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # it is run as a file
from benchmarks.freezing import EVERYBODY, LIST, databases
from benchmarks.harness.clusters import Server, Took, make_project, send_with
from benchmarks.harness.projects import over_smtp
from benchmarks.render import commit, processor
from benchmarks.sinks import Tally, running

WORKERS = (1, 2, 4)


@dataclass(frozen=True)
class Terms:
    """Answers so many milliseconds late, `threads` batches at a time in each worker, and `batches` of `size` for each
    of these threads: as many for everybody, so that nobody waits at the end."""

    delay: int
    threads: int
    size: int
    batches: int

    def batches_of(self, workers: int) -> int:
        return self.threads * self.batches * workers


TERMS = (Terms(20, threads=4, size=50, batches=4), Terms(200, threads=8, size=10, batches=2))
SHORT = (Terms(20, threads=4, size=20, batches=2),)
#: Workers, and members of a batch, of those who exchange and send nothing; and how many people there are.
EXCHANGES = ((1, 100), (4, 100), (16, 100), (4, 1_000), (16, 1_000))
PEOPLE, SHORT_PEOPLE = 20_000, 4_000
IDLE = 3.0


def send(server: Server, database: str, folder: Path, terms: Terms, workers: int) -> tuple[Took, Tally]:
    """The issue, sent by so many workers."""
    people = terms.batches_of(workers) * terms.size
    with server.copy(database) as name, running("smtp", delay=terms.delay) as sink:
        engine = open_engine(server.url(name), folder)
        with engine.begin() as connection:  # of those that there are
            for table in ("consent", "membership", "subscriber"):
                which = "id" if table == "subscriber" else "subscriber_id"
                connection.exec_driver_sql(f"DELETE FROM {table} WHERE {which} > {people}")
        engine.dispose()
        took = send_with(server, name, folder, settings(server.url(name), sink.port, terms), workers, people)
        told = sink.tally()
    if told.messages != people:
        raise RuntimeError(f"{people} were sent to, and {told.messages} came")
    return took, told


def settings(url: str, port: int, terms: Terms) -> dict[str, str]:
    """The environment of a host."""
    delivery = {"concurrency": terms.threads, "window": terms.size, "batch_size": terms.size}
    own = {"NEWSLETTER__DATABASE__URL": url, "NEWSLETTER_SECRET_KEY": "only for benchmarks: 32 characters or more"}
    return over_smtp(port, engine="procrastinate", **delivery) | own


def exchanges(url: str, folder: Path, workers: int, size: int) -> tuple[int, float, float]:
    """(batches, seconds, processor seconds of this process) of workers who claim and report, and send nothing."""
    engines = [open_engine(url, folder) for _ in range(workers)]
    ledgers = [
        SqlLedger(one, locks=folder / f"locks-{number}", journal=folder / f"journal-{number}")
        for number, one in enumerate(engines)
    ]
    now = dt.datetime.now(dt.UTC)
    issue = dt.date(2000, 1, 1) + dt.timedelta(days=workers + size)
    plan = RunPlan(
        name=RunName(LIST, str(issue)),
        issue_date=issue,
        edition="",
        selection=EVERYBODY,
        content_hash="",
        subject="Morning",
        provider="benchmark",
        batch_size=size,
        deadline=now + dt.timedelta(hours=1),
        shared=Sharing("benchmark", ""),
    )
    batches = -(-ledgers[0].plan(plan, now=now).planned // size)
    run = ledgers[0].run(plan.name)
    assert run is not None
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for one in range(number + 1, batches + 1, workers):
                a_batch(ledgers[number], run.uid, one, size)
        except BaseException as error:  # noqa: BLE001 - the table must not come from half of them
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    cpu, start = time.process_time(), time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, cpu = time.monotonic() - start, time.process_time() - cpu
    if failed:
        raise failed[0]
    for ledger, engine in zip(ledgers, engines, strict=True):
        ledger.leave(now=now)
        engine.dispose()
    return batches, seconds, cpu


def a_batch(ledger: SqlLedger, uid: str, number: int, size: int) -> None:
    """All that a worker asks of the ledger for one, where everybody is accepted at once."""

    def now() -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    ledger.shared_run(uid)
    ledger.clock()
    taken = ledger.take_batch(uid, number, now=now())
    assert not isinstance(taken, NotTaken), taken
    reports: Sequence[Report] = []
    while True:
        exchange = taken.exchange(reports, [Wish(size)], now=now())
        reports = [
            Report(claim, dict.fromkeys((member.id for member in claim.members), Accepted()))
            for claim in exchange.claims
            if claim
        ]
        if exchange.halt is Halt.DONE:
            break
    taken.close(now=now())


def show_sending(server: Server, database: str, folder: Path, cases: Sequence[Terms], numbers: Sequence[int]) -> None:
    """The first table."""
    idle_terms, most = cases[0], numbers[-1]
    with server.copy(database) as name:
        idle = send_with(server, name, folder, settings(server.url(name), 1, idle_terms), most, 0, idle=IDLE)
    rate, idle_cpu = idle.commits / most / idle.seconds, idle.cpu / most / idle.seconds
    start = idle.workers_cpu / most
    print(
        f"  {'':<34}{'messages':>9}{'a second':>10}{'a worker':>10}{'x one':>8}{'CPU s/1,000':>13}"
        f"{'transactions':>14}{'PostgreSQL CPU':>16}{'connections':>13}"
    )
    for terms in cases:
        first = 0.0
        for workers in numbers:
            took, told = send(server, database, folder, terms, workers)
            first = first or told.speed
            batches, lives = terms.batches_of(workers), workers * took.seconds
            each = (took.commits - rate * lives) / batches
            cpu = max(0.0, took.cpu - idle_cpu * lives) / batches
            own = max(0.0, took.workers_cpu - workers * start) / told.messages
            print(
                f"    answers {terms.delay:>3} ms late, {workers} worker{'s' if workers > 1 else ' '}"
                f"{told.messages:>15,}{told.speed:>10,.0f}{told.speed / workers:>10,.0f}{told.speed / first:>8.2f}"
                f"{1000 * own:>13.2f}{each:>8.1f} a batch{1000 * cpu:>8.1f} ms each{took.connections:>13}",
                flush=True,
            )
    print(
        f"    idle, a worker: {rate:.1f} transactions a second, and {1000 * idle_cpu:.1f} ms of PostgreSQL's processor "
        f"time; {idle.connections / most:.0f} connections; its own {start:.1f} s, to start and be idle for {IDLE:.0f} s"
    )


def show_exchanges(server: Server, database: str, folder: Path, cases: Sequence[tuple[int, int]]) -> None:
    """The second table."""
    print(
        f"  {'exchanges alone, nothing is sent':<34}{'batches':>9}{'a second':>10}{'members a second':>18}"
        f"{'transactions':>14}{'PostgreSQL CPU':>16}{'of it a core':>14}{'this process':>14}"
    )
    for workers, size in cases:
        commits, cpu = server.commits(database), server.cpu()
        batches, seconds, own = exchanges(server.url(database), folder, workers, size)
        commits, cpu = server.commits(database) - commits, server.cpu() - cpu
        print(
            f"    {workers:>3} worker{'s' if workers > 1 else ' '}, batches of {size:>5,}{batches:>14,}"
            f"{batches / seconds:>10,.0f}{batches * size / seconds:>18,.0f}{commits / batches:>6.1f} a batch"
            f"{1000 * cpu / batches:>8.1f} ms each{cpu / seconds:>14.0%}{own / seconds:>14.0%}",
            flush=True,
        )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Measures workers that share one PostgreSQL.")
    parser.add_argument("--short", action="store_true", help="some seconds, to see that it runs")
    short = parser.parse_args(arguments).short
    print(f"commit {commit()}, Python {platform.python_version()}, {os.cpu_count()} x {processor()}")
    # see freezing.py
    with tempfile.TemporaryDirectory(prefix="newsletter-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        make_project(folder / "project")
        with databases(folder) as engines:
            server = Server(engines["PostgreSQL"])
            cases, numbers = (SHORT, (1, 2)) if short else (TERMS, WORKERS)
            people = max(terms.batches_of(numbers[-1]) * terms.size for terms in cases)
            print("  PostgreSQL with its default settings, all on the same machine; one run")
            show_sending(server, server.filled(people), folder / "project", cases, numbers)
            show_exchanges(
                server,
                server.filled(SHORT_PEOPLE if short else PEOPLE),
                folder,
                EXCHANGES[:2] if short else EXCHANGES,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
