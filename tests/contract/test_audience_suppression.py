"""Suppressions: recorded, lifted by whom they yield to, never changed or deleted; on both databases."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest
import sqlalchemy as sa
from audience_tables import contents

from newsletter.audience.model import ConsentState, Subscriber
from newsletter.audience.people import (
    MAY_LIFT,
    Consent,
    ImportTerms,
    Lift,
    LiftedBy,
    Selection,
    SuppressionReason,
    may_lift,
)
from newsletter.errors import GuardRefused
from newsletter.store.audience import SqlAudience
from newsletter.store.suppressions import ERASED_PREFIX, erased_key, erased_people, standing_suppression
from newsletter.store.tables import mailing_list, membership, subscriber, suppression

START = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
BEN = Subscriber("ben@example.com", "ben@example.com")
GIVEN = [reason for reason in SuppressionReason if reason is not SuppressionReason.ERASED]


def at(hours: float) -> dt.datetime:
    return START + dt.timedelta(hours=hours)


def join(store: SqlAudience, *lists: str, hours: float = 0) -> bool:
    return {store.subscribe(BEN, name, consent=Consent(name, at(hours)), now=at(hours)) for name in lists} == {True}


def mailed(store: SqlAudience, name: str) -> bool:
    return store.count(Selection((name,))).get("planned", 0) == 1


def standing(store: SqlAudience) -> list[tuple[str, str | None]]:
    return [(one.reason.value, one.list) for one in store.suppressions()]


@pytest.mark.parametrize("reason", GIVEN)
def test_a_suppression_for_one_list_holds_for_that_list(audience_store: SqlAudience, reason: SuppressionReason) -> None:
    join(audience_store, "buzz", "weekly")
    assert audience_store.suppress(BEN.key, reason, "buzz", source="desk", now=at(1))
    assert (mailed(audience_store, "buzz"), mailed(audience_store, "weekly")) == (False, True)
    assert not join(audience_store, "buzz", hours=2)
    assert audience_store.count(Selection(("buzz",))) == {"planned": 0, "suppressed": 1}


@pytest.mark.parametrize("reason", GIVEN)
def test_a_suppression_for_all_lists_holds_for_lists_to_come(
    audience_store: SqlAudience, reason: SuppressionReason
) -> None:
    join(audience_store, "buzz")
    assert audience_store.suppress(BEN.key, reason, None, source="desk", now=at(1))
    assert not mailed(audience_store, "buzz")
    assert not join(audience_store, "new", hours=2)
    assert list(audience_store.lists()) == ["buzz"]


def test_an_equal_suppression_is_recorded_once(audience_store: SqlAudience) -> None:
    complaint, manual = SuppressionReason.COMPLAINT, SuppressionReason.MANUAL
    assert audience_store.suppress(BEN.key, complaint, "buzz", source="provider", now=at(0))
    assert not audience_store.suppress(BEN.key, complaint, "buzz", source="provider", now=at(1))
    assert audience_store.suppress(BEN.key, complaint, None, source="provider", now=at(2))
    assert audience_store.suppress(BEN.key, manual, "buzz", source="desk", now=at(3))
    assert standing(audience_store) == [("complaint", "buzz"), ("complaint", None), ("manual", "buzz")]


def test_a_record_is_read_back_as_it_was_given(audience_store: SqlAudience) -> None:
    audience_store.suppress(BEN.key, SuppressionReason.MANUAL, "buzz", source="desk", now=at(1), note="he “called”")
    audience_store.lift(BEN.key, "buzz", by=LiftedBy.OPERATOR, note="called again", now=at(2))
    [one] = audience_store.suppressions(standing_only=False)
    assert (one.key, one.reason, one.list) == (BEN.key, SuppressionReason.MANUAL, "buzz")
    assert (one.at, one.source, one.note) == (at(1), "desk", "he “called”")
    assert one.lift == Lift(at(2), LiftedBy.OPERATOR, "called again")
    assert list(audience_store.suppressions()) == []


def test_nobody_but_erase_says_that_somebody_was_erased(audience_store: SqlAudience) -> None:
    with pytest.raises(ValueError, match="erasing"):
        audience_store.suppress(BEN.key, SuppressionReason.ERASED, None, source="desk", now=at(0))


@pytest.mark.parametrize("by", LiftedBy)
@pytest.mark.parametrize("reason", SuppressionReason)
def test_a_suppression_yields_to_whom_the_law_names_and_to_nobody_else(
    audience_store: SqlAudience, reason: SuppressionReason, by: LiftedBy
) -> None:
    if reason is SuppressionReason.ERASED:
        audience_store.erase(BEN.key, source="letter", now=at(1))
    else:
        audience_store.suppress(BEN.key, reason, None, source="desk", now=at(1))
    if may_lift(reason, by):
        assert audience_store.lift(BEN.key, None, by=by, note="because", now=at(2)) == 1
        assert standing(audience_store) == []
        assert join(audience_store, "buzz", hours=3)
    else:
        with pytest.raises(GuardRefused, match=reason.value):
            audience_store.lift(BEN.key, None, by=by, note="because", now=at(2))
        assert standing(audience_store) == [(reason.value, None)]
        assert not join(audience_store, "buzz", hours=3)


def test_the_law_is_what_the_reference_says() -> None:
    alone = {LiftedBy.OPERATOR}
    assert {reason.value: set(by) for reason, by in MAY_LIFT.items()} == {
        "unsubscribe": {*LiftedBy},
        "erased": {*LiftedBy},
        "hard_bounce": alone,
        "complaint": alone,
        "manual": alone,
    }


def test_a_lift_that_may_not_end_all_ends_none(audience_store: SqlAudience) -> None:
    audience_store.unsubscribe(BEN.key, "buzz", source="one-click", now=at(0))
    audience_store.suppress(BEN.key, SuppressionReason.COMPLAINT, None, source="provider", now=at(1))
    with pytest.raises(GuardRefused, match="complaint"):
        audience_store.lift(BEN.key, "buzz", by=LiftedBy.CONFIRMATION, note="", now=at(2))
    assert standing(audience_store) == [("unsubscribe", "buzz"), ("complaint", None)]
    assert audience_store.lift(BEN.key, "buzz", by=LiftedBy.OPERATOR, note="", now=at(3)) == 2


def test_a_lift_for_one_list_leaves_what_holds_for_another(audience_store: SqlAudience) -> None:
    for name in ("buzz", "weekly"):
        audience_store.suppress(BEN.key, SuppressionReason.COMPLAINT, name, source="provider", now=at(0))
    assert audience_store.lift(BEN.key, "buzz", by=LiftedBy.OPERATOR, note="", now=at(1)) == 1
    assert standing(audience_store) == [("complaint", "weekly")]


@pytest.mark.parametrize("reason", GIVEN)
def test_what_held_for_all_lists_is_lifted_for_one_and_goes_on_for_the_others(
    audience_store: SqlAudience, reason: SuppressionReason
) -> None:
    join(audience_store, "buzz", "weekly", "events")
    audience_store.suppress(BEN.key, reason, None, source="provider", now=at(1))
    assert audience_store.lift(BEN.key, "buzz", by=LiftedBy.OPERATOR, note="", now=at(2)) == 1
    [one] = audience_store.suppressions()
    assert (one.at, one.source, one.list, one.lift) == (at(1), "provider", None, None)
    assert one.lifted_for == (Lift(at(2), LiftedBy.OPERATOR, "", "buzz"),)
    assert not join(audience_store, "weekly", hours=3)
    assert not mailed(audience_store, "weekly")
    assert join(audience_store, "buzz", hours=3)
    assert mailed(audience_store, "buzz")
    # a list that comes later
    row = dataclasses.replace(BEN, lists=("promo", "buzz"), consent_at=at(3))
    audience_store.import_rows([row], ImportTerms("buzz", "promo.csv"), now=at(4))
    assert (mailed(audience_store, "promo"), mailed(audience_store, "buzz")) == (False, True)
    assert not join(audience_store, "another", hours=4)
    assert (mailed(audience_store, "buzz"), mailed(audience_store, "weekly")) == (True, False)
    # one lift more ends it for that list, and one for all ends the rest
    assert audience_store.lift(BEN.key, "promo", by=LiftedBy.OPERATOR, note="", now=at(5)) == 1
    assert audience_store.lift(BEN.key, "promo", by=LiftedBy.OPERATOR, note="", now=at(5)) == 0
    assert join(audience_store, "promo", hours=6)
    assert audience_store.lift(BEN.key, None, by=LiftedBy.OPERATOR, note="", now=at(7)) == 1
    assert standing(audience_store) == []
    assert mailed(audience_store, "buzz")
    assert mailed(audience_store, "promo")


@pytest.mark.parametrize("reason", GIVEN)
def test_what_is_said_of_all_lists_again_holds_for_the_one_that_was_lifted(
    audience_store: SqlAudience, reason: SuppressionReason
) -> None:
    join(audience_store, "buzz")
    audience_store.suppress(BEN.key, reason, None, source="provider", now=at(1))
    audience_store.lift(BEN.key, "buzz", by=LiftedBy.OPERATOR, note="", now=at(2))
    join(audience_store, "buzz", hours=3)
    assert mailed(audience_store, "buzz")
    assert audience_store.suppress(BEN.key, reason, None, source="provider", now=at(4))
    assert not mailed(audience_store, "buzz")
    assert not audience_store.suppress(BEN.key, reason, None, source="provider", now=at(5))
    assert audience_store.lift(BEN.key, "buzz", by=LiftedBy.OPERATOR, note="", now=at(6)) == 1
    assert standing(audience_store) == [(reason.value, None)] * 2
    assert join(audience_store, "buzz", hours=7)
    assert mailed(audience_store, "buzz")


def test_who_left_all_lists_leaves_them_again_after_coming_back_to_one(audience_store: SqlAudience) -> None:
    join(audience_store, "buzz")
    assert audience_store.unsubscribe(BEN.key, None, source="one-click", now=at(1))
    audience_store.lift(BEN.key, "buzz", by=LiftedBy.CONFIRMATION, note="", now=at(2))
    assert join(audience_store, "buzz", hours=2)
    assert not audience_store.unsubscribe(BEN.key, "weekly", source="one-click", now=at(3))
    assert audience_store.unsubscribe(BEN.key, None, source="one-click", now=at(4))
    assert not mailed(audience_store, "buzz")
    assert not audience_store.unsubscribe(BEN.key, "buzz", source="one-click", now=at(5))


@pytest.mark.parametrize("erased", [False, True])
@pytest.mark.parametrize("in_a_file", [False, True])
@pytest.mark.parametrize("scope", ["weekly", None])
def test_an_old_consent_brings_nobody_to_a_list_that_they_were_never_on(
    audience_store: SqlAudience, scope: str | None, in_a_file: bool, erased: bool
) -> None:
    """What they left may have been lifted since, and nothing else may be known of them."""
    join(audience_store, "buzz")
    if erased:
        audience_store.erase(BEN.key, source="letter", now=at(5))
    else:
        audience_store.unsubscribe(BEN.key, scope, source="one-click", now=at(5))
    audience_store.lift(BEN.key, scope, by=LiftedBy.OPERATOR, note="a mistake", now=at(6))
    for hours, comes_back in ((None, False), (4, False), (5.5, True)):
        consent_at = None if hours is None else at(hours)
        if in_a_file:
            row = dataclasses.replace(BEN, consent_at=consent_at)
            summary = audience_store.import_rows([row], ImportTerms("weekly", "weekly.csv"), now=at(7))
            assert (summary.suppressed, summary.new) == (not comes_back, comes_back)
        else:
            said = None if consent_at is None else Consent("weekly", consent_at)
            assert audience_store.subscribe(BEN, "weekly", consent=said, now=at(7)) is comes_back
        assert mailed(audience_store, "weekly") is comes_back


def test_an_operators_claim_in_a_file_is_no_consent_of_somebody_who_left(audience_store: SqlAudience) -> None:
    join(audience_store, "buzz")
    audience_store.unsubscribe(BEN.key, None, source="one-click", now=at(1))
    audience_store.lift(BEN.key, None, by=LiftedBy.OPERATOR, note="", now=at(2))
    terms = ImportTerms("buzz", "fair.csv", confirmed_by="the fair of 2019")
    assert audience_store.import_rows([BEN], terms, now=at(3)).suppressed == 1
    assert audience_store.import_rows([BEN], dataclasses.replace(terms, into="weekly"), now=at(3)).suppressed == 1
    assert not mailed(audience_store, "buzz")
    assert not mailed(audience_store, "weekly")
    terms = ImportTerms("buzz", "fair.csv", reconsent="wrote to us")
    assert audience_store.import_rows([BEN], terms, now=at(3)).updated == 1
    assert mailed(audience_store, "buzz")


def test_any_row_with_a_consent_since_they_left_brings_somebody_back(
    audience_store: SqlAudience, database: sa.Engine
) -> None:
    join(audience_store, "buzz")
    audience_store.unsubscribe(BEN.key, "buzz", source="one-click", now=at(2))
    audience_store.lift(BEN.key, "buzz", by=LiftedBy.OPERATOR, note="", now=at(3))
    rows = [dataclasses.replace(BEN, consent_at=one) for one in (None, at(4), at(1))]
    summary = audience_store.import_rows(rows, ImportTerms("buzz", "file.csv"), now=at(5))
    assert (summary.updated, summary.duplicate) == (1, 2)
    assert mailed(audience_store, "buzz")
    before = contents(database)
    summary = audience_store.import_rows(rows, ImportTerms("buzz", "file.csv"), now=at(6))
    assert (summary.unchanged, summary.duplicate) == (1, 2)
    assert contents(database) == before


@pytest.mark.parametrize("reason", GIVEN)
def test_a_lift_subscribes_nobody_who_had_left(audience_store: SqlAudience, reason: SuppressionReason) -> None:
    """A bounce or a complaint says nothing about consent, which holds on when an operator lifts it; leaving does."""
    join(audience_store, "buzz")
    audience_store.suppress(BEN.key, reason, None, source="desk", now=at(1))
    audience_store.lift(BEN.key, None, by=LiftedBy.OPERATOR, note="", now=at(2))
    assert mailed(audience_store, "buzz") is (reason is not SuppressionReason.UNSUBSCRIBE)
    audience_store.subscribe(BEN, "buzz", consent=Consent("buzz", at(3)), now=at(3))
    assert mailed(audience_store, "buzz")


def test_an_old_file_brings_nobody_back_after_a_lift(audience_store: SqlAudience) -> None:
    join(audience_store, "buzz")
    audience_store.unsubscribe(BEN.key, "buzz", source="one-click", now=at(2))
    audience_store.lift(BEN.key, "buzz", by=LiftedBy.OPERATOR, note="", now=at(3))
    for consent_at, comes_back in ((at(1), False), (at(4), True)):
        row = dataclasses.replace(BEN, consent_at=consent_at)
        audience_store.import_rows([row], ImportTerms("buzz", "old.csv"), now=at(5))
        assert mailed(audience_store, "buzz") is comes_back


def test_somebody_who_left_and_was_subscribed_beside_it_has_still_left(
    audience_store: SqlAudience, database: sa.Engine
) -> None:
    """An import that read before the person left, and wrote after."""
    join(audience_store, "buzz")
    audience_store.unsubscribe(BEN.key, "buzz", source="one-click", now=at(1))
    with database.begin() as connection:
        connection.execute(sa.update(membership).values(state="subscribed"))
    assert not mailed(audience_store, "buzz")
    audience_store.lift(BEN.key, "buzz", by=LiftedBy.CONFIRMATION, note="", now=at(2))
    assert not mailed(audience_store, "buzz")
    person = audience_store.person(BEN.key)
    assert person is not None
    assert person.memberships[0].state is ConsentState.UNSUBSCRIBED


def test_lifting_where_nothing_stands_ends_nothing(audience_store: SqlAudience) -> None:
    assert audience_store.lift(BEN.key, None, by=LiftedBy.OPERATOR, note="", now=at(0)) == 0
    assert audience_store.lift(BEN.key, "no such list", by=LiftedBy.CONFIRMATION, note="", now=at(0)) == 0
    assert list(audience_store.lists()) == []


def test_records_stay_when_somebody_goes_back_and_forth(audience_store: SqlAudience) -> None:
    for hours in (0, 10, 20):
        assert join(audience_store, "buzz", hours=hours)
        assert audience_store.unsubscribe(BEN.key, "buzz", source="one-click", now=at(hours + 1))
        assert audience_store.lift(BEN.key, "buzz", by=LiftedBy.CONFIRMATION, note="", now=at(hours + 2)) == 1
    records = list(audience_store.suppressions(standing_only=False))
    assert [one.at for one in records] == [at(1), at(11), at(21)]
    assert all(one.lift for one in records)


def test_more_suppressions_than_are_read_at_a_time_come_in_order(
    audience_store: SqlAudience, database: sa.Engine
) -> None:
    keys = [f"{number}@example.com" for number in range(2_500)]
    rows = [{"key": key, "reason": "manual", "at": number} for number, key in enumerate(keys)]
    with database.begin() as connection:
        connection.execute(sa.insert(suppression), rows)
    assert [one.key for one in audience_store.suppressions()] == keys


def test_the_condition_says_for_each_membership_whether_it_is_held(
    audience_store: SqlAudience, database: sa.Engine
) -> None:
    join(audience_store, "buzz", "weekly", "events")
    audience_store.suppress(BEN.key, SuppressionReason.COMPLAINT, "weekly", source="provider", now=at(1))
    audience_store.suppress(BEN.key, SuppressionReason.MANUAL, None, source="desk", now=at(1))
    audience_store.lift(BEN.key, "buzz", by=LiftedBy.OPERATOR, note="", now=at(2))
    held = standing_suppression(subscriber.c.key, membership.c.list_id)
    for_complaint = standing_suppression(subscriber.c.key, membership.c.list_id, SuppressionReason.COMPLAINT)
    rows = sa.select(mailing_list.c.name, held, for_complaint).select_from(
        membership.join(subscriber, subscriber.c.id == membership.c.subscriber_id).join(mailing_list)
    )
    with database.connect() as connection:
        found = {name: (bool(any_), bool(complaint)) for name, any_, complaint in connection.execute(rows)}
    assert found == {"buzz": (False, False), "weekly": (True, True), "events": (True, False)}


def test_an_import_is_told_of_the_erased_whose_suppression_stands(
    audience_store: SqlAudience, database: sa.Engine
) -> None:
    audience_store.erase("one@example.com", source="letter", now=at(0))
    audience_store.erase("two@example.com", source="letter", now=at(0))
    audience_store.suppress("hmac-like@example.com", SuppressionReason.MANUAL, None, source="desk", now=at(0))
    audience_store.lift("two@example.com", None, by=LiftedBy.OPERATOR, note="", now=at(1))
    with database.connect() as connection:
        found = erased_people(connection)
    hashes = {each.key for each in audience_store.suppressions(standing_only=False)} - {"hmac-like@example.com"}
    [one] = [each.key for each in audience_store.suppressions() if each.key.startswith(ERASED_PREFIX)]
    assert {key: (each.stands, each.left) for key, each in found.items()} == {
        key: (key == one, int(START.timestamp())) for key in hashes
    }


def test_the_hash_of_a_key_never_changes() -> None:
    """A value of RFC 4231, 4.3 (test case 2): whoever was erased years ago must be recognised."""
    assert erased_key(b"Jefe", "what do ya want for nothing?") == (
        "hmac:5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )
