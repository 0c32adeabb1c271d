"""What the shared pace costs: one row of PostgreSQL that all workers take from.

    .venv/bin/python benchmarks/pace.py [--short]

Workers as threads with a limiter and a connection of their own, in calls of 100 messages: as many as the row gives
where the rate is no limit, and how often it is asked where 2,000 messages a second are.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import tempfile
import threading
import time
from pathlib import Path

import sqlalchemy as sa

from newsletter.delivery.clock import SystemClock
from newsletter.delivery.pace_records import Bucket, Reserved
from newsletter.delivery.shared_pacing import SharedLimiter, bucket_of
from newsletter.store.engine import open_engine
from newsletter.store.shared_pace import SqlPaceRecords
from newsletter.store.upgrade import upgrade

sys.path.insert(0, str(Path(__file__).parents[1]))  # it is run as a file, and what freezing.py starts serves here too
from benchmarks.freezing import databases

_WORKERS = (1, 4, 16)
_CALL = 100
_RATE = 2_000.0


class Counting(SqlPaceRecords):
    """Counts how often the row was asked."""

    asked = 0

    def reserve(self, bucket: Bucket, count: float) -> Reserved:
        self.asked += 1
        return super().reserve(bucket, count)

    def reserve_at_once(self, bucket: Bucket, count: float) -> Reserved | None:
        self.asked += 1
        return super().reserve_at_once(bucket, count)


def reservations(url: str, workers: int, seconds: float) -> float:
    """How many the row gives in a second, whoever asks."""
    bucket, end, counts = bucket_of(1e9), time.monotonic() + seconds, [0] * workers

    def work(number: int, engine: sa.Engine) -> None:
        records = SqlPaceRecords(engine, "vendor")
        while time.monotonic() < end:
            records.reserve(bucket, _CALL)
            counts[number] += 1

    _all(url, workers, work)
    return sum(counts) / seconds


def paced(url: str, workers: int, seconds: float) -> tuple[float, float]:
    """(messages a second, how often the row was asked in one) at a rate that all share."""
    clock, end, counts, asked = SystemClock(), time.monotonic() + seconds, [0] * workers, [0] * workers

    def work(number: int, engine: sa.Engine) -> None:
        records = Counting(engine, f"account of {workers}")
        limiter = SharedLimiter(_RATE, {}, records, clock)
        while time.monotonic() < end:
            if limiter.try_take(_CALL) or limiter.take(_CALL, threading.Event(), clock.now() + dt.timedelta(seconds=1)):
                counts[number] += _CALL
                time.sleep(0.02)  # the call
        asked[number] = records.asked

    _all(url, workers, work)
    return sum(counts) / seconds, sum(asked) / seconds


def _all(url: str, workers: int, work: object) -> None:
    engines = [open_engine(url, Path("/")) for _ in range(workers)]
    threads = [threading.Thread(target=work, args=one) for one in enumerate(engines)]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for engine in engines:
        engine.dispose()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Measures the shared pace.")
    parser.add_argument("--short", action="store_true", help="a second each, to see that it runs")
    seconds = 1.0 if parser.parse_args(arguments).short else 5.0
    # see freezing.py
    with tempfile.TemporaryDirectory(prefix="newsletter-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with databases(folder) as engines:
            upgrade(engines["PostgreSQL"])
            url = engines["PostgreSQL"].url.render_as_string(hide_password=False)
            for workers in _WORKERS:
                most = reservations(url, workers, seconds)
                speed, asked = paced(url, workers, seconds)
                print(
                    f"{workers:>3} workers: {most:>7,.0f} reservations/s at most; at {_RATE:,.0f}/s together "
                    f"{speed:>7,.0f} messages/s, and {asked:>6,.1f} reservations/s",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
