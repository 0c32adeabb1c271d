"""What sending over SMTP costs, beside other ways to do it, in one run on one machine.

    .venv/bin/python benchmarks/smtp.py [--short] [--people N]

Messages of the sample issue go to three servers on loopback: one that costs little, the same one with answers 20 ms
late, and Postfix's smtp-sink. Every way is a process of its own. What is called ready is made before the clock starts;
`newsletter send` makes everything while it runs, keeps its ledger on disk, and its processor time is that of the whole
command, start-up included. Messages a second are counted from the first that the server accepted to the last. Where a
server is busy nearly all of that time, it is what is measured.

smtp-source and smtp-sink come with Postfix (Debian: `apt install postfix`); without it their rows are left out.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a file, only its own folder is looked through

from benchmarks.harness.commands import run  # noqa: E402 - see above
from benchmarks.harness.projects import over_smtp, project  # noqa: E402
from benchmarks.harness.rows import Row, Way, lines, rival, target_line, to_sink  # noqa: E402
from benchmarks.render import commit, processor  # noqa: E402
from benchmarks.rivals.smtp import ready  # noqa: E402
from benchmarks.sinks import Sink, running  # noqa: E402
from benchmarks.sinks.postfix import SMTP_SINK, SMTP_SOURCE, smtp_sink  # noqa: E402

CONNECTIONS = 16
WINDOW = 100
DELAY = 20

PRODUCT = f"newsletter send, window {WINDOW}, {CONNECTIONS} connections"
DEFAULTS = "newsletter send, window and concurrency as they come"
PROVIDER = f"its provider alone, {CONNECTIONS} threads"
STANDARD = "EmailMessage and smtplib, one connection"
ASYNCIO = f"aiosmtplib, messages ready, {CONNECTIONS} connections"
THREADS = f"smtplib, messages ready, {CONNECTIONS} threads"
SOURCE = f"smtp-source (C), {CONNECTIONS} sessions"

#: Messages of each row, so that each takes some seconds. With late answers, and of few, they are as many as fill the
#: windows of all connections, so that none waits for another at the end.
CHEAP = {
    STANDARD: 400,
    ASYNCIO: 3_000,
    THREADS: 4_000,
    SOURCE: 60_000,
    PROVIDER: 60_000,
    DEFAULTS: 20_000,
    PRODUCT: 100_000,
}
LATE = {ASYNCIO: 800, THREADS: 800, SOURCE: 800, PROVIDER: 4_800, PRODUCT: 4_800}
POSTFIX = {THREADS: 3_000, SOURCE: 8_000, PROVIDER: 9_600, PRODUCT: 9_600}
#: The same for CI, a few rows of them.
SHORT_CHEAP = {STANDARD: 100, ASYNCIO: 300, THREADS: 300, SOURCE: 2_000, PROVIDER: 2_000, PRODUCT: 3_000}
SHORT_LATE = {THREADS: 160, PRODUCT: 800}
SHORT_POSTFIX = {THREADS: 160, SOURCE: 800}


def _product(**delivery: object) -> Way:
    def send(messages: int, port: int) -> tuple[float, float]:
        with project(messages) as made:
            usage = made.send(over_smtp(port, **delivery))
        return usage.cpu, usage.seconds

    return send


def _source(size: int) -> Way:
    def send(messages: int, port: int) -> tuple[float, float]:
        assert SMTP_SOURCE is not None
        flags = ["-4", "-d", "-s", str(CONNECTIONS), "-m", str(messages), "-l", str(size)]
        return run([SMTP_SOURCE, *flags, f"127.0.0.1:{port}"], folder=ROOT).cpu, 0.0

    return send


def ways(size: int) -> dict[str, Way]:
    """All there are, for messages of so many octets."""
    found = {
        STANDARD: rival("smtp", "email-message"),
        ASYNCIO: rival("smtp", "aiosmtplib"),
        THREADS: rival("smtp", "threads"),
        SOURCE: _source(size),
        PROVIDER: rival("smtp", "provider"),
        DEFAULTS: _product(),
        PRODUCT: _product(window=WINDOW, concurrency=CONNECTIONS),
    }
    return found if SMTP_SOURCE else {label: way for label, way in found.items() if label != SOURCE}


def measure(counts: Mapping[str, int], known: Mapping[str, Way], sink: Sink | None) -> dict[str, Row]:
    """A row for each way, to `sink`, or each to a new smtp-sink."""
    return {
        label: to_sink(known[label], messages, sink) if sink else _to_postfix(known[label], messages)
        for label, messages in counts.items()
        if label in known
    }


def _to_postfix(way: Way, messages: int) -> Row:
    with smtp_sink() as sink:
        cpu, seconds = way(messages, sink.port)
        sink.stop()
    return Row(messages, messages / sink.span, messages / seconds if seconds else 0.0, cpu / messages * 1000)


def targets(cheap: Mapping[str, Row], late: Mapping[str, Row], postfix: Mapping[str, Row]) -> Iterator[str]:
    """What `newsletter send` is meant to reach, beside what it did."""

    def against(rows: Mapping[str, Row], other: str) -> float | None:
        return rows[PRODUCT].speed / rows[other].speed if PRODUCT in rows and other in rows else None

    yield target_line("CPU seconds per 1,000 messages, the whole command", cheap[PRODUCT].cpu, "<= 0.08")
    yield target_line("times smtplib in threads", against(cheap, THREADS), ">= 10")
    yield target_line("of smtp-source", against(cheap, SOURCE), ">= 0.70")
    yield target_line("of smtp-source, to smtp-sink", against(postfix, SOURCE), ">= 0.95")
    yield target_line(f"times smtplib in threads, answers {DELAY} ms late", against(late, THREADS), ">= 3.5")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Times sending over SMTP, and other ways to do it.")
    parser.add_argument("--short", action="store_true", help="some seconds, for CI; coarse figures")
    parser.add_argument("--people", type=int, default=CHEAP[PRODUCT], help="messages of newsletter send")
    options = parser.parse_args(arguments)
    counts = (
        (SHORT_CHEAP, SHORT_LATE, SHORT_POSTFIX)
        if options.short
        else ({**CHEAP, PRODUCT: options.people}, LATE, POSTFIX)
    )
    _, message = next(ready(1))
    size = len(message)
    known = ways(size)
    with running("smtp") as sink:
        cheap = measure(counts[0], known, sink)
    with running("smtp", delay=DELAY) as sink:
        late = measure(counts[1], known, sink)
    postfix = measure(counts[2], known, None) if SMTP_SINK else {}

    print(f"commit {commit()}, Python {platform.python_version()}, {os.cpu_count()} x {processor()}")
    print(f"issue 2026-01-07, messages of {size:,} bytes; one run, servers on the same machine")
    if not (SMTP_SOURCE and SMTP_SINK):
        print("  without smtp-source and smtp-sink, which are not here (Debian: apt install postfix)")
    tables = (("a server that costs little", cheap), (f"its answers {DELAY} ms late", late), ("smtp-sink", postfix))
    for title, rows in tables:
        if rows:
            print("\n".join(lines(title, rows, against={"x threads": THREADS, "x smtp-source": SOURCE})))
    print("  newsletter send")
    print("\n".join(targets(cheap, late, postfix)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
