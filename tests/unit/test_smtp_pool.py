"""Connections are shared by threads: one thread has each at a time, however many the server takes."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from newsletter.providers import smtp_pool
from newsletter.providers.smtp_connection import SmtpConnection
from newsletter.providers.smtp_handshake import ServerAway
from newsletter.providers.smtp_pool import ConnectionPool


class Fake:
    def __init__(self, server: Server) -> None:
        self.finished = False
        self.closed = False
        self._server = server

    def idle(self) -> float:
        return 0.0

    def ready(self, _unasked: float) -> bool:
        return not self.finished

    def say_goodbye(self) -> None:
        """Nothing."""

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            with self._server.lock:
                self._server.standing -= 1


class Server:
    """It takes so many connections at a time."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.standing = self.most_standing = self.refused = 0
        self.lock = threading.Lock()

    def connect(self) -> SmtpConnection:
        time.sleep(0.002)
        with self.lock:
            if self.standing >= self.most:
                self.refused += 1
                raise ServerAway("421 too many connections")
            self.standing += 1
            self.most_standing = max(self.most_standing, self.standing)
        return cast(SmtpConnection, Fake(self))


def use(pool: ConnectionPool, times: int, *, finish_every: int = 0) -> int:
    for number in range(1, times + 1):
        connection = pool.take(fresh=number % 7 == 0)
        time.sleep(0.001)
        if finish_every and number % finish_every == 0:
            connection.finished = True
        pool.give_back(connection)
    return times


@pytest.mark.parametrize("most", [1, 2, 5, 100])
@pytest.mark.parametrize("finish_every", [0, 3])
def test_threads_share_what_the_server_takes(most: int, finish_every: int) -> None:
    server = Server(most)
    pool = ConnectionPool(server.connect)
    with ThreadPoolExecutor(12) as threads:
        used = list(threads.map(lambda _: use(pool, 25, finish_every=finish_every), range(12)))
    assert used == [25] * 12
    assert server.most_standing <= most
    pool.close()
    assert server.standing == 0


def test_it_asks_for_no_more_than_it_was_given_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp_pool, "ASK_AGAIN", 0.2)
    monkeypatch.setattr(smtp_pool, "_LOOK_EVERY", 0.02)
    server = Server(1)
    pool = ConnectionPool(server.connect)
    with ThreadPoolExecutor(8) as threads:
        end = time.monotonic() + 0.7
        before_it_takes_more = [threads.submit(lambda: use_until(pool, end)) for _ in range(8)]
        assert sum(done.result(10) for done in before_it_takes_more) > 8
        assert 2 <= server.refused <= 8 + 6 + 8
        server.most = 8
        later = time.monotonic() + 1.0
        assert all(done.result(10) for done in [threads.submit(lambda: use_until(pool, later)) for _ in range(8)])
    assert server.most_standing == 8


def use_until(pool: ConnectionPool, end: float) -> int:
    times = 0
    while time.monotonic() < end:
        times += use(pool, 1)
    return times


def test_where_no_thread_has_one_everybody_is_told() -> None:
    server = Server(0)
    pool = ConnectionPool(server.connect)

    def words(_: int) -> str:
        with pytest.raises(ServerAway) as away:
            pool.take()
        return str(away.value)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(words, range(8))) == ["421 too many connections"] * 8
    assert server.refused == 8


def test_where_the_last_is_lost_those_who_wait_are_told() -> None:
    server = Server(1)
    pool = ConnectionPool(server.connect)
    only = pool.take()
    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(pool.take) for _ in range(4)]
        time.sleep(0.1)
        assert not any(one.done() for one in waiting)
        server.most = 0
        only.finished = True
        pool.give_back(only)
        for one in waiting:
            with pytest.raises(ServerAway, match="too many"):
                one.result(10)


def test_a_connection_that_just_ended_may_still_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp_pool, "SOON", 0.05)
    server = Server(1)
    pool = ConnectionPool(server.connect)
    first = pool.take()
    server.most = 0  # it takes a while to notice
    first.finished = True
    pool.give_back(first)
    threading.Timer(0.3, lambda: setattr(server, "most", 1)).start()
    began = time.monotonic()
    pool.give_back(pool.take())
    assert time.monotonic() - began >= 0.25
    assert 2 <= server.refused <= 8


def test_nobody_waits_for_ever() -> None:
    pool = ConnectionPool(Server(1).connect, patience=0.2)
    pool.take()
    with pytest.raises(ServerAway, match="421"):
        pool.take()
    with pytest.raises(ServerAway, match="no connection became free in time"):
        pool.take()


def test_an_error_of_another_kind_is_told_at_once_and_counts_for_nothing() -> None:
    def broken() -> SmtpConnection:
        raise KeyError("a mistake")

    pool = ConnectionPool(broken)
    for _ in range(3):
        with pytest.raises(KeyError):
            pool.take()
    server = Server(1)
    pool._connect = server.connect
    pool.give_back(pool.take())
