"""A daily newsletter to a million after a year: 365 runs in the ledger, what they cost, and what pruning them does.

    .venv/bin/python benchmarks/growth.py [--short] [--runs N] [--people N] [--only SQLite]

Puts N runs into a database of each kind as they are kept when they are over: batch rows of 1,000 packed members, each
with some who were refused or bounced, an attempt for each, words on one recipient in 500. Times `status`, `history`,
one person's deliveries, and the exchanges of a run that is being sent, beside one such run and beside all of them;
then prunes all but the last 30, with a run being sent meanwhile.
"""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from newsletter.delivery.model import Accepted
from newsletter.delivery.run_values import Report, Wish
from newsletter.delivery.states import DeliveryState, Mark
from newsletter.store.copying_rows import write_rows
from newsletter.store.engine import reading, scrub, sqlite_path, writing
from newsletter.store.ledger import SqlLedger
from newsletter.store.packing import pack
from newsletter.store.pruning import PrunedRuns, prune_runs
from newsletter.store.state_bytes import pack_states
from newsletter.store.tables import attempt, batch, delivery_note, run, run_count, sender
from newsletter.store.upgrade import upgrade

sys.path.insert(0, str(Path(__file__).parents[1]))  # it is run as a file, and what freezing.py fills serves here too
from benchmarks.freezing import NOW, databases, fill, plan_of

_A_BATCH = 1_000
#: Runs that are not pruned.
_KEPT = 30
#: People of the run that is sent while others are looked at, and members a batch of it.
_READERS, _THEIR_BATCH = 40_000, 100
_BREATH = 0.02
#: Numbers between two runs; those of the runs that are sent lie in between.
_APART = 1_000
_Row = tuple[object, ...]
_numbers = itertools.count(1)


@dataclass
class Figures:
    """Seconds by what was done, bytes by when, and what pruning removed."""

    seconds: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    pruned: PrunedRuns = field(default_factory=PrunedRuns)


