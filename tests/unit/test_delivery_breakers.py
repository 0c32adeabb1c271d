"""When a run stops by itself, and what it says of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from send_simulation import START, member

from newsletter.delivery.breakers import Breakers
from newsletter.delivery.model import Accepted, Busy, Outcome, Refused, Unknown
from newsletter.delivery.observing import EndedCall, counted
from newsletter.delivery.run_values import Claim, Report

CLAIM = Claim(1, 1, (member(1),), "call", START)
LOST, TAKEN = Unknown("timed out"), Accepted()


def call(*outcomes: Outcome, made: bool = True) -> EndedCall:
    by_member = dict(enumerate(outcomes))
    counts, words = counted(by_member)
    return EndedCall(Report(CLAIM, by_member), counts, words, made=made)


class TestLostAnswers:
    def test_two_in_a_row_stop_the_run(self) -> None:
        breakers = Breakers(1.0)
        assert breakers.tripped(call(LOST, LOST)) == ""
        reason = breakers.tripped(call(LOST))
        assert reason == "2 calls in a row ended without an answer that could be trusted: timed out"

    def test_any_other_outcome_between_them_breaks_the_row(self) -> None:
        for other in (call(TAKEN), call(LOST, TAKEN), call(Busy("later")), call(Refused("no"), LOST)):
            breakers = Breakers(1.0)
            assert [breakers.tripped(one) for one in (call(LOST), other, call(LOST))] == ["", "", ""]

    def test_whoever_was_not_tried_because_the_answer_before_was_lost_breaks_no_row(self) -> None:
        """Else every call of a run could lose some answers, and the run would never stop."""
        breakers = Breakers(1.0)
        assert breakers.tripped(call(LOST, Busy("not tried"), Busy("not tried"))) == ""
        assert breakers.tripped(call(LOST, Busy("not tried")))

    def test_a_call_that_was_not_made_says_nothing(self) -> None:
        breakers = Breakers(1.0)
        breakers.tripped(call(LOST))
        assert breakers.tripped(call(Busy("not tried"), made=False)) == ""
        assert breakers.tripped(call(LOST))


class TestRefusals:
    @given(st.lists(st.sampled_from([TAKEN, TAKEN, TAKEN, Refused("no"), Busy("later")]), max_size=80), st.floats(0, 1))
    def test_it_stops_at_the_first_call_after_which_too_many_of_at_least_20_are_refused(
        self, outcomes: list[Outcome], limit: float
    ) -> None:
        breakers = Breakers(limit)
        refused = decided = 0
        for outcome in outcomes:
            refused += isinstance(outcome, Refused)
            decided += not isinstance(outcome, Busy)
            assert bool(breakers.tripped(call(outcome))) is (decided >= 20 and refused > limit * decided)

    def test_nobody_may_be_refused_where_the_limit_is_nothing(self) -> None:
        breakers = Breakers(0.0)
        assert breakers.tripped(call(*[TAKEN] * 20)) == ""
        assert breakers.tripped(call(Refused("no such user", "5.1.1"))).endswith("(0.0%): 5.1.1 no such user")

    def test_a_limit_of_everybody_never_stops(self) -> None:
        assert Breakers(1.0).tripped(call(*[Refused("no")] * 100)) == ""

    def test_the_words_given_most_in_all_calls_are_told(self) -> None:
        breakers = Breakers(0.1)
        breakers.tripped(call(*[Refused("mailbox full")] * 2, *[Refused("no such user")] * 3))
        reason = breakers.tripped(call(*[TAKEN] * 10, *[Refused("no such user")] * 5))
        assert reason == (
            "10 of 20 recipients were refused (50.0%), more than pause_on_failure_rate allows (10.0%); "
            "mostly: no such user (8 times)"
        )
