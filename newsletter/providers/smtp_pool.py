"""Connections to one server, kept open between calls and shared by threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from newsletter.providers.smtp_connection import SmtpConnection
from newsletter.providers.smtp_handshake import ServerAway

#: A connection that was idle for so many seconds is asked whether it still stands before mail is trusted to it.
UNASKED = 30.0
#: A connection that was idle for longer is not kept: most servers close them after five minutes.
KEPT_IDLE = 240.0
#: How long a thread waits for another's connection. Seconds; whoever stops a run waits as long.
PATIENCE = 10.0
#: A server that wanted no further connection is asked for one again after so many seconds.
ASK_AGAIN = 10.0
#: Seconds after the end of a connection in which the server may still count it, and after which it is asked again then.
_COUNTED, SOON = 1.0, 0.5
#: How often a thread that waits for a connection looks whether it may open one. Seconds.
_LOOK_EVERY = 0.25


class Crowded(Exception):
    """The server takes no further connection, and those that stand are all in use."""


class ConnectionPool:
    """Hands out each connection to one thread at a time; there are never more than threads that asked at once.

    Many servers take some connections from one sender and turn away others, which is no reason to put mail off: the
    threads then share those that stand. `patience`: how long one waits for another's, in seconds.
    """

    def __init__(self, connect: Callable[[], SmtpConnection], *, patience: float = PATIENCE) -> None:
        self._connect = connect
        self._patience = patience
        self._lock = threading.Condition()
        self._idle: list[SmtpConnection] = []
        #: Connections that threads have, and those that they are opening.
        self._out = self._opening = 0
        #: How many the server takes, where it turned one away, and when to ask for another (monotonic seconds).
        self._room: int | None = None
        self._ask_at = 0.0
        #: When one was closed last.
        self._parted_at = -_COUNTED

    def take(self, *, fresh: bool = False) -> SmtpConnection:
        """A connection that stands as far as can be told, the one used last if there is one. `fresh`: a new one, if
        there may be one more.

        Raises what opening one raises; where the server turned this thread away and others have connections, Crowded,
        after some seconds in which none became free.
        """
        until = time.monotonic() + self._patience
        away: ServerAway | None = None
        while True:
            connection = self._idle_one(fresh, until, away)
            if connection is not None:
                return connection
            try:
                return self._opened()
            except ServerAway as error:
                away, fresh = error, False

    def give_back(self, connection: SmtpConnection) -> None:
        """Keeps the connection for the next call, unless it is finished."""
        try:
            if connection.finished:
                self._part([connection])  # first: the server counts it until then
        finally:
            with self._lock:
                self._out -= 1
                if connection.finished:
                    self._parted_at = time.monotonic()
                    self._lock.notify_all()
                else:
                    self._idle.append(connection)
                    self._lock.notify()

    def close(self) -> None:
        """Takes leave of the server on every idle connection."""
        with self._lock:
            connections, self._idle = self._idle, []
        self._part(connections)

    def _idle_one(self, fresh: bool, until: float, away: ServerAway | None) -> SmtpConnection | None:
        """An idle connection that stands; None: one is to be opened, and counts as being opened. `away` is why this
        thread was turned away just now."""
        again_at = time.monotonic() + SOON
        while True:
            with self._lock:
                if fresh or not self._idle:
                    if self._may_open(away, again_at):
                        self._opening += 1
                        return None
                    if not self._idle:
                        self._wait(until, away)
                        continue
                connection = self._idle.pop()
                self._out += 1
            try:
                stands = connection.idle() <= KEPT_IDLE and connection.ready(UNASKED)
            except BaseException:
                connection.abort()
                self.give_back(connection)
                raise
            if stands:
                return connection
            connection.finished = True
            self.give_back(connection)

    def _may_open(self, away: ServerAway | None, again_at: float) -> bool:
        """Whether to ask the server for one more. Raises `away` where nobody has one, and none has just ended."""
        now = time.monotonic()
        if away is not None:
            if now - self._parted_at < _COUNTED:  # it may have been counted yet, or made room
                if now < again_at:
                    return False
            elif self._idle or self._out or self._opening:
                return False  # it is asked again by whoever comes next
            else:
                raise away
        if self._room is None or len(self._idle) + self._out + self._opening < self._room:
            return True
        if now < self._ask_at:
            return False
        self._ask_at = self._next_ask()  # one asks for all
        return True

    def _next_ask(self) -> float:
        """When to ask for one more, after the server turned one away."""
        now = time.monotonic()
        return now + (SOON if now - self._parted_at < _COUNTED else ASK_AGAIN)

    def _wait(self, until: float, away: ServerAway | None) -> None:
        """Until something may be otherwise. Raises Crowded, or `away`, where that took too long."""
        left = until - time.monotonic()
        if left > 0:
            self._lock.wait(min(left, _LOOK_EVERY))
        elif away is None or self._out:
            raise Crowded(f"none of the connections that the server takes became free within {self._patience:g} s")
        else:
            raise away

    def _opened(self) -> SmtpConnection:
        """A new connection, for a thread that said it opens one."""
        connection: SmtpConnection | None = None
        turned_away = False
        try:
            connection = self._connect()
        except ServerAway:
            turned_away = True
            raise
        finally:
            with self._lock:
                self._opening -= 1
                standing = len(self._idle) + self._out
                if connection is not None:
                    self._out += 1
                    if self._room is not None and standing >= self._room:
                        self._room, self._ask_at = standing + 1, 0.0  # perhaps it takes one more
                elif turned_away and standing:
                    self._room, self._ask_at = standing, self._next_ask()
                self._lock.notify_all()
        return connection

    @staticmethod
    def _part(connections: list[SmtpConnection]) -> None:
        for connection in connections:
            connection.say_goodbye()
        for connection in connections:
            connection.close()
