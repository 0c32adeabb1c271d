"""Steering a run, settling what is unknown, evidence, and looking deliveries up. On both databases."""

from __future__ import annotations

import datetime as dt
import itertools
from pathlib import Path

import pytest
import sqlalchemy as sa
from ledger_runs import (
    DEADLINE,
    NOW,
    TODAY,
    S,
    claims,
    die,
    ids,
    later,
    ledger_of,
    load,
    people,
    plan,
    planned,
    readers,
    report,
    send_all,
    states,
)

from newsletter.delivery.model import Accepted, Busy, Refused, Unknown
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import Halt, Report, Settlement, Wish
from newsletter.delivery.states import Mark, RunState
from newsletter.errors import GuardRefused, UsageError
from newsletter.store import tables
from newsletter.store.audience import SqlAudience
from newsletter.store.engine import reading
from newsletter.store.ledger import SqlLedger


@pytest.fixture
def ledger(database: sa.Engine, tmp_path: Path) -> SqlLedger:
    return ledger_of(database, tmp_path)


def state_of(ledger: SqlLedger) -> RunState:
    [run] = ledger.runs()
    return run.state


def held(ledger: SqlLedger, audience_store: SqlAudience, count: int = 4) -> tuple[int, list[int]]:
    """A held run of twice so many, of whom the first ones are unknown; their ids."""
    run_id = planned(audience_store, ledger, 2 * count, size=count)
    handle = ledger.take(run_id, now=NOW)
    unknown, good = claims(handle, count, count)
    handle.exchange([report(unknown, Unknown("no answer")), report(good)], [], now=NOW)
    assert handle.close(now=NOW).state is RunState.HELD
    return run_id, ids(unknown)


