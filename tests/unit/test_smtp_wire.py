"""What is read from a connection without waiting for it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from newsletter.providers.smtp_dialogue import ReplyReader
from newsletter.providers.smtp_wire import Lost, Waits, Wire


@pytest.fixture
def pair() -> Iterator[tuple[Wire, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Wire(ours, ReplyReader(), Waits(5.0, 5.0)), theirs


def test_where_nothing_is_there_after_all_the_connection_is_not_lost(pair: tuple[Wire, socket.socket]) -> None:
    """The system may say that there is something to read where there is not (select(2), under BUGS)."""
    wire, theirs = pair
    assert not wire.all_well()
    theirs.sendall(b"250 taken\r\n250 ok\r\n250 ok\r\n354 go on\r\n")
    assert wire.all_well()
    assert wire.silent


def test_a_server_that_closed_the_connection_has_answered_nothing(pair: tuple[Wire, socket.socket]) -> None:
    wire, theirs = pair
    theirs.close()
    with pytest.raises(Lost, match="closed the connection"):
        wire.all_well()
