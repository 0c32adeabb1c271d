"""`db copy`: from SQLite to PostgreSQL, and from there to another SQLite file, each row compared.

    .venv/bin/python benchmarks/copying.py [--short] [--people N]

Fills SQLite as `freezing.py` does, with N people who may be mailed, 15 % more who may not, and ten planned runs.
"""

from __future__ import annotations

import argparse
import datetime as dt
import resource
import sys
import tempfile
import time
from pathlib import Path

import sqlalchemy as sa

from newsletter.store import freezing
from newsletter.store.copying import Copied, copy_database
from newsletter.store.engine import open_engine, writing
from newsletter.store.upgrade import upgrade

sys.path.insert(0, str(Path(__file__).parents[1]))  # it is run as a file, and what freezing.py fills serves here too
from benchmarks.freezing import NOW, databases, fill, plan_of

_RUNS = 10
#: Tables whose times are shown by themselves: those of more rows than this.
_MANY = 1_000


def copied(source: sa.Engine, target: sa.Engine, folder: Path) -> tuple[Copied, float]:
    """What was copied, and in how many seconds."""
    start = time.perf_counter()
    done = copy_database(source, target, locks=folder / "locks", now=NOW)
    return done, time.perf_counter() - start


def shown(what: str, done: Copied, seconds: float) -> None:
    """A line for the whole, and one for each large table."""
    writing, comparing = (sum(getattr(one, part) for one in done.tables) for part in ("writing", "comparing"))
    speed = done.rows / seconds
    print(f"{what}: {done.rows:,} rows in {seconds:.1f} s, {speed:,.0f} rows/s compared", end="; ")
    print(f"written in {writing:.1f} s, read on both sides in {comparing:.1f} s")
    for one in done.tables:
        if one.rows > _MANY:
            print(f"  {one.name:<16}{one.rows:>12,}{one.writing:>9.1f} s{one.comparing:>9.1f} s")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Times `db copy`.")
    parser.add_argument("--short", action="store_true", help="20,000 people, to see that it runs")
    parser.add_argument("--people", type=int, default=200_000, help="how many may be mailed")
    options = parser.parse_args(arguments)
    members = 20_000 if options.short else options.people
    # see freezing.py
    with tempfile.TemporaryDirectory(prefix="newsletter-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with databases(folder) as engines:
            source, server = engines["SQLite"], engines["PostgreSQL"]
            upgrade(source)
            fill(source, members)
            for day in range(_RUNS):
                with writing(source) as connection:
                    freezing.freeze(connection, plan_of(NOW.date() + dt.timedelta(day), batch_size=1_000), now=NOW)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            shown("SQLite to PostgreSQL", *copied(source, server, folder))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            back = open_engine("sqlite:///back.db", folder)
            shown("PostgreSQL to SQLite", *copied(server, back, folder))
            back.dispose()
    print(f"peak memory of this process {peak:,.0f} MB ({before:,.0f} MB before it copied)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
