"""Runs to try a ledger with: an audience, a plan, reports of every kind, and processes that die."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from newsletter.audience.model import Subscriber
from newsletter.audience.people import Frozen, ImportTerms, Selection
from newsletter.delivery.model import Accepted, Outcome
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import Claim, Exchange, Report, RunPlan, Window, Wish
from newsletter.delivery.states import DeliveryState
from newsletter.store.audience import SqlAudience
from newsletter.store.ledger import SqlLedger
from newsletter.store.run_ledger import SqlRunLedger

NOW = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
TODAY = dt.date(2026, 1, 7)
DEADLINE = NOW + dt.timedelta(hours=6)
DAILY = Selection(lists=("daily",))
S = DeliveryState


def later(seconds: float) -> dt.datetime:
    return NOW + dt.timedelta(seconds=seconds)


def ledger_of(database: sa.Engine, folder: Path) -> SqlLedger:
    return SqlLedger(database, locks=folder / "locks", journal=folder / "journal.ndjson")


def people(names: Iterable[str], *, agreed: bool = True) -> list[Subscriber]:
    at = NOW if agreed else None
    return [Subscriber(f"{name}@example.com", f"{name}@example.com", lists=("daily",), consent_at=at) for name in names]


def readers(count: int, first: int = 0) -> list[Subscriber]:
    return people(f"reader{number:05}" for number in range(first, first + count))


def in_zones(rows: Sequence[Subscriber], *zones: str) -> list[Subscriber]:
    """The first lives in the first of the zones, the next in the next, and so on round."""
    return [replace(row, timezone=zone) for row, zone in zip(rows, cycle(zones), strict=False)]


def windows(**hours: tuple[float, float]) -> Callable[[str], Window]:
    """A `RunPlan.window_of`: for each zone from when until when, in hours after NOW; other zones are as `home`."""

    def window_of(zone: str) -> Window:
        opens, ends = hours.get(zone, hours["home"])
        return Window(later(3600 * opens), later(3600 * ends))

    return window_of


def load(store: SqlAudience, rows: Sequence[Subscriber]) -> None:
    store.import_rows(rows, ImportTerms(into="daily", source="test"), now=NOW)


def plan_of(
    day: dt.date = TODAY,
    edition: str = "",
    *,
    size: int = 2,
    selection: Selection = DAILY,
    deadline: dt.datetime = DEADLINE,
    expected: int | None = None,
    window_of: Callable[[str], Window] | None = None,
) -> RunPlan:
    slot = f"{day}.{edition}" if edition else str(day)
    return RunPlan(
        name=RunName("buzz", slot),
        issue_date=day,
        edition=edition,
        selection=selection,
        content_hash="c0ffee",
        subject="Morning",
        provider="disk",
        batch_size=size,
        deadline=deadline,
        expected=expected,
        window_of=window_of,
    )


def plan(ledger: SqlLedger, day: dt.date = TODAY, edition: str = "", *, size: int = 2, **rest: Any) -> Frozen:
    return ledger.plan(plan_of(day, edition, size=size, **rest), now=NOW)


def planned(store: SqlAudience, ledger: SqlLedger, count: int, *, size: int) -> int:
    """A run of so many; its number."""
    load(store, readers(count))
    return plan(ledger, size=size).run_id


def claims(handle: SqlRunLedger, *sizes: int, now: dt.datetime = NOW) -> list[Claim]:
    """Claims for wishes of these sizes, all of which must be granted."""
    exchange = handle.exchange([], [Wish(size) for size in sizes], now=now)
    granted = [claim for claim in exchange.claims if claim is not None]
    assert len(granted) == len(sizes), exchange
    return granted


def all_of(claim: Claim, outcome: Outcome) -> Mapping[int, Outcome]:
    return {member.id: outcome for member in claim.members}


def report(claim: Claim, outcome: Outcome | None = None, **rest: Any) -> Report:
    return Report(claim, all_of(claim, outcome or Accepted()), **rest)


def send_all(handle: SqlRunLedger, size: int = 1_000, *, now: dt.datetime = NOW) -> Exchange:
    """Everything is accepted, until the ledger gives no more."""
    reports: list[Report] = []
    while True:
        exchange = handle.exchange(reports, [Wish(size)], now=now)
        if exchange.claims == (None,):
            return exchange
        reports = [report(claim) for claim in exchange.claims if claim is not None]


def die(handle: SqlRunLedger) -> None:
    """The process ends without a word: the system lets go of its lock."""
    handle._sender.lock.drop()


def states(ledger: SqlLedger, run_id: int) -> dict[DeliveryState, int]:
    return {state: number for state, number in ledger.balance(run_id).counts.items() if number}


def ids(claim: Claim) -> list[int]:
    return [member.id for member in claim.members]
