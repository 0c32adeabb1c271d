"""The ledger, on SQLite and PostgreSQL: planning, claiming and marking, bytes a run, and looking one person up.

    .venv/bin/python benchmarks/ledger.py [--short] [--people N]

Fills a database of each kind as `freezing.py` does, and sends runs in which every call is accepted at once: batches of
1,000 and 100 claimed whole, and batches of 100 and 1,000 in windows of 10 and 50, by four threads' worth of calls in
each exchange, each durable before it is answered.
"""

from __future__ import annotations

import argparse
import datetime as dt
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import sqlalchemy as sa

from newsletter.delivery.model import Accepted
from newsletter.delivery.run_values import Halt, Report, Wish
from newsletter.store.engine import sqlite_path
from newsletter.store.journal import Claimed, Entry, Event, Journal
from newsletter.store.ledger import SqlLedger

sys.path.insert(0, str(Path(__file__).parents[1]))  # it is run as a file, and what freezing.py fills serves here too
from benchmarks.freezing import LIST, NOW, databases, fill, plan_of

#: Bytes a run of a million may take.
TARGET = 5_000_000
#: Calls at a time.
THREADS = 4
_DAYS = count(1)
_RUNS = [(1_000, None), (100, None), (100, 10), (100, 50), (1_000, 50)]
_OF_RUNS = ("run", "run_exclusion", "batch", "attempt", "delivery_note", "sender")


@dataclass(frozen=True)
class Figures:
    """One run: seconds to plan it, members a second, bytes in the database and in the journal, and milliseconds."""

    planning: float
    speed: float
    size: int
    journal: int
    lookup: float
    closing: float


def send(engine: sa.Engine, folder: Path, members: int, batch_size: int, window: int | None) -> Figures:
    """Plans a run for another day and sends it."""
    journal = folder / f"{engine.dialect.name}.ndjson"
    ledger = SqlLedger(engine, locks=folder / "locks", journal=journal)
    before, written = used(engine), journal.stat().st_size if journal.exists() else 0
    start = time.perf_counter()
    day = NOW.date() + dt.timedelta(days=next(_DAYS))
    run_id = ledger.plan(plan_of(day, batch_size=batch_size), now=NOW).run_id
    planning = time.perf_counter() - start
    handle = ledger.take(run_id, now=NOW)
    wishes = [Wish(window or batch_size)] * THREADS
    reports: list[Report] = []
    accepted = Accepted()
    start = time.perf_counter()
    while True:
        exchange = handle.exchange(reports, wishes, now=NOW)
        reports = [
            Report(claim, dict.fromkeys((member.id for member in claim.members), accepted))
            for claim in exchange.claims
            if claim
        ]
        if exchange.halt is Halt.DONE:
            break
    sending = time.perf_counter() - start
    start = time.perf_counter()
    handle.close(now=NOW)
    closing = time.perf_counter() - start
    size = used(engine) - before
    start = time.perf_counter()
    found = ledger.delivery(run_id, f"reader{members // 2}@example.com")
    lookup = time.perf_counter() - start
    assert found is not None, "the one in the middle is a member"
    return Figures(planning, members / sending, size, journal.stat().st_size - written, lookup, closing)


def look_through(folder: Path, lines: int) -> float:
    """Seconds to find one run in a journal of so many lines."""
    journal = Journal(folder / "long.ndjson")
    with journal.path.open("wb") as file:
        for number in range(lines // 1_000):
            claims = (Claimed(number, 1, 1, range(100)),)
            entry = Entry(f"{LIST}/no{number}", "0123456789abcdef", Event.CLAIMED, NOW, claims)
            file.write(entry.line() * 1_000)
    start = time.perf_counter()
    found = sum(1 for _ in journal.entries(f"{LIST}/no{lines // 2_000}"))
    assert found == 1_000
    return time.perf_counter() - start


def used(engine: sa.Engine) -> int:
    """Bytes that the tables of runs take, with their indexes."""
    if sqlite_path(engine) is None:
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            return sum(
                int(connection.scalar(sa.text(f"SELECT pg_total_relation_size('{table}')")) or 0) for table in _OF_RUNS
            )
    with engine.connect() as connection:
        pages = connection.scalar(sa.text("PRAGMA page_count")) or 0
        free = connection.scalar(sa.text("PRAGMA freelist_count")) or 0
        return (int(pages) - int(free)) * int(connection.scalar(sa.text("PRAGMA page_size")) or 0)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Times the ledger.")
    parser.add_argument("--short", action="store_true", help="2,000 people, to see that it runs")
    parser.add_argument("--people", type=int, default=100_000, help="how many are mailed")
    options = parser.parse_args(arguments)
    wanted = 2_000 if options.short else options.people
    with tempfile.TemporaryDirectory(prefix="newsletter-bench-") as folder:
        # see freezing.py
        Path(folder).chmod(0o755)
        with databases(Path(folder)) as engines:
            for name, engine in engines.items():
                members = fill(engine, wanted)
                print(f"{name}, {members:,} members", flush=True)
                for batch_size, window in _RUNS:
                    one = send(engine, Path(folder), members, batch_size, window)
                    calls = f"windows of {window}" if window else "claimed whole"
                    print(
                        f"  batches of {batch_size:>5,}, {calls:<14} planned in {one.planning:5.1f} s,"
                        f" {one.speed:>9,.0f} members/s, {one.size / 1e6:5.2f} MB, journal {one.journal / 1e6:4.2f} MB,"
                        f" closed in {one.closing:4.2f} s, one person in {1000 * one.lookup:4.1f} ms",
                        flush=True,
                    )
        lines = 10_000 if options.short else 1_000_000
        print(f"a run found in a journal of {lines:,} lines in {look_through(Path(folder), lines):.2f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"target: {TARGET / 1e6:.0f} MB a run of a million; peak memory of this process {peak:,.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
