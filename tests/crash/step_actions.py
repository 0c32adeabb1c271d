"""What can be made to happen at a step: the process dies, sleeps, waits for others, or learns that there is no room."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

import psycopg

#: How many processes `meet`, and for how many seconds each waits for the others.
MEETING, PATIENCE = 4, 2.0


def kill(_step: str = "") -> NoReturn:
    """SIGKILL to this process: nothing of it runs after this line, in no thread."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a killed process went on")


def stop(_step: str) -> None:
    """SIGSTOP to this process, all threads; it goes on when it is told SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)


def no_room(_step: str) -> NoReturn:
    """What the system says of a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "journal.ndjson")


def no_room_in_sqlite(_step: str) -> NoReturn:
    """SQLITE_FULL, as the driver says it."""
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_FULL, "SQLITE_FULL"
    raise error


def no_room_in_postgresql(_step: str) -> NoReturn:
    """Class 53, as the server says it."""
    raise psycopg.errors.DiskFull("could not extend file: No space left on device")


def gone(_step: str) -> NoReturn:
    """The connection to the server broke off."""
    raise psycopg.OperationalError("server closed the connection unexpectedly")


def meet(step: str) -> None:
    """Waits until four processes in this folder have come to the step, or some time has passed."""
    folder = Path("var", "met", step)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / str(os.getpid())).touch()
    end = time.monotonic() + PATIENCE
    while len(list(folder.iterdir())) < MEETING and time.monotonic() < end:
        time.sleep(0.005)


ACTIONS: Mapping[str, Callable[[str], object]] = {
    "kill": kill,
    "stop": stop,
    "meet": meet,
    "full": no_room,
    "sqlite-full": no_room_in_sqlite,
    "postgresql-full": no_room_in_postgresql,
    "gone": gone,
}
