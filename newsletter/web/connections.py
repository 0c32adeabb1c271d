"""Connections that end by themselves where the other side is too slow, and make room where there are too many.

uvicorn waits for a request's head as long as it takes. Whoever opens connections and sends a byte now and then would
hold all of them (Slowloris); so would one that never reads its answer.
"""

from __future__ import annotations

import asyncio
import resource
from collections import OrderedDict
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

#: Seconds until the head of a request must be there, from the connection's or the head's first byte.
HEAD = 10.0
#: Seconds that a body may take. `body_limits` answers before; this ends a connection whose body nobody reads.
BODY = 30.0
#: Seconds that an answer may wait for its reader, each time as much of it as was kept back.
READING = 60.0
#: Seconds that a refusal may take to be read.
FAREWELL = 5.0
#: Bytes of a request's head; and so many at once of a body that are no content.
MOST_HEAD = 32 * 1024
#: Connections at the same time; fewer where the system lets a process open few files.
MOST_CONNECTIONS = 4096

_CLOSE = b"connection: close\r\ncontent-length: 0\r\nx-content-type-options: nosniff\r\n\r\n"
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\n" + _CLOSE
_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 30\r\n" + _CLOSE


def most_connections() -> int:
    """How many connections this process may have: half of what it may open, for there are files and databases, too."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(16, min(MOST_CONNECTIONS, soft // 2))


class GuardedConnection(HttpToolsProtocol):
    """One connection. `guarded` makes the class that a server takes."""

    head_seconds = HEAD
    body_seconds = BODY
    reading_seconds = READING
    most = MOST_CONNECTIONS
    #: Those whose request is not whole, the one that has waited longest first.
    unfinished: OrderedDict[GuardedConnection, None]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._alarm: asyncio.TimerHandle | None = None
        self._slow_reader: asyncio.TimerHandle | None = None
        self._in_head = False
        self._in_body = False
        self._head_size = 0
        self._beside_body = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio."""
        super().connection_made(transport)
        if len(self.connections) > self.most and not self._made_room():
            transport.write(_TOO_MANY)
            self._part()
            return
        self.unfinished[self] = None
        self._expect(self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._forget()
        self._read_on()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self.transport.is_closing():
            return
        if self._in_head or not self._in_body:
            self._head_size += len(data)
        self._beside_body += len(data)
        super().data_received(data)
        if self.transport.is_closing() or self.parser is None:
            return
        if self._in_head and self._head_size > MOST_HEAD:
            self.transport.write(_TOO_LARGE)
            self._part()
        elif self._in_body and self._beside_body > MOST_HEAD:  # trailers, or the extensions of a chunk, without end
            self.transport.abort()
        elif self._alarm is None and self.timeout_keep_alive_task is None and self._awaits_request():
            self._expect(self.head_seconds)  # bytes that begin no request: blank lines

    def on_message_begin(self) -> None:
        """See httptools."""
        super().on_message_begin()
        self._in_head, self._in_body = True, False
        self.unfinished[self] = None
        if self._alarm is None:
            self._expect(self.head_seconds)

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools. What comes behind a body is no part of the head (RFC 9110, section 6.5.1): a proxy that passed
        it on has not looked at it, and it would stand beside its own X-Forwarded-For."""
        if not self._in_body:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        self._beside_body = 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._in_head, self._in_body = False, True
        self._head_size = self._beside_body = 0
        self._expect(self.body_seconds)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """See httptools."""
        self._in_body = False
        self._forget()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """See uvicorn."""
        super().on_response_complete()
        if self.transport.is_closing():
            self.loop.call_later(self.reading_seconds, self.transport.abort)
        elif not self._in_body:
            self.unfinished[self] = None  # nothing is asked of it at the moment

    def pause_writing(self) -> None:
        """See asyncio."""
        super().pause_writing()
        self._slow_reader = self.loop.call_later(self.reading_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """See asyncio."""
        self._read_on()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """See uvicorn."""
        self._part()

    def _awaits_request(self) -> bool:
        return not self._in_body and (self.cycle is None or self.cycle.response_complete)

    def _expect(self, seconds: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self.loop.call_later(seconds, self.transport.abort)

    def _forget(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self.unfinished.pop(self, None)

    def _read_on(self) -> None:
        if self._slow_reader is not None:
            self._slow_reader.cancel()
            self._slow_reader = None

    def _made_room(self) -> bool:
        """Ends the one that has waited longest for its request to become whole: of an honest one it takes no second."""
        if not self.unfinished:
            return False
        oldest, _ = self.unfinished.popitem(last=False)
        oldest.transport.abort()
        return True

    def _part(self) -> None:
        """Closes, and does not wait for ever for what is still to be read."""
        self._forget()
        if not self.transport.is_closing():
            self.transport.close()
            self.loop.call_later(FAREWELL, self.transport.abort)


def guarded(
    *, most: int | None = None, head: float = HEAD, body: float = BODY, reading: float = READING
) -> type[GuardedConnection]:
    """The class for one server, with these limits. Times in seconds."""
    return type(
        "Connection",
        (GuardedConnection,),
        {
            "most": most_connections() if most is None else most,
            "head_seconds": head,
            "body_seconds": body,
            "reading_seconds": reading,
            "unfinished": OrderedDict(),
        },
    )
