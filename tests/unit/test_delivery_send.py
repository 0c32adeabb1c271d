"""The send loop: every way in which a run ends, and what becomes of its members."""

from __future__ import annotations

import datetime as dt
import threading
from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from send_simulation import START, TERMS, ScriptedProvider, Simulation, accept, rendered, same

from newsletter.audience.model import Member
from newsletter.delivery.model import Accepted, Batch, Busy, Limits, Outcome, Receipt, Recipient, Refused, Unknown
from newsletter.delivery.pacing import Limiter
from newsletter.delivery.provider import Blame, CallRefused
from newsletter.delivery.run_values import Halt
from newsletter.delivery.send import Clock, SystemClock, UnbalancedReceipt, wish_size
from newsletter.delivery.states import DeliveryState, RunState
from newsletter.errors import OutputError
from newsletter.rendering.model import RenderedIssue, Variant

ACCEPTED, REJECTED = DeliveryState.ACCEPTED, DeliveryState.REJECTED
RETRY_WAIT, UNKNOWN = DeliveryState.RETRY_WAIT, DeliveryState.UNKNOWN
WINDOWS = Limits(recipients_per_call=1_000, one_message_at_a_time=True)


def with_terms(concurrency: int = 1, **changes: object) -> Simulation:
    count = changes.pop("count", 100)
    assert isinstance(count, int)
    return Simulation(count, replace(TERMS, concurrency=concurrency, **changes))  # type: ignore[arg-type] # by name


class TestEverybodyOnce:
    @pytest.mark.parametrize("concurrency", [1, 4, 16])
    def test_every_member_is_in_exactly_one_call(self, concurrency: int) -> None:
        run = with_terms(concurrency, count=333)
        provider = ScriptedProvider(clock=run.clock, seconds=0.5)
        result = run.send(provider)
        assert provider.times_called == Counter(range(1, 334))
        assert result.halt is Halt.DONE
        assert result.run.state is RunState.FINISHED
        assert result.balance.counts == {ACCEPTED: 333}
        assert result.balance.balances
        assert not result.interrupted

    def test_calls_are_made_at_the_same_time_up_to_the_concurrency_and_no_more(self) -> None:
        run = with_terms(4, count=200)
        provider = ScriptedProvider(clock=run.clock, seconds=1.0)
        run.send(provider)
        assert provider.most_at_once == 4
        assert run.clock.monotonic() < 20 * 1.0 / 3

    def test_a_batch_is_as_large_as_the_provider_and_the_terms_allow(self) -> None:
        run = with_terms(count=20, batch_size=8)
        provider = ScriptedProvider(limits=Limits(recipients_per_call=3))
        run.send(provider)
        assert [len(call) for call in provider.calls] == [3, 3, 2, 3, 3, 2, 3, 1]

    def test_where_a_provider_takes_one_message_at_a_time_a_claim_is_a_window(self) -> None:
        run = with_terms(count=20, batch_size=10, window=4)
        provider = ScriptedProvider(limits=WINDOWS)
        run.send(provider)
        assert [len(call) for call in provider.calls] == [4, 4, 2, 4, 4, 2]
        assert wish_size(run.terms, provider, Limiter(2.5, {}, run.clock)) == 2
        assert wish_size(run.terms, provider, Limiter(0.1, {}, run.clock)) == 1

    def test_who_left_in_the_meantime_gets_nothing(self) -> None:
        run = with_terms(count=30)
        run.gone = {3, 11, *range(21, 31)}
        provider = ScriptedProvider()
        result = run.send(provider)
        assert provider.times_called == Counter(set(range(1, 31)) - run.gone)
        assert result.balance.counts == {ACCEPTED: 18, DeliveryState.SUPPRESSED: 12}

    def test_nobody_to_send_to_is_the_end_of_it(self) -> None:
        run = with_terms(3, count=0)
        provider = ScriptedProvider()
        assert run.send(provider).run.state is RunState.FINISHED
        assert provider.calls == []

    def test_the_provider_gets_run_batch_letterhead_call_id_and_the_variants_of_its_recipients(self) -> None:
        run = with_terms(count=20)
        asked: list[Variant] = []

        def recipients(some: list[Member]) -> list[Recipient]:
            variants: list[Variant] = [(("tier", ""),), (("tier", "gold"),)]
            return [Recipient(str(one.id), one.address, "", "", "", {}, variants[one.id % 2]) for one in some]

        def render(variant: Variant) -> RenderedIssue:
            asked.append(variant)
            return rendered(variant)

        run.recipients_of = recipients  # type: ignore[assignment] # a list is what it gets here
        run.rendered = render
        provider = ScriptedProvider()
        run.send(provider)
        assert sorted(asked) == [(("tier", ""),), (("tier", "gold"),)]
        assert [(one.run, one.number) for one in provider.batches] == [
            ("daily-buzz/2026-01-07", 1),
            ("daily-buzz/2026-01-07", 2),
        ]
        assert len({one.call_id for one in provider.batches}) == 2

    def test_the_real_clock_sends_a_run_too(self) -> None:
        clock = SystemClock()
        terms = replace(TERMS, concurrency=3, deadline=clock.now() + dt.timedelta(hours=1))
        run = Simulation(50, terms, clock=clock)
        assert run.send(ScriptedProvider()).balance.counts == {ACCEPTED: 50}


