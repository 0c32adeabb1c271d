"""A line between a worker and PostgreSQL, in a process of its own: it forwards, until it is told to break.

    python broken_line.py /path/to/.s.PGSQL.5432

It says its port, and then hears words on stdin: `cut` (every connection is reset, and none comes about), `hold`
(nothing goes through, and nobody is told), `open` (as at first). It answers each with the word.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass, field

from sender_processes import HERE, environment_with_tests

_RESET = struct.pack("ii", 1, 0)


class Line:
    """The process, as seen by a test."""

    def __init__(self, server: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "broken_line.py"), server],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment_with_tests(),
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def tell(self, word: str) -> None:
        """`cut`, `hold` or `open`; it is so when this returns."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == f"{word}\n"

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.communicate(timeout=30)


@dataclass
class _Forwarding:
    server: str
    state: str = "open"
    ready: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    pairs: dict[socket.socket, socket.socket] = field(default_factory=dict)

    def accept(self, listening: socket.socket) -> None:
        client, _ = listening.accept()
        if self.state != "open":
            self._reset(client)
            return
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(self.server)
        except OSError:  # PostgreSQL is away
            client.close()
            server.close()
            return
        for one, other in ((client, server), (server, client)):
            self.pairs[one] = other
            self.ready.register(one, selectors.EVENT_READ)

    def forward(self, one: socket.socket) -> None:
        other = self.pairs[one]
        try:
            data = one.recv(65_536)
            if data:
                other.sendall(data)
        except OSError:
            data = b""
        if not data:
            self._end(one, other)

    def turn(self, word: str) -> None:
        for one in list(self.pairs):
            if one not in self.pairs:
                continue
            if word == "cut":
                self._end(one, self.pairs[one], reset=True)
            elif word == "hold":
                with contextlib.suppress(KeyError):
                    self.ready.unregister(one)
            elif self.state == "hold":
                self.ready.register(one, selectors.EVENT_READ)
        self.state = word

    def _end(self, *both: socket.socket, reset: bool = False) -> None:
        for one in both:
            self.pairs.pop(one, None)
            with contextlib.suppress(KeyError, ValueError):
                self.ready.unregister(one)
            if reset:
                self._reset(one)
            one.close()

    @staticmethod
    def _reset(one: socket.socket) -> None:
        with contextlib.suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        one.close()


def main(server: str) -> None:
    """See the module."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    line = _Forwarding(server)
    line.ready.register(listening, selectors.EVENT_READ)
    line.ready.register(sys.stdin, selectors.EVENT_READ)
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    while True:
        for key, _ in line.ready.select():
            if key.fileobj is listening:
                line.accept(listening)
            elif key.fd == sys.stdin.fileno():
                word = sys.stdin.readline().strip()
                if not word:
                    return
                line.turn(word)
                sys.stdout.write(f"{word}\n")
                sys.stdout.flush()
            elif isinstance(key.fileobj, socket.socket) and key.fileobj in line.pairs:
                line.forward(key.fileobj)


if __name__ == "__main__":
    main(sys.argv[1])