def finished_runs(numbers: range, people: int) -> Iterator[tuple[_Row, Sequence[Sequence[_Row]]]]:
    """The run and its batches, attempts, words and sums, as rows of their tables, of each; number 1 is the latest
    one."""
    chance = random.Random(1)
    some = sorted(chance.sample(range(1, people * 23 // 20), people))
    members = [some[start : start + _A_BATCH] for start in range(0, people, _A_BATCH)]
    packed = [pack(one) for one in members]
    accepted, refused = int(DeliveryState.ACCEPTED), int(DeliveryState.REJECTED)
    bounced = accepted | Mark.BOUNCED.value
    for age, number in ((one - 1, one * _APART) for one in numbers):
        ended = int((NOW - dt.timedelta(days=age + 1)).timestamp())
        day = (NOW - dt.timedelta(days=age + 1)).date().isoformat()
        batches: list[_Row] = []
        notes: list[_Row] = []
        sums: Counter[int] = Counter()
        for place, (ids, kept) in enumerate(zip(members, packed, strict=True), 1):
            states = bytearray((accepted,)) * len(ids)
            for one in sorted(chance.sample(range(len(ids)), 2)):
                states[one] = refused
                notes.append((number, ids[one], "550", "5.1.1 no such user here", ended))
            states[chance.randrange(len(ids))] = bounced
            sums.update(states)
            ends = (ids[0], ids[-1], pack_states(states), 1, 1, ended, None, None, None)
            batches.append((number, place, kept, len(ids), *ends))
        attempts = [
            (number, place, 1, 1, ended, b"", ended, "a1b2c3d4e5f6g7h8", "") for place in range(1, len(members) + 1)
        ]
        names = (number, f"uid{number}", "archive", day, "", "finished", "", "c0ffee", "Morning", "benchmark")
        run_row = (*names, _A_BATCH, '{"lists": ["daily-buzz"]}', people, ended, ended, ended, ended, None)
        counts = [(number, byte, count) for byte, count in sorted(sums.items())]
        yield (*run_row, 0, None, "", "", 1), (batches, attempts, notes, counts)


def fill_ledger(engine: sa.Engine, numbers: range, people: int) -> None:
    """Puts the runs in, one transaction each."""
    values = {"id": 1, "host": "then", "pid": 1, "started_at": 1, "lease_until": 1, "ended_at": 1}
    if 1 in numbers:
        with writing(engine) as connection:
            connection.execute(sa.insert(sender).values(values))
    for row, rest in finished_runs(numbers, people):
        with writing(engine) as connection:
            write_rows(connection, run, [row])
            for table, rows in zip((batch, attempt, delivery_note, run_count), rest, strict=True):
                write_rows(connection, table, rows)
    if engine.dialect.name == "postgresql":
        with writing(engine) as connection:
            connection.exec_driver_sql("SELECT setval(pg_get_serial_sequence('run', 'id'), max(id)) FROM run")
            connection.exec_driver_sql("SELECT setval(pg_get_serial_sequence('sender', 'id'), max(id)) FROM sender")
        vacuum(engine)


def vacuum(engine: sa.Engine) -> None:
    """What PostgreSQL's autovacuum does by itself within minutes."""
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


def sent(engine: sa.Engine, folder: Path, until: Callable[[], bool] = lambda: True) -> list[float]:
    """Plans runs and sends them, all accepted at once, until it is asked to end; milliseconds of each exchange."""
    ledger = SqlLedger(engine, locks=folder / "locks", journal=folder / f"{engine.dialect.name}.ndjson")
    times: list[float] = []
    while True:
        day = NOW.date() + dt.timedelta(days=next(_numbers))
        handle = ledger.take(ledger.plan(plan_of(day, batch_size=_THEIR_BATCH), now=NOW).run_id, now=NOW)
        reports: Sequence[Report] = []
        while True:
            start = time.perf_counter()
            exchange = handle.exchange(reports, [Wish(_THEIR_BATCH)], now=NOW)
            times.append(1000 * (time.perf_counter() - start))
            claim = exchange.claims[0]
            if claim is None:
                break
            reports = [Report(claim, dict.fromkeys((member.id for member in claim.members), Accepted()))]
        handle.close(now=NOW)
        if until():
            return times


def timed(work: Callable[[], object]) -> float:
    """Seconds, the best of three."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def size(engine: sa.Engine) -> int:
    """Bytes on the disk."""
    path = sqlite_path(engine)
    if path is not None:
        return sum(one.stat().st_size for one in path.parent.glob(f"{path.name}*"))
    with reading(engine) as connection:
        return int(connection.scalar(sa.text("SELECT pg_database_size(current_database())")) or 0)


def look(engine: sa.Engine, folder: Path, figures: Figures, when: str) -> None:
    """What people look at, with the runs that are there."""
    ledger = SqlLedger(engine, locks=folder / "locks", journal=folder / "unused.ndjson")
    records = ledger.runs("archive", limit=100)
    figures.seconds[f"status of one run, {when}"] = timed(lambda: ledger.balance(records[0].id))
    figures.seconds[f"history, 100 runs, {when}"] = timed(lambda: [ledger.balance(one.id) for one in records])
    figures.seconds[f"one person's deliveries, {when}"] = timed(lambda: ledger.deliveries_of(5_000))
    times = sent(engine, folder)
    figures.seconds[f"an exchange, median, {when}"] = statistics.median(times) / 1000
    figures.seconds[f"an exchange, 99 of 100, {when}"] = statistics.quantiles(times, n=100)[98] / 1000


def measure(engine: sa.Engine, folder: Path, runs: int, people: int) -> Figures:
    figures = Figures()
    upgrade(engine)
    fill(engine, _READERS)
    figures.sizes["people, no run"] = size(engine)
    fill_ledger(engine, range(1, 2), people)
    look(engine, folder, figures, "1 run")
    start = time.perf_counter()
    fill_ledger(engine, range(2, runs + 1), people)
    figures.seconds["(filling)"] = time.perf_counter() - start
    figures.sizes[f"{runs} runs"] = size(engine)
    look(engine, folder, figures, f"{runs} runs")

    over = threading.Event()
    times: list[float] = []
    sending = threading.Thread(target=lambda: times.extend(sent(engine, folder, over.is_set)))
    sending.start()

    def breath() -> bool:
        time.sleep(_BREATH)
        return False

    before = NOW - dt.timedelta(days=_KEPT, hours=1)
    start = time.perf_counter()
    figures.pruned = prune_runs(engine, runs_before=before, attempts_before=before, stop=breath)
    figures.seconds[f"pruning {figures.pruned.runs} runs beside a send"] = time.perf_counter() - start
    over.set()
    sending.join()
    figures.seconds["an exchange meanwhile, median"] = statistics.median(times) / 1000
    figures.seconds["an exchange meanwhile, 99 of 100"] = statistics.quantiles(times, n=100)[98] / 1000
    figures.seconds["an exchange meanwhile, the longest"] = max(times) / 1000
    figures.sizes["pruned"] = size(engine)
    look(engine, folder, figures, "pruned")
    start = time.perf_counter()
    if engine.dialect.name == "postgresql":
        with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            connection.exec_driver_sql("VACUUM FULL")
    else:
        assert scrub(engine)
    figures.seconds["writing the file anew"] = time.perf_counter() - start
    figures.sizes["pruned, written anew"] = size(engine)
    return figures


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Measures a ledger that has grown for a year.")
    parser.add_argument("--short", action="store_true", help="40 runs of 10,000, to see that it runs")
    parser.add_argument("--runs", type=int, default=60, help="365 are a year")
    parser.add_argument("--people", type=int, default=100_000, help="recipients of each")
    parser.add_argument("--only", choices=("SQLite", "PostgreSQL"))
    options = parser.parse_args(arguments)
    runs, people = (40, 10_000) if options.short else (options.runs, options.people)
    # see freezing.py
    with tempfile.TemporaryDirectory(prefix="newsletter-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with databases(folder) as engines:
            for kind, engine in engines.items():
                if options.only in (None, kind):
                    shown(kind, measure(engine, folder, runs, people))
    return 0


def shown(kind: str, figures: Figures) -> None:
    """All of it, a line each."""
    print(f"{kind}: {figures.pruned}")
    for what, number in figures.sizes.items():
        print(f"  {what:<44}{number / 1e6:>12,.1f} MB")
    for what, seconds in figures.seconds.items():
        print(f"  {what:<44}{1000 * seconds:>12,.1f} ms", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