class TestTheEnd:
    def test_a_stop_finishes_the_calls_that_are_out_and_claims_no_more(self) -> None:
        run = with_terms(4, count=1_000)

        def answer(batch: Batch) -> Receipt:
            if len(provider.calls) >= 10:
                run.stop.set()
            return accept(batch)

        provider = ScriptedProvider(answer, clock=run.clock, seconds=1.0)
        result = run.send(provider)
        assert result.interrupted
        assert result.run.state is RunState.SENDING
        called = len(provider.times_called)
        assert called < 1_000
        assert result.balance.counts == {ACCEPTED: called, DeliveryState.PLANNED: 1_000 - called}

    def test_a_stop_wakes_who_waits_for_tokens_a_due_time_or_the_provider(self) -> None:
        """Waiting is for many minutes here: each of the three would go on far beyond the moment of the stop."""
        for change in ("tokens", "due", "held"):
            run = with_terms(3, count=30)
            if change == "tokens":
                run.limiter = Limiter(0.001, {}, run.clock)
            busy = Busy("later", 2_000 if change == "held" else None)
            provider = ScriptedProvider(lambda batch, busy=busy: same(batch, busy))  # type: ignore[misc] # bound here
            timer = threading.Thread(target=stop_at, args=(run.clock, run.stop, 100.0), name="timer")
            timer.start()
            result = run.send(provider)
            timer.join()
            assert result.interrupted
            assert run.clock.monotonic() < 102

    def test_a_pause_by_somebody_else_stops_all_threads(self) -> None:
        run = with_terms(4, count=1_000)
        run.ledger.before = lambda _reports, _wishes: (
            run.ledger.inner.pause("by hand", now=START) if len(provider.calls) > 20 else None
        )
        provider = ScriptedProvider(clock=run.clock, seconds=1.0)
        result = run.send(provider)
        assert result.halt is Halt.PAUSED
        assert (result.run.state, result.run.reason) == (RunState.PAUSED, "by hand")
        assert result.balance.of(ACCEPTED) == len(provider.times_called) < 300
        assert result.balance.of(DeliveryState.IN_FLIGHT) == 0
        assert run.observer.pauses == []

    def test_a_cancel_by_somebody_else_leaves_what_is_out_counted(self) -> None:
        run = with_terms(2, count=100)
        run.ledger.before = lambda _reports, _wishes: run.ledger.inner.cancel() if len(provider.calls) == 4 else None
        provider = ScriptedProvider(clock=run.clock, seconds=1.0)
        result = run.send(provider)
        assert result.halt is Halt.CANCELLED
        assert result.balance.counts == {ACCEPTED: 40, DeliveryState.CANCELLED: 60}

    def test_a_limit_is_kept_to_the_member(self) -> None:
        run = Simulation(100, replace(TERMS, concurrency=4), limit=23)
        provider = ScriptedProvider(clock=run.clock, seconds=1.0)
        result = run.send(provider)
        assert len(provider.times_called) == 23
        assert result.halt is Halt.PAUSED
        assert result.balance.counts == {ACCEPTED: 23, DeliveryState.PLANNED: 77}

    def test_at_the_deadline_what_is_left_expires(self) -> None:
        run = with_terms(2, count=100, deadline=START + dt.timedelta(seconds=10.5))
        provider = ScriptedProvider(clock=run.clock, seconds=3.0)
        result = run.send(provider)
        assert result.halt is Halt.DEADLINE
        assert result.run.state is RunState.EXPIRED
        assert result.balance.counts == {ACCEPTED: 80, DeliveryState.EXPIRED: 20}
        assert max(provider.at) < 10.5

    def test_nothing_is_claimed_after_the_deadline_of_the_terms_whatever_the_ledger_thinks(self) -> None:
        run = with_terms(2, count=100)
        run.terms = replace(run.terms, deadline=START + dt.timedelta(seconds=10.5))
        provider = ScriptedProvider(clock=run.clock, seconds=3.0)
        result = run.send(provider)
        assert result.halt is Halt.DEADLINE
        assert result.balance.counts == {ACCEPTED: 80, DeliveryState.PLANNED: 20}

    @pytest.mark.parametrize("slow", ["tokens", "provider"])
    def test_the_deadline_comes_while_everybody_waits(self, slow: str) -> None:
        run = with_terms(3, count=100, deadline=START + dt.timedelta(seconds=100))
        if slow == "tokens":
            run.limiter = Limiter(0.5, {}, run.clock)
        first = iter([True])
        provider = ScriptedProvider(
            lambda batch: (
                same(batch, Busy("hours", 7_200.0)) if slow == "provider" and next(first, False) else accept(batch)
            ),
            clock=run.clock,
        )
        result = run.send(provider)
        assert result.halt is Halt.DEADLINE
        assert 100 <= run.clock.monotonic() < 101
        assert result.balance.remaining == 0
        assert result.balance.of(DeliveryState.EXPIRED) >= 40

    def test_who_is_busy_for_longer_than_retry_for_expires(self) -> None:
        run = with_terms(2, count=20, retry_for=dt.timedelta(minutes=10))
        provider = ScriptedProvider(lambda batch: same(batch, Busy("greylisted")), clock=run.clock)
        result = run.send(provider)
        assert result.balance.counts == {DeliveryState.EXPIRED: 20}
        assert result.run.state is RunState.EXPIRED
        assert 300 < max(provider.at) < 600
        assert 5 < len(provider.calls) < 60

    def test_who_is_busy_at_first_gets_it_later(self) -> None:
        run = with_terms(3, count=60)

        def answer(batch: Batch) -> Receipt:
            ready = run.clock.monotonic() > 60
            return Receipt(
                {
                    one.id: Busy("greylisted") if int(one.id) % 7 == 0 and not ready else Accepted()
                    for one in batch.recipients
                }
            )

        provider = ScriptedProvider(answer, clock=run.clock)
        result = run.send(provider)
        assert result.balance.counts == {ACCEPTED: 60}
        assert {number for number, times in provider.times_called.items() if times > 1} == set(range(7, 61, 7))


