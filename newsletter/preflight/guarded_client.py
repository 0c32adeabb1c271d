"""An HTTP client that reaches public addresses only, however a name resolves and wherever a redirect leads.

A name is resolved here, each of its addresses is checked, and the connection is made to the checked address itself: a
name cannot answer with a public address to the check and with a private one to the connection. This happens for every
connection, so for every redirect too. `Host` and SNI stay those of the name. Proxies of the environment are not used,
for they would connect on their own.

    GuardedNetwork    resolves, checks, connects (the part that must be right)
    _BoundedStream    a deadline and a limit of bytes for each connection
    _Transport        httpx on top of httpcore with that network
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import httpcore
import httpx

from newsletter import __version__
from newsletter.preflight.public_addresses import why_not_public

#: Seconds one request may take, from connecting to the end of the answer's head.
SECONDS = 10.0
#: Bytes read of one answer, its head included.
MOST_BYTES = 64 * 1024
MOST_REDIRECTS = 5

Resolver = Callable[[str, int], Sequence[str]]
SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


class AddressRefused(httpx.TransportError):
    """The name leads to an address that is not public; nothing was sent there."""


class HostUnknown(httpx.TransportError):
    """The name has no address."""


def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of a name by the system's resolver, each once.

    Raises `HostUnknown` where there are none, and `httpx.ConnectError` where that could not be found out.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
            raise HostUnknown(f"{host} has no address") from error
        raise httpx.ConnectError(f"{host} could not be looked up: {error.strerror}") from error
    except UnicodeError as error:
        raise HostUnknown(f"{host} cannot be looked up") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class GuardedNetwork(httpcore.NetworkBackend):
    """Connects to names whose every address is public.

    `allow_loopback` is for tests, whose servers are on this machine. `network` makes the connection to an address.
    """

    def __init__(
        self,
        resolver: Resolver = resolve,
        *,
        allow_loopback: bool = False,
        seconds: float = SECONDS,
        network: httpcore.NetworkBackend | None = None,
    ) -> None:
        self._resolver = resolver
        self._allow_loopback = allow_loopback
        self._seconds = seconds
        self._network = network or httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to one of the checked addresses of `host`. Raises `AddressRefused`, `HostUnknown`."""
        deadline = time.monotonic() + self._seconds
        failure: Exception | None = None
        for address in self._checked(host, port):
            left = deadline - time.monotonic()
            wait = left if timeout is None else min(left, timeout)
            if wait <= 0:
                break
            try:
                stream = self._network.connect_tcp(address, port, wait, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _BoundedStream(stream, deadline, MOST_BYTES)
        raise failure or httpcore.ConnectTimeout(f"no connection to {host} in time")

    def _checked(self, host: str, port: int) -> Sequence[str]:
        addresses = self._resolver(host, port)
        if not addresses:
            raise HostUnknown(f"{host} has no address")
        # One private address among public ones is refused as a whole: that is how a name is turned against its visitor.
        for address in addresses:
            why = why_not_public(address)
            if why and not (self._allow_loopback and why == "loopback"):
                raise AddressRefused(f"{host} leads to the {why} address {address}")
        return addresses


class _BoundedStream(httpcore.NetworkStream):
    """A connection with a deadline (of `time.monotonic`) and a limit of bytes to read, whatever the server does."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float, most_bytes: int) -> None:
        self._stream = stream
        self._deadline = deadline
        self._left = most_bytes

    def _wait(self, timeout: float | None, late: type[httpcore.TimeoutException]) -> float:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise late("the answer took too long")
        return left if timeout is None else min(left, timeout)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._left <= 0:
            raise httpcore.ReadError(f"the answer has more than {MOST_BYTES} bytes")
        data = self._stream.read(min(max_bytes, self._left), self._wait(timeout, httpcore.ReadTimeout))
        self._left -= len(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._wait(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        wait = self._wait(timeout, httpcore.ConnectTimeout)
        return _BoundedStream(self._stream.start_tls(ssl_context, server_hostname, wait), self._deadline, self._left)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Body(httpx.SyncByteStream):
    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._parts

    def close(self) -> None:
        if hasattr(self._parts, "close"):
            self._parts.close()


class _as_httpx:  # noqa: N801 - it reads as a function does
    """Vendor errors of httpcore as those of httpx, by one table; the first line that fits holds."""

    _TABLE: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
        (httpcore.TimeoutException, httpx.ReadTimeout),
        (httpcore.UnsupportedProtocol, httpx.UnsupportedProtocol),
        (httpcore.ProtocolError, httpx.RemoteProtocolError),
        (httpcore.ConnectError, httpx.ConnectError),
        (httpcore.NetworkError, httpx.ReadError),
    )

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        for ours, theirs in self._TABLE:
            if isinstance(error, ours):
                raise theirs(str(error)) from error


class _Transport(httpx.BaseTransport):
    def __init__(self, network: GuardedNetwork, context: ssl.SSLContext) -> None:
        # No connection is kept: each request resolves, checks and counts anew.
        self._pool = httpcore.ConnectionPool(
            ssl_context=context, network_backend=network, max_keepalive_connections=0, max_connections=16
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = httpcore.URL(
            scheme=request.url.raw_scheme, host=request.url.raw_host, port=request.url.port, target=request.url.raw_path
        )
        with _as_httpx():
            answer = self._pool.handle_request(
                httpcore.Request(
                    method=request.method,
                    url=url,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        assert isinstance(answer.stream, Iterable)
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(answer.stream),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        self._pool.close()


def guarded_client(
    network: GuardedNetwork | None = None, *, context: ssl.SSLContext | None = None, seconds: float = SECONDS
) -> httpx.Client:
    """The client; it may be used by several threads, and must be closed. Certificates are verified."""
    return httpx.Client(
        transport=_Transport(network or GuardedNetwork(seconds=seconds), context or httpx.create_ssl_context()),
        follow_redirects=True,
        max_redirects=MOST_REDIRECTS,
        timeout=seconds,
        trust_env=False,
        headers={"User-Agent": f"newsletter-link-check/{__version__}", "Accept": "text/html,*/*;q=0.8"},
    )
