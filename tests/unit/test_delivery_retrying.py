"""What each answer of a provider becomes, and when somebody is tried again."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from send_simulation import START, TERMS, member

from newsletter.delivery.model import Accepted, Busy, Outcome, Refused, Unknown
from newsletter.delivery.observing import counted, provider_words
from newsletter.delivery.provider import Blame, CallRefused
from newsletter.delivery.retrying import (
    BASE,
    CAP,
    answered,
    deadline_of,
    held_for,
    lost,
    pause_reason,
    reached,
    refused,
    retry_time,
    same_for_all,
)
from newsletter.delivery.run_values import Claim
from newsletter.delivery.states import DeliveryState

CLAIM = Claim(3, 1, tuple(map(member, range(1, 5))), "call-1", START)
ALONE = replace(CLAIM, members=CLAIM.members[:1])


def later(seconds: float) -> dt.datetime:
    return START + dt.timedelta(seconds=seconds)


class TestRetryTime:
    @given(
        st.floats(0, 5_000),
        st.floats(0, 10_000),
        st.one_of(st.none(), st.floats(0, 20_000)),
        st.integers(),
    )
    def test_it_is_ahead_before_the_end_and_never_before_the_provider_wants_it(
        self, since_first: float, left: float, retry_after: float | None, seed: int
    ) -> None:
        now = later(since_first)
        ends_at = now + dt.timedelta(seconds=left)
        at = retry_time(START, now, retry_after=retry_after, ends_at=ends_at, jitter=Random(seed))
        if at is None:
            assert left <= max(BASE, retry_after or 0) + 1e-3
            return
        wait = (at - now).total_seconds()
        assert wait > 0
        assert at < ends_at
        assert wait >= (retry_after or 0) - 1e-3
        assert wait <= max(min(CAP, max(BASE, 2 * since_first)), retry_after or 0) + 1e-3

    def test_waits_double_up_to_five_minutes_and_are_spread(self) -> None:
        jitter = Random(1)
        for since_first, longest in ((0, 5), (2, 5), (10, 20), (60, 120), (1_000, 300)):
            now = later(since_first)
            waits = [
                (at - now).total_seconds()
                for _ in range(500)
                if (at := retry_time(START, now, retry_after=None, ends_at=later(90_000), jitter=jitter))
            ]
            assert longest * 0.98 < max(waits) <= longest
            assert min(waits) < 1 + longest / 50
            assert longest * 0.4 < sum(waits) / 500 < longest * 0.65

    @pytest.mark.parametrize(("now", "retry_after"), [(3_599, None), (3_600, None), (4_000, None), (0, 3_600.0)])
    def test_after_the_end_there_is_none(self, now: float, retry_after: float | None) -> None:
        assert retry_time(START, later(now), retry_after=retry_after, ends_at=later(3_600), jitter=Random()) is None


class TestReports:
    def test_the_longest_wait_that_anybody_was_told_holds_for_all_of_the_call(self) -> None:
        outcomes: dict[int, Outcome] = {1: Busy("a", 100.0), 2: Busy("b"), 3: Accepted(), 4: Refused("no")}
        report = answered(CLAIM, outcomes, terms=TERMS, now=later(1), jitter=Random())
        assert report.outcomes == outcomes
        assert report.retry_at is not None
        assert later(101) <= report.retry_at
        assert not report.split

    def test_where_the_provider_was_not_reached_the_time_of_the_batch_counts_for_nothing(self) -> None:
        away: dict[int, Outcome] = {1: Accepted(), 2: Busy("nobody listens", away=True), 3: Refused("no")}
        for outcomes, longest in ((away, BASE), (away | {4: Busy("greylisted")}, 240.0)):
            waits = [
                (report.retry_at - later(120)).total_seconds()
                for seed in range(200)
                if (report := answered(CLAIM, outcomes, terms=TERMS, now=later(120), jitter=Random(seed))).retry_at
            ]
            assert len(waits) == 200
            assert 0.9 * longest < max(waits) <= longest

    def test_what_is_put_down_for_others_waits_as_long_as_ever(self) -> None:
        outcomes = same_for_all(CLAIM, Busy("nobody listens", away=True))
        waits = [
            (report.retry_at - later(120)).total_seconds()
            for seed in range(200)
            if (
                report := answered(CLAIM, outcomes, terms=TERMS, now=later(120), jitter=Random(seed), put_down=True)
            ).retry_at
        ]
        assert max(waits) > 200

    @pytest.mark.parametrize(
        ("outcomes", "told"),
        [
            ({1: Accepted(), 2: Refused("no"), 3: Busy("later"), 4: Unknown("?")}, True),
            ({1: Unknown("?"), 2: Unknown("?")}, None),
            ({1: Accepted(), 2: Busy("nobody listens", away=True)}, False),
            ({1: Busy("nobody listens", away=True), 2: Busy("not tried", 0.0, away=True)}, False),
            ({1: Accepted(), 2: Busy("all connections are in use", 0.0, away=True)}, None),
        ],
    )
    def test_whether_the_provider_was_reached(self, outcomes: dict[int, Outcome], told: bool | None) -> None:
        assert reached(outcomes) is told

    def test_retry_for_ends_it_even_where_the_deadline_is_far(self) -> None:
        outcomes = same_for_all(CLAIM, Busy("greylisted"))
        terms = replace(TERMS, retry_for=dt.timedelta(minutes=1))
        assert answered(CLAIM, outcomes, terms=terms, now=later(50), jitter=Random()).retry_at is not None
        assert answered(CLAIM, outcomes, terms=terms, now=later(61), jitter=Random()).retry_at is None

    def test_the_deadline_ends_it_even_where_retry_for_is_long(self) -> None:
        outcomes = same_for_all(CLAIM, Busy("greylisted"))
        terms = replace(TERMS, deadline=later(60))
        assert answered(CLAIM, outcomes, terms=terms, now=later(59), jitter=Random()).retry_at is None

    def test_an_unknown_outcome_is_reported_as_it_is_unless_policy_resends(self) -> None:
        outcomes = same_for_all(CLAIM, Unknown("no reply"))
        held = answered(CLAIM, outcomes, terms=TERMS, now=START, jitter=Random())
        assert held.outcomes == outcomes
        assert held.retry_at is None
        resent = answered(CLAIM, outcomes, terms=replace(TERMS, on_unknown="resend"), now=START, jitter=Random())
        assert set(resent.outcomes.values()) == {Busy("no reply (outcome unknown; sent again, by on_unknown)")}
        assert resent.retry_at is not None

    @pytest.mark.parametrize("blame", Blame)
    def test_a_call_refused_as_a_whole_splits_or_waits(self, blame: Blame) -> None:
        refusal = CallRefused(blame, "something is wrong", "400")
        report = refused(CLAIM, refusal, now=later(7))
        assert set(report.outcomes.values()) == {Busy("400 something is wrong")}
        assert report.outcomes.keys() == {1, 2, 3, 4}
        assert report.retry_at == later(7)
        assert report.split is (blame is Blame.RECIPIENTS)
        assert bool(pause_reason(refusal, "sendgrid")) is (blame is not Blame.RECIPIENTS)

    def test_alone_the_recipient_to_blame_is_refused_for_good(self) -> None:
        report = refused(ALONE, CallRefused(Blame.RECIPIENTS, "no such domain", "400"), now=START)
        assert report.outcomes == {1: Refused("no such domain", "400")}
        assert not report.split

    def test_alone_nobody_is_refused_for_what_is_wrong_with_us(self) -> None:
        report = refused(ALONE, CallRefused(Blame.ACCOUNT, "key revoked", "401"), now=START)
        assert report.outcomes == {1: Busy("401 key revoked")}

    def test_everybody_is_held_back_only_where_nobody_was_taken_and_a_time_was_said(self) -> None:
        assert held_for({1: Busy("x", 3.0), 2: Busy("x", 7.0)}) == 7.0
        assert held_for({1: Busy("x", 3.0), 2: Busy("x")}) is None
        assert held_for({1: Busy("x", 3.0), 2: Accepted()}) is None
        assert held_for({}) is None


class TestWords:
    def test_an_error_without_words_still_has_its_name(self) -> None:
        assert lost(TimeoutError()) == Unknown("TimeoutError")
        assert lost(OSError("two\nlines")) == Unknown("OSError: two lines")

    def test_the_same_words_about_two_addresses_are_one_reason(self) -> None:
        outcomes: dict[int, Outcome] = {
            1: Refused("550 5.1.1 <ana@example.com>: no such user", "5.1.1"),
            2: Refused("550 5.1.1 <ben+x@example.org>: no such user", "5.1.1"),
            3: Refused("no such user", "5.1.1"),
            4: Accepted(),
        }
        counts, words = counted(outcomes)
        assert counts == {DeliveryState.ACCEPTED: 1, DeliveryState.REJECTED: 3}
        assert words == {
            (DeliveryState.REJECTED, "550 5.1.1 <address>: no such user"): 2,
            (DeliveryState.REJECTED, "5.1.1 no such user"): 1,
        }

    @pytest.mark.parametrize(
        ("reason", "words"),
        [
            ("'ada@example.com' is not an email address", "<address> is not an email address"),
            ("o'brien@example.com is unknown", "<address> is unknown"),
            ("'o'brien@example.com is unknown", "<address> is unknown"),
            ("<ada@example.com>: no such user", "<address>: no such user"),
        ],
    )
    def test_an_address_goes_with_the_quotes_around_it(self, reason: str, words: str) -> None:
        assert provider_words(reason) == words

    @given(st.text(max_size=500), st.emails())
    def test_they_are_one_short_line_without_an_address(self, text: str, address: str) -> None:
        words = provider_words(f"{text} {address} {text}")
        assert address not in words
        assert len(words) <= 200
        assert len(words.splitlines()) <= 1


class TestWindows:
    """A claim may have a deadline of its own: the end of its members' window."""

    WITHIN = replace(CLAIM, deadline=later(60))

    def test_its_end_ends_the_retries_even_where_the_runs_deadline_is_far(self) -> None:
        outcomes = same_for_all(self.WITHIN, Busy("greylisted"))
        for now, after, again in (
            (1, None, True),
            (50, None, True),
            (59, None, False),
            (1, 58.0, True),
            (1, 59, False),
        ):
            told = dict.fromkeys(outcomes, Busy("greylisted", after))
            at = answered(self.WITHIN, told, terms=TERMS, now=later(now), jitter=Random(3)).retry_at
            assert (at is not None) is again
            assert at is None or at < later(60)

    def test_the_runs_deadline_stays_the_last_word(self) -> None:
        terms = replace(TERMS, deadline=later(30))
        assert deadline_of(self.WITHIN, terms) == later(30)
        assert deadline_of(self.WITHIN, TERMS) == later(60)
        assert deadline_of(CLAIM, TERMS) == TERMS.deadline
        outcomes = same_for_all(self.WITHIN, Busy("greylisted"))
        assert answered(self.WITHIN, outcomes, terms=terms, now=later(29), jitter=Random()).retry_at is None
