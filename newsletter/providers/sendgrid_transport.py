"""One HTTP exchange of the `sendgrid` package under one hard deadline, and how far it came.

The package opens each connection through `urllib`, where a timeout counts from byte to byte, redirects are followed
with the API key in hand, and proxies are taken from the environment. Here the deadline holds for connection, handshake,
request and answer together (the system looks the host's name up in its own time; nothing is begun when that took too
long); redirects are answers like all others; no proxy is used: what the environment names must not come to see the
mail of everybody. Whether a byte of the request left is known at any time.
"""

from __future__ import annotations

import io
import logging
import re
import select
import socket
import ssl
import threading
import time
import urllib.request
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import python_http_client

from newsletter.delivery.clock import boot_time

#: Bytes of an answer that are read; the vendor's are of some hundred.
MOST_ANSWER_BYTES = 1_000_000
_CHUNK = 1 << 20
#: Seconds for which a connection is kept. Servers close those that are idle for some ten seconds or more.
_KEPT_IDLE = 5.0
#: Heads of answers behind which the connection stays open, and of which it is sure where the body ends (RFC 9112, 6.3).
_KEPT_HEAD = re.compile(rb"HTTP/1\.1 [2-5][0-9][0-9]")
_CLOSES = re.compile(rb"(?im)^(?:connection:.*close|transfer-encoding:)")
_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*([0-9]{1,9})[ \t]*\r?$")


class Body(bytes):
    """A request's body as it goes over the wire. The package, which would make JSON of a dictionary itself and write
    all of it into a log that nobody keeps, takes it for a text in some other format."""

    def get(self) -> Body:
        """What the package asks of a message."""
        return self

    def encode(self, _encoding: str) -> Body:
        """What it asks of a text."""
        return self

    def __format__(self, _how: str) -> str:
        return f"{len(self)} bytes"


#: A header that makes the package leave a body as it is; `Client` says what it really is.
OTHER_FORMAT = {"Content-Type": "text/plain"}


class Connections:
    """Connections that are kept from one exchange to the next, for a few seconds, those of a machine's sleep included:
    one that the server closes at the very moment at which a request leaves may make everybody in it unknown. Shared by
    threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[tuple[socket.socket, float]] = []

    def take(self) -> socket.socket | None:
        """One that still stands, as far as can be told; None where there is none."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection, since = self._idle.pop()
            if boot_time() - since < _KEPT_IDLE and not _stirred(connection):
                return connection
            connection.close()

    def keep(self, connection: socket.socket) -> None:
        """It is of further use."""
        with self._lock:
            self._idle.append((connection, boot_time()))

    def close(self) -> None:
        """Closes all that are idle. May be called twice."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()


def _stirred(connection: socket.socket) -> bool:
    """Whether the server closed the connection, or said something that nobody asked."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


class Exchange:
    """One request under way, for at most `seconds`. `sent` says whether a byte of it may have left, `cut` whether the
    server closed the connection before it had all of it: without an answer it cannot have done anything then."""

    def __init__(self, seconds: float, tls: ssl.SSLContext, connections: Connections) -> None:
        self._deadline = time.monotonic() + seconds
        self._tls = tls
        self._connections = connections
        self._socket: socket.socket | None = None
        self.sent = False
        self.cut = False
        #: Whether all of the answer was read, nothing came behind it, and the server keeps the connection.
        self.complete = False

    def left(self) -> float:
        """Seconds that are left. Raises TimeoutError where none are."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time for this call is over")
        return left

    def connect(self, host: str, port: int, *, secure: bool) -> socket.socket:
        """A connection to the host, its certificate verified where `secure`; one that was kept, if it still stands.
        Raises OSError."""
        self._socket = self._connections.take()
        if self._socket is not None:
            return self._socket
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        failure: OSError | None = None
        for place, (family, kind, protocol, _, address) in enumerate(found):
            connection = socket.socket(family, kind, protocol)
            self._socket = connection
            try:
                # an address that does not answer leaves its share of the time to the others
                connection.settimeout(self.left() / (len(found) - place))
                connection.connect(address)
                if secure:
                    connection.settimeout(self.left())
                    connection = self._socket = self._tls.wrap_socket(connection, server_hostname=host)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                connection.close()
                failure = error
            else:
                return connection
        raise failure or OSError(f"{host} has no address")

    def close(self) -> None:
        """Closes the connection, or keeps it where it is of further use."""
        if self._socket is None:
            return
        if self.complete and not self.cut:
            self._connections.keep(self._socket)
        else:
            self._socket.close()
        self._socket = None


class Client(python_http_client.Client):  # type: ignore[misc] # the package has no types
    """The package's client, bound to one exchange. For one request: the package keeps headers from call to call."""

    def __init__(self, exchange: Exchange, **settings: Any) -> None:
        super().__init__(**settings)
        self._exchange = exchange

    def _build_client(self, name: str | None = None) -> Client:
        return Client(
            self._exchange,
            host=self.host,
            version=self._version,
            request_headers=self.request_headers,
            url_path=[*self._url_path, name] if name else self._url_path,
            append_slash=self.append_slash,
            timeout=self.timeout,
        )

    def _make_request(self, _opener: object, request: urllib.request.Request, timeout: float | None = None) -> Any:
        request.remove_header("Content-type")
        if request.data is not None:
            request.add_header("Content-type", "application/json")
        return super()._make_request(_opener_of(self._exchange), request, timeout=timeout)


