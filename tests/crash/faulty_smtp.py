"""The SMTP test server in a process of its own, with faults that come by chance: `--fault 421=0.01`."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from servers.smtp_server import Moment, Reaction, Script, SmtpServer

#: By name: at which step of a session, and what the server does there.
FAULTS: Mapping[str, tuple[str, Reaction]] = {
    "421": ("MAIL", Reaction(b"421 4.3.2 closing for maintenance\r\n", close=True)),
    "451": ("RCPT", Reaction(b"451 4.7.1 come again later\r\n")),
    "451-content": ("content", Reaction(b"451 4.3.0 no room for now\r\n")),
    "drop-at-rcpt": ("RCPT", Reaction(close=True)),
    "drop-in-content": ("DATA", Reaction(b"354 go ahead\r\n", close=True)),
    # taken, and nobody is told
    "drop-after": ("content", Reaction(accept=True, close=True)),
    "reset-after": ("content", Reaction(accept=True, reset=True)),
    # not taken, and nobody is told
    "drop-before": ("content", Reaction(accept=False, close=True)),
}


def reactions(chances: Mapping[str, float], seed: int) -> dict[str, list[tuple[float, Reaction]]]:
    """By step: each fault that there may be, with its chance."""
    found: dict[str, list[tuple[float, Reaction]]] = {}
    for name, chance in chances.items():
        step, reaction = FAULTS[name]
        found.setdefault(step, []).append((chance, reaction))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until SIGTERM."""
    parser = argparse.ArgumentParser(description="An SMTP server with faults; prints its port.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--record", type=Path, help="a line of JSON for each accepted recipient")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=CHANCE", help=", ".join(FAULTS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    chances = {name: float(chance) for name, _, chance in (one.partition("=") for one in given.fault)}
    by_step, chance, lock = reactions(chances, given.seed), random.Random(given.seed), threading.Lock()

    def react(moment: Moment) -> Reaction | None:
        for often, reaction in by_step.get(moment.step, ()):
            with lock:
                hit = chance.random() < often
            if hit:
                return reaction
        return None

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with SmtpServer(Script(react=react, keep_messages=False), port=given.port, record=given.record) as server:
        sys.stdout.write(f"{server.port}\n")
        sys.stdout.flush()
        stop.wait()


if __name__ == "__main__":
    main()
