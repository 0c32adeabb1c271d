"""Runs a command and says what it took, alone: the system counts each child's processor time and memory by itself."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Usage:
    """One command, from its start to its end: seconds on the clock, seconds of processor time (its own children's
    included), the most memory it had in MB, and what it printed."""

    seconds: float
    cpu: float
    peak: float
    output: str


def run(command: Sequence[str], *, folder: Path, environment: Mapping[str, str] | None = None) -> Usage:
    """Raises RuntimeError, with all that it printed, where it fails."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=errors)
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)  # it is no longer there to be asked
        out.seek(0)
        errors.seek(0)
        printed = out.read()
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)}: {process.returncode}\n{errors.read()}{printed}")
    return Usage(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, printed)