class _NoDebug(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > logging.DEBUG


_NO_DEBUG = _NoDebug()


def silence_debug_log() -> None:
    """Keeps the package from logging at DEBUG, where it prints the API key and the mail; whatever level is set."""
    logging.getLogger(python_http_client.client.__name__).addFilter(_NO_DEBUG)


def _opener_of(exchange: Exchange) -> urllib.request.OpenerDirector:
    """An opener without redirects, proxies, cookies and logins."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        _Handler(exchange),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


class _Handler(urllib.request.AbstractHTTPHandler):
    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self._exchange = exchange

    def http_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(partial(_Connection, exchange=self._exchange, secure=False), request)

    def https_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(partial(_Connection, exchange=self._exchange, secure=True), request)

    http_request = https_request = urllib.request.AbstractHTTPHandler.do_request_


class _Connection(HTTPConnection):
    def __init__(self, host: str, *, exchange: Exchange, secure: bool, timeout: float) -> None:
        self.default_port = 443 if secure else 80
        super().__init__(host, timeout=timeout)
        self._exchange = exchange
        self._secure = secure

    def connect(self) -> None:
        # what http.client asks of a socket, and no more
        self.sock = _Wire(self._exchange.connect(self.host, self.port, secure=self._secure), self._exchange)

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **how: Any) -> None:
        """Without the wish of `urllib` that the server close the connection."""
        wished = {name: value for name, value in (headers or {}).items() if name.lower() != "connection"}
        super().request(method, url, body, wished, **how)


class _Wire:
    """The connection as http.client uses it. It stays open for the answer; `Exchange.close` closes it."""

    def __init__(self, connection: socket.socket, exchange: Exchange) -> None:
        self._socket = connection
        self._exchange = exchange

    def sendall(self, data: bytes) -> None:
        """Writes it all. A server that hung up may have said why before: then the answer is still read."""
        rest = memoryview(data)
        try:
            while rest:
                self._socket.settimeout(self._exchange.left())
                self._exchange.sent = True
                rest = rest[self._socket.send(rest[:_CHUNK]) :]
        except (BrokenPipeError, ConnectionResetError):
            self._exchange.cut = True

    def makefile(self, _mode: str) -> io.BufferedReader:
        """The answer, to be read."""
        return io.BufferedReader(_Answer(self._socket, self._exchange))

    def close(self) -> None:
        """Nothing yet: see the class."""


class _Answer(io.RawIOBase):
    """What the server answers: in time, of a bounded size, and with a head that is complete.

    http.client takes the end of the stream for the end of the head.
    """

    def __init__(self, connection: socket.socket, exchange: Exchange) -> None:
        self._socket = connection
        self._exchange = exchange
        self._head: bytes | None = b""
        self._room = MOST_ANSWER_BYTES
        #: Octets of the body that are still to come; None where the head does not say how long it is.
        self._to_come: int | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._socket.settimeout(self._exchange.left())
        received = self._socket.recv_into(buffer)
        self._room -= received
        if self._room < 0:
            raise OSError(f"the answer is over {MOST_ANSWER_BYTES} bytes")
        if self._head is not None:
            self._note_head(bytes(memoryview(buffer)[:received]))
        elif self._to_come is not None:
            self._to_come -= received
        self._exchange.complete = self._head is None and self._to_come == 0
        return received

    def _note_head(self, data: bytes) -> None:
        assert self._head is not None
        # an empty first read is http.client's to report: no answer at all
        if not data and self._head:
            raise ConnectionResetError("the connection ended within the head of the answer")
        self._head += data
        head, end, body = self._head.partition(b"\r\n\r\n")
        if end:
            self._head = None
            said = _KEPT_HEAD.match(head)
            length = _LENGTH.findall(head)
            if said and len(length) == 1 and not _CLOSES.search(head):
                self._to_come = int(length[0]) - len(body)
        elif b"\n\n" in self._head:
            self._head = None
