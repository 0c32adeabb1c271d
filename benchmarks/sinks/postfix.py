"""Postfix's smtp-source and smtp-sink, where the machine has them (Debian: package `postfix`).

smtp-sink tells no times. It reads with read(2), which Linux counts for each process, so that its beginning and its end
can be seen from outside; for this the system must let us look (/proc/PID/io).
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: Where Debian puts them; not everybody has it in PATH.
_PLACES = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))

SMTP_SOURCE = shutil.which("smtp-source", path=_PLACES)
SMTP_SINK = shutil.which("smtp-sink", path=_PLACES)


class PostfixSink:
    """A running smtp-sink. `span` is the seconds from the first octet it read to the last, known to 5 ms."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self._io = Path(f"/proc/{pid}/io")
        self._over = threading.Event()
        self._first = self._last = 0.0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @property
    def span(self) -> float:
        return self._last - self._first

    def stop(self) -> None:
        """Ends the watching."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        with suppress(OSError):
            before = self._read()
            while not self._over.wait(0.005):
                now = self._read()
                if now != before:
                    self._last = time.monotonic()
                    self._first = self._first or self._last
                before = now

    def _read(self) -> int:
        return int(self._io.read_text("ascii").split()[1])


@contextmanager
def smtp_sink() -> Iterator[PostfixSink]:
    """Postfix's smtp-sink on a free port."""
    assert SMTP_SINK is not None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    as_nobody = ["-u", "nobody"] if os.geteuid() == 0 else []
    with subprocess.Popen(
        [SMTP_SINK, "-4", *as_nobody, f"127.0.0.1:{port}", "1000"], stderr=subprocess.DEVNULL
    ) as process:
        try:
            _wait_for(port)
            time.sleep(0.02)  # it has read the goodbye
            sink = PostfixSink(port, process.pid)
            yield sink
            sink.stop()
        finally:
            process.kill()


def _wait_for(port: int) -> None:
    for _ in range(200):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"QUIT\r\n")
            return
        time.sleep(0.01)
    raise RuntimeError("smtp-sink does not come up")
