"""Deliveries, runs and suppressions are read on from where a part of them ended. On both databases."""

from __future__ import annotations

import datetime as dt
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pytest
import sqlalchemy as sa
from ledger_runs import NOW, TODAY, S, claims, in_zones, ledger_of, load, plan, readers, report, windows

from newsletter.audience.people import LiftedBy, SuppressionReason
from newsletter.delivery.model import Refused
from newsletter.store.audience import SqlAudience

_Item = TypeVar("_Item")


def first(count: int, items: Iterator[_Item]) -> list[_Item]:
    """So many, and no more is read."""
    assert isinstance(items, Generator)
    with closing(items):
        return list(islice(items, count))


@pytest.mark.parametrize("zones", [(), ("home", "east", "west")])
@pytest.mark.parametrize("limit", [1, 3, 7])
def test_deliveries_go_on_behind_any_subscriber_of_batches_and_windows(
    audience_store: SqlAudience, database: sa.Engine, tmp_path: Path, zones: tuple[str, ...], limit: int
) -> None:
    ledger = ledger_of(database, tmp_path)
    load(audience_store, in_zones(readers(20), *zones) if zones else readers(20))
    mornings = windows(east=(-2, 2), home=(0, 4), west=(3, 6)) if zones else None
    run_id = plan(ledger, size=3, window_of=mornings).run_id
    handle = ledger.take(run_id, now=NOW)
    [claim] = claims(handle, 3)
    handle.exchange([report(claim, Refused("550 no such user"))], [], now=NOW)
    handle.close(now=NOW)
    for states in (tuple(S), (S.PLANNED,), (S.REJECTED,)):
        whole = list(ledger.deliveries(run_id, states))
        assert [one.subscriber_id for one in whole] == sorted(one.subscriber_id for one in whole)
        found, after = [], 0
        while part := first(limit, ledger.deliveries(run_id, states, after=after)):
            found += part
            after = part[-1].subscriber_id
        assert found == whole
    assert len(list(ledger.deliveries(run_id, (S.REJECTED,)))) == 3


def test_runs_go_on_before_any_run(audience_store: SqlAudience, database: sa.Engine, tmp_path: Path) -> None:
    ledger = ledger_of(database, tmp_path)
    load(audience_store, readers(2))
    for day in range(5):
        plan(ledger, TODAY + dt.timedelta(days=day))
    whole = ledger.runs()
    assert len(whole) == 5
    found = list(ledger.runs("buzz", limit=2))
    while part := ledger.runs("buzz", limit=2, before=found[-1].id):
        found += part
    assert found == list(whole)
    assert ledger.runs("weekly", before=found[0].id) == []


def test_suppressions_go_on_behind_any_number_with_their_lifts(audience_store: SqlAudience) -> None:
    load(audience_store, readers(6))
    for number in range(6):
        key = f"reader{number:05}@example.com"
        audience_store.suppress(key, SuppressionReason.MANUAL, None, source="test", now=NOW)
        for name in ("daily", "weekly"):
            audience_store.lift(key, name, by=LiftedBy.OPERATOR, note="test", now=NOW)
    audience_store.lift("reader00002@example.com", None, by=LiftedBy.OPERATOR, note="test", now=NOW)
    for standing_only, count in ((True, 5), (False, 6)):
        whole = list(audience_store.suppressions(standing_only=standing_only))
        assert len(whole) == count
        found, after = [], 0
        while part := first(2, audience_store.suppressions(standing_only=standing_only, after=after)):
            found += part
            after = part[-1].id
        assert found == whole
