"""Runs whose recipients get them at their own local time: each within the window of their zone. On both databases."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa
from ledger_runs import (
    DAILY,
    DEADLINE,
    NOW,
    TODAY,
    S,
    claims,
    die,
    ids,
    in_zones,
    later,
    ledger_of,
    load,
    people,
    plan,
    readers,
    report,
    send_all,
    states,
    windows,
)
from send_simulation import (
    LETTERHEAD,
    TERMS,
    Listening,
    ScriptedProvider,
    SimulatedClock,
    accept,
    recipient,
    rendered,
    same,
)

from newsletter.audience.model import Exclusion
from newsletter.delivery.model import Accepted, Batch, Busy, Receipt, Unknown
from newsletter.delivery.run_values import Halt, Report, Window, Wish
from newsletter.delivery.send import Limiter, send_run
from newsletter.delivery.states import Mark, RunState
from newsletter.store import freezing, standings, tables
from newsletter.store.audience import SqlAudience
from newsletter.store.engine import reading, writing
from newsletter.store.ledger import SqlLedger
from newsletter.store.packing import unpack

HOUR = 3_600
#: Hours after NOW: the east has had its morning, home has it now, the west later; other zones are as home.
MORNINGS = windows(east=(-2, 2), home=(0, 4), west=(3, 6))


@pytest.fixture
def ledger(database: sa.Engine, tmp_path: Path) -> SqlLedger:
    return ledger_of(database, tmp_path)


def planned_in(store: SqlAudience, ledger: SqlLedger, count: int, *zones: str, size: int = 2) -> int:
    """A run with windows for so many people, who live in these zones by turns; its number."""
    load(store, in_zones(readers(count), *zones))
    return plan(ledger, size=size, window_of=MORNINGS).run_id


def zones_of(store: SqlAudience, members: list[int]) -> set[str]:
    return {member.timezone for member in store.members(members)}


# planning


def test_members_of_one_window_ascend_in_batches_of_their_own_and_those_that_open_first_come_first(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standings, "_PEOPLE_A_TIME", 7)
    monkeypatch.setattr(freezing, "_BATCHES_A_TIME", 3)
    rows = in_zones(readers(100), "west", "home", "", "east", "Mars/Phobos")
    load(audience_store, [*rows, *in_zones(people(["pending"], agreed=False), "Nowhere")])
    audience_store.unsubscribe(rows[0].key, "daily", source="link", now=NOW)
    asked: list[str] = []

    def window_of(zone: str) -> Window:
        asked.append(zone)
        return MORNINGS(zone)

    run = plan(ledger, size=9, window_of=window_of)
    assert sorted(asked) == ["", "Mars/Phobos", "east", "home", "west"], "once each, and of members alone"
    assert (run.planned, run.excluded) == (99, {Exclusion.SUPPRESSED: 1, Exclusion.PENDING: 1})
    with reading(database) as connection:
        batches = connection.execute(sa.select(tables.batch).order_by(tables.batch.c.number)).all()
        kept = connection.execute(sa.select(tables.run_window).order_by(tables.run_window.c.number)).all()
    assert [tuple(row)[1:] for row in kept] == [
        (1, 1, 3, later(-2 * HOUR).timestamp(), later(2 * HOUR).timestamp()),
        (2, 4, 10, NOW.timestamp(), later(4 * HOUR).timestamp()),
        (3, 11, 13, later(3 * HOUR).timestamp(), DEADLINE.timestamp()),
    ]
    found: list[int] = []
    for window, zones in zip(kept, [{"east"}, {"home", "", "Mars/Phobos"}, {"west"}], strict=True):
        of_window = [one for one in batches if window.first_batch <= one.number <= window.last_batch]
        members = [member for one in of_window for member in unpack(one.members)]
        assert members == sorted(members)
        assert zones_of(audience_store, members) == zones
        assert {one.due_at for one in of_window} == {max(NOW.timestamp(), window.opens_at)}
        assert [one.size for one in of_window[:-1]] == [9] * (len(of_window) - 1)
        found += members
    assert sorted(found) == list(audience_store.plan(DAILY).members)


def test_zones_with_the_same_window_share_it_and_it_ends_with_the_run(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    load(audience_store, in_zones(readers(4), "a", "b", "c", "d"))
    same_time = windows(home=(1, 2))
    plan(ledger, size=10, window_of=lambda zone: same_time(zone) if zone != "d" else Window(NOW, later(99 * HOUR)))
    with reading(database) as connection:
        kept = connection.execute(sa.select(tables.run_window.c.opens_at, tables.run_window.c.deadline)).all()
    assert sorted(map(tuple, kept)) == [
        (NOW.timestamp(), DEADLINE.timestamp()),
        (later(HOUR).timestamp(), later(2 * HOUR).timestamp()),
    ]


def test_a_run_with_windows_for_nobody_has_none(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run = plan(ledger, window_of=MORNINGS)
    assert run.planned == 0
    with reading(database) as connection:
        assert connection.execute(sa.select(tables.run_window)).all() == []


def test_the_zones_of_an_audience_are_those_of_whom_a_run_would_have(audience_store: SqlAudience) -> None:
    assert audience_store.timezones(DAILY) == []
    rows = in_zones(readers(9), "Europe/Warsaw", "", "Asia/Hong_Kong")
    gone, unconfirmed = in_zones(people(["gone"]), "Asia/Tokyo"), in_zones(people(["new"], agreed=False), "Asia/Seoul")
    elsewhere = [replace(one, lists=("weekly",)) for one in in_zones(people(["else"]), "Africa/Lagos")]
    load(audience_store, [*rows, *gone, *unconfirmed, *elsewhere])
    audience_store.unsubscribe(gone[0].key, "daily", source="link", now=NOW)
    assert audience_store.timezones(DAILY) == ["", "Asia/Hong_Kong", "Europe/Warsaw"]
    assert audience_store.timezones(replace(DAILY, lists=("daily", "weekly"))) == [
        "",
        "Africa/Lagos",
        "Asia/Hong_Kong",
        "Europe/Warsaw",
    ]


# sending


def test_everybody_is_claimed_within_their_window_and_the_run_waits_for_those_to_come(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned_in(audience_store, ledger, 12, "west", "east", "home")
    handle = ledger.take(run_id, now=NOW)
    seen: Counter[int] = Counter()

    def go_on(seconds: float) -> Halt | None:
        """All that may be had at this moment is claimed and accepted."""
        exchange = handle.exchange([], [Wish(9)], now=later(seconds))
        while exchange.claims[0] is not None:
            [claim] = exchange.claims
            assert claim is not None
            [zone] = zones_of(audience_store, ids(claim))
            assert claim.deadline == MORNINGS(zone).deadline
            assert MORNINGS(zone).opens_at <= later(seconds) < claim.deadline
            seen.update(ids(claim))
            exchange = handle.exchange([report(claim)], [Wish(9)], now=later(seconds))
        if exchange.halt is None:
            assert exchange.next_due == later(3 * HOUR)
        return exchange.halt

    assert go_on(0) is None
    assert states(ledger, run_id) == {S.ACCEPTED: 8, S.PLANNED: 4}
    assert go_on(3 * HOUR - 0.001) is None
    assert go_on(3 * HOUR) is Halt.DONE
    assert set(seen.values()) == {1}
    assert len(seen) == 12
    assert handle.close(now=later(3 * HOUR)).state is RunState.FINISHED


@pytest.mark.parametrize("fraction", [0.001, 0.5, 0.999])
def test_a_window_that_opens_within_a_second_is_never_claimed_early(
    ledger: SqlLedger, audience_store: SqlAudience, fraction: float
) -> None:
    load(audience_store, readers(2))
    opens = later(10 + fraction)
    run_id = plan(ledger, window_of=lambda _: Window(opens, DEADLINE)).run_id
    handle = ledger.take(run_id, now=NOW)
    for seconds in (0.0, 10.0, 10 + fraction - 0.0005):
        exchange = handle.exchange([], [Wish(2)], now=later(seconds))
        assert (exchange.claims, exchange.next_due) == ((None,), later(11))
    [claim] = claims(handle, 2, now=later(11))
    assert len(claim.members) == 2


def test_whoever_is_not_reached_within_their_window_expires_and_the_others_get_it(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned_in(audience_store, ledger, 12, "west", "east", "home")
    handle = ledger.take(run_id, now=NOW)
    [claim] = claims(handle, 1)
    assert zones_of(audience_store, ids(claim)) == {"east"}
    handle.exchange([report(claim)], [], now=NOW)
    assert send_all(handle, now=later(2 * HOUR)).next_due == later(3 * HOUR)
    assert states(ledger, run_id) == {S.ACCEPTED: 5, S.EXPIRED: 3, S.PLANNED: 4}
    assert handle.balance == ledger.balance(run_id)
    expired = [one.subscriber_id for one in ledger.deliveries(run_id, [S.EXPIRED])]
    assert zones_of(audience_store, expired) == {"east"}
    assert send_all(handle, now=later(4 * HOUR)).halt is Halt.DONE
    assert handle.close(now=later(4 * HOUR)).state is RunState.EXPIRED
    assert states(ledger, run_id) == {S.ACCEPTED: 9, S.EXPIRED: 3}


def test_many_batches_whose_window_is_over_do_not_hold_up_the_others(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    load(audience_store, in_zones(readers(600), "east", "east", "east", "east", "east", "home"))
    run_id = plan(ledger, size=1, window_of=MORNINGS).run_id
    handle = ledger.take(run_id, now=later(3 * HOUR))
    reports: list[Report] = []
    exchanges = 0
    while True:
        exchange = handle.exchange(reports, [Wish(1)] * 8, now=later(3 * HOUR))
        reports = [report(claim) for claim in exchange.claims if claim is not None]
        exchanges += 1
        assert exchanges < 60, "each exchange gets on"
        if exchange.halt is not None:
            break
        if not reports:
            assert exchange.next_due is not None
            assert exchange.next_due <= later(3 * HOUR), "it is worth asking again at once"
    assert exchange.halt is Halt.DONE
    assert states(ledger, run_id) == {S.ACCEPTED: 100, S.EXPIRED: 500}


def test_a_call_under_way_counts_after_its_window_is_over_and_a_busy_one_is_not_tried_again(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned_in(audience_store, ledger, 6, "east", size=3)
    handle = ledger.take(run_id, now=NOW)
    first, second = claims(handle, 3, 3)
    over = later(2 * HOUR)
    exchange = handle.exchange([report(first)], [Wish(3)], now=over)
    assert (exchange.claims, exchange.halt) == ((None,), None), "a call is under way"
    exchange = handle.exchange([report(second, Busy("later"), retry_at=later(3 * HOUR))], [Wish(3)], now=over)
    assert exchange.halt is Halt.DONE
    assert states(ledger, run_id) == {S.ACCEPTED: 3, S.EXPIRED: 3}
    assert ledger.reasons(run_id) == {(S.EXPIRED, "later"): 3}


def test_whoever_waits_for_another_try_expires_at_the_end_of_their_window_and_not_later(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned_in(audience_store, ledger, 2, "east")
    handle = ledger.take(run_id, now=NOW)
    [claim] = claims(handle, 2)
    exchange = handle.exchange([report(claim, Busy("later"), retry_at=later(5 * HOUR))], [Wish(2)], now=NOW)
    assert exchange.next_due == later(2 * HOUR)
    exchange = handle.exchange([], [Wish(2)], now=later(2 * HOUR))
    assert exchange.halt is Halt.DONE
    assert handle.close(now=later(2 * HOUR)).state is RunState.EXPIRED


def test_the_runs_own_deadline_is_the_last_word(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id = planned_in(audience_store, ledger, 4, "west")
    handle = ledger.take(run_id, now=later(5 * HOUR))
    [claim] = claims(handle, 2, now=later(5 * HOUR))
    exchange = handle.exchange([report(claim)], [Wish(2)], now=DEADLINE)
    assert (exchange.claims, exchange.halt) == ((None,), Halt.DEADLINE)
    assert handle.close(now=DEADLINE).state is RunState.EXPIRED
    assert states(ledger, run_id) == {S.ACCEPTED: 2, S.EXPIRED: 2}


@pytest.mark.parametrize("dies", [False, True])
def test_after_a_clock_that_was_fast_nobody_is_claimed_before_their_window_opens(
    ledger: SqlLedger, audience_store: SqlAudience, dies: bool
) -> None:
    run_id = planned_in(audience_store, ledger, 4, "west", size=4)
    handle = ledger.take(run_id, now=NOW)
    [claim] = claims(handle, 1, now=later(3 * HOUR))
    if dies:
        die(handle)
        handle = ledger.take(run_id, now=later(5))
    exchange = handle.exchange([report(claim)] if not dies else [], [Wish(1)], now=later(5))
    assert (exchange.claims, exchange.next_due) == ((None,), later(3 * HOUR))
    send_all(handle, now=later(3 * HOUR))
    assert states(ledger, run_id)[S.ACCEPTED] == (3 if dies else 4)


def test_the_send_loop_waits_for_each_window_and_retries_within_it(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    clock = SimulatedClock()
    minutes = {"one": (0, 2), "two": (3, 6), "three": (5, 30)}

    def window_of(zone: str) -> Window:
        opens, ends = minutes[zone]
        return Window(later(60 * opens), later(60 * ends))

    load(audience_store, in_zones(readers(60), *minutes))
    run_id = plan(ledger, size=5, window_of=window_of).run_id
    zones = {member.address: member.timezone for member in audience_store.members(audience_store.plan(DAILY).members)}
    calls: list[tuple[str, float]] = []
    lock = threading.Lock()

    def answer(batch: Batch) -> Receipt:
        """Busy for everybody of the first zone; for others only the first time."""
        [zone] = {zones[one.address] for one in batch.recipients}
        with lock:
            known = any(zone == other for other, _ in calls)
            calls.append((zone, (clock.now() - NOW).total_seconds()))
        busy = zone == "one" or not known
        return same(batch, Busy("full")) if busy else accept(batch)

    result = send_run(
        ledger.take(run_id, now=clock.now()),
        ScriptedProvider(answer),
        recipients_of=lambda members: list(map(recipient, members)),
        rendered=rendered,
        letterhead=LETTERHEAD,
        terms=replace(TERMS, concurrency=2, batch_size=5, deadline=DEADLINE, failure_rate=1),
        limiter=Limiter(None, {}, clock),
        clock=clock,
        stop=threading.Event(),
        observer=Listening(),
        jitter=Random(7),
    )
    assert (result.halt, result.run.state) == (Halt.DONE, RunState.EXPIRED)
    assert states(ledger, run_id) == {S.ACCEPTED: 40, S.EXPIRED: 20}
    assert all(60 * minutes[zone][0] <= at < 60 * minutes[zone][1] for zone, at in calls)
    # it is tried again for as long as the window is open, and the next window is not late
    assert max(at for zone, at in calls if zone == "one") > 60
    assert min(at for zone, at in calls if zone == "two") < 60 * 3 + 10


# looking and settling


def test_each_delivery_is_found_by_address_by_person_and_by_state_in_the_order_of_numbers(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    load(audience_store, in_zones(readers(60), "west", "east", "home", "home"))
    other = plan(ledger, TODAY, "plain", size=7).run_id
    load(audience_store, in_zones(people(["late"]), "east"))
    run_id = plan(ledger, size=7, window_of=MORNINGS).run_id
    members = list(audience_store.members(audience_store.plan(DAILY).members))
    assert [one.subscriber_id for one in ledger.deliveries(run_id, list(S))] == [member.id for member in members]
    assert sorted({member.timezone for member in members}) == ["east", "home", "west"]
    for member in members:
        found = ledger.delivery(run_id, member.key)
        assert found is not None
        assert (found.subscriber_id, found.address, found.state) == (member.id, member.address, S.PLANNED)
        runs = [str(one.run) for one in ledger.deliveries_of(member.id)]
        both = member.key != "late@example.com"
        assert runs == ["buzz/2026-01-07", *(["buzz/2026-01-07.plain"] if both else [])]
    load(audience_store, people(["later"]))
    assert ledger.delivery(run_id, "later@example.com") is None
    stranger = audience_store.person("later@example.com")
    assert stranger is not None
    assert stranger.id is not None
    assert list(ledger.deliveries_of(stranger.id)) == []
    assert not ledger.evidence(run_id, stranger.id, Mark.DELIVERED, now=NOW)
    assert ledger.delivery(other, "late@example.com") is None


def test_words_and_evidence_reach_the_right_person_of_overlapping_batches(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned_in(audience_store, ledger, 30, "home", "east", "", size=4)
    handle = ledger.take(run_id, now=NOW)
    told: dict[str, set[int]] = {"busy there": set(), "no answer": set()}
    for claim in claims(handle, 3, 3, 3, 3):
        words = "busy there" if claim.batch % 2 else "no answer"
        told[words] |= set(ids(claim))
        outcome = Busy(words) if claim.batch % 2 else Unknown(words)
        odd = {member.id: outcome if member is claim.members[0] else Accepted() for member in claim.members}
        told[words] -= set(ids(claim)[1:])
        handle.exchange([replace(report(claim), outcomes=odd, retry_at=later(60))], [], now=NOW)
    assert ledger.reasons(run_id) == {
        (S.RETRY_WAIT, "busy there"): len(told["busy there"]),
        (S.UNKNOWN, "no answer"): len(told["no answer"]),
    }
    unknown = {one.subscriber_id for one in ledger.deliveries(run_id, [S.UNKNOWN])}
    assert unknown == told["no answer"] != set()
    for one in unknown:
        assert ledger.evidence(run_id, one, Mark.DELIVERED, now=NOW)
    assert (S.UNKNOWN, "no answer") not in ledger.reasons(run_id)
    assert ledger.balance(run_id).marks == {Mark.DELIVERED: len(unknown)}


def test_what_expired_with_its_window_is_tried_again_until_the_operators_deadline(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned_in(audience_store, ledger, 4, "west", "east")
    handle = ledger.take(run_id, now=later(3 * HOUR))
    assert send_all(handle, now=later(3 * HOUR)).halt is Halt.DONE
    handle.close(now=later(3 * HOUR))
    assert states(ledger, run_id) == {S.ACCEPTED: 2, S.EXPIRED: 2}
    assert ledger.retry(run_id, [S.EXPIRED], later(9 * HOUR), now=later(7 * HOUR)) == 2
    handle = ledger.take(run_id, now=later(8 * HOUR))
    [claim] = claims(handle, 2, now=later(8 * HOUR))
    assert claim.deadline == later(9 * HOUR)
    handle.exchange([report(claim)], [], now=later(8 * HOUR))
    assert handle.close(now=later(8 * HOUR)).state is RunState.FINISHED


def test_an_unknown_outcome_of_a_window_that_is_over_expires_when_it_is_to_be_sent_again(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id = planned_in(audience_store, ledger, 4, "west", "east")
    handle = ledger.take(run_id, now=NOW)
    claims(handle, 2)
    die(handle)
    handle = ledger.take(run_id, resend_unknown=True, now=later(2 * HOUR))
    assert states(ledger, run_id) == {S.RETRY_WAIT: 2, S.PLANNED: 2}
    exchange = handle.exchange([], [Wish(2)], now=later(2 * HOUR))
    assert (exchange.claims, exchange.next_due) == ((None,), later(3 * HOUR))
    assert states(ledger, run_id) == {S.EXPIRED: 2, S.PLANNED: 2}


def test_a_restored_database_knows_the_windows_and_what_went_out_since_becomes_unknown(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience, tmp_path: Path
) -> None:
    run_id = planned_in(audience_store, ledger, 8, "west", "home")
    with writing(database) as connection:
        before = connection.execute(sa.select(tables.batch)).mappings().all()
    handle = ledger.take(run_id, now=NOW)
    sent = {one for claim in claims(handle, 2, 2) for one in ids(claim)}
    die(handle)
    shutil.rmtree(tmp_path / "locks")
    with writing(database) as connection:  # as it was
        connection.execute(sa.delete(tables.attempt))
        connection.execute(sa.delete(tables.batch))
        connection.execute(sa.insert(tables.batch), [dict(row) for row in before])
        connection.execute(sa.update(tables.run).values(state="planned", started_at=None, sender_id=None))
    assert not ledger.withdraw(run_id), "it has gone out, in part"
    handle = ledger.take(run_id, now=later(60))
    assert {one.subscriber_id for one in ledger.deliveries(run_id, [S.UNKNOWN])} == sent
    assert zones_of(audience_store, list(sent)) == {"home"}
    exchange = handle.exchange([], [Wish(2)], now=later(60))
    assert (exchange.claims, exchange.next_due) == ((None,), later(3 * HOUR))
    assert send_all(handle, now=later(3 * HOUR)).halt is Halt.DONE
    assert handle.close(now=later(3 * HOUR)).state is RunState.HELD
    assert states(ledger, run_id) == {S.UNKNOWN: 4, S.ACCEPTED: 4}
