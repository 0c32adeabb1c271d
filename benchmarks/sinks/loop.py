"""What both sinks share: one thread, epoll, one buffer for all connections, and answers that may be late.

A connection's unread rest is put in front of what comes next, so that a protocol always looks at one stretch of the
buffer. Nothing else is copied: a sink that takes 1 GB/s has no time to.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from collections import deque
from typing import Protocol

#: Room in front of what is read, for the rest of what was read before.
FRONT = 16_384
#: A buffer that stays in the processor's cache.
_READ = 262_144


class Conversation(Protocol):
    """The protocol's side of one connection."""

    greeting: bytes
    #: What is to be seen again before what is read next; at most FRONT octets.
    rest: bytes
    #: Whether the connection is closed when its answers are written.
    closing: bool

    def read(self, buffer: bytearray, start: int, end: int) -> bytes:
        """Takes `buffer[start:end]`, `rest` first; the answers to it, b'' for none yet."""


class Counts:
    """What was taken; see `Tally`."""

    def __init__(self) -> None:
        self.connections = 0
        self.clear()

    def clear(self) -> None:
        self.messages = self.recipients = self.octets = 0
        self.first = self.last = 0.0
        self._cpu = time.process_time()

    def took(self, recipients: int) -> None:
        """One more message, now."""
        self.messages += 1
        self.recipients += recipients
        self.last = time.time()
        if not self.first:
            self.first = self.last

    def line(self) -> str:
        names = ("messages", "recipients", "octets", "connections", "first", "last")
        return json.dumps({**{name: getattr(self, name) for name in names}, "cpu": time.process_time() - self._cpu})


class Server(Protocol):
    """Makes the protocol's side of a new connection."""

    counts: Counts

    def conversation(self) -> Conversation: ...


def serve(server: Server, *, port: int, delay: float) -> None:
    """Prints the port and serves until standard input ends. `delay`: seconds from a read to the answers to it."""
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        print(listener.getsockname()[1], flush=True)
        _Loop(server, listener, delay).run()


class _Loop:
    def __init__(self, server: Server, listener: socket.socket, delay: float) -> None:
        self._server = server
        self._delay = delay
        self._listener = listener
        self._there: dict[int, tuple[socket.socket, Conversation]] = {}
        #: In order: all are late by the same time.
        self._late: deque[tuple[float, int, Conversation, bytes]] = deque()
        self._buffer = bytearray(FRONT + _READ)
        self._into = memoryview(self._buffer)[FRONT:]
        self._poll = select.epoll()
        listener.setblocking(False)
        self._poll.register(listener.fileno(), select.EPOLLIN)
        self._poll.register(sys.stdin.fileno(), select.EPOLLIN)

    def run(self) -> None:
        late, listener, asked = self._late, self._listener.fileno(), sys.stdin.fileno()
        while True:
            for number, _ in self._poll.poll(max(0.0, late[0][0] - time.monotonic()) if late else None):
                if number in self._there:
                    self._read(number)
                elif number == listener:
                    self._accept()
                elif number == asked and not self._tell(sys.stdin.readline()):
                    return
            while late and late[0][0] <= time.monotonic():
                self._write(*late.popleft()[1:])

    def _read(self, number: int) -> None:
        sock, talk = self._there[number]
        try:
            size = sock.recv_into(self._into)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self._part(number)
            return
        self._server.counts.octets += size
        start = FRONT
        if rest := talk.rest:
            start -= len(rest)
            self._buffer[start:FRONT] = rest
        if octets := talk.read(self._buffer, start, FRONT + size):
            self._answer(number, talk, octets)

    def _answer(self, number: int, talk: Conversation, octets: bytes) -> None:
        if self._delay:
            self._late.append((time.monotonic() + self._delay, number, talk, octets))
        else:
            self._write(number, talk, octets)

    def _write(self, number: int, talk: Conversation, octets: bytes) -> None:
        sock, now = self._there.get(number, (None, None))
        if sock is None or now is not talk:  # it left meanwhile
            return
        try:
            sock.send(octets)
        except OSError:
            self._part(number)
        else:
            if talk.closing:
                self._part(number)

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        talk = self._server.conversation()
        self._there[sock.fileno()] = sock, talk
        self._poll.register(sock.fileno(), select.EPOLLIN)
        self._server.counts.connections += 1
        if talk.greeting:
            self._answer(sock.fileno(), talk, talk.greeting)

    def _part(self, number: int) -> None:
        sock, _ = self._there.pop(number)
        self._poll.unregister(number)
        sock.close()

    def _tell(self, asked: str) -> bool:
        """Answers a line on standard input; whether there may be more."""
        if asked == "reset\n":
            self._server.counts.clear()
        if asked:
            print(self._server.counts.line(), flush=True)
        return bool(asked)