class TestRefusals:
    @pytest.mark.parametrize(
        ("bad", "most"), [({1}, 22), ({500}, 22), ({1_000}, 22), ({1, 2, 3}, 30), ({17, 500, 999}, 56)]
    )
    def test_a_recipient_that_spoils_the_call_is_found_alone(self, bad: set[int], most: int) -> None:
        run = with_terms(count=1_000, batch_size=1_000)

        def answer(batch: Batch) -> Receipt:
            if any(int(one.id) in bad for one in batch.recipients):
                raise CallRefused(Blame.RECIPIENTS, "one of them is no address", "400")
            return accept(batch)

        provider = ScriptedProvider(answer)
        result = run.send(provider)
        assert result.balance.counts == {ACCEPTED: 1_000 - len(bad), REJECTED: len(bad)}
        assert run.ledger.inner.in_state(REJECTED) == bad
        assert len(provider.calls) <= most
        assert run.clock.monotonic() < 1

    def test_the_others_of_the_batch_are_called_by_other_threads_meanwhile(self) -> None:
        run = with_terms(4, count=256, batch_size=256)

        def answer(batch: Batch) -> Receipt:
            if any(int(one.id) == 77 for one in batch.recipients):
                raise CallRefused(Blame.RECIPIENTS, "no address", "400")
            return accept(batch)

        provider = ScriptedProvider(answer, clock=run.clock, seconds=1.0)
        result = run.send(provider)
        assert result.balance.counts == {ACCEPTED: 255, REJECTED: 1}
        assert provider.most_at_once > 1

    @pytest.mark.parametrize("blame", [Blame.CONTENT, Blame.ACCOUNT])
    def test_a_refusal_of_the_message_or_of_us_pauses_the_run_and_loses_nobody(self, blame: Blame) -> None:
        run = with_terms(3, count=100)

        def answer(_: Batch) -> Receipt:
            raise CallRefused(blame, "no, thank you", "401")

        provider = ScriptedProvider(answer, clock=run.clock, seconds=1.0)
        result = run.send(provider)
        assert len(provider.calls) <= 3
        assert result.halt is Halt.PAUSED
        words = {
            Blame.CONTENT: "scripted refuses the message itself",
            Blame.ACCOUNT: "scripted cannot be used as it is set up",
        }
        assert words[blame] in result.run.reason
        assert "401 no, thank you" in result.run.reason
        assert run.observer.pauses == [result.run.reason]
        assert result.balance.remaining == 100

    def test_a_run_that_was_paused_so_goes_on_where_it_stopped(self) -> None:
        run = with_terms(count=50)
        refusing = True

        def answer(batch: Batch) -> Receipt:
            if refusing:
                raise CallRefused(Blame.ACCOUNT, "key revoked", "401")
            return accept(batch)

        provider = ScriptedProvider(answer)
        run.send(provider)
        refusing = False
        run.ledger.inner.resume()
        assert run.send(provider).balance.counts == {ACCEPTED: 50}


