"""How much memory a send takes, and whether it grows with the audience.

    .venv/bin/python benchmarks/memory.py [--short] [--people N,N,…] [--smtp N,N,…]

Runs `newsletter send` over audiences of different sizes to servers on loopback, over SMTP and by SendGrid's API, and
prints the most memory that the process ever had, as the system counted it. A million over SMTP takes a minute or two:
`--smtp 10000,1000000`.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a file, only its own folder is looked through

from benchmarks.harness.projects import over_sendgrid, over_smtp, project  # noqa: E402 - see above
from benchmarks.render import commit, processor  # noqa: E402
from benchmarks.sinks import running  # noqa: E402

#: MB: of a send, and more than a send to the smallest audience.
TARGET, TARGET_MORE = 120, 20

#: Label, the sink, and the settings of a process with much in hand at the same time.
_KINDS: tuple[tuple[str, Literal["smtp", "http"], Callable[[int], dict[str, str]]], ...] = (
    ("SMTP, window 50, 16 connections", "smtp", lambda port: over_smtp(port, window=50, concurrency=16)),
    ("SendGrid, batches of 1,000", "http", lambda port: over_sendgrid(port, batch_size=1_000)),
)


def sizes(text: str) -> tuple[int, ...]:
    """Numbers with commas between them, the smallest first."""
    return tuple(sorted(int(one) for one in text.split(",")))


def peak(people: int, settings: dict[str, str]) -> tuple[float, float]:
    """MB at most, and seconds of the command. Raises RuntimeError where the figure would be another process's."""
    with project(people) as made:
        usage = made.send(settings)
    # a child begins with the memory of whoever starts it, and the system counts that too
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if usage.peak <= own:
        raise RuntimeError(f"this process has {own:.0f} MB itself: less than that cannot be measured")
    return usage.peak, usage.seconds


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Measures the memory of sends.")
    parser.add_argument("--short", action="store_true", help="3,000 people, to see that it runs")
    parser.add_argument("--people", type=sizes, default=(10_000, 1_000_000), help="sizes of the audience")
    parser.add_argument("--smtp", type=sizes, default=(10_000, 100_000), help="the same for SMTP")
    options = parser.parse_args(arguments)
    print(f"commit {commit()}, Python {platform.python_version()}, {os.cpu_count()} x {processor()}; SQLite")
    print(f"  {'the most memory that newsletter send had':<36}{'recipients':>12}{'MB':>8}{'more':>8}{'seconds':>10}")
    for label, sink_kind, settings_of in _KINDS:
        counts = (3_000,) if options.short else options.smtp if sink_kind == "smtp" else options.people
        first = 0.0
        with running(sink_kind) as sink:
            for count in counts:
                found, seconds = peak(count, settings_of(sink.port))
                first = first or found
                print(f"  {label:<36}{count:>12,}{found:>8.1f}{found - first:>8.1f}{seconds:>10.1f}", flush=True)
    print(f"  target: {TARGET} MB, and {TARGET_MORE} MB more at a million than at 10,000")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
