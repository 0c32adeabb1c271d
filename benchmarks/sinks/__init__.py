"""Servers on loopback that take everything and keep nothing, processes of their own, and cheap ones.

    with running("smtp", delay=20) as sink:
        ...                      # 127.0.0.1:sink.port
        sink.tally().messages

By hand: `python -m benchmarks.sinks.smtp`, `python -m benchmarks.sinks.http`; the first line says the port, and each
line `tell` on standard input is answered with a line of JSON, `reset` sets the counts to zero.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Tally:
    """What a sink took since it began, or since `reset`.

    `messages` over SMTP, requests over HTTP; `octets` are all that were read; `cpu` its own seconds of processor time;
    `first` and `last` when a message was accepted, as `time.time` has it, 0 for none.
    """

    messages: int
    recipients: int
    octets: int
    connections: int
    cpu: float
    first: float
    last: float

    @property
    def speed(self) -> float:
        """Recipients a second between the first and the last answer."""
        # the first answer ends a message whose sending is not in that time
        share = (self.messages - 1) / self.messages if self.messages else 0.0
        return self.recipients * share / (self.last - self.first) if self.last > self.first else 0.0


class Sink:
    """A running sink: its port, and what it says of itself."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in: IO[str] = process.stdin
        self._out: IO[str] = process.stdout
        self.pid = process.pid
        self.port = int(self._out.readline())

    def tally(self) -> Tally:
        """What it took so far."""
        return Tally(**json.loads(self._ask("tell")))

    def reset(self) -> None:
        """Sets the counts to zero."""
        self._ask("reset")

    def _ask(self, what: str) -> str:
        self._in.write(f"{what}\n")
        self._in.flush()
        return self._out.readline()


@contextmanager
def running(kind: Literal["smtp", "http"], *, delay: float = 0, plain: bool = False) -> Iterator[Sink]:
    """A sink. `delay`: milliseconds from each request to its answer; `plain`: SMTP without any extension."""
    command = [sys.executable, "-m", f"benchmarks.sinks.{kind}", "--delay", str(delay), *(["--plain"] if plain else [])]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Sink(process)
        finally:
            process.kill()
