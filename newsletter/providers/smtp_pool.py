"""Connections to one server, kept open between calls and shared by threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

from newsletter.providers.smtp_connection import SmtpConnection

#: A connection that was idle for so many seconds is asked whether it still stands before mail is trusted to it.
UNASKED = 30.0
#: A connection that was idle for longer is not kept: most servers close them after five minutes.
KEPT_IDLE = 240.0


class ConnectionPool:
    """Hands out each connection to one thread at a time; there are never more than threads that asked at once."""

    def __init__(self, connect: Callable[[], SmtpConnection]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._idle: list[SmtpConnection] = []

    def take(self, *, fresh: bool = False) -> SmtpConnection:
        """A connection that stands as far as can be told, the one used last if there is one. `fresh`: a new one.

        Raises what opening one raises.
        """
        while not fresh and (connection := self._pop()) is not None:
            if connection.idle() <= KEPT_IDLE and connection.ready(UNASKED):
                return connection
            self._part([connection])
        return self._connect()

    def give_back(self, connection: SmtpConnection) -> None:
        """Keeps the connection for the next call, unless it is finished."""
        if connection.finished:
            self._part([connection])
            return
        with self._lock:
            self._idle.append(connection)

    def close(self) -> None:
        """Takes leave of the server on every idle connection."""
        with self._lock:
            connections, self._idle = self._idle, []
        self._part(connections)

    def _pop(self) -> SmtpConnection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    @staticmethod
    def _part(connections: list[SmtpConnection]) -> None:
        for connection in connections:
            connection.say_goodbye()
        for connection in connections:
            connection.close()
