"""An SMTP server on loopback that does what it is told, right or wrong.

It writes down whom it accepted before it answers. In a process of its own: `python -m servers.smtp_server --port 0
--record FILE` prints the port, and adds a line of JSON to FILE for each accepted recipient, on the disk before the 250.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from email.parser import BytesHeaderParser
from pathlib import Path

from servers.smtp_script import Moment, Reaction, Script, Taken
from servers.smtp_session import Over, Session

__all__ = ["Moment", "Reaction", "Script", "SmtpServer", "Taken", "headers_of"]


class SmtpServer:
    """Listens as soon as it is made; a thread a connection."""

    def __init__(self, script: Script | None = None, *, port: int = 0, record: Path | None = None) -> None:
        self.script = script or Script()
        self.taken: list[Taken] = []
        self.commands: list[str] = []
        self.connections = 0
        #: How often an answer was written, or several together.
        self.turns = 0
        self._steps: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._record = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if record else None
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()

    def __enter__(self) -> SmtpServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def standing(self) -> int:
        """How many connections there are."""
        with self._lock:
            return len(self._open)

    def stop_listening(self) -> None:
        """Nobody can connect from now on."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def drop_connections(self) -> None:
        """Closes all connections; whoever has one learns it when they next look."""
        with self._lock:
            for sock in self._open:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends everything. May be called twice."""
        self._closing.set()
        self.stop_listening()
        self.drop_connections()
        for thread in [self._listening, *self._threads]:
            thread.join(10)
            assert not thread.is_alive(), "a connection of the test server did not end"
        if self._record is not None:
            os.close(self._record)
            self._record = None

    def wait(self) -> None:
        """Until it is closed."""
        self._closing.wait()

    def addresses(self) -> list[str]:
        """Whom it accepted mail for, in order."""
        return [taken.address for taken in list(self.taken)]

    def forget(self, sock: socket.socket, instead: socket.socket | None = None) -> None:
        """The connection is over, or goes on as another socket."""
        with self._lock:
            self._open.discard(sock)
            if instead is not None:
                self._open.add(instead)

    def moment(self, step: str, address: str, connection: int) -> Moment:
        with self._lock:
            before = self._steps[step]
            self._steps[step] += 1
        return Moment(step, before, address, connection)

    def take(self, taken: Taken) -> None:
        """Writes the message down: on the disk, where there is a file, before this returns."""
        if self._record is not None:
            found = re.search(rb"(?im)^message-id: *(<[^>\r]+>)", taken.message[:4096])
            entry = {"to": taken.address, "id": found[1].decode() if found else "", "at": time.time()}
            line = json.dumps(entry).encode() + b"\n"
            with self._lock:
                os.write(self._record, line)
                os.fsync(self._record)
        with self._lock:
            self.taken.append(taken if self.script.keep_messages else Taken(taken.address, taken.sender, b"", 0))

    def _listen(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                number = self.connections
                self.connections += 1
                self._open.add(sock)
            thread = threading.Thread(target=self._serve, args=(sock, number), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        session = Session(self, sock, number)
        try:
            session.run()
        except (Over, OSError):
            pass
        finally:
            session.end()


def headers_of(message: bytes) -> Mapping[str, str]:
    """The header fields of a message as they stand, names in small letters."""
    parsed = BytesHeaderParser().parsebytes(message)
    return {name.lower(): str(value) for name, value in parsed.items()}


def _main() -> None:
    parser = argparse.ArgumentParser(description="An SMTP server for tests; prints its port.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--record", type=Path, help="a line of JSON for each accepted recipient")
    parser.add_argument("--delay", type=float, default=0.0, help="milliseconds before each answer")
    parser.add_argument("--no-pipelining", action="store_true")
    given = parser.parse_args()
    script = Script(pipelining=not given.no_pipelining, delay=given.delay / 1000, keep_messages=False)
    with SmtpServer(script, port=given.port, record=given.record) as server:
        sys.stdout.write(f"{server.port}\n")
        sys.stdout.flush()
        server.wait()


if __name__ == "__main__":
    _main()
