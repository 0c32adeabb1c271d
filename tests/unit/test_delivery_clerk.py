"""The clerk: one exchange for all threads, the hold on the run renewed, and a database that goes away."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from send_simulation import START, TERMS, ScriptedProvider, Simulation, accept

from newsletter.delivery import clerk, company
from newsletter.delivery.clock import SystemClock
from newsletter.delivery.ledger import RunLost
from newsletter.delivery.model import Batch, Receipt
from newsletter.delivery.observing import Unobserved
from newsletter.delivery.run_values import Wish
from newsletter.delivery.send import UnbalancedReceipt
from newsletter.delivery.states import DeliveryState, RunState
from newsletter.errors import OutputError, TemporaryError


class _At(SystemClock):
    """Its dates stand still; its seconds, and waiting, are real."""

    def __init__(self, moment: dt.datetime) -> None:
        self._moment = moment

    def now(self) -> dt.datetime:
        return self._moment


def clerk_of(run: Simulation, threads: int) -> clerk.Clerk:
    """A clerk of the run, with so many threads at work."""
    made = clerk.Clerk(
        run.ledger,
        deadline=TERMS.deadline,
        tripped=lambda _: "",
        clock=_At(START),
        stop=run.stop,
        observer=Unobserved(),
    )
    for _ in range(threads):
        made.enter()
    return made


AWAY = TemporaryError("the connection was lost")
FULL = OutputError("the disk is full")


def simulation(concurrency: int, count: int, **changes: float) -> Simulation:
    return Simulation(count, replace(TERMS, concurrency=concurrency), **changes)  # type: ignore[arg-type] # by name


def failing(run: Simulation, error: Exception, start: float, end: float) -> Callable[..., None]:
    """Raises `error` in every exchange between two simulated moments, in seconds."""

    def before(*_: object) -> None:
        if start <= run.clock.monotonic() < end:
            raise error

    return before


class TestGroupCommit:
    def test_what_arrives_while_an_exchange_is_made_is_in_the_next_one(self) -> None:
        run = simulation(8, 400)

        def commit(*_: object) -> None:
            run.clock.wait(threading.Event(), 0.002)

        run.ledger.before = commit
        run.send(ScriptedProvider(clock=run.clock, seconds=0.001))
        reports = sum(count for count, _ in run.ledger.exchanges)
        assert reports == 40
        assert len(run.ledger.exchanges) <= 14

    @pytest.mark.parametrize(("threads", "exchanges"), [(16, [4]), (7, [1, 1, 1, 1])])
    def test_where_many_threads_are_at_work_the_first_waits_for_company(
        self, monkeypatch: pytest.MonkeyPatch, threads: int, exchanges: list[int]
    ) -> None:
        """`threads` are at work; four of them ask one after the other, the next when the one before was heard."""
        monkeypatch.setattr(company, "SHORTLY", 30.0)
        run = simulation(threads, 400)
        made = clerk_of(run, threads)
        asking = [threading.Thread(target=made.ask, args=(None, Wish(10))) for _ in range(4)]
        serving = threading.Thread(target=made.serve)
        serving.start()
        for number, thread in enumerate(asking, start=1):
            thread.start()
            if threads < 16:
                thread.join(10)
                assert len(run.ledger.exchanges) == number
        for thread in asking:
            thread.join(10)
        for _ in range(threads):
            made.leave()
        serving.join(10)
        assert [wishes for _, wishes in run.ledger.exchanges] == exchanges

    def test_who_waits_for_something_else_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(company, "SHORTLY", 30.0)
        run = simulation(16, 400)
        made = clerk_of(run, 16)
        serving = threading.Thread(target=made.serve)
        serving.start()
        asking = threading.Thread(target=made.ask, args=(None, Wish(10)))
        asking.start()
        with contextlib.ExitStack() as elsewhere:
            for _ in range(15):
                elsewhere.enter_context(made.elsewhere())
            asking.join(10)
            assert not asking.is_alive()
        for _ in range(16):
            made.leave()
        serving.join(10)
        assert [wishes for _, wishes in run.ledger.exchanges] == [1]

    def test_a_report_and_the_next_wish_are_one_exchange(self) -> None:
        run = simulation(1, 100)
        run.send(ScriptedProvider())
        assert run.ledger.exchanges == [(0, 1), *[(1, 1)] * 10]

    def test_after_claims_were_given_the_ledger_may_look_ahead(self) -> None:
        run = simulation(1, 40)
        run.send(ScriptedProvider())
        assert run.ledger.exchanges == [(0, 1), *[(1, 1)] * 4]
        assert len(run.ledger.looks) == 4  # not where there were no more

    def test_threads_without_work_do_not_keep_the_ledger_busy(self) -> None:
        run = simulation(8, 10)
        run.send(ScriptedProvider(clock=run.clock, seconds=60.0))
        assert len(run.ledger.exchanges) < 8 + 7 * 60 / 5 + 2


class TestHold:
    def test_it_is_renewed_while_all_threads_are_in_long_calls(self) -> None:
        run = simulation(2, 20)
        run.send(ScriptedProvider(clock=run.clock, seconds=600.0))
        gaps = [later - earlier for earlier, later in zip(run.ledger.renewed, run.ledger.renewed[1:], strict=False)]
        assert len(gaps) > 100
        assert max(gaps) <= dt.timedelta(seconds=5.2)

    def test_it_is_renewed_in_a_run_that_is_never_idle(self) -> None:
        run = simulation(4, 2_000)
        run.send(ScriptedProvider(clock=run.clock, seconds=0.5))
        assert len(run.ledger.renewed) >= run.clock.monotonic() // 5 - 1 > 2

    def test_while_it_is_in_doubt_no_call_is_made(self) -> None:
        run = simulation(3, 300)
        run.ledger.may = lambda: not 2 < run.clock.monotonic() < 30
        provider = ScriptedProvider(clock=run.clock, seconds=1.0)
        result = run.send(provider)
        assert not [at for at in provider.at if 2 < at < 30]
        assert result.balance.counts == {DeliveryState.ACCEPTED: 300}
        assert provider.times_called == Counter(range(1, 301))
        assert provider.at[-1] > 30

    @pytest.mark.parametrize("where", ["exchange", "renewal"])
    def test_once_it_is_lost_no_thread_makes_a_call_and_what_was_out_is_handed_in(self, where: str) -> None:
        run = simulation(4, 2_000)
        evidence: list[int] = []

        def lost() -> None:
            if run.clock.monotonic() > 12:
                raise RunLost("taken over")

        def before(reports: object, _: object) -> None:
            if where == "exchange" or evidence or run.clock.monotonic() > 16:
                try:
                    lost()
                except RunLost:
                    evidence.extend(range(len(reports)))  # type: ignore[arg-type] # a sequence of them
                    raise

        run.ledger.before = before
        if where == "renewal":
            run.ledger.renew = lost
        provider = ScriptedProvider(clock=run.clock, seconds=3.0)
        with pytest.raises(RunLost):
            run.send(provider)
        assert max(provider.at) <= 15.1
        assert run.ledger.closed == 0
        assert run.ledger.run.state is RunState.SENDING
        if where == "exchange":
            assert len(evidence) >= 4


class TestDatabaseAway:
    @pytest.mark.parametrize("error", [AWAY, FULL])
    def test_when_it_comes_back_the_run_goes_on_and_no_report_is_lost(self, error: Exception) -> None:
        run = simulation(4, 1_000)
        run.ledger.before = failing(run, error, 5, 100)
        provider = ScriptedProvider(clock=run.clock, seconds=1.0)
        result = run.send(provider)
        assert result.balance.counts == {DeliveryState.ACCEPTED: 1_000}
        assert provider.times_called == Counter(range(1, 1_001))
        assert not [at for at in provider.at if 6 < at < 100], "something was claimed meanwhile"
        assert {words for words, _ in run.observer.troubles} == {str(error)}
        assert [wait for _, wait in run.observer.troubles][:4] == [0.25, 0.5, 1.0, 2.0]
        assert max(wait for _, wait in run.observer.troubles) == 10
        assert run.observer.times_back == 1

    def test_when_it_stays_away_the_run_is_given_up_with_the_error(self) -> None:
        run = simulation(4, 1_000, patience=60.0)
        run.ledger.before = failing(run, AWAY, 5, 10_000)
        provider = ScriptedProvider(clock=run.clock, seconds=1.0)
        with pytest.raises(TemporaryError, match="the connection was lost"):
            run.send(provider)
        assert 65 <= run.clock.monotonic() < 90
        assert max(provider.at) < 7
        assert run.ledger.closed == 0, "a run with reports that were not kept was let go of"
        out = len(provider.times_called) - run.ledger.balance.of(DeliveryState.ACCEPTED)
        assert run.ledger.balance.of(DeliveryState.IN_FLIGHT) == out == 40

    def test_a_call_that_outlasts_the_patience_is_written_down_if_the_database_is_back_by_then(self) -> None:
        run = simulation(2, 100, patience=60.0)
        run.ledger.before = failing(run, AWAY, 0.5, 100)
        slow = iter([200.0])

        def answer(batch: Batch) -> Receipt:
            run.clock.wait(threading.Event(), next(slow, 1.0))
            return accept(batch)

        with pytest.raises(TemporaryError):
            run.send(ScriptedProvider(answer, clock=run.clock))
        assert run.ledger.balance.counts == {DeliveryState.ACCEPTED: 20, DeliveryState.PLANNED: 80}
        assert run.ledger.closed == 1

    def test_a_stop_while_it_is_away_still_writes_down_what_was_out(self) -> None:
        run = simulation(2, 100)
        run.ledger.before = failing(run, AWAY, 0.5, 30)

        def answer(batch: Batch) -> Receipt:
            run.stop.set()
            return accept(batch)

        provider = ScriptedProvider(answer, clock=run.clock, seconds=1.0)
        result = run.send(provider)
        assert result.interrupted
        assert result.balance.of(DeliveryState.ACCEPTED) == len(provider.times_called) == 20

    def test_the_pause_of_a_breaker_is_written_down_when_it_is_back(self) -> None:
        run = simulation(1, 100)
        run.ledger.before = failing(run, AWAY, 1.5, 30)

        def answer(_: Batch) -> Receipt:
            raise TimeoutError

        provider = ScriptedProvider(answer, clock=run.clock, seconds=1.0)
        result = run.send(provider)
        assert len(provider.calls) == 2
        assert result.run.state is RunState.PAUSED
        assert result.balance.of(DeliveryState.UNKNOWN) == 20

    def test_letting_go_of_the_run_waits_for_it_too(self) -> None:
        run = simulation(1, 20)
        close = run.ledger.close

        def closing(*, now: dt.datetime) -> object:
            if run.clock.monotonic() < 20:
                run.ledger.closed += 1
                raise AWAY
            return close(now=now)

        run.ledger.close = closing  # type: ignore[method-assign, assignment] # a fault
        assert run.send(ScriptedProvider()).run.state is RunState.FINISHED
        assert run.ledger.closed > 3


class TestMistakesInTheLedger:
    def test_an_impatient_ctrl_c_leaves_no_thread_waiting_for_its_answer(self) -> None:
        far = dt.datetime.max.replace(tzinfo=dt.UTC)
        run = Simulation(300, replace(TERMS, concurrency=3, deadline=far), clock=SystemClock())
        raised: list[BaseException] = []

        def before(*_: object) -> None:
            if len(provider.calls) >= 9:
                raise KeyboardInterrupt

        def answer(batch: Batch) -> Receipt:
            time.sleep(batch.number / 50)  # no two end at the same moment
            return accept(batch)

        def send() -> None:
            try:
                run.send(provider)
            except KeyboardInterrupt as error:
                raised.append(error)

        run.ledger.before = before
        provider = ScriptedProvider(answer)
        sending = threading.Thread(target=send, daemon=True)
        sending.start()
        sending.join(20)
        assert raised, "it hangs"

    def test_a_mistake_in_one_exchange_stops_the_run_and_its_reports_are_kept(self) -> None:
        run = simulation(3, 300)
        wrong = iter([ZeroDivisionError("wrong SQL")])

        def before(*_: object) -> None:
            if len(provider.calls) == 9 and (error := next(wrong, None)):
                raise error

        run.ledger.before = before
        provider = ScriptedProvider(clock=run.clock, seconds=1.0)
        with pytest.raises(ZeroDivisionError):
            run.send(provider)
        assert run.ledger.balance.of(DeliveryState.ACCEPTED) == len(provider.times_called)
        assert "wrong SQL" in run.ledger.run.reason

    def test_a_ledger_that_never_works_again_leaves_no_thread_waiting(self) -> None:
        run = simulation(3, 300)
        run.ledger.before = failing(run, ZeroDivisionError("wrong SQL"), 3, 1e9)
        with pytest.raises(ZeroDivisionError):
            run.send(ScriptedProvider(clock=run.clock, seconds=1.0))
        assert run.ledger.closed == 0

    def test_the_first_error_is_the_one_that_is_raised(self) -> None:
        run = simulation(1, 30)
        run.ledger.before = failing(run, AWAY, 2.5, 1e9)
        run.patience = 10.0
        with pytest.raises(UnbalancedReceipt):
            run.send(
                ScriptedProvider(
                    lambda batch: accept(batch) if batch.number < 3 else Receipt({}), clock=run.clock, seconds=1.0
                )
            )
        assert run.clock.now() < START + dt.timedelta(seconds=60)
