"""The sums of runs that are over are kept, and right, whatever is reported, opened or pruned. On both databases."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from fresh_databases import ERASURE_KEY, empty_tables
from ledger_runs import (
    DEADLINE,
    NOW,
    S,
    all_of,
    claims,
    die,
    later,
    ledger_of,
    load,
    plan_of,
    planned,
    readers,
    report,
    send_all,
    states,
)

from newsletter.delivery.model import Accepted, Refused, Unknown
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import Balance, Claim, Report, Settlement, Sharing, Wish
from newsletter.delivery.states import DeliveryState, Mark, RunState
from newsletter.store import pruning
from newsletter.store.audience import SqlAudience
from newsletter.store.batch_ledger import SqlBatchLedger
from newsletter.store.engine import open_engine, reading, writing
from newsletter.store.ledger import SqlLedger
from newsletter.store.pruning import prune_runs
from newsletter.store.run_rows import balance_of
from newsletter.store.state_bytes import count_bytes
from newsletter.store.tables import batch, run

RUN = RunName("buzz", "2026-01-07")


@pytest.fixture
def ledger(database: sa.Engine, tmp_path: Path) -> SqlLedger:
    return ledger_of(database, tmp_path)


@pytest.fixture
def shared(_postgres_database: str, tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_engine(_postgres_database, tmp_path)
    empty_tables(engine)
    yield engine
    engine.dispose()


def is_summed(database: sa.Engine, run_id: int) -> bool:
    with reading(database) as connection:
        return bool(connection.scalar(sa.select(run.c.summed).where(run.c.id == run_id)))


def in_batches(database: sa.Engine, run_id: int) -> Balance:
    """What the batches say, where all are there."""
    counts: Counter[int] = Counter()
    with reading(database) as connection:
        for states_of, size in connection.execute(sa.select(batch.c.states, batch.c.size)).all():
            counts.update(count_bytes(states_of, size))
        number = connection.scalar(sa.select(run.c.planned).where(run.c.id == run_id))
    assert number is not None
    return balance_of(number, counts)


def finished(ledger: SqlLedger, store: SqlAudience, count: int = 8) -> int:
    """One of each batch of two is refused."""
    run_id = planned(store, ledger, count, size=2)
    handle = ledger.take(run_id, now=NOW)
    for claim in claims(handle, *[2] * (count // 2)):
        one, two = claim.members
        handle.exchange([Report(claim, {one.id: Refused("no", "550"), two.id: Accepted()})], [], now=NOW)
    assert handle.close(now=NOW).state is RunState.FINISHED
    return run_id


def test_a_run_that_is_over_is_shown_without_a_look_at_its_batches(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned(audience_store, ledger, 8, size=2)
    handle = ledger.take(run_id, now=NOW)
    assert not is_summed(database, run_id)
    send_all(handle)
    handle.close(now=NOW)
    before = ledger.balance(run_id)
    assert before == in_batches(database, run_id)
    assert is_summed(database, run_id)
    with writing(database) as connection:  # nobody looks
        connection.execute(sa.update(batch).values(states=b"\0"))
    assert ledger.balance(run_id) == before


@pytest.mark.parametrize("how", ["cancelled", "expired"])
def test_runs_that_end_otherwise_are_summed_too(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience, how: str
) -> None:
    run_id = planned(audience_store, ledger, 4, size=2)
    handle = ledger.take(run_id, now=NOW)
    [claim] = claims(handle, 2)
    if how == "cancelled":
        ledger.cancel(run_id, now=NOW)
        assert not is_summed(database, run_id), "calls are under way"
    handle.exchange([report(claim)], [], now=NOW)
    assert handle.close(now=NOW if how == "cancelled" else DEADLINE).state == how
    assert is_summed(database, run_id)
    assert ledger.balance(run_id) == in_batches(database, run_id)
    assert ledger.balance(run_id).balances


def test_what_is_reported_later_is_in_the_sums(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = finished(ledger, audience_store)
    everybody = [one.subscriber_id for one in ledger.deliveries(run_id, list(DeliveryState))]
    assert ledger.witness(RUN, dict.fromkeys(everybody, Mark.DELIVERED), now=NOW) == 8
    assert ledger.witness(RUN, dict.fromkeys(everybody[:3], Mark.BOUNCED), now=NOW) == 3
    assert ledger.witness(RUN, dict.fromkeys(everybody[:3], Mark.BOUNCED), now=NOW) == 0, "is no news twice"
    found = ledger.balance(run_id)
    assert found.marks == {Mark.DELIVERED: 8, Mark.BOUNCED: 3}
    assert found == in_batches(database, run_id)
    assert is_summed(database, run_id)


def test_what_several_report_at_once_is_in_the_sums(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = finished(ledger, audience_store, 40)
    everybody = [one.subscriber_id for one in ledger.deliveries(run_id, list(DeliveryState))]
    failed: list[BaseException] = []

    def witness(mark: Mark, number: int) -> None:
        try:
            for one in everybody[number::2]:
                ledger.witness(RUN, {one: mark}, now=NOW)
        except BaseException as error:  # noqa: BLE001 - it is looked at below
            failed.append(error)

    threads = [
        threading.Thread(target=witness, args=(mark, number))
        for mark in (Mark.DELIVERED, Mark.BOUNCED)
        for number in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert ledger.balance(run_id).marks == {Mark.DELIVERED: 40, Mark.BOUNCED: 40}
    assert ledger.balance(run_id) == in_batches(database, run_id)


def test_a_run_that_is_opened_again_is_counted_until_it_ends_again(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = finished(ledger, audience_store)
    before = ledger.balance(run_id)
    assert ledger.retry(run_id, [S.EXPIRED], later(900), now=NOW) == 0
    assert (is_summed(database, run_id), ledger.balance(run_id)) == (True, before)
    assert ledger.retry(run_id, [S.REJECTED], later(900), now=NOW) == 4
    assert (is_summed(database, run_id), ledger.balance(run_id).of(S.RETRY_WAIT)) == (False, 4)
    handle = ledger.take(run_id, now=NOW)
    send_all(handle)
    assert handle.close(now=NOW).state is RunState.FINISHED
    assert is_summed(database, run_id)
    assert ledger.balance(run_id).of(S.ACCEPTED) == 8
    assert ledger.balance(run_id) == in_batches(database, run_id)


def test_a_run_of_which_some_was_pruned_is_opened_and_ends_with_all_its_sums(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "_ROWS", 2)
    run_id = finished(ledger, audience_store)

    def some_are_gone() -> bool:
        with reading(database) as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(batch)) == 2

    prune_runs(database, runs_before=later(1), attempts_before=later(1), stop=some_are_gone)
    assert some_are_gone()
    assert ledger.balance(run_id).counts == {S.ACCEPTED: 4, S.REJECTED: 4}
    assert ledger.retry(run_id, [S.REJECTED], later(900), now=NOW) == 2
    assert ledger.balance(run_id).counts == {S.ACCEPTED: 4, S.REJECTED: 2, S.RETRY_WAIT: 2}
    handle = ledger.take(run_id, now=NOW)
    send_all(handle)
    handle.close(now=NOW)
    assert ledger.balance(run_id).counts == {S.ACCEPTED: 6, S.REJECTED: 2}


def test_a_report_that_comes_after_the_end_is_in_the_sums(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned(audience_store, ledger, 4, size=2)
    old = ledger.take(run_id, now=NOW)
    [claim] = claims(old, 2)
    die(old)
    new = ledger.take(run_id, now=later(100))
    send_all(new, now=later(100))
    assert new.close(now=later(100)).state is RunState.HELD
    assert ledger.settle(run_id, Settlement.ABANDON, now=later(100)) == 2
    assert ledger.balance(run_id).counts == {S.ACCEPTED: 2, S.ABANDONED: 2}
    old._evidence([report(claim)], later(101))
    assert ledger.balance(run_id).counts == {S.ACCEPTED: 4}
    assert ledger.balance(run_id) == in_batches(database, run_id)


def test_a_worker_that_says_more_of_a_call_after_the_end_has_it_in_the_sums(shared: sa.Engine, tmp_path: Path) -> None:
    load(SqlAudience(shared, ERASURE_KEY), readers(2))
    ledger = ledger_of(shared, tmp_path)
    run_id = ledger.plan(replace(plan_of(), shared=Sharing("1.0", "abc")), now=NOW).run_id
    there = ledger.run(RUN)
    assert there is not None
    taken = ledger.take_batch(there.uid, 1, now=NOW)
    assert isinstance(taken, SqlBatchLedger)
    [claim] = taken.exchange([], [Wish(2)], now=NOW).claims
    assert isinstance(claim, Claim)
    taken.exchange([Report(claim, all_of(claim, Unknown("no answer")))], [], now=NOW)
    ledger.tend(now=NOW)  # it ends, as far as anybody sees
    assert ledger.settle(run_id, Settlement.ABANDON, now=NOW) == 2
    assert is_summed(shared, run_id)
    taken.exchange([report(claim)], [], now=NOW)
    assert ledger.balance(run_id).counts == {S.ACCEPTED: 2}
    assert ledger.balance(run_id) == in_batches(shared, run_id)
    taken.close(now=NOW)
    assert states(ledger, run_id) == {S.ACCEPTED: 2}
