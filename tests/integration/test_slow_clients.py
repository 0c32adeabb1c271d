"""Clients that are slow on purpose, on real sockets: they are let go, and others are served meanwhile."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx
import pytest
from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from newsletter.web.application import Surroundings, application
from newsletter.web.connections import MOST_CONNECTIONS, GuardedConnection, guarded, most_connections
from newsletter.web.serving import WebServer

#: Seconds within which something must have happened on a machine that has other things to do.
PATIENCE = 20.0
#: Bytes, more than the system keeps for a connection.
LARGE = 50_000_000


def routes() -> APIRouter:
    found = APIRouter()

    @found.get("/hello")
    async def hello() -> Response:
        return PlainTextResponse("hello")

    @found.get("/large")
    async def large() -> Response:
        return PlainTextResponse("x" * LARGE)

    @found.get("/busy")
    async def busy() -> Response:
        await asyncio.sleep(PATIENCE)
        return PlainTextResponse("done")

    @found.post("/read")
    async def read(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    @found.post("/fields")
    async def fields(request: Request) -> Response:
        await request.body()
        return PlainTextResponse(f"{','.join(sorted(request.headers))} from {request.client and request.client.host}")

    @found.post("/unread")
    async def unread() -> Response:
        return PlainTextResponse("not needed")

    return found


@contextmanager
def serving(connection: type[GuardedConnection], *, whole: float = 20, part: float = 5) -> Iterator[WebServer]:
    around = Surroundings(whole_body=whole, part_of_body=part)
    with WebServer(application(routes(), surroundings=around), "127.0.0.1", 0, connection=connection) as server:
        yield server


def connected(server: WebServer) -> socket.socket:
    port = int(server.url.rstrip("/").rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def ended(connection: socket.socket) -> bytes:
    """What came until the server ended the connection. Fails where it does not."""
    got = b""
    while True:
        try:
            part = connection.recv(65536)
        except ConnectionResetError:
            return got
        if not part:
            return got
        got += part


def answered(connection: socket.socket) -> bytes:
    """The body of one answer."""
    got = b""
    while True:
        got += connection.recv(65536)
        head, found, body = got.partition(b"\r\n\r\n")
        if found and len(body) == int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
            return body


def _drip(connection: socket.socket, data: bytes) -> None:
    for byte in data:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def hello(server: WebServer) -> str:
    return httpx.get(f"{server.url}hello", timeout=PATIENCE).text


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"G",
        b"GET /hello HTTP/1.1\r\nHost: x\r\n",
        b"\r\n",
        b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\nGET /hel",
    ],
)
def test_a_request_whose_head_does_not_end_is_let_go(begun: bytes) -> None:
    with serving(guarded(head=0.5)) as server, connected(server) as slow:
        slow.sendall(begun)
        at = time.monotonic()
        assert hello(server) == "hello"
        got = ended(slow)
        assert time.monotonic() - at > 0.3
        assert got.count(b"hello") == begun.count(b"\r\n\r\n")
        assert hello(server) == "hello"


def test_blank_lines_are_no_request() -> None:
    with serving(guarded(head=0.5)) as server, connected(server) as slow:
        slow.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answered(slow) == b"hello"
        slow.sendall(b"\r\n")
        assert ended(slow) == b""


def test_a_byte_now_and_then_does_not_prolong_it() -> None:
    with serving(guarded(head=0.6)) as server, connected(server) as slow:
        at = time.monotonic()
        with pytest.raises(ConnectionError):
            _drip(slow, b"GET /hello HTTP/1.1\r\n" + b"X-A: b\r\n" * 10_000)
        assert time.monotonic() - at < PATIENCE


def test_a_body_that_stops_is_answered_408_and_one_that_drips_too() -> None:
    head = b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    with serving(guarded(), whole=1.2, part=0.5) as server:
        with connected(server) as stops:
            stops.sendall(head + b"abc")
            assert ended(stops).startswith(b"HTTP/1.1 408 ")
        with connected(server) as drips:
            drips.sendall(head)
            at = time.monotonic()
            drips.settimeout(0.2)
            got = b""
            while not got and time.monotonic() - at < PATIENCE:
                drips.sendall(b"x")
                try:
                    got = drips.recv(65536)
                except TimeoutError:
                    continue
            assert got.startswith(b"HTTP/1.1 408 ")
            assert b"connection: close" in got.lower()
            assert time.monotonic() - at > 0.9
        assert hello(server) == "hello"


def test_a_body_that_nobody_reads_does_not_last_for_ever_either() -> None:
    with serving(guarded(body=0.5)) as server, connected(server) as slow:
        slow.sendall(b"POST /unread HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        assert b"not needed" in ended(slow)


def test_a_head_that_is_too_large_is_refused() -> None:
    with serving(guarded()) as server:
        with connected(server) as endless, pytest.raises(ConnectionError):
            endless.sendall(b"GET /hello HTTP/1.1\r\n" + (b"X-Filler: " + b"x" * 1000 + b"\r\n") * 50_000)
        with connected(server) as told:
            told.sendall(b"GET /hello HTTP/1.1\r\nX-Filler: " + b"x" * 40_000)
            assert ended(told).startswith(b"HTTP/1.1 431 ")
        assert hello(server) == "hello"


def test_what_comes_behind_a_body_is_no_part_of_the_head() -> None:
    """A proxy that passes trailers on has added its own X-Forwarded-For to the head before."""
    request = (
        b"POST /fields HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.9\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n0\r\nX-Forwarded-For: 198.51.100.1\r\nSec-Fetch-Site: same-origin\r\n\r\n"
    )
    app = application(routes(), surroundings=Surroundings())
    with (
        WebServer(app, "127.0.0.1", 0, trusted_proxies=["127.0.0.1"]) as server,
        connected(server) as told,
    ):
        for _ in range(2):
            told.sendall(request)
            assert answered(told) == b"host,transfer-encoding,x-forwarded-for from 203.0.113.9"


@pytest.mark.parametrize(
    "endless", [b"0\r\n" + b"X-A: b\r\n" * 100_000, b"0\r\nX-A: " + b"b" * 800_000, b"3;" + b"a" * 800_000]
)
def test_a_body_whose_frame_does_not_end_is_let_go(endless: bytes) -> None:
    with serving(guarded(body=PATIENCE), whole=60, part=60) as server:
        with connected(server) as other:
            other.sendall(b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            time.sleep(0.2)  # until that is read
            at = time.monotonic()
            with suppress(ConnectionError):
                other.sendall(endless)
            assert ended(other) == b""
            assert time.monotonic() - at < PATIENCE / 2
        with connected(server) as honest:
            honest.sendall(b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n")
            for _ in range(60):
                honest.sendall(b"x" * 1000)
            assert answered(honest) == b"60000"


def test_an_answer_that_is_not_fetched_is_given_up() -> None:
    with serving(guarded(reading=0.5)) as server, connected(server) as slow:
        slow.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(1.5)
        assert len(ended(slow)) < LARGE
        assert hello(server) == "hello"


def test_hundreds_of_idle_connections_keep_nobody_from_being_served() -> None:
    """More than the server takes: the one that has waited longest makes room, and those that ask are answered."""
    with serving(guarded(most=100)) as server, ExitStack() as all_of_them:
        idle = [all_of_them.enter_context(connected(server)) for _ in range(300)]
        for one in idle[::2]:
            try:
                one.sendall(b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab")
            except OSError:
                continue  # let go already
        at = time.monotonic()
        for _ in range(20):
            assert hello(server) == "hello"
        assert time.monotonic() - at < PATIENCE
        assert ended(idle[0]) == b""


def test_where_all_are_busy_the_next_is_told_so() -> None:
    with serving(guarded(most=2)) as server, ExitStack() as all_of_them:
        for _ in range(2):
            all_of_them.enter_context(connected(server)).sendall(b"GET /busy HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.3)  # until both are being worked on
        with connected(server) as third:
            answer = ended(third)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 30" in answer


def test_an_honest_client_keeps_its_connection() -> None:
    with serving(guarded(head=0.3, body=0.3)) as server, connected(server) as kept:
        for _ in range(4):
            kept.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answered(kept) == b"hello"
            time.sleep(0.4)  # rests longer than a head may take
        kept.sendall(b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        assert answered(kept) == b"3"


def test_requests_in_one_piece_are_answered_in_order() -> None:
    with serving(guarded()) as server, connected(server) as kept:
        kept.sendall(
            b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
            b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
            b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        answers = ended(kept)
    assert [answers.find(one) > 0 for one in (b"\r\n\r\n3", b"not needed", b"hello")] == [True] * 3
    assert answers.index(b"\r\n\r\n3") < answers.index(b"not needed") < answers.index(b"hello")


def test_what_is_no_http_is_refused() -> None:
    with serving(guarded()) as server:
        for nonsense in (
            b"EHLO mail.example.com\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"GET /\xff HTTP/1.1\r\n\r\n",
        ):
            with connected(server) as other:
                other.sendall(nonsense)
                assert ended(other).startswith(b"HTTP/1.1 400 ")
        assert hello(server) == "hello"


def test_there_are_fewer_connections_than_files_that_may_be_open() -> None:
    assert 16 <= most_connections() <= MOST_CONNECTIONS