class TestBreakers:
    def test_two_unknown_calls_in_a_row_pause_the_run(self) -> None:
        run = with_terms(count=100)

        def answer(batch: Batch) -> Receipt:
            if len(provider.calls) in {2, 4, 5}:
                raise TimeoutError("timed out")
            return accept(batch)

        provider = ScriptedProvider(answer)
        result = run.send(provider)
        assert len(provider.calls) == 5
        assert result.balance.counts == {ACCEPTED: 20, UNKNOWN: 30, DeliveryState.PLANNED: 50}
        assert result.run.reason.startswith("2 calls in a row ended without an answer")
        assert "TimeoutError: timed out" in result.run.reason

    def test_too_many_refusals_pause_the_run_with_the_words_given_most(self) -> None:
        run = with_terms(count=1_000)

        def answer(batch: Batch) -> Receipt:
            said = {0: Refused("550 5.1.1 <p@x.example> no such user"), 1: Refused("552 mailbox full")}
            return Receipt(
                {one.id: said.get(int(one.id) % 10, Accepted()) for one in batch.recipients[:-1]}
                | {batch.recipients[-1].id: said[0]}
            )

        result = run.send(ScriptedProvider(answer))
        assert result.run.state is RunState.PAUSED
        assert result.balance.of(ACCEPTED) + result.balance.of(REJECTED) == 20
        assert result.run.reason == (
            "4 of 20 recipients were refused (20.0%), more than pause_on_failure_rate allows (5.0%); "
            "mostly: 552 mailbox full (2 times)"
        )

    def test_a_rate_below_the_limit_goes_through(self) -> None:
        run = with_terms(count=1_000)
        result = run.send(
            ScriptedProvider(
                lambda batch: Receipt(
                    {
                        one.id: Refused("no such user") if int(one.id) % 25 == 0 else Accepted()
                        for one in batch.recipients
                    }
                )
            )
        )
        assert result.balance.counts == {ACCEPTED: 960, REJECTED: 40}
        assert result.run.state is RunState.FINISHED


