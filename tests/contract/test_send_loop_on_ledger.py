"""The send loop on a ledger that is kept: what is out of the process's hands stands in the database. On both databases,
in simulated time."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa
from ledger_runs import DEADLINE, S, later, ledger_of, load, plan, planned, readers, states
from send_simulation import (
    LETTERHEAD,
    TERMS,
    Listening,
    ScriptedProvider,
    SimulatedClock,
    accept,
    recipient,
    rendered,
    same,
)

from newsletter.audience.people import SuppressionReason
from newsletter.delivery.model import Accepted, Batch, Busy, Limits, Outcome, Receipt, Refused, Unknown
from newsletter.delivery.provider import Blame, CallRefused
from newsletter.delivery.run_values import Halt
from newsletter.delivery.send import Limiter, SendResult, SendTerms, send_run
from newsletter.delivery.states import RunState
from newsletter.store.audience import SqlAudience
from newsletter.store.ledger import SqlLedger

MANY_AT_ONCE = replace(TERMS, concurrency=4, batch_size=50, window=7, deadline=DEADLINE, failure_rate=0.5)
WINDOWS = Limits(recipients_per_call=1_000, one_message_at_a_time=True)


@pytest.fixture
def ledger(database: sa.Engine, tmp_path: Path) -> SqlLedger:
    return ledger_of(database, tmp_path)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


def send(
    ledger: SqlLedger,
    run_id: int,
    provider: ScriptedProvider,
    clock: SimulatedClock,
    *,
    terms: SendTerms = MANY_AT_ONCE,
    stop: threading.Event | None = None,
    limit: int | None = None,
) -> SendResult:
    return send_run(
        ledger.take(run_id, limit=limit, now=clock.now()),
        provider,
        recipients_of=lambda members: list(map(recipient, members)),
        rendered=rendered,
        letterhead=LETTERHEAD,
        terms=terms,
        limiter=Limiter(None, {"example.com": 100.0} if limit else {}, clock),
        clock=clock,
        stop=stop or threading.Event(),
        observer=Listening(),
        jitter=Random(7),
    )


@pytest.mark.parametrize("limits", [Limits(recipients_per_call=1_000), WINDOWS], ids=["batches", "windows"])
def test_whatever_the_provider_answers_everybody_ends_in_the_state_that_was_told_last(
    ledger: SqlLedger, audience_store: SqlAudience, clock: SimulatedClock, limits: Limits
) -> None:
    run_id = planned(audience_store, ledger, 400, size=50)
    random, lock, told = Random(3), threading.Lock(), dict[str, Outcome]()
    spoiling = {"7", "8", "211"}
    rare: list[Outcome] = [Refused("no such user"), Busy("later"), Busy("soon", 9.0), Unknown("?")]
    kinds: list[Outcome] = [*rare, *[Accepted("r")] * 40]

    def answer(batch: Batch) -> Receipt:
        names = [one.id for one in batch.recipients]
        with lock:
            assert not [one for one in names if isinstance(told.get(one), Accepted | Refused | Unknown)]
            if spoiling & set(names):
                told.update((one, Refused("x") if len(names) == 1 else Busy("x")) for one in names)
                raise CallRefused(Blame.RECIPIENTS, "one of them is no address", "400")
            outcomes = {one: random.choice(kinds) for one in names}
            told.update(outcomes)
            return Receipt(outcomes)

    provider = ScriptedProvider(answer, limits=limits, clock=clock, seconds=0.3)
    result = send(ledger, run_id, provider, clock)
    assert result.halt is Halt.DONE
    assert result.run.state is RunState.HELD
    want = Counter({Accepted: S.ACCEPTED, Refused: S.REJECTED, Unknown: S.UNKNOWN}[type(one)] for one in told.values())
    assert states(ledger, run_id) == dict(want)
    assert {one.subscriber_id for one in ledger.deliveries(run_id, [S.UNKNOWN])} == {
        int(one) for one, outcome in told.items() if isinstance(outcome, Unknown)
    }
    assert result.balance.balances
    assert provider.most_at_once > 1


def test_a_run_that_was_stopped_goes_on_with_the_others(
    ledger: SqlLedger, audience_store: SqlAudience, clock: SimulatedClock
) -> None:
    run_id = planned(audience_store, ledger, 400, size=50)
    stop = threading.Event()

    def answer(batch: Batch) -> Receipt:
        if len(provider.calls) == 20:
            stop.set()
        return accept(batch)

    provider = ScriptedProvider(answer, limits=WINDOWS, clock=clock, seconds=1.0)
    first = send(ledger, run_id, provider, clock, stop=stop)
    assert first.interrupted
    assert (first.run.state, first.run.sender) == (RunState.SENDING, "")
    assert 0 < first.balance.of(S.PLANNED) < 400
    assert send(ledger, run_id, provider, clock).run.state is RunState.FINISHED
    assert provider.times_called == Counter(range(1, 401))
    assert states(ledger, run_id) == {S.ACCEPTED: 400}


def test_a_limit_pauses_it_and_the_rest_goes_later(
    ledger: SqlLedger, audience_store: SqlAudience, clock: SimulatedClock
) -> None:
    run_id = planned(audience_store, ledger, 300, size=50)
    provider = ScriptedProvider(clock=clock, seconds=1.0)
    first = send(ledger, run_id, provider, clock, limit=123)
    assert first.halt is Halt.PAUSED
    assert states(ledger, run_id) == {S.ACCEPTED: 123, S.PLANNED: 177}
    send(ledger, run_id, provider, clock)
    assert states(ledger, run_id) == {S.ACCEPTED: 300}
    assert set(provider.times_called.values()) == {1}


def test_somebody_else_pauses_it_and_who_leaves_meanwhile_gets_nothing(
    ledger: SqlLedger, audience_store: SqlAudience, clock: SimulatedClock
) -> None:
    run_id = planned(audience_store, ledger, 200, size=50)
    everybody = {f"reader{number:05}@example.com" for number in range(200)}
    left: set[str] = set()

    def answer(batch: Batch) -> Receipt:
        if len(provider.calls) == 8:
            ledger.pause(run_id, "by hand", now=clock.now())
            called = {one.address for call in provider.batches for one in call.recipients}
            left.update(sorted(everybody - called)[-2:])
            for key in left:
                audience_store.suppress(key, SuppressionReason.MANUAL, None, source="test", now=clock.now())
        return accept(batch)

    provider = ScriptedProvider(answer, limits=WINDOWS, clock=clock, seconds=1.0)
    first = send(ledger, run_id, provider, clock)
    assert (first.halt, first.run.state, first.run.reason) == (Halt.PAUSED, RunState.PAUSED, "by hand")
    assert first.balance.of(S.IN_FLIGHT) == 0
    send(ledger, run_id, provider, clock)
    called = Counter(one.address for call in provider.batches for one in call.recipients)
    assert called == Counter(everybody - left)
    assert states(ledger, run_id) == {S.ACCEPTED: 198, S.SUPPRESSED: 2}


def test_two_lost_answers_pause_it_with_the_reason_and_nobody_is_called_again(
    ledger: SqlLedger, audience_store: SqlAudience, clock: SimulatedClock
) -> None:
    run_id = planned(audience_store, ledger, 400, size=50)
    provider = ScriptedProvider(lambda batch: same(batch, Unknown("read timed out")), clock=clock, seconds=1.0)
    result = send(ledger, run_id, provider, clock)
    assert result.run.state is RunState.PAUSED
    assert "read timed out" in result.run.reason
    lost = len(provider.times_called)
    assert 100 <= lost <= 250  # the four that were out, and the one that was begun after the first of them
    provider = ScriptedProvider(clock=clock)
    assert send(ledger, run_id, provider, clock).run.state is RunState.HELD
    assert states(ledger, run_id) == {S.UNKNOWN: lost, S.ACCEPTED: 400 - lost}


def test_the_deadline_expires_what_is_left(
    ledger: SqlLedger, audience_store: SqlAudience, clock: SimulatedClock
) -> None:
    load(audience_store, readers(100))
    deadline = later(60)
    run_id = plan(ledger, size=50, deadline=deadline).run_id
    busy = ScriptedProvider(lambda batch: same(batch, Busy("tomorrow", 30.0)), clock=clock, seconds=1.0)
    result = send(ledger, run_id, busy, clock, terms=replace(MANY_AT_ONCE, deadline=deadline))
    assert result.halt in {Halt.DEADLINE, Halt.DONE}
    assert result.run.state is RunState.EXPIRED
    assert states(ledger, run_id) == {S.EXPIRED: 100}
    assert len(busy.calls) == 4
