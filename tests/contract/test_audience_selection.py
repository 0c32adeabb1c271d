"""Who is selected, who of them may be mailed, and that everyone else carries exactly one reason: on both databases."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import pytest
import sqlalchemy as sa
from fresh_databases import ERASURE_KEY, empty_tables
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from newsletter.audience.model import ConsentState, Exclusion, Subscriber
from newsletter.audience.people import Consent, LiftedBy, Selection, SuppressionReason
from newsletter.store import standings, tables
from newsletter.store.audience import SqlAudience
from newsletter.store.engine import writing

NOW = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
DAILY = Selection(lists=("daily",))
BOTH = Selection(lists=("daily", "weekly"))


def join(store: SqlAudience, name: str, *lists: str, agreed: bool = True, **fields: object) -> str:
    """Puts somebody on lists; their key."""
    row = Subscriber(f"{name}@example.com", f"{name}@example.com", **fields)  # type: ignore[arg-type]  # by name
    for one in lists:
        assert store.subscribe(row, one, consent=Consent(one, NOW, "form") if agreed else None, now=NOW)
    return row.key


def who(store: SqlAudience, selection: Selection) -> list[str]:
    """The members, by their names."""
    return [one.key.partition("@")[0] for one in store.members(store.plan(selection).members)]


def left_out(store: SqlAudience, selection: Selection) -> dict[str, Exclusion]:
    """Everyone left out, by name, with the reason."""
    return {
        one.address.partition("@")[0]: one.reason
        for reason, ids in store.plan(selection).excluded.items()
        for one in store.left_out(reason, ids, selection)
    }


def test_those_who_asked_for_any_of_the_lists_are_members_once_by_id(audience_store: SqlAudience) -> None:
    join(audience_store, "zoe", "daily", "weekly")
    join(audience_store, "ana", "weekly")
    join(audience_store, "eve", "monthly")
    assert who(audience_store, BOTH) == ["zoe", "ana"]
    assert who(audience_store, DAILY) == ["zoe"]
    assert audience_store.count(BOTH) == {"planned": 2}


def test_a_list_that_nobody_is_on_has_no_audience(audience_store: SqlAudience) -> None:
    join(audience_store, "ana", "daily")
    for lists in ((), ("unheard of",)):
        assert audience_store.count(Selection(lists=lists)) == {"planned": 0}
        assert list(audience_store.people(Selection(lists=lists))) == []


def test_whoever_must_not_be_mailed_has_one_reason_the_strongest(audience_store: SqlAudience) -> None:
    store = audience_store
    join(store, "asked", "daily")
    join(store, "silent", "daily", agreed=False)
    left = join(store, "left", "daily")
    bounced = join(store, "bounced", "daily")
    silent_and_bounced = join(store, "both", "daily", agreed=False)
    store.unsubscribe(left, "daily", source="link", now=NOW)
    for key in (bounced, silent_and_bounced):
        store.suppress(key, SuppressionReason.HARD_BOUNCE, None, source="smtp", now=NOW)
    assert who(store, DAILY) == ["asked"]
    assert left_out(store, DAILY) == {
        "silent": Exclusion.PENDING,
        "left": Exclusion.SUPPRESSED,
        "bounced": Exclusion.SUPPRESSED,
        "both": Exclusion.SUPPRESSED,
    }
    assert store.count(DAILY) == {"planned": 1, "suppressed": 3, "pending": 1}


def test_leaving_one_list_leaves_the_other_and_a_complaint_ends_all(audience_store: SqlAudience) -> None:
    store = audience_store
    ana, ben = join(store, "ana", "daily", "weekly"), join(store, "ben", "daily", "weekly")
    store.unsubscribe(ana, "daily", source="link", now=NOW)
    store.suppress(ben, SuppressionReason.COMPLAINT, None, source="provider", now=NOW)
    assert who(store, DAILY) == []
    assert who(store, BOTH) == ["ana"]
    assert left_out(store, BOTH) == {"ben": Exclusion.SUPPRESSED}


def test_of_two_lists_leaving_one_counts_more_than_never_having_confirmed_the_other(
    audience_store: SqlAudience,
) -> None:
    ana = join(audience_store, "ana", "daily")
    join(audience_store, "ana", "weekly", agreed=False)
    audience_store.unsubscribe(ana, "daily", source="link", now=NOW)
    assert left_out(audience_store, BOTH) == {"ana": Exclusion.SUPPRESSED}
    assert left_out(audience_store, Selection(("weekly",))) == {"ana": Exclusion.PENDING}


def test_a_lifted_suppression_keeps_nobody_out(audience_store: SqlAudience) -> None:
    key = join(audience_store, "ana", "daily")
    audience_store.suppress(key, SuppressionReason.MANUAL, None, source="cli", now=NOW)
    assert who(audience_store, DAILY) == []
    audience_store.lift(key, None, by=LiftedBy.OPERATOR, note="a mistake", now=NOW)
    assert who(audience_store, DAILY) == ["ana"]


def test_what_keeps_somebody_out_is_told_in_words(audience_store: SqlAudience) -> None:
    store = audience_store
    join(store, "silent", "daily", agreed=False)
    gone = join(store, "gone", "daily", "weekly")
    store.suppress(gone, SuppressionReason.HARD_BOUNCE, None, source="smtp", now=NOW)
    plan = store.plan(BOTH)
    [pending] = store.left_out(Exclusion.PENDING, plan.excluded[Exclusion.PENDING], BOTH)
    [bounced] = store.left_out(Exclusion.SUPPRESSED, plan.excluded[Exclusion.SUPPRESSED], BOTH)
    assert (pending.detail, pending.place, pending.lists) == ("no consent is recorded", "list daily", ("daily",))
    assert (bounced.detail, bounced.place) == ("hard bounce on 2026-01-07 (smtp)", "lists daily, weekly")


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"with_tags": ("press",)}, "ana ben"),
        ({"with_tags": ("press", "vip")}, "ben"),
        ({"without_tags": ("press",)}, "cid dan eve"),
        ({"with_tags": ("press",), "without_tags": ("vip",)}, "ana"),
        ({"with_tags": ("pres",)}, ""),
        ({"with_tags": ("PRESS",)}, ""),
        ({"with_tags": ("%",)}, ""),
        ({"with_tags": ("early bird",)}, "cid"),
        ({"attributes": {"city": "Porto"}}, "ana cid"),
        ({"attributes": {"city": "porto"}}, ""),
        ({"attributes": {"city": "Porto", "plan": "gold"}}, "cid"),
        ({"attributes": {"city": ""}}, ""),
        ({"attributes": {'a "quoted" $.key': "It's: 100 %"}}, "dan"),
        ({"with_tags": ("vip",), "attributes": {"city": "Porto"}}, ""),
    ],
)
def test_tags_and_attributes_are_compared_whole(
    audience_store: SqlAudience, selection: dict[str, object], expected: str
) -> None:
    store = audience_store
    join(store, "ana", "daily", tags=("press",), attributes={"city": "Porto"})
    join(store, "ben", "daily", tags=("press", "vip"), attributes={"city": "Paris"})
    join(store, "cid", "daily", tags=("early bird",), attributes={"city": "Porto", "plan": "gold"})
    join(store, "dan", "daily", tags=("express",), attributes={'a "quoted" $.key': "It's: 100 %"})
    join(store, "eve", "daily")
    chosen = Selection(lists=("daily", "weekly"), **selection)  # type: ignore[arg-type]  # by name
    assert who(store, chosen) == expected.split()
    assert store.count(chosen) == {"planned": len(expected.split())}
    assert [one.key.partition("@")[0] for one in store.people(chosen)] == expected.split()


#: Of each person: the state on each list (None: not on it), the suppressions (a list's, or for all), whether they
#: pause, and their time zone.
_PERSON = st.tuples(
    st.sampled_from([None, *ConsentState]),
    st.sampled_from([None, *ConsentState]),
    st.sets(st.sampled_from(["daily", "weekly", None])),
    st.booleans(),
    st.sampled_from(["", "Europe/Lisbon", "Asia/Tokyo"]),
)
_Person = tuple[ConsentState | None, ConsentState | None, set[str | None], bool, str]


def expected(person: _Person, selection: Selection) -> str | None:
    """How somebody stands on the lists, said in the plainest way; None where they are on none of them."""
    daily, weekly, held, pausing, _ = person
    stands = []
    for name, state in (("daily", daily), ("weekly", weekly)):
        if state is not None and name in selection.lists:
            barred = state is ConsentState.UNSUBSCRIBED or name in held or None in held
            stands.append("suppressed" if barred else {"subscribed": "planned", "pending": "pending"}[state.value])
    found = next((one for one in ("planned", "suppressed", "pending") if one in stands), None)
    return "paused" if found == "planned" and pausing else found


def put(connection: sa.Connection, number: int, person: _Person) -> None:
    """One such person, as rows."""
    daily, weekly, held, pausing, zone = person
    lists = {"daily": 1, "weekly": 2, None: None}
    until = int((NOW + dt.timedelta(days=1)).timestamp()) if pausing else None
    key = f"p{number}@example.com"
    row = {"id": number, "key": key, "address": key, "created_at": 1, "paused_until": until, "timezone": zone}
    connection.execute(sa.insert(tables.subscriber).values(row))
    for name, state in (("daily", daily), ("weekly", weekly)):
        if state is not None:
            row = {"list_id": lists[name], "subscriber_id": number, "state": state.value, "since": 1}
            connection.execute(sa.insert(tables.membership).values(row))
    for scope in held:
        values = {"key": key, "reason": "manual", "list_id": lists[scope], "at": 1}
        connection.execute(sa.insert(tables.suppression).values(values))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(_PERSON, min_size=1, max_size=12), st.integers(1, 13))
def test_everyone_is_counted_once_with_the_one_standing_that_the_rules_give(
    database: sa.Engine, monkeypatch: pytest.MonkeyPatch, people: list[_Person], a_time: int
) -> None:
    monkeypatch.setattr(standings, "_PEOPLE_A_TIME", a_time)
    empty_tables(database)
    with writing(database) as connection:
        for number, name in enumerate(("daily", "weekly"), start=1):
            connection.execute(sa.insert(tables.mailing_list).values(id=number, name=name))
        for number, person in enumerate(people, start=1):
            put(connection, number, person)
    store = SqlAudience(database, ERASURE_KEY)
    for selection in (BOTH, DAILY, Selection(lists=("weekly",))):
        by_standing: dict[str, list[int]] = {"planned": []}
        for number, person in enumerate(people, start=1):
            if standing := expected(person, selection):
                by_standing.setdefault(standing, []).append(number)
        plan = store.plan(selection, now=NOW)
        found = {str(reason): list(ids) for reason, ids in plan.excluded.items()}
        assert found | {"planned": list(plan.members)} == by_standing
        counts: Mapping[str, int] = store.count(selection, now=NOW)
        assert counts == {standing: len(ids) for standing, ids in by_standing.items()}
        zones = {people[number - 1][4] for number in by_standing["planned"]}
        assert store.timezones(selection, now=NOW) == sorted(zones)
