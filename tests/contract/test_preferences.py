"""What people do by themselves: leave, confirm, change what is known of them, pause, let opens be measured, be erased.
On both databases."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from audience_tables import contents
from ledger_runs import DAILY, NOW, S, claims, in_zones, later, ledger_of, load, people, plan, report, send_all, windows

from newsletter.audience.model import ConsentState, Exclusion, Member, Subscriber
from newsletter.audience.people import (
    Consent,
    Departure,
    LiftedBy,
    OpensConsent,
    Person,
    Preferences,
    Selection,
    SuppressionReason,
)
from newsletter.audience.signups import SignUpRequest
from newsletter.delivery.model import Busy, Refused
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import Report, Wish
from newsletter.store import tables
from newsletter.store.audience import SqlAudience
from newsletter.store.engine import writing
from newsletter.store.ledger import SqlLedger

DAY = dt.timedelta(days=1)
ANNA = Subscriber("anna@example.com", "Anna@example.com", "Anna", language="de", timezone="Europe/Berlin")
BEN = Subscriber("ben@example.com", "ben@example.com", "Ben")
NOBODY = 4711


def said(days: float = 0, wording: str = "Yes, send me the Buzz") -> Consent:
    return Consent("buzz", NOW + days * DAY, "page", wording, "203.0.113.7")


def join(store: SqlAudience, row: Subscriber = ANNA, *lists: str) -> int:
    for name in lists or ("buzz",):
        assert store.subscribe(row, name, consent=said(), now=NOW)
    person = store.person(row.key)
    assert person is not None
    assert person.id is not None
    return person.id


def of(store: SqlAudience, number: int) -> Person:
    person = store.person_of(number)
    assert person is not None
    return person


def states(store: SqlAudience, number: int) -> dict[str, str]:
    return {one.list: one.state.value for one in of(store, number).memberships}


def standing(store: SqlAudience) -> list[tuple[str, str | None, str]]:
    return sorted((one.key, one.list, one.source) for one in store.suppressions())


def test_a_person_is_found_by_their_number_until_they_are_erased(audience_store: SqlAudience) -> None:
    number = join(audience_store)
    audience_store.suppress(ANNA.key, SuppressionReason.MANUAL, "other", source="cli", now=NOW)
    assert audience_store.person_of(number) == audience_store.person(ANNA.key)
    for stranger in (0, -1, NOBODY):
        assert audience_store.person_of(stranger) is None
    audience_store.erase(ANNA.key, source="letter", now=NOW)
    assert audience_store.person_of(number) is None


def test_leaving_by_number_is_leaving(audience_store: SqlAudience) -> None:
    anna, ben = join(audience_store, ANNA, "buzz", "weekly"), join(audience_store, BEN)
    departures = [
        Departure(anna, ("buzz", "promo"), "one-click"),  # nobody was ever on promo
        Departure(NOBODY, ("buzz",), "one-click"),
        Departure(0, ("buzz", "unheard of"), "one-click"),
        Departure(anna, ("buzz",), "page"),
        Departure(ben, (), "page"),
        Departure(ben, ("weekly",), "page"),
    ]
    assert audience_store.leave(departures, now=NOW) == [True, False, False, False, False, True]
    assert standing(audience_store) == [
        (ANNA.key, "buzz", "one-click"),
        (ANNA.key, "promo", "one-click"),
        (BEN.key, "weekly", "page"),
    ]
    assert states(audience_store, anna) == {"buzz": "unsubscribed", "weekly": "subscribed"}
    assert states(audience_store, ben) == {"buzz": "subscribed"}
    assert list(audience_store.lists()) == ["buzz", "promo", "weekly"]
    assert not audience_store.subscribe(ANNA, "promo", consent=said(1), now=NOW + DAY)
    assert audience_store.leave(departures, now=NOW + DAY) == [False] * 6
    assert audience_store.leave([], now=NOW) == []


def test_many_leave_in_one_step_as_one_after_the_other(audience_store: SqlAudience) -> None:
    load(audience_store, people(f"reader{number}" for number in range(2_500)))
    ids = list(audience_store.plan(DAILY).members)
    before = of(audience_store, ids[7])
    audience_store.unsubscribe(before.key, None, source="cli", now=NOW)
    departures = [Departure(one, ("daily",), "one-click") for one in ids[:2_400]]
    gone = audience_store.leave(departures, now=NOW + DAY)
    assert [number for number, left in enumerate(gone) if not left] == [7]
    assert audience_store.count(DAILY) == {"planned": 100, "suppressed": 2_400}
    assert audience_store.leave(departures, now=NOW + 2 * DAY) == [False] * 2_400
    assert sum(1 for _ in audience_store.suppressions()) == 2_400
    last = of(audience_store, ids[2_399])
    assert [(one.state, one.since) for one in last.memberships] == [(ConsentState.UNSUBSCRIBED, NOW + DAY)]


def test_many_at_once_leave_once_each_and_wait_for_nobody_in_a_circle(audience_store: SqlAudience) -> None:
    ids = [join(audience_store, Subscriber(f"p{number}@example.com", f"p{number}@example.com")) for number in range(12)]

    def leave(turn: int) -> int:
        order = ids[turn:] + ids[:turn]
        return sum(audience_store.leave([Departure(one, ("buzz", "promo"), "one-click") for one in order], now=NOW))

    with ThreadPoolExecutor(max_workers=4) as pool:
        assert sum(pool.map(leave, range(12))) == 12
    assert len(standing(audience_store)) == 24


def test_who_leaves_again_after_coming_back_has_left(audience_store: SqlAudience) -> None:
    anna = join(audience_store)
    for days in range(1, 4):
        assert audience_store.leave([Departure(anna, ("buzz",), "one-click")], now=NOW + days * DAY) == [True]
        assert audience_store.confirm(ANNA, "buzz", consent=said(days), now=NOW + days * DAY)
    assert states(audience_store, anna) == {"buzz": "subscribed"}
    assert len(of(audience_store, anna).suppressions) == 3


def test_a_confirmation_brings_back_who_left_and_records_each_consent_once(audience_store: SqlAudience) -> None:
    anna = join(audience_store, ANNA, "buzz", "weekly")
    audience_store.unsubscribe(ANNA.key, None, source="link", now=NOW + DAY)
    renamed = Subscriber(ANNA.key, ANNA.address, "Anne")
    for days in (2, 2, 3):
        assert audience_store.confirm(renamed, "buzz", consent=said(days), now=NOW + days * DAY)
    found = of(audience_store, anna)
    assert found.name == "Anne"
    assert states(audience_store, anna) == {"buzz": "subscribed", "weekly": "unsubscribed"}
    assert [one.at for one in found.consents if one.list == "buzz"] == [NOW, NOW + 2 * DAY, NOW + 3 * DAY]
    [left] = found.suppressions
    assert [(one.list, one.by) for one in left.lifted_for] == [("buzz", LiftedBy.CONFIRMATION)]


def test_a_stranger_confirms_and_is_subscribed(audience_store: SqlAudience) -> None:
    assert audience_store.confirm(ANNA, "buzz", consent=said(), now=NOW)
    person = audience_store.person(ANNA.key)
    assert person is not None
    assert [one.state for one in person.memberships] == [ConsentState.SUBSCRIBED]
    assert [one.wording for one in person.consents] == ["Yes, send me the Buzz"]


def test_an_erased_person_comes_back_by_confirming(audience_store: SqlAudience) -> None:
    before = join(audience_store)
    audience_store.erase(ANNA.key, source="letter", now=NOW)
    assert audience_store.confirm(ANNA, "buzz", consent=said(1), now=NOW + DAY)
    person = audience_store.person(ANNA.key)
    assert person is not None
    assert person.id != before
    assert audience_store.count(Selection(("buzz",))) == {"planned": 1}


def test_a_confirmation_of_somebody_known_brings_nobody_back_who_was_erased(
    audience_store: SqlAudience, database: sa.Engine
) -> None:
    known, other = join(audience_store), join(audience_store, BEN)
    for number in (other, known + 1000):
        assert not audience_store.confirm(ANNA, "promo", consent=said(1), now=NOW + DAY, known_as=number)
    assert audience_store.confirm(ANNA, "promo", consent=said(1), now=NOW + DAY, known_as=known)
    audience_store.erase(ANNA.key, source="letter", now=NOW + DAY)
    before = contents(database)
    assert not audience_store.confirm(ANNA, "buzz", consent=said(2), now=NOW + 2 * DAY, known_as=known)
    assert contents(database) == before


@pytest.mark.parametrize("erased", [False, True])
@pytest.mark.parametrize(
    "reason", [SuppressionReason.HARD_BOUNCE, SuppressionReason.COMPLAINT, SuppressionReason.MANUAL]
)
def test_what_an_operator_alone_lifts_outlives_a_confirmation_and_nothing_is_changed(
    audience_store: SqlAudience, database: sa.Engine, reason: SuppressionReason, erased: bool
) -> None:
    join(audience_store)
    audience_store.unsubscribe(ANNA.key, "buzz", source="link", now=NOW)
    audience_store.suppress(ANNA.key, reason, None, source="test", now=NOW)
    if erased:
        audience_store.erase(ANNA.key, source="letter", now=NOW)
    before = contents(database)
    assert not audience_store.confirm(ANNA, "buzz", consent=said(1), now=NOW + DAY)
    assert not audience_store.confirm(ANNA, "promo", consent=said(1), now=NOW + DAY)
    assert contents(database) == before


def test_a_consent_from_before_they_left_confirms_nothing(audience_store: SqlAudience, database: sa.Engine) -> None:
    join(audience_store)
    audience_store.unsubscribe(ANNA.key, "buzz", source="link", now=NOW + DAY)
    before = contents(database)
    assert not audience_store.confirm(ANNA, "buzz", consent=said(0.5), now=NOW + 2 * DAY)
    assert contents(database) == before


def test_somebody_changes_what_they_say_and_nothing_else(audience_store: SqlAudience) -> None:
    anna, ben = join(audience_store), join(audience_store, BEN)
    assert audience_store.change(anna, Preferences(name="Änne", timezone=""))
    found = of(audience_store, anna)
    assert (found.name, found.language, found.timezone) == ("Änne", "de", "")
    assert audience_store.change(anna, Preferences())
    assert audience_store.change(anna, Preferences(language="en"))
    assert of(audience_store, anna).language == "en"
    assert of(audience_store, ben).name == "Ben"
    for nothing in (Preferences(), Preferences(name="Mallory")):
        assert not audience_store.change(NOBODY, nothing)


def test_what_somebody_says_of_opens_is_kept_with_the_words_and_read_back(audience_store: SqlAudience) -> None:
    anna, ben = join(audience_store), join(audience_store, BEN)
    steps = [(True, "May we?"), (True, "May we?"), (True, "May we please?"), (False, "No more"), (False, "No more")]
    for hours, (given, wording) in enumerate(steps):
        at = NOW + dt.timedelta(hours=hours)
        assert audience_store.measure_opens(anna, given, wording=wording, ip="203.0.113.7", now=at)
        assert of(audience_store, anna).measures_opens is given
        [member] = audience_store.members([anna])
        assert member.measures_opens is given
    records = [(0, True, "May we?"), (2, True, "May we please?"), (3, False, "No more")]
    assert of(audience_store, anna).opens_consents == tuple(
        OpensConsent(given, NOW + dt.timedelta(hours=hours), wording, "203.0.113.7")
        for hours, given, wording in records
    )
    # nothing was given, so there is nothing to take back
    assert audience_store.measure_opens(ben, False, wording="No", ip="", now=NOW)
    assert of(audience_store, ben).opens_consents == ()
    assert not audience_store.measure_opens(NOBODY, True, wording="Yes", ip="", now=NOW)
    assert [one.measures_opens for one in audience_store.people(Selection(("buzz",)))] == [False, False]


def test_who_pauses_is_left_out_until_then_and_stays_subscribed(audience_store: SqlAudience) -> None:
    store, buzz = audience_store, Selection(("buzz",))
    anna, ben = join(store), join(store, BEN)
    assert store.pause(anna, NOW + DAY)
    assert not store.pause(NOBODY, NOW + DAY)
    assert of(store, anna).paused_until == NOW + DAY
    assert store.count(buzz, now=NOW) == {"planned": 1, "paused": 1}
    found = store.plan(buzz, now=NOW)
    assert (list(found.members), {why: list(ids) for why, ids in found.excluded.items()}) == (
        [ben],
        {Exclusion.PAUSED: [anna]},
    )
    [left_out] = store.left_out(Exclusion.PAUSED, found.excluded[Exclusion.PAUSED], buzz)
    assert (left_out.address, left_out.reason, left_out.detail, left_out.lists) == (
        "Anna@example.com",
        Exclusion.PAUSED,
        "paused until 2026-01-08",
        ("buzz",),
    )
    assert store.timezones(buzz, now=NOW) == [""]
    assert store.count(buzz, now=NOW + DAY) == {"planned": 2}
    assert store.timezones(buzz, now=NOW + DAY) == ["", "Europe/Berlin"]
    assert [one.subscribed for one in store.stats(now=NOW)] == [2]
    assert store.pause(anna, None)
    assert store.count(buzz, now=NOW) == {"planned": 2}


def test_without_a_time_the_clock_says_who_pauses(audience_store: SqlAudience) -> None:
    anna = join(audience_store)
    now = dt.datetime.now(dt.UTC)
    audience_store.pause(anna, now + DAY)
    assert audience_store.count(Selection(("buzz",))) == {"planned": 0, "paused": 1}
    assert list(audience_store.plan(Selection(("buzz",))).members) == []
    assert list(audience_store.timezones(Selection(("buzz",)))) == []
    audience_store.pause(anna, now - DAY)
    assert audience_store.count(Selection(("buzz",))) == {"planned": 1}


def test_whatever_else_keeps_somebody_out_is_said_before_the_pause(audience_store: SqlAudience) -> None:
    store, both = audience_store, Selection(("buzz", "weekly"))
    left, silent, asked = (Subscriber(f"{one}@example.com", one) for one in ("left", "silent", "asked"))
    numbers = [join(store, left)]
    store.unsubscribe(left.key, "buzz", source="link", now=NOW)
    for row in (silent, asked):
        store.subscribe(row, "weekly", consent=None, now=NOW)
    numbers.append(of_key(store, silent.key))
    numbers.append(join(store, asked))  # on one list with a consent, on the other without
    for number in numbers:
        store.pause(number, NOW + DAY)
    found = store.plan(both, now=NOW)
    assert {why: list(ids) for why, ids in found.excluded.items()} == {
        Exclusion.SUPPRESSED: [numbers[0]],
        Exclusion.PENDING: [numbers[1]],
        Exclusion.PAUSED: [numbers[2]],
    }
    assert store.count(both, now=NOW) == {"planned": 0, "suppressed": 1, "pending": 1, "paused": 1}


def of_key(store: SqlAudience, key: str) -> int:
    person = store.person(key)
    assert person is not None
    assert person.id is not None
    return person.id


@pytest.mark.parametrize("windowed", [False, True])
def test_a_run_is_planned_without_those_who_pause(
    audience_store: SqlAudience, database: sa.Engine, tmp_path: Path, windowed: bool
) -> None:
    load(audience_store, in_zones(people(["ana", "ben", "cid", "dan"]), "Europe/Berlin", "Asia/Tokyo"))
    audience_store.pause(of_key(audience_store, "ben@example.com"), NOW + dt.timedelta(seconds=1))
    audience_store.pause(of_key(audience_store, "cid@example.com"), NOW)
    ledger = ledger_of(database, tmp_path)
    of_zones = windows(home=(0, 2)) if windowed else None
    run = plan(ledger, window_of=of_zones)
    assert (run.planned, run.excluded) == (3, {Exclusion.PAUSED: 1})
    assert ledger.excluded(run.run_id) == {Exclusion.PAUSED: 1}
    assert names(send_everything(ledger, run.run_id)) == ["ana", "cid", "dan"]


def send_everything(ledger: SqlLedger, run_id: int) -> list[Member]:
    handle = ledger.take(run_id, now=NOW)
    found: list[Member] = []
    reports: list[Report] = []
    while granted := [one for one in handle.exchange(reports, [Wish(2)], now=NOW).claims if one is not None]:
        found += [member for claim in granted for member in claim.members]
        reports = [report(claim) for claim in granted]
    handle.close(now=NOW)
    return found


def names(members: list[Member]) -> list[str]:
    return sorted(member.key.partition("@")[0] for member in members)


def test_who_pauses_during_a_run_gets_no_mail_of_it_from_the_next_claim_on(
    audience_store: SqlAudience, database: sa.Engine, tmp_path: Path
) -> None:
    load(audience_store, people(["ana", "ben", "cid", "dan"]))
    ledger = ledger_of(database, tmp_path)
    run = plan(ledger, size=4)
    handle = ledger.take(run.run_id, now=NOW)
    [first] = claims(handle, 1)
    others = [one for one in audience_store.plan(DAILY, now=NOW).members if one != first.members[0].id]
    audience_store.pause(others[0], NOW + DAY)
    audience_store.pause(others[1], NOW + dt.timedelta(seconds=30))
    audience_store.measure_opens(others[2], True, wording="Yes", ip="", now=NOW)
    [rest] = [one for one in handle.exchange([report(first)], [Wish(4)], now=later(30)).claims if one]
    # the second one's pause is over by then
    assert [member.id for member in rest.members] == others[1:]
    assert [member.measures_opens for member in (*first.members, *rest.members)] == [False, False, True]
    handle.exchange([report(rest)], [Wish(4)], now=later(31))
    assert handle.balance.counts == {S.ACCEPTED: 3, S.SUPPRESSED: 1}


def test_nothing_that_is_held_about_somebody_outlives_their_erasure(
    audience_store: SqlAudience, database: sa.Engine
) -> None:
    anna, ben = join(audience_store), join(audience_store, BEN)
    for number in (anna, ben):
        audience_store.measure_opens(number, True, wording="Yes", ip="203.0.113.7", now=NOW)
    request = SignUpRequest("buzz", "buzz", ANNA.key, ANNA.address)
    fill_events(database, anna, request.key)
    before = contents(database)
    fill_events(database, ben, BEN.key, first=10)
    untouched = {name: [row for row in rows if row not in before[name]] for name, rows in contents(database).items()}
    assert audience_store.erase(ANNA.key, source="letter", now=NOW)
    after = contents(database)
    for name in ("signup", "event", "event_waiting", "personal_hit"):
        assert after[name] == untouched[name] != [], name
    assert [row[1] for row in after["tracking_consent"]] == [ben]
    assert "anna" not in repr(after).lower()


def test_an_erased_person_is_not_named_as_a_reader_of_tests(
    audience_store: SqlAudience, database: sa.Engine, tmp_path: Path
) -> None:
    ledger, run = ledger_of(database, tmp_path), RunName("buzz", "2026-01-07")
    join(audience_store)
    ledger.record_test(run, "c0ffee", ["Anna@Example.com", "editor@example.com"], now=NOW)
    ledger.record_test(run, "c0ffee", [ANNA.address], now=NOW)
    ledger.record_test(RunName("buzz", "2026-01-08"), "c0ffee", ["editor@example.com"], now=NOW)
    before = contents(database)["test_send"]
    audience_store.erase(ANNA.key, source="letter", now=NOW)
    after = contents(database)["test_send"]
    assert "anna" not in repr(after).lower()
    assert "editor@example.com" in repr(after[0])
    assert after[2] == before[2]
    assert ledger.last_test(run) == ("c0ffee", NOW, ()), "that the content was tested is still known"


def test_what_a_server_says_of_somebody_goes_with_them_also_while_a_call_is_under_way(
    audience_store: SqlAudience, database: sa.Engine, tmp_path: Path
) -> None:
    load(audience_store, people(["anna"]))
    ledger = ledger_of(database, tmp_path)
    run_id = plan(ledger).run_id
    handle = ledger.take(run_id, now=NOW)
    words = "<anna@example.com>: greylisted"
    [first] = claims(handle, 1)
    handle.exchange([report(first, Busy(words), retry_at=NOW)], [], now=NOW)
    assert [one.reason for one in ledger.deliveries(run_id, [S.RETRY_WAIT])] == [words]
    [again] = claims(handle, 1)
    audience_store.erase(ANNA.key, source="letter", now=NOW)
    assert "anna" not in repr(contents(database)).lower()
    handle.exchange([report(again, Refused("<anna@example.com>: unknown", "550"))], [], now=NOW)
    handle.close(now=NOW)
    assert "anna" not in repr(contents(database)).lower()
    assert handle.balance.counts == {S.REJECTED: 1}


def fill_events(engine: sa.Engine, number: int, key: str, first: int = 1) -> None:
    """A request, a hit, and three events of one person: by number, by key, and one that waits."""
    hit = {"newsletter": "buzz", "slot": "2026-01-07", "kind": "click", "number": 1, "verdict": "human", "at": 1}
    event = {"source": "test", "kind": "hard_bounce", "at": 1, "received_at": 1, "reason": f"550 {key} unknown"}
    asked = {"newsletter": "buzz", "list": "buzz", "address": key, "asked_at": 1, "expires_at": 2}
    with writing(engine) as connection:
        connection.execute(sa.insert(tables.signup).values(key=key, mailbox=key, **asked))
        connection.execute(sa.insert(tables.personal_hit).values(subscriber_id=number, **hit))
        whose: list[dict[str, object]] = [
            {"subscriber_id": number},
            {"key": key},
            {"subscriber_id": number, "key": key},
        ]
        for place, one in enumerate(whose, start=first):
            row = sa.insert(tables.event).values(id=place, fingerprint=bytes([place]) * 16, **event, **one)
            connection.execute(row)
        connection.execute(sa.insert(tables.event_waiting).values(event_id=first))


def test_somebody_who_leaves_while_a_run_goes_out_is_claimed_no_more(
    audience_store: SqlAudience, database: sa.Engine, tmp_path: Path
) -> None:
    load(audience_store, people(f"reader{number}" for number in range(40)))
    ledger = ledger_of(database, tmp_path)
    handle = ledger.take(plan(ledger, size=5).run_id, now=NOW)
    [first] = claims(handle, 5)
    gone = sorted(set(audience_store.plan(DAILY).members) - {member.id for member in first.members})[:20]
    audience_store.leave([Departure(one, ("daily",), "one-click") for one in gone], now=NOW)
    handle.exchange([report(first)], [], now=NOW)
    send_all(handle, 5)
    assert handle.balance.counts == {S.ACCEPTED: 20, S.SUPPRESSED: 20}