class TestUnknown:
    def test_one_lost_answer_is_held_and_never_called_again(self) -> None:
        run = with_terms(count=30)

        def answer(batch: Batch) -> Receipt:
            if batch.number == 2:
                raise ConnectionResetError("reset by peer")
            return accept(batch)

        provider = ScriptedProvider(answer)
        result = run.send(provider)
        assert provider.times_called == Counter(range(1, 31))
        assert result.balance.counts == {ACCEPTED: 20, UNKNOWN: 10}
        assert result.run.state is RunState.HELD
        assert run.observer.calls[1].words == {(UNKNOWN, "ConnectionResetError: reset by peer"): 10}

    def test_where_policy_resends_it_is_called_again_after_a_while(self) -> None:
        run = with_terms(count=30, on_unknown="resend")
        lost = iter([True])

        def answer(batch: Batch) -> Receipt:
            return same(batch, Unknown("no reply")) if batch.number == 2 and next(lost, False) else accept(batch)

        provider = ScriptedProvider(answer, clock=run.clock)
        result = run.send(provider)
        assert result.balance.counts == {ACCEPTED: 30}
        assert {number for number, times in provider.times_called.items() if times == 2} == set(range(11, 21))
        assert provider.at[-1] >= 1

    def test_where_policy_resends_and_no_time_is_left_it_stays_unknown(self) -> None:
        run = with_terms(count=10, on_unknown="resend", retry_for=dt.timedelta(0))
        result = run.send(ScriptedProvider(lambda batch: same(batch, Unknown("no reply"))))
        assert result.balance.counts == {UNKNOWN: 10}

    def test_a_provider_with_idempotency_keys_is_asked_again_with_the_same_key(self) -> None:
        run = with_terms(count=20)

        def answer(batch: Batch) -> Receipt:
            if batch.number == 1 and len(provider.calls) < 3:
                raise TimeoutError("timed out")
            return accept(batch)

        provider = ScriptedProvider(answer, limits=Limits(1_000, idempotency_key=True), clock=run.clock)
        result = run.send(provider)
        assert result.balance.counts == {ACCEPTED: 20}
        assert [one.number for one in provider.batches] == [1, 1, 1, 2]
        assert len({one.call_id for one in provider.batches[:3]}) == 1
        assert run.clock.monotonic() > 2

    def test_only_an_outcome_for_good_is_believed_of_a_repeated_call(self) -> None:
        run = with_terms(count=10)
        answers: list[Outcome] = [Unknown("no reply"), Busy("rate limit", 1.0), Unknown("no reply")]

        def answer(batch: Batch) -> Receipt:
            if len(provider.calls) > len(answers):
                raise CallRefused(Blame.RECIPIENTS, "what?")
            return same(batch, answers[len(provider.calls) - 1])

        provider = ScriptedProvider(answer, limits=Limits(1_000, idempotency_key=True), clock=run.clock)
        result = run.send(provider)
        assert result.balance.counts == {UNKNOWN: 10}
        assert len(provider.calls) == 4
        assert len({one.call_id for one in provider.batches}) == 1

    @pytest.mark.parametrize("why", ["the hold is in doubt", "the deadline"])
    def test_a_call_is_not_repeated_where_no_call_may_be_made(self, why: str) -> None:
        run = with_terms(count=10, deadline=START + dt.timedelta(seconds=10))

        def answer(_: Batch) -> Receipt:
            if why == "the hold is in doubt":
                run.ledger.may = lambda: False
            raise TimeoutError

        seconds = 9.9 if why == "the deadline" else 1.0
        keyed = Limits(1_000, idempotency_key=True)
        provider = ScriptedProvider(answer, limits=keyed, clock=run.clock, seconds=seconds)
        assert run.send(provider).balance.counts == {UNKNOWN: 10}
        assert len(provider.calls) == 1

    def test_a_stop_ends_the_repetitions(self) -> None:
        run = with_terms(count=10)

        def answer(_: Batch) -> Receipt:
            run.stop.set()
            raise TimeoutError

        provider = ScriptedProvider(answer, limits=Limits(1_000, idempotency_key=True), clock=run.clock)
        assert run.send(provider).balance.counts == {UNKNOWN: 10}
        assert len(provider.calls) == 1


