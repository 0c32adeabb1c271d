"""What follows from an event: marks, and whom not to mail any more."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.audience.people import Consent, Lift, LiftedBy, Person, Suppression, SuppressionReason
from newsletter.delivery.names import RunName
from newsletter.delivery.states import Mark
from newsletter.events.deciding import (
    Dropped,
    SoftLimit,
    Suppressing,
    marks_of,
    may_suppress,
    soft_since,
    suppression_by_soft_bounces,
    suppressions_by,
)
from newsletter.events.model import MARKS, Event, EventKind

K, R = EventKind, SuppressionReason
AT = dt.datetime(2026, 1, 7, 8, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
RUN = RunName("buzz", "2026-01-07")
ANA = Person(7, "ana@example.com", "ana@example.com")
LISTS = ("daily", "weekly")


def event(kind: EventKind, code: str = "", reason: str = "", **rest: object) -> Event:
    one = Event(kind, AT, "sendgrid", bytes(16), RUN, 7, code=code, reason=reason)
    return replace(one, **rest)  # type: ignore[arg-type]  # fields by name


def suppressed(reason: SuppressionReason, *lifts: Lift) -> Person:
    whole = next((lift for lift in lifts if lift.list is None), None)
    some = tuple(lift for lift in lifts if lift.list is not None)
    return replace(ANA, suppressions=(Suppression(1, ANA.key, reason, None, AT, lift=whole, lifted_for=some),))


@pytest.mark.parametrize(
    ("told", "reason", "scopes"),
    [
        (event(K.HARD_BOUNCE), R.HARD_BOUNCE, [None]),
        (event(K.COMPLAINED), R.COMPLAINT, [None]),
        (event(K.UNSUBSCRIBED), R.UNSUBSCRIBE, ["daily", "weekly"]),
        (event(K.DROPPED, Dropped.BOUNCED), R.HARD_BOUNCE, [None]),
        (event(K.DROPPED, Dropped.INVALID), R.HARD_BOUNCE, [None]),
        (event(K.DROPPED, Dropped.SPAM), R.COMPLAINT, [None]),
        (event(K.DROPPED, Dropped.UNSUBSCRIBED), R.UNSUBSCRIBE, ["daily", "weekly"]),
    ],
)
def test_what_ends_mail_to_somebody(told: Event, reason: SuppressionReason, scopes: list[str | None]) -> None:
    assert may_suppress(told)
    assert [(one.reason, one.list) for one in suppressions_by(told, ANA, LISTS)] == [(reason, one) for one in scopes]


def test_where_no_run_is_known_somebody_leaves_all_lists() -> None:
    told = event(K.UNSUBSCRIBED, run=None, subscriber_id=None, key=ANA.key)
    assert [one.list for one in suppressions_by(told, ANA, (None,))] == [None]


@pytest.mark.parametrize(
    "told",
    [
        event(kind)
        for kind in (K.SENT, K.DEFERRED, K.DELIVERED, K.BLOCKED, K.OTHER, K.DROPPED)
    ]
    + [event(K.DROPPED, Dropped.OTHER), event(K.BLOCKED, "5.7.1", "550 5.7.1 policy")],
)  # fmt: skip
def test_what_ends_mail_to_nobody(told: Event) -> None:
    assert not may_suppress(told)
    assert suppressions_by(told, ANA, LISTS) == ()


def test_the_note_has_the_providers_words_and_the_run() -> None:
    [one] = suppressions_by(event(K.HARD_BOUNCE, "5.1.1", "550 5.1.1 no such user"), ANA, LISTS)
    assert one == Suppressing(R.HARD_BOUNCE, None, "550 5.1.1 no such user (buzz/2026-01-07)")
    [long] = suppressions_by(event(K.HARD_BOUNCE, "5.1.1", "x" * 10_000), ANA, LISTS)
    assert len(long.note) < 300


class TestWhatIsNewer:
    def test_an_operator_who_lifted_it_since_is_not_overruled(self) -> None:
        lifted = suppressed(R.HARD_BOUNCE, Lift(AT + HOUR, LiftedBy.OPERATOR))
        assert suppressions_by(event(K.HARD_BOUNCE), lifted, LISTS) == []
        assert suppressions_by(event(K.HARD_BOUNCE, at=AT + 2 * HOUR), lifted, LISTS)
        assert suppressions_by(event(K.COMPLAINED), lifted, LISTS), "that is another reason"

    def test_whoever_asked_for_the_list_since_stays_on_it(self) -> None:
        back = replace(ANA, consents=(Consent("daily", AT + HOUR),))
        assert [one.list for one in suppressions_by(event(K.UNSUBSCRIBED), back, LISTS)] == ["weekly"]
        assert suppressions_by(event(K.UNSUBSCRIBED), back, (None,)) == []
        assert suppressions_by(event(K.COMPLAINED), back, LISTS), "a consent says nothing about a complaint"

    def test_a_lift_for_one_list_is_one_for_that_list(self) -> None:
        back = suppressed(R.UNSUBSCRIBE, Lift(AT + HOUR, LiftedBy.CONFIRMATION, list="daily"))
        assert [one.list for one in suppressions_by(event(K.UNSUBSCRIBED), back, LISTS)] == ["weekly"]


class TestSoftBounces:
    LIMIT = SoftLimit(5, dt.timedelta(days=14))

    def test_one_by_itself_ends_nothing(self) -> None:
        assert may_suppress(event(K.SOFT_BOUNCE))
        assert suppressions_by(event(K.SOFT_BOUNCE), ANA, LISTS) == ()

    def test_the_fifth_counts_as_a_hard_one_and_says_so(self) -> None:
        told = event(K.SOFT_BOUNCE, "4.2.2", "mailbox full")
        assert suppression_by_soft_bounces(told, 4, self.LIMIT) is None
        one = suppression_by_soft_bounces(told, 5, self.LIMIT)
        assert one is not None
        assert (one.reason, one.list) == (R.HARD_BOUNCE, None)
        assert one.note.startswith("5 soft bounces within 14 days, the last: 4.2.2 mailbox full")

    def test_those_before_an_operators_word_no_longer_count(self) -> None:
        assert soft_since(ANA, self.LIMIT, AT) == AT - dt.timedelta(days=14)
        lifted = suppressed(R.HARD_BOUNCE, Lift(AT - HOUR, LiftedBy.OPERATOR))
        assert soft_since(lifted, self.LIMIT, AT) == AT - HOUR


@given(st.lists(st.tuples(st.sampled_from(K), st.integers(1, 3), st.booleans()), max_size=30), st.randoms())
def test_marks_are_the_same_in_any_order(told: list[tuple[EventKind, int, bool]], random: object) -> None:
    events = [event(kind, subscriber_id=person if known else None) for kind, person, known in told]
    marks = marks_of(events).get(RUN, {})
    shuffled = sorted(events, key=lambda _: random.random())  # type: ignore[attr-defined]  # a Random
    assert marks_of(shuffled).get(RUN, {}) == marks
    for person, mark in marks.items():
        kinds = [one.kind for one in events if one.subscriber_id == person and one.kind in MARKS]
        assert kinds
        assert all(bool(mark & flag) == any(flag & MARKS[kind] for kind in kinds) for flag in Mark)
