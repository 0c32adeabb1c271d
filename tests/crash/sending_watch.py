"""Small changes to a sending process: who it seems to be, how far its files may grow, and a note of what it claims."""

from __future__ import annotations

import importlib
import json
import os
import resource
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from newsletter.delivery.clerk import Clerk
from newsletter.errors import NewsletterError
from newsletter.store import senders
from newsletter.store.run_ledger import SqlRunLedger

#: Seconds after which files may grow again: somebody made room.
ROOM_AFTER = 1.0


def change_constant(name: str, value: float | str) -> None:
    """Gives `module:NAME` another value."""
    module, _, constant = name.partition(":")
    there = importlib.import_module(module)
    assert hasattr(there, constant), name
    setattr(there, constant, value)


def pose_as(host: str) -> None:
    """Others see this process on another machine."""
    senders.this_host = lambda: host


def note_claims(path: Path) -> None:
    """Writes a line for each exchange that granted claims: when it began (CLOCK_MONOTONIC), and whom it claimed."""
    inner = SqlRunLedger.exchange
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def exchange(self: SqlRunLedger, reports: Sequence[Any], wishes: Sequence[Any], *, now: Any) -> Any:
        began = time.monotonic()
        answer = inner(self, reports, wishes, now=now)
        claimed = [member.address for claim in answer.claims if claim for member in claim.members]
        if claimed:
            os.write(file, json.dumps({"began": began, "claimed": claimed}).encode() + b"\n")
        return answer

    SqlRunLedger.exchange = exchange  # type: ignore[method-assign]


def tell_what_it_endures(tell: Callable[[], None]) -> None:
    """`tell` is called when the ledger could not be written, and it is tried again."""
    inner = Clerk._endured

    def endured(self: Clerk, error: NewsletterError) -> bool:
        tell()
        return inner(self, error)

    Clerk._endured = endured  # type: ignore[method-assign]


def set_file_limit(size: int) -> None:
    """From the first exchange on no file grows beyond `size` bytes, for a while."""
    inner, lock, done = SqlRunLedger.exchange, threading.Lock(), threading.Event()

    def lift() -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

    def exchange(self: SqlRunLedger, reports: Sequence[Any], wishes: Sequence[Any], *, now: Any) -> Any:
        with lock:
            if not done.is_set():
                done.set()
                _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
                timer = threading.Timer(ROOM_AFTER, lift)
                timer.daemon = True
                timer.start()
        return inner(self, reports, wishes, now=now)

    SqlRunLedger.exchange = exchange  # type: ignore[method-assign]
