"""Requests to subscribe: one row and one mail for whoever is asked for however often. On both databases."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa
from fresh_databases import ERASURE_KEY, empty_tables
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from newsletter.audience.people import SuppressionReason
from newsletter.audience.signups import Asked, Quota, SignUp, SignUpRequest
from newsletter.store import tables
from newsletter.store.audience import SqlAudience
from newsletter.store.signups import SqlSignUps

NOW = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
DAY, WEEK, HOUR = dt.timedelta(days=1), dt.timedelta(days=7), dt.timedelta(hours=1)
ANNA = SignUpRequest(
    newsletter="buzz",
    list="daily",
    key="anna@example.com",
    address="Anna@example.com",
    name="Anna",
    language="de",
    timezone="Europe/Berlin",
    source="page",
    wording="Yes, send me the Buzz",
    ip="203.0.113.7",
)

WEEKLY = replace(ANNA, newsletter="weekly", list="weekly")


@pytest.fixture
def signups(database: sa.Engine) -> SqlSignUps:
    return SqlSignUps(database, ERASURE_KEY)


def someone(number: int) -> SignUpRequest:
    return replace(ANNA, key=f"reader{number}@example.com", address=f"reader{number}@example.com")


def ask(store: SqlSignUps, request: SignUpRequest = ANNA, *quotas: Quota, now: dt.datetime = NOW) -> Asked:
    return store.ask(request, quotas, expires_after=WEEK, again_after=DAY, now=now)


def due(store: SqlSignUps, now: dt.datetime = NOW, limit: int = 100) -> list[SignUp]:
    return list(store.due(limit=limit, now=now))


def counts(engine: sa.Engine) -> list[int]:
    with engine.connect() as connection:
        return sorted(connection.scalars(sa.select(tables.signup_count.c.count)))


def test_a_request_is_kept_whole_and_its_mail_is_due_once(signups: SqlSignUps) -> None:
    assert ask(signups) is Asked.DUE
    [found] = due(signups, NOW + HOUR)
    assert (found.request, found.asked_at, found.expires_at) == (ANNA, NOW, NOW + WEEK)
    assert (found.mailed_at, found.confirmed_at) == (NOW + HOUR, None)
    assert signups.find(found.id) == found
    assert signups.of_person(ANNA.key) == [found]
    assert due(signups, NOW + WEEK) == []
    assert signups.find(found.id + 1) is None
    assert signups.of_person("ben@example.com") == []


def test_each_newsletter_has_a_request_of_its_own(signups: SqlSignUps) -> None:
    assert [ask(signups), ask(signups, WEEKLY)] == [Asked.DUE, Asked.AGAIN]
    assert [one.request.newsletter for one in signups.of_person(ANNA.key)] == ["buzz", "weekly"]


def test_a_mailbox_gets_one_mail_a_day_from_all_newsletters_and_the_next_when_it_was_confirmed(
    signups: SqlSignUps,
) -> None:
    monthly = replace(ANNA, newsletter="monthly", list="monthly")
    ask(signups)
    assert ask(signups, WEEKLY) is Asked.AGAIN  # it waits
    [first] = due(signups)
    assert ask(signups, WEEKLY, now=NOW + HOUR) is Asked.AGAIN
    assert ask(signups, monthly, now=NOW + DAY - HOUR) is Asked.AGAIN  # it went out
    assert due(signups, NOW + 2 * DAY) == []
    signups.confirmed(first.id, now=NOW + DAY - HOUR)
    signups.confirmed(first.id, now=NOW + DAY)
    assert [one.request for one in due(signups, NOW + DAY)] == [WEEKLY, monthly]
    assert due(signups, NOW + 2 * DAY) == []


def test_a_mailbox_that_pressed_no_button_can_be_asked_about_another_newsletter_a_day_later(
    signups: SqlSignUps,
) -> None:
    ask(signups)
    due(signups)
    assert ask(signups, WEEKLY) is Asked.AGAIN
    assert ask(signups, WEEKLY, now=NOW + DAY) is Asked.DUE
    assert [one.request for one in due(signups, NOW + DAY)] == [WEEKLY]
    # the first one's mail, and then the last one's, holds back the others
    assert ask(signups, now=NOW + DAY + HOUR) is Asked.AGAIN
    assert due(signups, NOW + 3 * DAY) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("anna@example.com", "anna+1@example.com"),
        ("anna+1@example.com", "anna+2@example.com"),
        ("anna.smith@gmail.com", "annasmith+x@googlemail.com"),
    ],
)
def test_spellings_of_one_mailbox_are_mailed_once(signups: SqlSignUps, first: str, second: str) -> None:
    assert ask(signups, replace(ANNA, key=first, address=first)) is Asked.DUE
    assert ask(signups, replace(ANNA, key=second, address=second)) is Asked.AGAIN
    [mailed] = due(signups)
    # somebody who confirms one of them lets the others go nowhere
    signups.confirmed(mailed.id, now=NOW)
    assert due(signups) == []


def test_other_mailboxes_wait_for_nobody(signups: SqlSignUps) -> None:
    for number, one in enumerate(["anna.s@example.com", "annas@example.com", "+@example.com", "a@x.example.com"]):
        assert ask(signups, replace(ANNA, key=one, address=one)) is Asked.DUE, number


def test_until_a_day_after_the_mail_what_was_said_first_stands(signups: SqlSignUps) -> None:
    """Whoever asks in between may be somebody else, and must not put words into the mouth of who confirms."""
    renamed = replace(ANNA, name="Anne", list="weekly", wording="Yes, please", ip="")
    ask(signups)
    assert ask(signups, renamed, now=NOW + HOUR) is Asked.AGAIN
    [mailed] = due(signups, NOW + 2 * HOUR)
    assert (mailed.request, mailed.asked_at, mailed.expires_at) == (ANNA, NOW, NOW + HOUR + WEEK)
    assert ask(signups, now=NOW + 2 * HOUR + DAY - dt.timedelta(seconds=1)) is Asked.AGAIN
    assert due(signups, NOW + 3 * DAY) == []
    assert ask(signups, renamed, now=NOW + 2 * HOUR + DAY) is Asked.DUE
    [again] = due(signups, NOW + 3 * DAY)
    assert (again.id, again.request) == (mailed.id, renamed)


def test_what_was_confirmed_stays_as_it_is_until_somebody_asks_again_much_later(signups: SqlSignUps) -> None:
    ask(signups)
    [mailed] = due(signups)
    for hours in (1, 2):
        signups.confirmed(mailed.id, now=NOW + hours * HOUR)
    confirmed = signups.find(mailed.id)
    assert confirmed == replace(mailed, confirmed_at=NOW + HOUR)
    assert ask(signups, replace(ANNA, name="Mallory"), now=NOW + 3 * HOUR) is Asked.AGAIN
    assert signups.find(mailed.id) == confirmed
    renamed = replace(ANNA, name="Anne")
    assert ask(signups, renamed, now=NOW + DAY) is Asked.DUE
    [again] = due(signups, NOW + DAY)
    assert (again.request, again.asked_at, again.confirmed_at) == (renamed, NOW + DAY, None)


def test_whoever_confirms_gets_no_mail_that_was_still_due(signups: SqlSignUps) -> None:
    ask(signups)
    [mailed] = due(signups)
    ask(signups, now=NOW + 2 * DAY)
    signups.confirmed(mailed.id, now=NOW + 2 * DAY)
    assert due(signups, NOW + 2 * DAY) == []
    signups.confirmed(mailed.id + 1, now=NOW)


def test_a_mail_that_certainly_did_not_go_out_is_due_again_then(signups: SqlSignUps) -> None:
    ask(signups)
    [mailed] = due(signups)
    signups.postpone(mailed.id, NOW + HOUR)
    kept = signups.find(mailed.id)
    assert kept is not None
    assert kept.mailed_at is None
    assert ask(signups, now=NOW + dt.timedelta(minutes=1)) is Asked.AGAIN
    assert due(signups, NOW + HOUR - dt.timedelta(seconds=1)) == []
    assert [one.mailed_at for one in due(signups, NOW + HOUR)] == [NOW + HOUR]
    signups.confirmed(mailed.id, now=NOW + HOUR)
    signups.postpone(mailed.id, NOW + 2 * HOUR)
    assert due(signups, NOW + 3 * HOUR) == []


def test_the_oldest_are_due_first_and_none_after_it_expired(signups: SqlSignUps) -> None:
    for number in range(5):
        ask(signups, someone(number), now=NOW + (5 - number) * HOUR)
    assert [one.request for one in due(signups, NOW + DAY, limit=2)] == [someone(4), someone(3)]
    assert [one.request for one in due(signups, NOW + 3 * HOUR)] == [someone(2)]
    assert [one.request for one in due(signups, NOW + 4 * HOUR + WEEK)] == [someone(0)]


@pytest.mark.parametrize("held_back", list(SuppressionReason))
def test_whom_their_own_confirmation_would_not_bring_back_gets_no_mail_and_the_same_answer(
    signups: SqlSignUps, audience_store: SqlAudience, database: sa.Engine, held_back: SuppressionReason
) -> None:
    if held_back is SuppressionReason.ERASED:
        audience_store.erase(ANNA.key, source="letter", now=NOW)
    else:
        audience_store.suppress(ANNA.key, held_back, None, source="test", now=NOW)
    by_themselves = held_back in {SuppressionReason.UNSUBSCRIBE, SuppressionReason.ERASED}
    assert ask(signups) is Asked.DUE
    ask(signups, someone(1))
    # also where it is the first that is looked at
    found = [one.request.key for one in due(signups, limit=1)]
    assert found == [ANNA.key if by_themselves else someone(1).key]
    assert len(due(signups)) == by_themselves
    with database.connect() as connection:
        columns = (tables.signup.c.address, tables.signup.c.asked_at, tables.signup.c.expires_at)
        rows = connection.execute(sa.select(*columns).order_by(tables.signup.c.id)).all()
    assert [tuple(row[1:]) for row in rows] == [tuple(rows[0][1:])] * 2
    assert rows[0].address == ANNA.address


def test_a_complaint_outlives_being_erased(signups: SqlSignUps, audience_store: SqlAudience) -> None:
    audience_store.suppress(ANNA.key, SuppressionReason.COMPLAINT, None, source="sendgrid", now=NOW)
    audience_store.erase(ANNA.key, source="letter", now=NOW)
    assert ask(signups) is Asked.DUE
    assert due(signups) == []


def test_what_holds_for_one_list_holds_back_no_other(signups: SqlSignUps, audience_store: SqlAudience) -> None:
    audience_store.suppress(ANNA.key, SuppressionReason.MANUAL, "weekly", source="cli", now=NOW)
    ask(signups)
    ask(signups, WEEKLY)
    [mailed] = due(signups)
    assert mailed.request.list == "daily"
    signups.confirmed(mailed.id, now=NOW)
    assert due(signups) == []


def test_a_complaint_that_comes_while_the_mail_waits_stops_it(signups: SqlSignUps, audience_store: SqlAudience) -> None:
    ask(signups)
    audience_store.suppress(ANNA.key, SuppressionReason.COMPLAINT, None, source="sendgrid", now=NOW)
    assert due(signups) == []


def test_a_quota_that_is_used_up_writes_nothing_down(signups: SqlSignUps, database: sa.Engine) -> None:
    quotas = (Quota("ip", "203.0.113.7", 2), Quota("domain", "example.com", 9), Quota("all", "", 9))
    assert [ask(signups, someone(number), *quotas) for number in range(3)] == [
        Asked.DUE,
        Asked.DUE,
        Asked.OVER_QUOTA,
    ]
    assert signups.of_person(someone(2).key) == []
    assert counts(database) == [2, 2, 2]
    other = (Quota("ip", "203.0.113.8", 2), *quotas[1:])
    assert ask(signups, someone(2), *other) is Asked.DUE
    # in the next hour all are free again
    assert ask(signups, someone(3), *quotas, now=NOW + HOUR) is Asked.DUE
    assert ask(signups, someone(4), Quota("ip", "203.0.113.9", 0)) is Asked.OVER_QUOTA


def test_no_address_of_a_bucket_can_be_read_in_the_database(signups: SqlSignUps, database: sa.Engine) -> None:
    ask(signups, ANNA, Quota("ip", "203.0.113.200", 5), Quota("domain", "example.com", 5))
    ask(SqlSignUps(database, b"another key"), someone(1), Quota("ip", "203.0.113.200", 5))
    with database.connect() as connection:
        buckets = connection.scalars(sa.select(tables.signup_count.c.bucket)).all()
    assert {len(one) for one in buckets} == {16}
    assert len(set(buckets)) == 3


def test_prune_takes_what_expired_and_hours_that_are_over(signups: SqlSignUps, database: sa.Engine) -> None:
    quota = Quota("all", "", 100)
    ask(signups, someone(1), quota)
    ask(signups, someone(2), quota, now=NOW + HOUR)
    assert [one.request for one in due(signups)] == [someone(1)]
    # its mail goes out an hour before it expires
    assert [one.request for one in due(signups, NOW + WEEK)] == [someone(2)]
    assert signups.prune(now=NOW + HOUR) == 0
    assert counts(database) == [1]
    assert signups.prune(now=NOW + WEEK) == 1
    assert signups.prune(now=NOW + WEEK + 2 * HOUR) == 0
    assert ask(signups, someone(2), now=NOW + WEEK + 2 * HOUR) is Asked.AGAIN
    assert signups.prune(now=NOW + WEEK + 2 * HOUR, again_after=HOUR) == 0
    assert signups.prune(now=NOW + 3 * WEEK) == 1
    assert [signups.of_person(someone(number).key) for number in (1, 2)] == [[], []]
    assert counts(database) == []


def test_no_number_of_a_request_is_given_twice(signups: SqlSignUps) -> None:
    ask(signups)
    [first] = due(signups)
    signups.prune(now=NOW + 2 * WEEK)
    ask(signups, someone(1), now=NOW + 2 * WEEK)
    [second] = due(signups, NOW + 2 * WEEK)
    assert second.id > first.id
    assert signups.find(first.id) is None


#: More than a mailbox bears; each is a transaction of its own, so they are fewer than a bomb's 10,000.
TIMES = 150


def test_however_often_an_address_is_asked_for_at_once_there_is_one_row_and_one_mail(
    signups: SqlSignUps, database: sa.Engine
) -> None:
    quota = Quota("all", "", TIMES - 5)
    stop = threading.Event()

    def mail() -> list[SignUp]:
        found: list[SignUp] = []
        while not stop.wait(0.02):
            found += due(signups, NOW + HOUR)
        return found

    with ThreadPoolExecutor(max_workers=5) as pool:
        outboxes = [pool.submit(mail) for _ in range(2)]
        try:
            answers = list(pool.map(lambda _: ask(signups, ANNA, quota), range(TIMES)))
        finally:
            stop.set()
        mailed = [one for outbox in outboxes for one in outbox.result()] + due(signups, NOW + HOUR)
    assert answers.count(Asked.DUE) == 1
    assert answers.count(Asked.OVER_QUOTA) == 5
    assert len(mailed) == 1
    assert counts(database) == [TIMES - 5]


def test_however_it_is_spelled_and_whatever_is_asked_for_at_once_a_mailbox_gets_one_mail(signups: SqlSignUps) -> None:
    stop = threading.Event()

    def mail() -> list[SignUp]:
        found: list[SignUp] = []
        while not stop.wait(0.005):
            found += due(signups)
        return found

    def asked(number: int) -> Asked:
        key = ("anna@example.com", "anna+1@example.com", "anna+2@example.com")[number % 3]
        newsletter = ("buzz", "weekly")[number % 2]
        return ask(signups, replace(ANNA, key=key, address=key, newsletter=newsletter), Quota("all", "", 1000))

    with ThreadPoolExecutor(max_workers=8) as pool:
        outboxes = [pool.submit(mail) for _ in range(2)]
        try:
            answers = list(pool.map(asked, range(60)))
        finally:
            stop.set()
        mailed = [one for outbox in outboxes for one in outbox.result()] + due(signups)
    assert answers.count(Asked.DUE) == len(mailed) == 1


def test_each_mail_is_given_to_one_of_many_outboxes(signups: SqlSignUps) -> None:
    for number in range(60):
        ask(signups, someone(number))
    with ThreadPoolExecutor(max_workers=6) as pool:
        found = [one for some in pool.map(lambda _: due(signups, limit=7), range(20)) for one in some]
    found += due(signups)
    assert sorted(one.id for one in found) == [
        one.id for number in range(60) for one in signups.of_person(someone(number).key)
    ]


class Outbox(RuleBasedStateMachine):
    """Two addresses, asked for, mailed, put off, confirmed and pruned in any order, against a plain model."""

    def __init__(self, store: SqlSignUps) -> None:
        super().__init__()
        self.store = store
        self.now = NOW
        self.mails: dict[str, list[dt.datetime]] = {}
        self.last: list[SignUp] = []

    @rule(hours=st.sampled_from([1, 5, 23, 24, 180]))
    def wait(self, hours: int) -> None:
        self.now += hours * HOUR

    @rule(number=st.integers(1, 2))
    def ask(self, number: int) -> None:
        request = someone(number)
        [*kept] = self.store.of_person(request.key)
        answer = ask(self.store, request, now=self.now)
        mails = self.mails.get(request.key, [])
        lately = bool(mails) and mails[-1] > self.now - DAY
        if not kept:
            assert answer is Asked.DUE
        elif lately:
            assert answer is Asked.AGAIN
        [there] = self.store.of_person(request.key)
        # what was said first stands until its mail is due anew
        assert there.asked_at == (self.now if answer is Asked.DUE else kept[0].asked_at)

    @rule()
    def mail(self) -> None:
        self.last = due(self.store, self.now)
        for one in self.last:
            self.mails.setdefault(one.request.key, []).append(self.now)
        assert due(self.store, self.now) == []

    @rule()
    def put_off(self) -> None:
        for one in self.last:
            if self.mails[one.request.key][-1:] == [one.mailed_at] and self.store.find(one.id) == one:
                self.store.postpone(one.id, self.now + HOUR)
                self.mails[one.request.key].pop()

    @rule()
    def confirm(self) -> None:
        for one in self.last:
            self.store.confirmed(one.id, now=self.now)

    @rule()
    def prune(self) -> None:
        self.store.prune(now=self.now, again_after=DAY)

    @invariant()
    def nobody_gets_two_mails_within_a_day(self) -> None:
        for mails in self.mails.values():
            assert all(after - before >= DAY for before, after in itertools.pairwise(mails)), mails


def test_in_any_order_nobody_gets_two_mails_within_a_day(database: sa.Engine) -> None:
    def machine() -> Outbox:
        empty_tables(database)
        return Outbox(SqlSignUps(database, ERASURE_KEY))

    examples = settings(max_examples=15, stateful_step_count=25)
    run_state_machine_as_test(machine, settings=examples)  # type: ignore[arg-type]  # a function that makes one will do


def test_a_request_goes_with_the_person_who_is_erased(signups: SqlSignUps, audience_store: SqlAudience) -> None:
    ask(signups)
    ask(signups, someone(1))
    assert audience_store.erase(ANNA.key, source="letter", now=NOW)
    assert signups.of_person(ANNA.key) == []
    assert [one.request for one in due(signups)] == [someone(1)]
