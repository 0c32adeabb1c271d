"""Senders as seen by a test: started, waited for, killed."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from crashing_send import Request

HERE = Path(__file__).parent
#: Nothing here takes as long; a process that does is stuck, which is a finding.
STUCK = 90.0


class Stuck(AssertionError):
    """A sender does not end."""


def environment_with_tests() -> dict[str, str]:
    """So that a process finds the package under test, and the test servers."""
    paths = [str(HERE.parent.parent), str(HERE.parent), str(HERE)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


class SenderProcess:
    """Runs one sender at a time, forked from a process that has everything loaded (`crashing_send --serve`)."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-W", "error", str(HERE / "crashing_send.py"), "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment_with_tests(),
        )
        self._rest = b""
        self.pid = 0
        self.began = False
        #: How often it could not write to the ledger, and bore it.
        self.endured = 0
        #: As a shell says it: the exit code, or minus the signal that killed it; None while it runs.
        self.ended: int | None = 0
        self._ready = False

    def start(self, request: Request) -> None:
        """Starts a sender; the one before has ended."""
        assert self.ended is not None
        self.load()
        assert self._server.stdin is not None
        self._server.stdin.write(request.line())
        self._server.stdin.flush()
        self.ended, self.began, self.pid, self.endured = None, False, 0, 0
        while not self.pid:
            self._take(self._answer(STUCK))

    def load(self) -> None:
        """Waits until everything is loaded."""
        if not self._ready:
            assert self._answer(STUCK) == {"ready": True}
            self._ready = True

    def run(self, request: Request) -> int:
        """Starts a sender and waits for its end."""
        self.start(request)
        return self.wait()

    def wait(self, seconds: float = STUCK) -> int:
        """Waits for the end. Raises Stuck."""
        if not self.ends_within(seconds):
            self.signal(signal.SIGKILL)
            self.ends_within(STUCK)
            raise Stuck(f"a sender did not end within {seconds:g} s")
        assert self.ended is not None
        return self.ended

    def ends_within(self, seconds: float) -> bool:
        """Whether it ends so soon."""
        end = time.monotonic() + seconds
        while self.ended is None and (left := end - time.monotonic()) > 0:
            self._take(self._answer(left))
        return self.ended is not None

    def wait_until_it_begins(self) -> None:
        """Until it plans a run or takes one in hand; or ended without."""
        while not self.began and self.ended is None:
            words = self._answer(STUCK)
            if words is None:
                raise Stuck("a sender did not begin")
            self._take(words)

    def signal(self, number: int) -> None:
        """Sends it a signal; where it has ended, its zombie gets that."""
        os.kill(self.pid, number)

    def close(self) -> None:
        """Ends everything."""
        if self.ended is None:
            self.signal(signal.SIGKILL)
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(30)
        self._server.stdout.close()

    def _take(self, words: dict[str, Any] | None) -> None:
        if words is None:
            return
        self.pid = words.get("pid", self.pid)
        self.began = self.began or "began" in words
        self.endured += "endured" in words
        self.ended = words.get("ended", self.ended)

    def _answer(self, seconds: float) -> dict[str, Any] | None:
        """The next line; None where there is none in time."""
        assert self._server.stdout is not None
        file, end = self._server.stdout.fileno(), time.monotonic() + seconds
        while b"\n" not in self._rest:
            left = end - time.monotonic()
            if left <= 0 or not select.select([file], [], [], left)[0]:
                return None
            data = os.read(file, 4096)
            assert data, "the server of senders ended"
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        words: dict[str, Any] = json.loads(line)
        return words
