"""How long short commands take, as multiples of what Python takes to start and do nothing.

    python benchmarks/startup.py [--short]

Each command runs in a process of its own, in the sample project, as an installed program does: with its bytecode
compiled. The commands take turns, so that whatever else the machine does befalls all of them. Under `--help` and
`check` stand the libraries that they import and cannot do without; what is beyond that is this program's own.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.render import commit, processor  # noqa: E402 - the path above makes it importable
from newsletter.project_files import copy_project  # noqa: E402 - see above

RUN = "from newsletter.cli import main; main()"


@dataclass(frozen=True, slots=True)
class Row:
    """What Python is told to run (`-c`), with its arguments; `target` is the multiple that is meant to be the most."""

    label: str
    code: str
    arguments: tuple[str, ...] = ()
    target: int | None = None


ROWS = (
    Row("python -c pass", "pass"),
    Row("newsletter --version", RUN, ("--version",)),
    Row("newsletter --help", RUN, ("--help",), target=8),
    Row("    its libraries", "import typer"),
    Row("newsletter check", RUN, ("check", "2026-01-07"), target=25),
    Row(
        "    its libraries",
        "import typer, pydantic.main, pydantic.types, jinja2.sandbox, mjml, lxml.cssselect, cssutils, tinycss2",
    ),
    Row("newsletter status", RUN, ("status",)),
)


def seconds(row: Row, project: Path) -> float:
    """How long one run takes, from before its process exists until it is gone."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-c", row.code, *row.arguments]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=project, env=environment, check=False, capture_output=True)
    took = time.perf_counter() - start
    # no run is recorded in the sample project: `status` says so, and ends with 4
    if done.returncode not in (0, 4):
        sys.exit(f"{row.label} ended with {done.returncode}: {done.stderr.decode()}")
    return took


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Times the start of short commands.")
    parser.add_argument("--short", action="store_true", help="a few seconds, for CI; coarser figures")
    options = parser.parse_args(arguments)
    rounds = 3 if options.short else 21
    took: dict[Row, list[float]] = {row: [] for row in ROWS}
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        copy_project(project)
        for number in range(rounds + 1):
            for row in ROWS:
                measured = seconds(row, project)
                if number:  # the first round compiles bytecode and makes the database
                    took[row].append(measured)

    print(f"commit {commit()}, Python {platform.python_version()}, {os.cpu_count()} x {processor()}")
    print(f"{rounds} rounds in turns; milliseconds, median (best), and multiples of {ROWS[0].label}")
    nothing = statistics.median(took[ROWS[0]])
    for row in ROWS:
        median, best = statistics.median(took[row]), min(took[row])
        target = f"   (target: at most {row.target})" if row.target else ""
        print(f"  {row.label:<22}{median * 1e3:>10,.1f} ({best * 1e3:,.1f}){median / nothing:>10.1f} x{target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
