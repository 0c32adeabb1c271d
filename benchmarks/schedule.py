"""How late the first message is: from the slot's time to the moment in which the server accepts one.

    .venv/bin/python benchmarks/schedule.py [--short] [--people N] [--slots N]

Starts `newsletter run` as a process over a newsletter with so many recipients, whose slots come seconds apart as
editions of one day, against an SMTP server of this machine that is a process of its own. Each run is cancelled once it
has begun: what is timed is the beginning. SQLite, filled by statements: the folder of subscriber files is empty.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # it is run as a file
from benchmarks.harness.projects import fill
from benchmarks.sinks import Sink, running
from newsletter.project_files import copy_project

ROOT = Path(__file__).parents[1]
TARGET = 0.5
_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def write_project(folder: Path, port: int, people: int, slots: Sequence[dt.datetime]) -> None:
    """A newsletter with an edition for each slot, and so many people in its database."""
    copy_project(folder)
    (folder / "subscribers" / "daily-buzz.csv").unlink()
    issue = (folder / "issues" / "2026-01-07.txt").read_text("utf-8")
    (folder / "issues" / "2026-01-07.txt").unlink()
    config = (folder / "config.toml").read_text("utf-8")
    editions = ", ".join(f'e{number} = "{at:%H:%M:%S}"' for number, at in enumerate(slots))
    zone = slots[0].tzname() or "UTC"
    for old, new in (
        ("port = 1025", f"port = {port}"),
        ('provider = "disk"', 'provider = "smtp"'),
        ('timezone = "Asia/Hong_Kong"', f'timezone = "{zone}"'),
        ("enabled = false", "enabled = true"),
        ('time = "06:30"', 'time = "22:59"'),
        ('deadline = "12:00"', 'deadline = "23:00"'),
        ('days = ["mon", "tue", "wed", "thu", "fri"]\n', ""),
        ("editions = {}", f"editions = {{ {editions} }}"),
        ('max_audience_change = "20%"', 'max_audience_change = "100%"'),
    ):
        assert old in config, old
        config = config.replace(old, new, 1)
    (folder / "config.toml").write_text(config, "utf-8")
    for number, at in enumerate(slots):
        text = issue.replace("7 January 2026", f"{at.day} {at:%B} {at.year}")
        # each its own text: the same twice would be stale
        lines = [line + f" No. {number}" if len(line) > 120 else line for line in text.splitlines()]
        file = folder / "issues" / f"{at:%Y-%m-%d}.e{number}.txt"
        file.write_text("\n".join(lines) + "\n", "utf-8")
        os.utime(file, (time.time() - 60, time.time() - 60))
    newsletter(folder, "db", "upgrade")
    fill(folder / "var" / "newsletter.db", people)


def newsletter(folder: Path, *arguments: str) -> None:
    """A command of the program."""
    command = [sys.executable, "-m", "newsletter", *arguments]
    subprocess.run(command, cwd=folder, env=_ENVIRONMENT, check=False, capture_output=True, timeout=600)


def noon_zone() -> dt.timezone:
    """A zone in which it is about noon, named as the IANA database does (with its signs the other way round)."""
    hours = 12 - dt.datetime.now(dt.UTC).hour
    return dt.timezone(dt.timedelta(hours=hours), f"Etc/GMT{-hours:+d}" if hours else "Etc/GMT")


def lateness(folder: Path, people: int, number: int) -> list[float]:
    """Seconds from each slot to its first accepted message."""
    with running("smtp") as sink:
        project = folder / "project"
        # filling, starting, and what is prepared two minutes ahead: at first several runs, one after the other
        wait = dt.timedelta(seconds=6 + people / 20_000)
        apart = dt.timedelta(seconds=5 + people // 100_000)
        first = (dt.datetime.now(noon_zone()) + wait).replace(microsecond=0)
        slots = [first + apart * one for one in range(number)]
        write_project(project, sink.port, people, slots)
        with (project / "log").open("w") as log:
            daemon = subprocess.Popen(
                [sys.executable, "-m", "newsletter", "run"], cwd=project, env=_ENVIRONMENT, stdout=log, stderr=log
            )
            try:
                found = [first_accepted(project, sink, at, f"e{one}") for one, at in enumerate(slots)]
            finally:
                daemon.send_signal(signal.SIGTERM)
                daemon.wait(60)
    return found


def first_accepted(project: Path, sink: Sink, at: dt.datetime, edition: str) -> float:
    """Seconds from the slot to the first message accepted after it; then its run is cancelled, to leave the machine to
    the next one."""
    time.sleep(max(0.0, at.timestamp() - time.time() - 0.2))
    sink.reset()
    while time.time() < at.timestamp() + 60:
        if told := sink.tally().first:
            newsletter(project, "cancel", f"daily-buzz/{at:%Y-%m-%d}.{edition}")
            return told - at.timestamp()
        time.sleep(0.01)
    raise AssertionError(f"nothing was accepted within a minute of {at}:\n{(project / 'log').read_text()[-4000:]}")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Times the beginning of scheduled runs.")
    parser.add_argument("--short", action="store_true", help="1,000 people and a slot, to see that it runs")
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--slots", type=int, default=3)
    options = parser.parse_args(arguments)
    people, number = (1_000, 1) if options.short else (options.people, options.slots)
    with tempfile.TemporaryDirectory(prefix="newsletter-bench-") as folder:
        found = lateness(Path(folder), people, number)
    print(
        f"slot to first accepted message, {people:,} recipients prepared, {number} slot{'s' if number > 1 else ''}: "
        f"p50 {statistics.median(found):.3f} s, worst {max(found):.3f} s (target: under {TARGET} s)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