def test_a_paused_run_gives_no_claims_keeps_what_is_reported_and_goes_on_when_taken(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned(audience_store, ledger, 4, size=2)
    handle = ledger.take(run_id, now=NOW)
    [claim] = claims(handle, 2)
    assert ledger.pause(run_id, "the editor found a mistake", now=NOW)
    assert not ledger.pause(run_id, "again", now=NOW)
    exchange = handle.exchange([report(claim)], [Wish(2)], now=NOW)
    assert (exchange.claims, exchange.halt) == ((None,), Halt.PAUSED)
    paused = handle.close(now=NOW)
    assert (paused.state, paused.reason) == (RunState.PAUSED, "the editor found a mistake")
    following = ledger.take(run_id, now=NOW)
    assert following.run.reason == ""
    assert send_all(following).halt is Halt.DONE
    assert states(ledger, run_id) == {S.ACCEPTED: 4}


def test_the_sender_itself_can_pause(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    handle = ledger.take(planned(audience_store, ledger, 2, size=2), now=NOW)
    handle.pause("two calls in a row without an answer", now=NOW)
    assert handle.exchange([], [Wish(2)], now=NOW).halt is Halt.PAUSED
    assert handle.close(now=NOW).reason == "two calls in a row without an answer"


def test_a_cancelled_run_sends_nothing_more_and_calls_under_way_still_count(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned(audience_store, ledger, 9, size=3)
    handle = ledger.take(run_id, now=NOW)
    one, two = claims(handle, 3, 2)
    balance = ledger.cancel(run_id, now=NOW)
    assert (balance.of(S.CANCELLED), balance.of(S.IN_FLIGHT)) == (4, 5)
    with pytest.raises(GuardRefused, match="over: cancelled"):
        ledger.cancel(run_id, now=NOW)
    assert [one.state for one in ledger.unfinished()] == [RunState.CANCELLED], "calls are under way"
    exchange = handle.exchange([report(one), report(two, Busy("later"), retry_at=NOW)], [Wish(3)], now=NOW)
    assert (exchange.claims, exchange.halt) == ((None,), Halt.CANCELLED)
    closed = handle.close(now=later(5))
    assert (closed.state, closed.ended_at) == (RunState.CANCELLED, later(5))
    assert states(ledger, run_id) == {S.ACCEPTED: 3, S.CANCELLED: 6}
    assert handle.balance == ledger.balance(run_id)
    assert ledger.unfinished() == []


def test_cancelling_what_nobody_sends_ends_it_at_once(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id = planned(audience_store, ledger, 5, size=2)
    assert ledger.cancel(run_id, now=NOW).of(S.CANCELLED) == 5
    [run] = ledger.runs()
    assert (run.state, run.ended_at) == (RunState.CANCELLED, NOW)
    for act in (lambda: ledger.take(run_id, now=NOW), lambda: ledger.pause(run_id, "x", now=NOW)):
        with pytest.raises(GuardRefused, match="over: cancelled"):
            act()


def test_cancelling_what_a_dead_process_had_leaves_its_unknowns_to_be_settled(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned(audience_store, ledger, 5, size=2)
    handle = ledger.take(run_id, now=NOW)
    claims(handle, 2)
    die(handle)
    ledger.cancel(run_id, now=NOW)
    assert state_of(ledger) is RunState.HELD
    assert ledger.settle(run_id, Settlement.ABANDON, now=NOW) == 2
    assert state_of(ledger) is RunState.CANCELLED
    assert states(ledger, run_id) == {S.ABANDONED: 2, S.CANCELLED: 3}


@pytest.mark.parametrize(
    ("settlement", "state", "run_state"),
    [
        (Settlement.ACCEPTED, S.ACCEPTED, RunState.FINISHED),
        (Settlement.ABANDON, S.ABANDONED, RunState.FINISHED),
        (Settlement.RESEND, S.RETRY_WAIT, RunState.PAUSED),
    ],
)
def test_an_operator_settles_what_is_unknown(
    ledger: SqlLedger, audience_store: SqlAudience, settlement: Settlement, state: S, run_state: RunState
) -> None:
    run_id, unknown = held(ledger, audience_store)
    assert ledger.settle(run_id, settlement, only=[unknown[1], 999_999], now=NOW) == 1
    assert ledger.balance(run_id).of(S.UNKNOWN) == 3
    assert ledger.settle(run_id, settlement, now=NOW) == 3
    assert ledger.settle(run_id, settlement, now=NOW) == 0
    assert states(ledger, run_id)[state] >= 4
    assert state_of(ledger) is run_state
    found = [one for one in ledger.deliveries(run_id, [state]) if one.subscriber_id in unknown]
    assert {one.code for one in found} == {"operator"}
    assert all(one.reason.endswith("before: no answer") for one in found)


def test_what_an_operator_has_sent_again_goes_out_and_keeps_the_operators_word(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id, unknown = held(ledger, audience_store)
    ledger.settle(run_id, Settlement.RESEND, now=later(100))
    handle = ledger.take(run_id, now=later(100))
    [claim] = claims(handle, 10, now=later(100))
    assert (sorted(ids(claim)), claim.attempt, claim.first_at) == (sorted(unknown), 2, later(100))
    handle.exchange([report(claim)], [], now=later(100))
    assert handle.close(now=later(100)).state is RunState.FINISHED
    assert ledger.reasons(run_id) == {(S.ACCEPTED, "an operator had it sent again; before: no answer"): 4}


def test_settling_the_unknowns_of_a_run_that_is_being_sent_lets_the_sender_go_on_with_them(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned(audience_store, ledger, 6, size=3)
    handle = ledger.take(run_id, now=NOW)
    one, two = claims(handle, 2, 2)
    handle.exchange([report(one, Unknown("no answer"))], [], now=NOW)
    assert ledger.settle(run_id, Settlement.RESEND, now=NOW) == 2
    assert state_of(ledger) is RunState.SENDING
    assert handle.exchange([report(two)], [], now=NOW).halt is None
    assert send_all(handle).halt is Halt.DONE
    assert handle.balance == ledger.balance(run_id)
    assert handle.close(now=NOW).state is RunState.FINISHED
    assert states(ledger, run_id) == {S.ACCEPTED: 6}


def test_a_cancelled_run_is_not_sent_again_while_calls_are_under_way(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned(audience_store, ledger, 4, size=2)
    handle = ledger.take(run_id, now=NOW)
    one, two = claims(handle, 2, 2)
    handle.exchange([report(one, Unknown("no answer"))], [], now=NOW)
    ledger.cancel(run_id, now=NOW)
    with pytest.raises(GuardRefused, match="was cancelled"):
        ledger.settle(run_id, Settlement.RESEND, now=NOW)
    handle.exchange([report(two)], [], now=NOW)
    assert handle.close(now=NOW).state is RunState.HELD
    assert ledger.settle(run_id, Settlement.ABANDON, now=NOW) == 2
    assert state_of(ledger) is RunState.FINISHED


def test_settling_recovers_first_what_a_dead_process_left(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id = planned(audience_store, ledger, 2, size=2)
    handle = ledger.take(run_id, now=NOW)
    claims(handle, 2)
    assert ledger.settle(run_id, Settlement.ABANDON, now=NOW) == 0, "it is alive"
    die(handle)
    assert ledger.settle(run_id, Settlement.ABANDON, now=NOW) == 2
    assert state_of(ledger) is RunState.FINISHED


def test_rejected_and_expired_ones_are_opened_for_another_try(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id = planned(audience_store, ledger, 6, size=3)
    handle = ledger.take(run_id, now=NOW)
    [claim] = claims(handle, 3)
    handle.exchange([report(claim, Refused("blocked", "554"))], [], now=NOW)
    with pytest.raises(GuardRefused, match="is being sent by"):
        ledger.retry(run_id, [S.REJECTED], DEADLINE, now=NOW)
    assert handle.close(now=DEADLINE).state is RunState.EXPIRED
    next_day = DEADLINE + dt.timedelta(days=1)
    with pytest.raises(ValueError, match="rejected or has expired"):
        ledger.retry(run_id, [S.ACCEPTED], next_day, now=DEADLINE)
    assert ledger.retry(run_id, [S.REJECTED], next_day, now=DEADLINE) == 3
    [paused] = ledger.runs()
    assert (paused.state, paused.deadline, paused.ended_at) == (RunState.PAUSED, next_day, None)
    assert ledger.retry(run_id, [S.EXPIRED, S.REJECTED], next_day, now=DEADLINE) == 3
    following = ledger.take(run_id, now=DEADLINE)
    assert send_all(following, now=DEADLINE).halt is Halt.DONE
    assert following.close(now=DEADLINE).state is RunState.FINISHED
    assert ledger.retry(run_id, [S.REJECTED], next_day, now=DEADLINE) == 0
    assert state_of(ledger) is RunState.FINISHED, "there was nothing to open"


def test_a_cancelled_run_is_not_opened_again(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id = planned(audience_store, ledger, 2, size=2)
    ledger.cancel(run_id, now=NOW)
    with pytest.raises(GuardRefused, match="was cancelled"):
        ledger.retry(run_id, [S.EXPIRED], DEADLINE, now=NOW)


def test_events_in_any_order_and_number_give_the_same_result(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id, unknown = held(ledger, audience_store, count=6)
    for person, order in zip(unknown, itertools.permutations(Mark), strict=True):
        for number, mark in enumerate((*order, *order)):
            assert ledger.evidence(run_id, person, mark, now=NOW) is (number < 3)
    assert state_of(ledger) is RunState.FINISHED
    balance = ledger.balance(run_id)
    assert (balance.of(S.ACCEPTED), balance.of(S.UNKNOWN)) == (12, 0)
    assert balance.marks == {Mark.DELIVERED: 6, Mark.BOUNCED: 6, Mark.COMPLAINED: 6}
    assert ledger.reasons(run_id) == {}
    with reading(database) as connection:
        kept = connection.scalars(sa.select(tables.batch.c.states)).all()
    assert sorted(map(len, kept)) == [1, 1]


def test_an_event_of_somebody_who_is_no_member_is_no_news(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id = planned(audience_store, ledger, 2, size=2)
    assert not ledger.evidence(run_id, 999, Mark.DELIVERED, now=NOW)
    with pytest.raises(UsageError, match="no run with the number 77"):
        ledger.evidence(77, 1, Mark.DELIVERED, now=NOW)


def test_a_bounce_stands_beside_the_state_and_changes_no_other(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id = planned(audience_store, ledger, 3, size=3)
    handle = ledger.take(run_id, now=NOW)
    [claim] = claims(handle, 3)
    one, two, three = ids(claim)
    handle.exchange(
        [Report(claim, {one: Accepted(), two: Refused("no"), three: Busy("x")}, retry_at=None)], [], now=NOW
    )
    for person in (one, two, three):
        assert ledger.evidence(run_id, person, Mark.BOUNCED, now=NOW)
    assert states(ledger, run_id) == {S.ACCEPTED: 1, S.REJECTED: 1, S.EXPIRED: 1}
    assert handle.close(now=NOW).state is RunState.EXPIRED
    assert ledger.evidence(run_id, one, Mark.COMPLAINED, now=NOW), "also when the run is over"
    [accepted] = ledger.deliveries(run_id, [S.ACCEPTED])
    assert accepted.marks == Mark.BOUNCED | Mark.COMPLAINED


def test_what_was_given_up_is_accepted_where_an_event_proves_it(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id, unknown = held(ledger, audience_store)
    ledger.settle(run_id, Settlement.ABANDON, now=NOW)
    assert ledger.evidence(run_id, unknown[0], Mark.DELIVERED, now=NOW)
    assert states(ledger, run_id) == {S.ACCEPTED: 5, S.ABANDONED: 3}
    [kept] = [one for one in ledger.deliveries(run_id, [S.ACCEPTED]) if one.subscriber_id == unknown[0]]
    assert kept.reason.startswith("an operator gave it up")


def test_one_person_is_found_in_a_run_and_in_all_of_them(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    load(audience_store, people(("ana", "ben", "cid", "dan")))
    first = plan(ledger, size=3).run_id
    handle = ledger.take(first, now=NOW)
    send_all(handle)
    handle.close(now=NOW)
    load(audience_store, people(["eve"]))
    second = plan(ledger, TODAY + dt.timedelta(days=1), size=2).run_id
    found = ledger.delivery(first, "cid@example.com")
    assert found is not None
    assert (str(found.run), found.address, found.state, found.attempts) == (
        "buzz/2026-01-07",
        "cid@example.com",
        S.ACCEPTED,
        1,
    )
    assert found.at == NOW
    assert ledger.delivery(first, "eve@example.com") is None
    assert ledger.delivery(first, "nobody@example.com") is None
    for key, runs in (("cid@example.com", 2), ("eve@example.com", 1)):
        person = audience_store.person(key)
        assert person is not None
        assert person.id is not None
        all_of_them = ledger.deliveries_of(person.id)
        assert [str(one.run) for one in all_of_them] == ["buzz/2026-01-08", "buzz/2026-01-07"][:runs]
        assert all_of_them[0] == ledger.delivery(second, key)
        assert all_of_them[0].attempts == 0
        assert all_of_them[0].at is None


def test_deliveries_are_listed_by_subscriber_number_over_all_batches(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned(audience_store, ledger, 500, size=2)
    listed = list(ledger.deliveries(run_id, [S.PLANNED]))
    assert [one.subscriber_id for one in listed] == list(audience_store.plan(ledger.runs()[0].selection).members)
    assert {one.address for one in listed} == {one.address for one in readers(500)}
    assert list(ledger.deliveries(run_id, [S.ACCEPTED])) == []


def test_erasing_somebody_takes_the_words_on_their_deliveries_away(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned(audience_store, ledger, 2, size=2)
    handle = ledger.take(run_id, now=NOW)
    [claim] = claims(handle, 2)
    refused = {member.id: Refused(f"<{member.address}> is unknown", "550") for member in claim.members}
    handle.exchange([Report(claim, refused)], [], now=NOW)
    gone, stays = claim.members
    audience_store.erase(gone.key, source="cli", now=NOW)
    assert ledger.reasons(run_id) == {(S.REJECTED, f"550 <{stays.address}> is unknown"): 1}
    nameless, named = sorted(ledger.deliveries(run_id, [S.REJECTED]), key=lambda one: one.address)
    assert (nameless.subscriber_id, nameless.address, nameless.reason) == (gone.id, "", "")
    assert named.address == stays.address


def test_the_last_test_of_an_issue_is_remembered(ledger: SqlLedger) -> None:
    name = RunName("buzz", "2026-01-07")
    assert ledger.last_test(name) is None
    ledger.record_test(name, "aaa", ["editor@example.com"], now=NOW)
    ledger.record_test(name, "bbb", ["editor@example.com", "zoë@example.com"], now=later(5))
    ledger.record_test(RunName("buzz", "2026-01-07.evening"), "ccc", ["x@example.com"], now=later(9))
    assert ledger.last_test(name) == ("bbb", later(5), ("editor@example.com", "zoë@example.com"))


def test_there_are_no_runs_of_unknown_names_or_numbers(ledger: SqlLedger) -> None:
    assert ledger.run(RunName("buzz", "2026-01-07")) is None
    with pytest.raises(UsageError, match="no run with the number 5"):
        ledger.balance(5)
    with pytest.raises(UsageError, match="no run with the number 5"):
        ledger.take(5, now=NOW)
