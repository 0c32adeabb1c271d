"""Ways to send to one server, a row each, side by side."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.commands import run
from benchmarks.sinks import Sink

ROOT = Path(__file__).resolve().parents[2]

#: (how many recipients, on which port) → seconds of processor time, and of the whole command or 0
Way = Callable[[int, int], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Row:
    """One way and one server. `speed`: recipients a second; `overall`: the same over the whole command, 0 where
    nothing but sending was timed; `cpu`: the sender's seconds per 1,000; `busy`: the server's share of one core, None
    where it does not say."""

    recipients: int
    speed: float
    overall: float
    cpu: float
    busy: float | None = None


def rival(module: str, way: str) -> Way:
    """One of `benchmarks.rivals`, which times itself."""

    def send(recipients: int, port: int) -> tuple[float, float]:
        command = [sys.executable, "-m", f"benchmarks.rivals.{module}", way, str(port), str(recipients)]
        return float(json.loads(run(command, folder=ROOT).output)["cpu"]), 0.0

    return send


def to_sink(way: Way, recipients: int, sink: Sink) -> Row:
    """Raises RuntimeError unless as many came as were sent."""
    sink.reset()
    cpu, seconds = way(recipients, sink.port)
    told = sink.tally()
    if told.recipients != recipients:
        raise RuntimeError(f"{recipients} were sent to, and {told.recipients} came")
    busy = told.cpu / (told.last - told.first) if told.last > told.first else None
    return Row(recipients, told.speed, recipients / seconds if seconds else 0.0, cpu / recipients * 1000, busy)


def lines(title: str, rows: Mapping[str, Row], *, against: Mapping[str, str]) -> Iterator[str]:
    """A table; `against` are headings, each with the row that it compares with."""
    heads = ("recipients", 11), ("a second", 10), ("overall", 9), ("CPU s/1,000", 13)
    compared = "".join(f"{head:>14}" for head in against)
    yield f"  {title:<54}{''.join(f'{head:>{width}}' for head, width in heads)}{compared}{'server busy':>13}"
    for label, row in rows.items():
        cells = [
            f"{row.recipients:>11,}{row.speed:>10,.0f}",
            f"{row.overall:>9,.0f}" if row.overall else f"{'':>9}",
            f"{row.cpu:>13.4f}",
            *(f"{row.speed / rows[one].speed:>14.2f}" if one in rows else f"{'':>14}" for one in against.values()),
            f"{row.busy:>13.0%}" if row.busy is not None else "",
        ]
        yield f"    {label:<52}{''.join(cells)}".rstrip()


def target_line(label: str, found: float | None, target: str) -> str:
    """What was reached beside what is meant to be."""
    shown = "not measured" if found is None else f"{found:,.3f}" if found < 1000 else f"{found:,.0f}"
    return f"    {label:<52}{shown:>21}   target {target}"
