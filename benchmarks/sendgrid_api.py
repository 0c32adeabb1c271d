"""What sending by SendGrid's API costs, beside the vendor's package as it comes, in one run on one machine.

    .venv/bin/python benchmarks/sendgrid_api.py [--short] [--people N]

The sample issue goes to a server on loopback that answers as the vendor does, in requests of 1,000 recipients with
values and headers of their own. Every way is a process of its own; `newsletter send` keeps its ledger on disk, and its
processor time is that of the whole command, start-up included. Recipients a second are counted from the first request
that the server accepted to the last, and `overall` over the whole command.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # run as a file, only its own folder is looked through

from benchmarks.harness.projects import over_sendgrid, project  # noqa: E402 - see above
from benchmarks.harness.rows import Row, lines, rival, target_line, to_sink  # noqa: E402
from benchmarks.render import commit, processor  # noqa: E402
from benchmarks.sinks import running  # noqa: E402

BATCH = 1_000

HELPERS = "the package's helper objects, one request at a time"
PLAIN = "the package with a plain dict, one request at a time"
PROVIDER = "newsletter's provider alone, 4 threads"
PRODUCT = f"newsletter send, batches of {BATCH:,}"

COUNTS = {HELPERS: 30_000, PLAIN: 100_000, PROVIDER: 200_000, PRODUCT: 1_000_000}
SHORT = {HELPERS: 2_000, PLAIN: 5_000, PROVIDER: 10_000, PRODUCT: 20_000}


def _product(recipients: int, port: int) -> tuple[float, float]:
    with project(recipients) as made:
        usage = made.send(over_sendgrid(port, batch_size=BATCH))
    return usage.cpu, usage.seconds


WAYS = {
    HELPERS: rival("sendgrid", "helpers"),
    PLAIN: rival("sendgrid", "dict"),
    PROVIDER: rival("sendgrid", "provider"),
    PRODUCT: _product,
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Times sending by SendGrid's API, and other ways to do it.")
    parser.add_argument("--short", action="store_true", help="some seconds, for CI; coarse figures")
    parser.add_argument("--people", type=int, default=COUNTS[PRODUCT], help="recipients of newsletter send")
    options = parser.parse_args(arguments)
    counts = SHORT if options.short else {**COUNTS, PRODUCT: options.people}
    rows: dict[str, Row] = {}
    with running("http") as sink:
        for label, count in counts.items():
            rows[label] = to_sink(WAYS[label], count, sink)
            if label == PROVIDER:
                told = sink.tally()
                size = told.octets / told.messages
    print(f"commit {commit()}, Python {platform.python_version()}, {os.cpu_count()} x {processor()}")
    print(f"issue 2026-01-07, requests of {size:,.0f} bytes; one run, the server on the same machine")
    print("\n".join(lines("one server", rows, against={"x helpers": HELPERS, "x plain dict": PLAIN})))
    print("  newsletter send")
    print(target_line("recipients a second, the whole command", rows[PRODUCT].overall, ">= 80,000 of a million"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