class TestOutages:
    """The provider cannot be reached for a while."""

    @staticmethod
    def away(run: Simulation, start: float, end: float) -> ScriptedProvider:
        def answer(batch: Batch) -> Receipt:
            if start <= run.clock.monotonic() < end:
                return same(batch, Busy("nobody listens", away=True))
            return accept(batch)

        return ScriptedProvider(answer, clock=run.clock, seconds=0.1)

    @pytest.mark.parametrize(("start", "end"), [(0.0, 60.0), (0.0, 600.0), (1.0, 61.0)])
    def test_few_calls_are_made_in_vain_and_soon_after_it_everything_goes(self, start: float, end: float) -> None:
        run = with_terms(4, count=2_000)
        provider = self.away(run, start, end)
        result = run.send(provider)
        assert result.balance.counts == {ACCEPTED: 2_000}
        # it is left alone for half a minute at most, and nobody waits for longer than some seconds after that
        assert run.clock.monotonic() < end + 30 + 10 + 5
        in_vain = sum(start <= began < end - 0.1 for began in provider.at)
        assert 4 * 5 <= in_vain <= 4 * (8 + end / 30)
        assert len(run.observer.waits) >= 6

    def test_a_batch_that_was_long_on_its_way_waits_no_longer_than_others(self) -> None:
        run = with_terms(count=1_000, batch_size=1_000)
        provider = self.away(run, 90.0, 90.3)
        provider._limits, provider._seconds = WINDOWS, 0.5  # 100 seconds of windows
        assert run.send(provider).balance.counts == {ACCEPTED: 1_000}
        assert run.clock.monotonic() < 100 + 8

    def test_what_was_accepted_is_written_down_before_it_is_left_alone(self) -> None:
        run = with_terms(count=20)

        def answer(batch: Batch) -> Receipt:
            lost = [Busy("nobody listens", away=True)] if run.clock.monotonic() < 10 else [Accepted()]
            first, *others = batch.recipients
            return Receipt({first.id: Accepted(), **dict.fromkeys([one.id for one in others], lost[0])})

        provider = ScriptedProvider(answer, clock=run.clock)
        written: list[tuple[float, int]] = []
        run.ledger.before = lambda reports, _: written.append((run.clock.monotonic(), len(reports)))
        run.send(provider)
        assert [at for at, reports in written if reports][:2] == provider.at[:2]

    def test_where_others_send_the_same_run_no_pause_is_made(self) -> None:
        for changed, second_call in ((threading.Event(), 0.1), (None, 1.1)):
            run = with_terms(count=20)
            run.changed = changed
            provider = self.away(run, 0.0, 60.0)
            assert run.send(provider).balance.counts == {ACCEPTED: 20}
            assert provider.at[1] == pytest.approx(second_call)

    def test_a_stop_is_heard_while_it_is_away(self) -> None:
        run = with_terms(2, count=100)
        provider = self.away(run, 0.0, 1e9)
        waiting = run.observer.waiting

        def heard(until: dt.datetime) -> None:
            waiting(until)
            if len(run.observer.waits) == 12:
                run.stop.set()

        run.observer.waiting = heard  # type: ignore[method-assign]
        result = run.send(provider)
        assert result.interrupted
        assert run.clock.monotonic() < 200
        assert result.balance.of(ACCEPTED) == 0
        assert result.balance.remaining == 100

    def test_the_deadline_comes_while_it_is_away(self) -> None:
        run = with_terms(3, count=100, deadline=START + dt.timedelta(seconds=100))
        result = run.send(self.away(run, 0.0, 1e9))
        assert result.halt is Halt.DEADLINE
        assert 99 <= run.clock.monotonic() < 102
        assert result.balance.counts == {DeliveryState.EXPIRED: 100}

    def test_a_refusal_says_that_it_is_there(self) -> None:
        run = with_terms(count=40)

        def answer(batch: Batch) -> Receipt:
            if len(provider.calls) % 2:
                return same(batch, Busy("nobody listens", away=True))
            raise CallRefused(Blame.RECIPIENTS, "one of them")

        provider = ScriptedProvider(answer, clock=run.clock)
        run.send(provider)
        assert {
            until - START - dt.timedelta(seconds=at)
            for until, at in zip(run.observer.waits, provider.at[::2], strict=False)
        } == {dt.timedelta(seconds=1)}


