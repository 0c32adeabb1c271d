"""Workers in processes of their own that take tokens of one shared pace, each with a clock of its own.

    python pace_workers.py URL ACCOUNT RATE LARGEST SECONDS SEED

prints a line `[monotonic seconds, tokens]` for each that it used; the machine's monotonic clock is the same for all.
"""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from random import Random

from newsletter.delivery.shared_pacing import SharedLimiter
from newsletter.store.engine import open_engine
from newsletter.store.shared_pace import SqlPaceRecords


class WrongClock:
    """A machine whose clock is off, and was started at another time."""

    def __init__(self, off: float) -> None:
        self._off = off

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self._off)

    def monotonic(self) -> float:
        return time.monotonic() + 1e6 + self._off

    def processor_time(self) -> float:
        return 0.0

    def wait(self, event: threading.Event, seconds: float | None = None) -> bool:
        return event.wait(seconds)


def started(url: str, rate: float, largest: int, seconds: float, seed: int) -> subprocess.Popen[str]:
    """A worker."""
    arguments = [url, "vendor", str(rate), str(largest), str(seconds), str(seed)]
    return subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)


def used(process: subprocess.Popen[str]) -> list[tuple[float, int]]:
    """What it used, when it has ended."""
    out, _ = process.communicate(timeout=60)
    return [(float(at), int(count)) for at, count in map(json.loads, out.splitlines())]


def main(url: str, account: str, rate: str, largest: str, seconds: str, seed: str) -> None:
    random, stop = Random(int(seed)), threading.Event()
    clock = WrongClock(random.uniform(-1e5, 1e5))
    engine = open_engine(url, Path("/"))
    limiter = SharedLimiter(float(rate), {}, SqlPaceRecords(engine, account), clock)
    end = time.monotonic() + float(seconds)
    lock = threading.Lock()

    def work() -> None:
        while time.monotonic() < end:
            count = random.randint(1, int(largest))
            if not limiter.try_take(count) and not limiter.take(count, stop, clock.now() + dt.timedelta(seconds=2)):
                continue
            back = random.choice((0, 0, count // 2))
            with lock:
                print(json.dumps([time.monotonic(), count - back]), flush=True)  # noqa: T201 - its answer
            limiter.give_back(back)
            if random.random() < 0.05:
                time.sleep(0.7)  # its slice goes void meanwhile

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.dispose()


if __name__ == "__main__":
    main(*sys.argv[1:])
