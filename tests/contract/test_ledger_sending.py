"""Claims, calls and reports of one run in the hands of one process. On both databases."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa
from ledger_runs import (
    DAILY,
    DEADLINE,
    NOW,
    S,
    claims,
    ids,
    later,
    ledger_of,
    load,
    people,
    plan,
    planned,
    report,
    send_all,
    states,
)

from newsletter.audience.model import Member
from newsletter.audience.people import SuppressionReason
from newsletter.delivery.model import Accepted, Busy, Outcome, Refused, Unknown
from newsletter.delivery.run_values import Admission, Claim, Halt, Report, Wish
from newsletter.delivery.states import DeliveryState, RunState
from newsletter.errors import GuardRefused
from newsletter.store import tables
from newsletter.store.audience import SqlAudience
from newsletter.store.engine import reading
from newsletter.store.ledger import SqlLedger

WAIT = later(60)


@pytest.fixture
def ledger(database: sa.Engine, tmp_path: Path) -> SqlLedger:
    return ledger_of(database, tmp_path)


def test_a_run_is_claimed_called_reported_and_finished(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id = planned(audience_store, ledger, 5, size=2)
    handle = ledger.take(run_id, now=NOW)
    assert handle.run.state is RunState.SENDING
    seen: list[int] = []
    exchange = handle.exchange([], [Wish(10), Wish(10)], now=NOW)
    while any(exchange.claims):
        granted = [claim for claim in exchange.claims if claim is not None]
        seen += [one for claim in granted for one in ids(claim)]
        assert ledger.balance(run_id).of(S.IN_FLIGHT) == sum(len(claim.members) for claim in granted)
        assert ledger.balance(run_id) == handle.balance
        exchange = handle.exchange([report(claim) for claim in granted], [Wish(10), Wish(10)], now=NOW)
    assert exchange.halt is Halt.DONE
    assert sorted(seen) == list(audience_store.plan(DAILY).members)
    ended = handle.close(now=later(9))
    assert (ended.state, ended.ended_at, ended.sender) == (RunState.FINISHED, later(9), "")
    assert handle.close(now=later(10)) == ended == ledger.run(ended.name)
    assert states(ledger, run_id) == {S.ACCEPTED: 5}
    with pytest.raises(GuardRefused, match="buzz/2026-01-07 is over: finished"):
        ledger.take(run_id, now=NOW)


def test_windows_of_a_batch_are_claims_of_one_attempt_without_a_member_in_common(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned(audience_store, ledger, 10, size=10)
    handle = ledger.take(run_id, now=NOW)
    first, second = claims(handle, 3, 3)
    exchange = handle.exchange([report(first)], [Wish(3)], now=NOW)
    [third] = exchange.claims
    assert third is not None
    handle.exchange([report(second), report(third)], [], now=NOW)
    [fourth] = claims(handle, 3)
    every = [first, second, third, fourth]
    assert [claim.attempt for claim in every] == [1, 1, 1, 1]
    assert len({claim.call_id for claim in every}) == 4
    assert [len(claim.members) for claim in every] == [3, 3, 3, 1]
    assert len({one for claim in every for one in ids(claim)}) == 10
    handle.exchange([report(fourth)], [], now=NOW)
    with reading(database) as connection:
        [kept] = connection.execute(sa.select(tables.batch))
        [attempt] = connection.execute(sa.select(tables.attempt))
    assert (kept.states, kept.due_at, kept.sender_id) == (bytes((S.ACCEPTED,)), None, None)
    assert (attempt.number, attempt.members, attempt.ended_at is not None) == (1, b"", True)


def test_no_other_attempt_over_a_batch_begins_while_one_is_under_way(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned(audience_store, ledger, 4, size=4)
    handle = ledger.take(run_id, now=NOW)
    first, second = claims(handle, 2, 2)
    # two of them may be tried again at once, and the other two are in a call
    exchange = handle.exchange([report(first, Busy("later"), retry_at=NOW)], [Wish(2)], now=NOW)
    assert (exchange.claims, exchange.halt) == ((None,), None)
    assert exchange.next_due is None, "until the call is reported there is nothing to ask for"
    exchange = handle.exchange([report(second)], [Wish(2)], now=NOW)
    [again] = exchange.claims
    assert again is not None
    assert (again.attempt, ids(again)) == (2, ids(first))


def test_a_code_stands_before_the_words_that_do_not_hold_it(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id = planned(audience_store, ledger, 4, size=4)
    handle = ledger.take(run_id, now=NOW)
    [claim] = claims(handle, 4)
    said = [Refused("no such user", "550"), Refused("550 no such user", "550"), Refused("", "451"), Refused("gone")]
    handle.exchange([Report(claim, dict(zip(ids(claim), said, strict=True)))], [], now=NOW)
    assert ledger.reasons(run_id) == {
        (S.REJECTED, "550 no such user"): 2,
        (S.REJECTED, "451"): 1,
        (S.REJECTED, "gone"): 1,
    }


def test_every_kind_of_outcome_is_kept_with_its_words(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id = planned(audience_store, ledger, 5, size=5)
    handle = ledger.take(run_id, now=NOW)
    [claim] = claims(handle, 5)
    one, two, three, four, five = ids(claim)
    outcomes: dict[int, Outcome] = {
        one: Accepted(),
        two: Refused("no such\r\n\x1b[31muser\x00 \ud800here" + "x" * 600, "550"),
        three: Busy("try later"),
        four: Unknown("no answer"),
        five: Accepted(),
    }
    exchange = handle.exchange([Report(claim, outcomes, retry_at=WAIT)], [Wish(5)], now=NOW)
    assert (exchange.claims, exchange.halt, exchange.next_due) == ((None,), None, WAIT)
    assert states(ledger, run_id) == {S.ACCEPTED: 2, S.REJECTED: 1, S.RETRY_WAIT: 1, S.UNKNOWN: 1}
    [rejected] = ledger.deliveries(run_id, [S.REJECTED])
    assert (rejected.subscriber_id, rejected.code, len(rejected.reason)) == (two, "550", 500)
    assert rejected.reason.startswith("no such [31muser herexx")
    assert ledger.reasons(run_id) == {
        (S.REJECTED, f"550 {rejected.reason}"): 1,
        (S.RETRY_WAIT, "try later"): 1,
        (S.UNKNOWN, "no answer"): 1,
    }
    [again] = claims(handle, 5, now=WAIT)
    assert (ids(again), again.attempt, again.first_at) == ([three], 2, NOW)
    handle.exchange([report(again)], [], now=WAIT)
    [accepted] = [found for found in ledger.deliveries(run_id, [S.ACCEPTED]) if found.subscriber_id == three]
    assert (accepted.attempts, accepted.reason) == (2, "")
    closed = handle.close(now=WAIT)
    assert (closed.state, closed.ended_at) == (RunState.HELD, None)


def test_the_next_try_is_the_first_of_those_who_wait_for_one(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id = planned(audience_store, ledger, 6, size=2)
    handle = ledger.take(run_id, now=NOW)
    assert ledger.next_try(run_id) is None, "nobody was tried"
    early, late = claims(handle, 2, 2)
    soon = WAIT - dt.timedelta(seconds=30)
    handle.exchange(
        [report(late, Busy("later"), retry_at=WAIT), report(early, Busy("later"), retry_at=soon)], [], now=NOW
    )
    assert ledger.next_try(run_id) == soon
    [again] = [one for one in claims(handle, 2, 2, now=soon) if one.batch == early.batch]
    assert ledger.next_try(run_id) == WAIT, "the first is being tried"
    handle.exchange([report(again)], [], now=soon)
    assert ledger.next_try(run_id) == WAIT


def test_words_that_hold_for_a_whole_call_are_kept_once(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned(audience_store, ledger, 50, size=50)
    handle = ledger.take(run_id, now=NOW)
    [claim] = claims(handle, 50)
    handle.exchange([report(claim, Busy("slow down"), retry_at=WAIT)], [], now=NOW)
    assert ledger.reasons(run_id) == {(S.RETRY_WAIT, "slow down"): 50}
    [again] = claims(handle, 50, now=WAIT)
    assert ledger.reasons(run_id) == {}
    handle.exchange([report(again, Unknown("the connection broke"))], [], now=WAIT)
    assert ledger.reasons(run_id) == {(S.UNKNOWN, "the connection broke"): 50}
    assert {one.reason for one in ledger.deliveries(run_id, [S.UNKNOWN])} == {"the connection broke"}
    with reading(database) as connection:
        assert connection.scalars(sa.select(tables.delivery_note.c.run_id)).all() == []


def test_without_another_try_the_busy_ones_expire(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id = planned(audience_store, ledger, 3, size=3)
    handle = ledger.take(run_id, now=NOW)
    [claim] = claims(handle, 3)
    exchange = handle.exchange([report(claim, Busy("full"), retry_at=None)], [Wish(1)], now=NOW)
    assert exchange.halt is Halt.DONE
    assert states(ledger, run_id) == {S.EXPIRED: 3}
    assert ledger.reasons(run_id) == {(S.EXPIRED, "full"): 3}
    assert handle.close(now=NOW).state is RunState.EXPIRED


def test_a_call_refused_for_somebody_in_it_is_halved_until_they_are_alone(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned(audience_store, ledger, 100, size=100)
    handle = ledger.take(run_id, now=NOW)
    [claim] = claims(handle, 100)
    bad = ids(claim)[37]
    waiting, calls, sizes = [claim], 1, [100]
    while waiting:
        reports = []
        for one in waiting:
            if bad not in ids(one):
                reports.append(report(one))
            elif len(one.members) > 1:
                reports.append(report(one, Busy("somebody among them"), retry_at=NOW, split=True))
            else:
                reports.append(report(one, Refused("no address", "400")))
        exchange = handle.exchange(reports, [Wish(1_000), Wish(1_000)], now=NOW)
        waiting = [one for one in exchange.claims if one is not None]
        sizes += [len(one.members) for one in waiting]
        calls += len(waiting)
        assert calls < 60, "it does not come to an end"
    assert exchange.halt is Halt.DONE
    assert states(ledger, run_id) == {S.ACCEPTED: 99, S.REJECTED: 1}
    assert ledger.reasons(run_id) == {(S.REJECTED, "400 no address"): 1}
    assert sizes[1:3] == [50, 50]


def test_whoever_left_or_was_suppressed_or_erased_since_is_not_claimed(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    load(audience_store, people(("ana", "ben", "cid", "dan", "eve")))
    run_id = plan(ledger, size=2).run_id
    handle = ledger.take(run_id, now=NOW)
    audience_store.unsubscribe("ana@example.com", "daily", source="link", now=NOW)
    audience_store.suppress("ben@example.com", SuppressionReason.HARD_BOUNCE, None, source="events", now=NOW)
    audience_store.erase("cid@example.com", source="cli", now=NOW)
    granted: list[Claim] = []
    while (claim := handle.exchange([], [Wish(2)], now=NOW).claims[0]) is not None:
        granted.append(claim)
    assert sorted(member.key[:3] for one in granted for member in one.members) == ["dan", "eve"]
    assert states(ledger, run_id) == {S.IN_FLIGHT: 2, S.SUPPRESSED: 3}
    handle.exchange([report(one) for one in granted], [], now=NOW)
    assert handle.close(now=NOW).state is RunState.FINISHED


def test_a_batch_whose_members_all_left_is_passed_over(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id = planned(audience_store, ledger, 90, size=2)
    handle = ledger.take(run_id, now=NOW)
    members = list(audience_store.members(audience_store.plan(DAILY).members))
    for one in members[:85]:
        audience_store.unsubscribe(one.key, None, source="link", now=NOW)
    exchange = handle.exchange([], [Wish(2)], now=NOW)
    while exchange.claims == (None,) and exchange.halt is None:
        assert exchange.next_due is not None
        assert exchange.next_due <= NOW
        exchange = handle.exchange([], [Wish(2)], now=NOW)
    assert exchange.claims[0] is not None
    assert ids(exchange.claims[0]) == [members[85].id]
    assert ledger.balance(run_id).of(S.SUPPRESSED) == 85


def test_somebody_who_comes_after_planning_is_not_in_the_run(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id = planned(audience_store, ledger, 3, size=10)
    load(audience_store, people(["late"]))
    handle = ledger.take(run_id, now=NOW)
    [claim] = claims(handle, 10)
    assert len(claim.members) == 3
    assert ledger.delivery(run_id, "late@example.com") is None


class Limits:
    """Admits so many members a question, and never those whose address begins with one of `blocked`."""

    def __init__(self, at: dt.datetime, *blocked: str, most: int = 1_000) -> None:
        self.at, self.blocked, self.most = at, blocked, most
        self.questions = 0

    def __call__(self, members: Sequence[Member]) -> Admission:
        self.questions += 1
        places = [place for place, one in enumerate(members) if not one.address.startswith(self.blocked or "\0")]
        return Admission(places[: self.most], self.at)


def test_who_is_not_admitted_waits_and_the_others_go(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    load(audience_store, people(("ana", "bob", "alf", "eve", "amy", "kim")))
    run_id = plan(ledger, size=6).run_id
    handle = ledger.take(run_id, now=NOW)
    limits = Limits(later(7), "a")
    [claim] = handle.exchange([], [Wish(3, limits)], now=NOW).claims
    assert claim is not None
    assert sorted(member.address[:3] for member in claim.members) == ["bob", "eve", "kim"]
    exchange = handle.exchange([report(claim)], [Wish(3, limits)], now=NOW)
    assert (exchange.claims, exchange.halt) == ((None,), None)
    assert exchange.next_due == later(7)
    [rest] = claims(handle, 3, now=later(7))
    assert sorted(member.address[:3] for member in rest.members) == ["alf", "amy", "ana"]
    assert rest.attempt == claim.attempt


def test_batches_that_nobody_is_admitted_of_are_put_off_and_asked_about_later(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned(audience_store, ledger, 300, size=3)
    handle = ledger.take(run_id, now=NOW)
    limits = Limits(later(2.5), "reader")
    exchange = handle.exchange([], [Wish(3, limits)] * 2, now=NOW)
    assert exchange.claims == (None, None)
    assert exchange.halt is None
    assert limits.questions <= 2 * 8 * 5, "a wish asks of a few batches only"
    assert exchange.next_due is not None
    assert exchange.next_due > NOW
    for _ in range(30):
        handle.exchange([], [Wish(3, limits)] * 2, now=NOW)
    assert len(ids(claims(handle, 3, now=later(3))[0])) == 3
    done = send_all(handle, 3, now=later(4))
    assert done.halt is None, "the first claim is under way yet"
    assert ledger.balance(run_id).of(S.ACCEPTED) == 297


def test_the_same_report_again_counts_once(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id = planned(audience_store, ledger, 8, size=8)
    handle = ledger.take(run_id, now=NOW)
    [claim] = claims(handle, 8)
    mixed = {one: Accepted() if number % 2 else Busy("later") for number, one in enumerate(ids(claim))}
    said = Report(claim, mixed, retry_at=NOW, split=True)
    for _ in range(3):
        handle.exchange([said], [], now=NOW)
        assert handle.balance == ledger.balance(run_id)
        assert states(ledger, run_id) == {S.ACCEPTED: 4, S.RETRY_WAIT: 4}
    [again] = claims(handle, 8)
    assert len(again.members) == 4
    handle.exchange([said], [], now=NOW)
    assert states(ledger, run_id) == {S.ACCEPTED: 4, S.IN_FLIGHT: 4}, "they are in another call now"
    handle.exchange([report(claim, Accepted())], [], now=NOW)
    assert states(ledger, run_id) == {S.ACCEPTED: 8}, "but accepted is accepted"
    handle.exchange([report(again, Unknown("nothing came"))], [], now=NOW)
    assert states(ledger, run_id) == {S.ACCEPTED: 8}


def test_nothing_is_claimed_once_the_deadline_has_come_and_the_rest_expires(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned(audience_store, ledger, 6, size=2)
    handle = ledger.take(run_id, now=NOW)
    one, two = claims(handle, 2, 2, now=NOW)
    exchange = handle.exchange([report(one), report(two, Busy("later"), retry_at=WAIT)], [Wish(2)], now=DEADLINE)
    assert (exchange.claims, exchange.halt) == ((None,), Halt.DEADLINE)
    assert handle.close(now=DEADLINE).state is RunState.EXPIRED
    assert states(ledger, run_id) == {S.ACCEPTED: 2, S.EXPIRED: 4}


def test_a_limit_lets_so_many_through_and_pauses_the_run(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id = planned(audience_store, ledger, 10, size=4)
    handle = ledger.take(run_id, limit=5, now=NOW)
    exchange = send_all(handle, 4)
    assert exchange.halt is Halt.PAUSED
    assert states(ledger, run_id) == {S.ACCEPTED: 5, S.PLANNED: 5}
    paused = handle.close(now=NOW)
    assert (paused.state, paused.reason) == (RunState.PAUSED, "the limit of 5 is reached")
    following = ledger.take(run_id, limit=100, now=NOW)
    assert send_all(following, 4).halt is Halt.DONE
    assert following.close(now=NOW).state is RunState.FINISHED
    assert states(ledger, run_id) == {S.ACCEPTED: 10}


def test_a_limit_of_everybody_is_no_pause(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id = planned(audience_store, ledger, 4, size=2)
    handle = ledger.take(run_id, limit=4, now=NOW)
    assert send_all(handle).halt is Halt.DONE
    assert handle.close(now=NOW).state is RunState.FINISHED


def test_an_interrupted_run_goes_on_where_it_was(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id = planned(audience_store, ledger, 10, size=6)
    handle = ledger.take(run_id, now=NOW)
    [claim] = claims(handle, 2)
    handle.exchange([report(claim)], [], now=NOW)
    left = handle.close(now=NOW)
    assert (left.state, left.sender, left.ended_at) == (RunState.SENDING, "", None)
    assert not handle.may_call()
    following = ledger.take(run_id, now=NOW)
    [rest] = claims(following, 100)
    assert (rest.attempt, len(rest.members)) == (2, 4)
    following.exchange([report(rest)], [], now=NOW)
    assert send_all(following).halt is Halt.DONE
    assert states(ledger, run_id) == {S.ACCEPTED: 10}


def test_a_run_for_nobody_is_finished_at_once(ledger: SqlLedger) -> None:
    handle = ledger.take(plan(ledger).run_id, now=NOW)
    assert handle.exchange([], [Wish(1)], now=NOW).halt is Halt.DONE
    assert handle.close(now=NOW).state is RunState.FINISHED


def test_only_members_are_reported_on(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id = planned(audience_store, ledger, 2, size=2)
    handle = ledger.take(run_id, now=NOW)
    [claim] = claims(handle, 2)
    with pytest.raises(ValueError, match="subscriber 999 is no member of batch 1"):
        handle.exchange([Report(claim, {999: Accepted()})], [], now=NOW)
    assert states(ledger, run_id) == {DeliveryState.IN_FLIGHT: 2}


def test_the_time_of_retries_counts_from_the_first_who_need_them(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    """A batch may go out in windows over hours, and be paused in between."""
    handle = ledger.take(planned(audience_store, ledger, 9, size=9), now=NOW)
    [one] = claims(handle, 3)
    handle.exchange([report(one)], [], now=NOW)
    [two] = claims(handle, 3, now=later(3_600))
    assert (one.first_at, two.first_at) == (NOW, later(3_600))
    handle.exchange([report(two, Busy("later"), retry_at=later(3_630))], [], now=later(3_600))
    [three] = claims(handle, 3, now=later(3_610))
    assert three.first_at == later(3_600), "with others who wait it has one time"
    handle.exchange([report(three)], [], now=later(3_620))
    [again] = claims(handle, 3, now=later(3_630))
    assert (ids(again), again.first_at) == (ids(two), later(3_600))


@pytest.mark.parametrize("retry_at", [later(30), later(100_000)])
def test_whoever_waited_is_tried_and_the_time_of_retries_counts_anew_when_somebody_sends_the_run_again(
    ledger: SqlLedger, audience_store: SqlAudience, retry_at: dt.datetime
) -> None:
    run_id = planned(audience_store, ledger, 3, size=3)
    handle = ledger.take(run_id, now=NOW)
    [one] = claims(handle, 3)
    handle.exchange([report(one, Busy("later"), retry_at=retry_at)], [], now=NOW)
    handle.pause("somebody looks at it", now=NOW)
    handle.close(now=NOW)
    [again] = claims(ledger.take(run_id, now=later(7_200)), 3, now=later(7_200))
    assert (ids(again), again.first_at) == (ids(one), later(7_200))