class TestMistakes:
    @pytest.mark.parametrize(
        "nonsense",
        [
            Receipt({}),
            Receipt({"1": Accepted()}),
            Receipt({str(number): Accepted() for number in range(1, 12)}),
            Receipt({str(number): "yes" for number in range(1, 11)}),  # type: ignore[misc] # that is the mistake
            None,
        ],
    )
    def test_a_receipt_that_does_not_balance_leaves_everybody_unknown_and_names_the_adapter(
        self, nonsense: Receipt
    ) -> None:
        run = with_terms(count=30)
        with pytest.raises(UnbalancedReceipt, match="the provider 'scripted'"):
            run.send(ScriptedProvider(lambda _: nonsense))
        assert run.ledger.balance.counts == {UNKNOWN: 10, DeliveryState.PLANNED: 20}
        assert "the provider 'scripted'" in run.ledger.run.reason
        assert run.ledger.closed == 1

    def test_an_error_for_the_user_stops_the_run_and_is_raised(self) -> None:
        run = with_terms(2, count=100)

        def answer(_: Batch) -> Receipt:
            raise OutputError("the disk is full")

        with pytest.raises(OutputError, match="the disk is full"):
            run.send(ScriptedProvider(answer))
        assert run.ledger.run.reason == "the disk is full"

    @pytest.mark.parametrize("where", ["recipients", "rendering"])
    def test_a_mistake_before_the_call_makes_nobody_unknown(self, where: str) -> None:
        run = with_terms(4, count=100)

        def broken(_: object) -> list[Recipient]:
            raise ZeroDivisionError("a mistake")

        if where == "recipients":
            run.recipients_of = broken
        else:
            run.rendered = broken  # type: ignore[assignment] # it never returns
        provider = ScriptedProvider()
        with pytest.raises(ZeroDivisionError):
            run.send(provider)
        assert provider.calls == []
        assert run.ledger.balance.remaining == 100
        assert run.ledger.run.state is RunState.PAUSED
        assert "ZeroDivisionError: a mistake" in run.ledger.run.reason

    def test_recipients_that_are_too_few_are_a_mistake_too(self) -> None:
        run = with_terms(count=10)
        whole = run.recipients_of
        run.recipients_of = lambda some: whole(some)[1:]
        with pytest.raises(ValueError, match="10 members became 9 recipients"):
            run.send(ScriptedProvider())

    def test_the_first_mistake_is_raised_and_the_calls_of_the_others_still_count(self) -> None:
        run = with_terms(4, count=400)
        whole = run.recipients_of

        def sometimes(some: object) -> object:
            if len(provider.calls) == 6:
                raise ZeroDivisionError(f"mistake at {run.clock.monotonic()}")
            return whole(some)  # type: ignore[arg-type] # passed through

        run.recipients_of = sometimes  # type: ignore[assignment] # passed through
        provider = ScriptedProvider(clock=run.clock, seconds=1.0)
        with pytest.raises(ZeroDivisionError):
            run.send(provider)
        balance = run.ledger.balance
        assert balance.of(ACCEPTED) == len(provider.times_called)
        assert balance.of(DeliveryState.IN_FLIGHT) == 0

    def test_an_observer_that_fails_stops_the_run_and_loses_no_outcome(self) -> None:
        run = with_terms(2, count=100)

        class Broken(type(run.observer)):  # type: ignore[misc] # its class is known
            def ended(self, call: object) -> None:
                raise BrokenPipeError("nobody reads this any more")

        provider = ScriptedProvider(clock=run.clock, seconds=1.0)
        with pytest.raises(BrokenPipeError):
            run.send(provider, Broken())
        assert run.ledger.balance.of(ACCEPTED) == len(provider.times_called)

    def test_ctrl_c_without_a_handler_finishes_the_calls_and_is_raised(self) -> None:
        run = with_terms(2, count=100)

        def interrupt(*_: object) -> None:
            if len(provider.calls) == 4:
                run.ledger.before = lambda *_: None
                raise KeyboardInterrupt

        run.ledger.before = interrupt
        provider = ScriptedProvider(clock=run.clock, seconds=1.0)
        with pytest.raises(KeyboardInterrupt):
            run.send(provider)
        assert run.ledger.balance.of(ACCEPTED) == len(provider.times_called)
        assert run.ledger.run.state is RunState.SENDING


class TestPacing:
    def test_a_rate_is_kept_by_all_threads_together(self) -> None:
        run = with_terms(4, count=400)
        run.limiter = Limiter(20.0, {}, run.clock)
        provider = ScriptedProvider(clock=run.clock, seconds=0.3)
        run.send(provider)
        for start, first in enumerate(provider.at):
            for end in range(start, len(provider.at)):
                went = sum(len(call) for call in provider.calls[start : end + 1])
                assert went <= 20 * (provider.at[end] - first) + 20 + 1e-6
        assert provider.at[-1] < 400 / 20 + 1

    def test_tokens_that_no_message_used_are_given_back(self) -> None:
        run = with_terms(count=5)
        run.limiter = Limiter(1.0, {}, run.clock)
        busy = iter([True])
        provider = ScriptedProvider(
            lambda batch: same(batch, Busy("later")) if next(busy, False) else accept(batch), clock=run.clock
        )
        run.send(provider)
        assert 5 <= provider.at[1] < 9

    def test_outcomes_are_written_down_before_anybody_waits_for_tokens(self) -> None:
        run = with_terms(count=30)
        run.limiter = Limiter(10 / 3_600, {}, run.clock)
        run.send(ScriptedProvider(clock=run.clock))
        assert run.ledger.exchanges[:3] == [(0, 1), (1, 0), (0, 1)]

    def test_after_a_busy_provider_says_when_nobody_calls_before(self) -> None:
        run = with_terms(4, count=400)
        first = iter([True])

        def answer(batch: Batch) -> Receipt:
            return same(batch, Busy("slow down", 60.0)) if next(first, False) else accept(batch)

        provider = ScriptedProvider(answer, clock=run.clock, seconds=1.0)
        result = run.send(provider)
        assert result.balance.counts == {ACCEPTED: 400}
        assert not [at for at in provider.at if 1.2 < at < 61]
        assert START + dt.timedelta(seconds=61) in run.observer.waits

    def test_a_domain_has_a_rate_of_its_own_and_the_others_go_at_once(self) -> None:
        run = Simulation(100, replace(TERMS, concurrency=2, batch_size=20), domains=("slow.example", "fast.example"))
        run.limiter = Limiter(None, {"slow.example": 2.0}, run.clock)
        provider = ScriptedProvider(clock=run.clock)
        result = run.send(provider)
        assert result.balance.counts == {ACCEPTED: 100}
        went = [(at, number) for at, call in zip(provider.at, provider.calls, strict=True) for number in call]
        assert max(at for at, number in went if number % 2) < 1
        slow = [at for at, number in went if number % 2 == 0]
        assert 20 < max(slow) < 30
        assert all(sum(at <= one < at + 1 for one in slow) <= 4 for at in slow)


