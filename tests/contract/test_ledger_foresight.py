"""What is read ahead of a claim counts only while nothing was written: on both databases, of which one reads ahead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa
from fresh_databases import ERASURE_KEY
from ledger_runs import NOW, claims, later, ledger_of, load, people, plan, report

from newsletter.audience.people import SuppressionReason
from newsletter.delivery.run_values import Wish
from newsletter.errors import OutputError
from newsletter.store import foresight
from newsletter.store.audience import SqlAudience
from newsletter.store.eligible import Answer, Eligible
from newsletter.store.engine import open_engine, reading
from newsletter.store.run_ledger import SqlRunLedger

#: In the order of their ids; the first two are claimed before somebody looks ahead.
EVERYBODY = ("abe", "ada", "ana", "ben", "cid", "dan", "eve")


@pytest.fixture
def handle(
    database: sa.Engine, audience_store: SqlAudience, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> SqlRunLedger:
    """A run in windows of two, of which the first is out and the second was looked at."""
    monkeypatch.setattr(foresight, "_WORTH_IT", 1)
    for name in EVERYBODY:  # of one import PostgreSQL numbers the people as it likes
        load(audience_store, people([name]))
    ledger = ledger_of(database, tmp_path)
    taken = ledger.take(plan(ledger, size=3).run_id, now=NOW)
    assert names(taken, 2) == ["abe", "ada"]
    taken.look_ahead(now=NOW)
    return taken


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by how many are asked about, with each question to the database."""
    numbers: list[int] = []
    ask = Eligible.ask

    def noted(self: Eligible, connection: sa.Connection, ids: Sequence[int], now: int) -> Answer:
        numbers.append(len(ids))
        return ask(self, connection, ids, now)

    monkeypatch.setattr(Eligible, "ask", noted)
    return numbers


def names(handle: SqlRunLedger, *sizes: int) -> list[str]:
    return [member.key[:3] for claim in claims(handle, *sizes) for member in claim.members]


def test_what_was_read_ahead_is_not_asked_again(handle: SqlRunLedger, asked: list[int], database: sa.Engine) -> None:
    assert names(handle, 2) == ["ana"]
    assert asked == ([] if database.dialect.name == "sqlite" else [1])
    handle.look_ahead(now=NOW)
    del asked[:]
    assert names(handle, 2, 2) == ["ben", "cid", "dan"]
    # one was looked for, as many as were claimed before
    assert sum(asked) == (2 if database.dialect.name == "sqlite" else 3)


LEAVING: dict[str, Callable[[SqlAudience], object]] = {
    "unsubscribe": lambda store: store.unsubscribe("ana@example.com", "daily", source="link", now=NOW),
    "suppress": lambda store: store.suppress(
        "ana@example.com", SuppressionReason.COMPLAINT, None, source="events", now=NOW
    ),
    "erase": lambda store: store.erase("ana@example.com", source="cli", now=NOW),
    "pause": lambda store: store.pause(store.person("ana@example.com").id, later(3600)),  # type: ignore[union-attr, arg-type]  # she is there
}


@pytest.mark.parametrize("way", LEAVING)
@pytest.mark.parametrize("elsewhere", [False, True], ids=["over the same connection", "over another"])
def test_who_leaves_after_the_look_is_not_mailed(
    handle: SqlRunLedger, database: sa.Engine, audience_store: SqlAudience, way: str, elsewhere: bool, tmp_path: Path
) -> None:
    if elsewhere:
        other = open_engine(database.url.render_as_string(hide_password=False), tmp_path)
        LEAVING[way](SqlAudience(other, ERASURE_KEY))
        other.dispose()
    else:
        LEAVING[way](audience_store)
    assert names(handle, 2, 2) == ["ben", "cid", "dan"]


def test_nobody_looks_ahead_over_another_connection(
    handle: SqlRunLedger, database: sa.Engine, asked: list[int]
) -> None:
    assert names(handle, 1) == ["ana"]
    del asked[:]
    with reading(database):  # it has the connection of the exchange now
        handle.look_ahead(now=NOW)
    assert asked == []


def test_it_is_of_use_also_where_others_read_meanwhile(
    handle: SqlRunLedger, database: sa.Engine, asked: list[int]
) -> None:
    with reading(database), reading(database):  # from here on there are several connections
        pass
    assert names(handle, 1) == ["ana"]
    handle.look_ahead(now=NOW)
    del asked[:]
    assert names(handle, 1) == ["ben"]
    assert asked == ([] if database.dialect.name == "sqlite" else [1])


def test_a_pause_that_ended_after_the_look_keeps_nobody_out(handle: SqlRunLedger, audience_store: SqlAudience) -> None:
    ben = audience_store.person("ben@example.com")
    assert ben
    assert ben.id
    audience_store.pause(ben.id, later(60))
    assert names(handle, 1) == ["ana"]
    handle.look_ahead(now=NOW)
    exchange = handle.exchange([], [Wish(3)], now=later(61))
    assert [member.key[:3] for claim in exchange.claims if claim for member in claim.members] == ["ben", "cid", "dan"]


def test_what_somebody_changed_of_themselves_is_in_the_mail(handle: SqlRunLedger, audience_store: SqlAudience) -> None:
    [row] = people(["ana"])
    load(audience_store, [type(row)(row.key, row.address, name="Ana Maria")])
    [claim] = claims(handle, 2)
    assert [member.name for member in claim.members] == ["Ana Maria"]


def test_a_database_that_cannot_be_read_ahead_is_told_by_the_exchange(
    handle: SqlRunLedger, database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = iter([sa.exc.OperationalError("", {}, Exception("locking protocol")), OutputError("the disk is full")])

    def full(*_: object) -> Answer:
        raise next(errors)

    [claim] = claims(handle, 1)
    with monkeypatch.context() as broken:
        broken.setattr(Eligible, "ask", full)
        for _ in range(2 if database.dialect.name == "sqlite" else 0):
            handle.look_ahead(now=NOW)
        errors = iter([OutputError("the disk is full")])
        with pytest.raises(OutputError, match="the disk is full"):
            handle.exchange([report(claim)], [Wish(2)], now=NOW)
    exchange = handle.exchange([report(claim)], [Wish(2)], now=NOW)
    assert [member.key[:3] for one in exchange.claims if one for member in one.members] == ["ben", "cid"]
