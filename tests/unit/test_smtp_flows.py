"""Flows are run to their ends, in the calling thread or in the one for all of them."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from newsletter.providers import smtp_flows
from newsletter.providers.smtp_flows import READ, WRITE, Flow, FlowRunner, run_here

Run = Callable[[Flow[Any], socket.socket], Any]


@pytest.fixture
def runner() -> Iterator[FlowRunner]:
    made = FlowRunner()
    yield made
    made.close()


@pytest.fixture(params=["here", "in the one thread", "in the one thread, from another"])
def run(request: pytest.FixtureRequest, runner: FlowRunner) -> Iterator[Run]:
    if request.param == "here":
        yield run_here
    elif request.param == "in the one thread":
        yield runner.run
    else:
        with ThreadPoolExecutor(1) as threads:
            yield lambda flow, sock: threads.submit(runner.run, flow, sock).result()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def one_octet(sock: socket.socket, seconds: float = 10.0) -> Flow[bytes]:
    yield WRITE, time.monotonic() + seconds
    yield READ, time.monotonic() + seconds
    return sock.recv(1)


def test_its_result_is_the_callers(run: Run, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"ab")
    assert run(one_octet(ours), ours) == b"a"
    assert run(one_octet(ours), ours) == b"b"


def test_one_that_waits_for_nothing_is_run(run: Run, pair: tuple[socket.socket, socket.socket]) -> None:
    def flow() -> Flow[str]:
        yield from ()
        return "done"

    assert run(flow(), pair[0]) == "done"


def test_what_does_not_come_in_time_is_thrown_in(run: Run, pair: tuple[socket.socket, socket.socket]) -> None:
    def flow() -> Flow[str]:
        try:
            yield READ, time.monotonic() + 0.02
        except TimeoutError:
            yield WRITE, time.monotonic() + 10  # it may go on
        return "too late"

    assert run(flow(), pair[0]) == "too late"


@pytest.mark.parametrize("error", [ValueError("wrong"), KeyboardInterrupt()])
def test_its_errors_are_the_callers(run: Run, pair: tuple[socket.socket, socket.socket], error: BaseException) -> None:
    def flow() -> Flow[None]:
        yield WRITE, time.monotonic() + 10
        raise error

    with pytest.raises(type(error)):
        run(flow(), pair[0])
    pair[1].sendall(b"a")
    assert run(one_octet(pair[0]), pair[0]) == b"a"


def test_a_socket_that_is_closed_is_an_error_of_its_own_flow(
    runner: FlowRunner, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    closed = socket.socket()
    closed.close()
    with ThreadPoolExecutor(2) as threads:
        waiting = threads.submit(runner.run, one_octet(ours), ours)
        broken = threads.submit(runner.run, one_octet(closed), closed)
        with pytest.raises(ValueError, match="descriptor"):
            broken.result(10)
        theirs.sendall(b"a")
        assert waiting.result(10) == b"a"


def test_many_wait_side_by_side_in_one_thread(runner: FlowRunner) -> None:
    ran_in: set[threading.Thread] = set()

    def flow(sock: socket.socket) -> Flow[bytes]:
        ran_in.add(threading.current_thread())
        return (yield from one_octet(sock))

    with ExitStack() as sockets, ThreadPoolExecutor(20) as threads:
        pairs = [socket.socketpair() for _ in range(20)]
        for both in pairs:
            for one in both:
                sockets.enter_context(one)
        results = [threads.submit(runner.run, flow(ours), ours) for ours, _ in pairs]
        for number, (_, theirs) in reversed(list(enumerate(pairs))):
            theirs.sendall(bytes([number]))
        assert [result.result(10) for result in results] == [bytes([number]) for number in range(20)]
    assert len(ran_in) == 1


def test_what_came_while_another_flow_took_its_time_came_in_time(runner: FlowRunner) -> None:
    begun = threading.Event()

    def slow() -> Flow[str]:
        yield from ()
        assert begun.wait(10)
        theirs.sendall(b"a")
        time.sleep(0.6)  # longer than the other waits
        return "slow"

    def waiting() -> Flow[bytes]:
        begun.set()
        yield READ, time.monotonic() + 0.3
        return ours.recv(1)

    ours, theirs = socket.socketpair()
    mine, yours = socket.socketpair()
    with ours, theirs, mine, yours, ThreadPoolExecutor(2) as threads:
        first = threads.submit(runner.run, waiting(), ours)
        assert begun.wait(10)
        second = threads.submit(runner.run, slow(), mine)
        assert (first.result(10), second.result(10)) == (b"a", "slow")


def test_it_is_closed_twice_and_begins_anew(runner: FlowRunner, pair: tuple[socket.socket, socket.socket]) -> None:
    runner.close()
    for _ in range(2):
        pair[1].sendall(b"a")
        with ThreadPoolExecutor(1) as threads:
            assert threads.submit(runner.run, one_octet(pair[0]), pair[0]).result(10) == b"a"
        runner.close()
        runner.close()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    "missing", [(threading.Thread, "start", RuntimeError("no more threads")), (os, "pipe", OSError(24, "too many"))]
)
def test_without_a_thread_it_runs_where_it_is_asked_for(
    runner: FlowRunner, pair: tuple[socket.socket, socket.socket], missing: tuple[object, str, Exception]
) -> None:
    ours, theirs = pair
    theirs.sendall(b"a")
    with ThreadPoolExecutor(1) as threads:
        threads.submit(time.monotonic).result()  # its thread is there
        before = open_files()
        with mock.patch.object(missing[0], missing[1], side_effect=missing[2]):
            assert threads.submit(runner.run, one_octet(ours), ours).result(10) == b"a"
        assert open_files() == before


def test_nobody_waits_for_a_thread_that_is_no_more(
    runner: FlowRunner, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair

    def broken(*_: object) -> None:
        raise OSError("the selector is gone")

    with ThreadPoolExecutor(1) as threads:
        with mock.patch.object(FlowRunner, "_go_on", broken), pytest.raises(OSError, match="the selector is gone"):
            threads.submit(runner.run, one_octet(ours), ours).result(10)
        theirs.sendall(b"b")
        assert threads.submit(runner.run, one_octet(ours), ours).result(10) == b"b"


def test_a_wait_may_be_longer_than_a_poll(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"a")
    assert run_here(one_octet(ours, seconds=3e6), ours) == b"a"
    with mock.patch.object(smtp_flows, "_LONGEST_POLL", 0.01), pytest.raises(TimeoutError):
        run_here(one_octet(ours, seconds=0.05), ours)


def test_whose_file_was_closed_is_told_when_another_has_its_number(runner: FlowRunner) -> None:
    ours, theirs = socket.socketpair()
    waits = threading.Event()

    def waiting() -> Flow[None]:
        waits.set()
        yield READ, time.monotonic() + 60.0

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(runner.run, waiting(), ours)
        waits.wait(10)
        time.sleep(0.05)  # it is registered as soon as it waits
        ours.close()
        other, from_other = socket.socketpair()
        from_other.sendall(b"b")
        assert threads.submit(runner.run, one_octet(other), other).result(10) == b"b"
        with pytest.raises(OSError, match="Bad file descriptor"):
            first.result(10)
    for one in (theirs, other, from_other):
        one.close()
