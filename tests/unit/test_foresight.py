"""A look ahead holds over its own connection alone: counts of two connections mean nothing to each other."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from newsletter.store import foresight
from newsletter.store.foresight import Foresight

NOW = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
KNOWN: Any = {1: "a member"}


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Foresight, Any, Any]]:
    """What looked ahead, the connection over which it did, and another, whose counts are the same."""
    own: Any
    other: Any
    own, other = (
        SimpleNamespace(connection=SimpleNamespace(driver_connection=sqlite3.connect(":memory:"))) for _ in range(2)
    )

    @contextmanager
    def asking(_engine: sa.Engine) -> Iterator[Any]:
        yield own

    monkeypatch.setattr(foresight, "asking", asking)
    eligible: Any = SimpleNamespace(ask=lambda *_: "said", read=lambda answer: KNOWN if answer == "said" else {})
    made = Foresight(sa.create_engine("sqlite://"), eligible)
    made.known(own)
    made.look_for(own, range(1_000))
    made.look(now=NOW)
    yield made, own, other
    for one in (own, other):
        one.connection.driver_connection.close()


def test_over_the_same_connection_it_is_known_once(looked: tuple[Foresight, Any, Any]) -> None:
    made, own, _ = looked
    assert made.known(own) == KNOWN
    assert made.known(own) == {}


def test_over_another_connection_nothing_is_known(looked: tuple[Foresight, Any, Any]) -> None:
    made, own, other = looked
    assert made.known(other) == {}
    assert made.known(own) == {}


def test_for_few_nobody_looks_ahead(looked: tuple[Foresight, Any, Any]) -> None:
    made, _, _ = looked
    assert made.worth_it(500)
    assert not made.worth_it(499)
