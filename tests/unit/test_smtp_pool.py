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
from newsletter.providers.smtp_pool import ConnectionPool, Crowded


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
    server = Server(1)
    pool = ConnectionPool(server.connect, patience=0.2)
    first = pool.take()
    for _ in range(2):
        with pytest.raises(Crowded, match="became free within"):
            pool.take()
    assert server.refused == 1
    pool.give_back(first)
    assert pool.take() is first


def test_threads_that_are_turned_away_late_do_not_keep_each_other_waiting() -> None:
    asked: list[float] = []

    def connect() -> SmtpConnection:
        asked.append(time.monotonic())
        time.sleep(0.3)
        raise ServerAway("no connection within 0.3 s")

    pool = ConnectionPool(connect, patience=0.35)

    def wait(number: int) -> float:
        time.sleep(number * 0.1)
        began = time.monotonic()
        with pytest.raises(ServerAway, match="within"):
            pool.take()
        return time.monotonic() - began

    with ThreadPoolExecutor(4) as threads:
        assert max(threads.map(wait, range(4))) < 1.0
    assert len(asked) == 4


def test_whoever_was_turned_away_gets_the_place_of_one_that_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp_pool, "SOON", 0.05)
    server = Server(1)
    pool = ConnectionPool(server.connect)
    first = pool.take()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(pool.take)
        time.sleep(0.2)
        assert server.refused == 1
        first.finished = True
        pool.give_back(first)
        pool.give_back(waiting.result(2))


def test_idle_connections_count_as_the_servers_do() -> None:
    server = Server(2)
    pool = ConnectionPool(server.connect, patience=0.1)
    first, second = pool.take(), pool.take()
    pool.give_back(first)
    assert pool.take(fresh=True) is first  # a third was wished for
    assert server.refused == 1
    first.finished = True
    pool.give_back(first)
    pool.give_back(pool.take())
    pool.give_back(second)


@pytest.mark.parametrize("where", ["ready", "say_goodbye", "connect"])
def test_after_an_error_of_another_kind_nothing_is_thought_to_be_in_use(where: str) -> None:
    class Broken(Fake):
        def ready(self, _unasked: float) -> bool:
            raise KeyboardInterrupt if where == "ready" else KeyError

        def say_goodbye(self) -> None:
            if where == "say_goodbye":
                raise KeyError

        def abort(self) -> None:
            self.finished = True
            self.close()

    server = Server(1)
    pool = ConnectionPool(server.connect, patience=0.1)
    pool._room = 1

    def connect() -> SmtpConnection:
        if where == "connect":
            raise KeyError("a mistake")
        return cast(SmtpConnection, Broken(server))

    pool._connect = connect

    def use_it() -> None:
        first = pool.take()
        first.finished = where == "say_goodbye"
        pool.give_back(first)
        pool.take()

    with pytest.raises((KeyError, KeyboardInterrupt)):
        use_it()
    pool._connect = server.connect
    server.standing = 0
    pool.give_back(pool.take())
    assert (pool._out, pool._opening) == (0, 0)