class TestObserving:
    def test_it_hears_of_every_claim_and_outcome_with_the_providers_words(self) -> None:
        run = with_terms(count=20, failure_rate=1.0)

        def answer(batch: Batch) -> Receipt:
            return Receipt(
                {
                    one.id: Refused(f"<{one.address}> unknown", "5.1.1") if int(one.id) % 5 == 0 else Accepted("ref")
                    for one in batch.recipients
                }
            )

        run.send(ScriptedProvider(answer, clock=run.clock, seconds=2.5))
        heard = run.observer
        assert heard.members_claimed == 20
        assert [one.counts for one in heard.calls] == [{ACCEPTED: 8, REJECTED: 2}] * 2
        assert [one.words for one in heard.calls] == [{(REJECTED, "5.1.1 <address> unknown"): 2}] * 2
        assert [one.seconds for one in heard.calls] == [2.5, 2.5]
        assert heard.calls[0].report.reference == "ref"

    def test_it_hears_until_when_there_is_nothing_to_do(self) -> None:
        run = with_terms(count=10)
        busy = iter([True])
        provider = ScriptedProvider(
            lambda batch: same(batch, Busy("later")) if next(busy, False) else accept(batch), clock=run.clock
        )
        run.send(provider)
        assert run.observer.waits
        assert run.observer.waits[0] == START + dt.timedelta(seconds=provider.at[1])


class TestAnything:
    @settings(deadline=None, max_examples=40)
    @given(
        st.integers(0, 60),
        st.integers(1, 5),
        st.integers(1, 12),
        st.integers(0, 1_000_000),
        st.sampled_from(["hold", "resend"]),
    )
    def test_whatever_the_provider_answers_the_sum_balances_and_nobody_accepted_is_called_again(
        self, count: int, concurrency: int, batch_size: int, seed: int, on_unknown: str
    ) -> None:
        run = with_terms(
            concurrency,
            count=count,
            batch_size=batch_size,
            failure_rate=0.5,
            on_unknown=on_unknown,
            deadline=START + dt.timedelta(minutes=3),
        )
        draw = Random(seed).choice
        settled: set[str] = set()
        lock = threading.Lock()

        def answer(batch: Batch) -> Receipt:
            with lock:
                assert not settled & {one.id for one in batch.recipients}
                how = draw(["each", "each", "each", "each", "each", "raise", "recipients", "all busy"])
                if how == "raise":
                    if on_unknown == "hold":
                        settled.update(one.id for one in batch.recipients)
                    raise OSError("gone")
                if how == "recipients":
                    if len(batch.recipients) == 1:
                        settled.update(one.id for one in batch.recipients)
                    raise CallRefused(Blame.RECIPIENTS, "somebody")
                if how == "all busy":
                    return same(batch, Busy("not now", draw([None, 3.0, 30.0])))
                kinds: list[Outcome] = [
                    Accepted(),
                    Accepted(),
                    Accepted(),
                    Refused("no"),
                    Busy("soon"),
                    Unknown("lost"),
                ]
                outcomes = {one.id: draw(kinds) for one in batch.recipients}
                final = (Accepted, Refused) if on_unknown == "resend" else (Accepted, Refused, Unknown)
                settled.update(number for number, outcome in outcomes.items() if isinstance(outcome, final))
                return Receipt(outcomes)

        result = run.send(ScriptedProvider(answer, clock=run.clock, seconds=0.5))
        assert result.balance.balances
        assert result.balance.of(DeliveryState.IN_FLIGHT) == 0
        if result.halt is not Halt.PAUSED:
            assert result.balance.remaining == 0


def stop_at(clock: Clock, stop: threading.Event, moment: float) -> None:
    clock.wait(threading.Event(), moment - clock.monotonic())
    stop.set()
