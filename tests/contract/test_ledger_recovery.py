"""What is left when a process dies, a commit's answer is lost, the run is taken away or the database was restored."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from ledger_runs import (
    NOW,
    S,
    claims,
    die,
    ids,
    later,
    ledger_of,
    planned,
    report,
    send_all,
    states,
)

from newsletter.audience.people import SuppressionReason
from newsletter.delivery.ledger import RunLost
from newsletter.delivery.model import Accepted, Busy, Refused, Unknown
from newsletter.delivery.run_values import Claim, Halt, Report, Wish
from newsletter.delivery.states import Mark, RunState
from newsletter.errors import GuardRefused, OutputError, TemporaryError
from newsletter.store import tables
from newsletter.store.audience import SqlAudience
from newsletter.store.engine import reading, writing
from newsletter.store.journal import Claimed, Entry, Journal
from newsletter.store.ledger import SqlLedger
from newsletter.store.run_ledger import SqlRunLedger
from newsletter.store.run_rows import UnbalancedRun
from newsletter.store.senders import LEASE


@pytest.fixture
def ledger(database: sa.Engine, tmp_path: Path) -> SqlLedger:
    return ledger_of(database, tmp_path)


def begun(audience_store: SqlAudience, ledger: SqlLedger, count: int = 6, size: int = 3) -> tuple[int, SqlRunLedger]:
    run_id = planned(audience_store, ledger, count, size=size)
    return run_id, ledger.take(run_id, now=NOW)


def test_what_a_dead_process_left_in_flight_is_unknown_and_the_rest_goes_out(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id, handle = begun(audience_store, ledger, size=4)
    first, second = claims(handle, 2, 2)
    handle.exchange([report(first)], [], now=NOW)
    die(handle)
    [interrupted] = ledger.runs()
    assert (interrupted.state, interrupted.sender) == (RunState.SENDING, "")
    following = ledger.take(run_id, now=NOW)
    assert states(ledger, run_id) == {S.ACCEPTED: 2, S.UNKNOWN: 2, S.PLANNED: 2}
    assert send_all(following).halt is Halt.DONE
    assert following.close(now=NOW).state is RunState.HELD
    unknown = list(ledger.deliveries(run_id, [S.UNKNOWN]))
    assert [one.subscriber_id for one in unknown] == sorted(ids(second))
    assert {one.address for one in unknown} == {member.address for member in second.members}
    assert all("ended before the answer was written down" in one.reason for one in unknown)


def test_by_policy_what_a_dead_process_left_is_sent_again(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id, handle = begun(audience_store, ledger)
    [first] = claims(handle, 3)
    die(handle)
    following = ledger.take(run_id, resend_unknown=True, now=later(100))
    again = [claim for claim in claims(following, 3, 3, now=later(100)) if set(ids(claim)) == set(ids(first))]
    assert [(claim.attempt, claim.first_at) for claim in again] == [(2, later(100))]
    assert again[0].call_id != first.call_id


def test_unknowns_of_a_held_run_are_sent_again_by_policy_too(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id, handle = begun(audience_store, ledger, count=2)
    [claim] = claims(handle, 2)
    handle.exchange([report(claim, Unknown("no answer"))], [], now=NOW)
    assert handle.close(now=NOW).state is RunState.HELD
    following = ledger.take(run_id, resend_unknown=True, now=NOW)
    assert send_all(following).halt is Halt.DONE
    assert following.close(now=NOW).state is RunState.FINISHED


def test_a_process_that_dies_with_nothing_in_flight_leaves_no_unknown(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id, handle = begun(audience_store, ledger)
    [claim] = claims(handle, 2)
    handle.exchange([report(claim, Busy("later"), retry_at=later(900))], [], now=NOW)
    die(handle)
    following = ledger.take(run_id, now=NOW)
    assert states(ledger, run_id) == {S.PLANNED: 4, S.RETRY_WAIT: 2}
    assert send_all(following).halt is Halt.DONE
    assert following.close(now=NOW).state is RunState.FINISHED


def test_a_claim_that_was_never_reported_is_unknown_when_the_run_is_closed(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id, handle = begun(audience_store, ledger)
    claims(handle, 2)
    closed = handle.close(now=NOW)
    assert (closed.state, closed.sender) == (RunState.SENDING, "")
    assert states(ledger, run_id) == {S.UNKNOWN: 2, S.PLANNED: 4}


@contextlib.contextmanager
def answers_lost(monkeypatch: pytest.MonkeyPatch, *, kept: bool) -> Iterator[None]:
    """Transactions end with an error: after they were kept, or undone."""

    @contextlib.contextmanager
    def lost(engine: sa.Engine) -> Iterator[sa.Connection]:
        with writing(engine) as connection:
            yield connection
            if not kept:
                raise TemporaryError("the server went away")
        raise TemporaryError("the answer did not come")

    with monkeypatch.context() as patch:
        patch.setattr("newsletter.store.run_ledger.writing", lost)
        yield


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("window", [1, 3])
def test_after_a_commit_whose_answer_was_lost_reports_count_once_and_nobody_is_forgotten(
    ledger: SqlLedger, audience_store: SqlAudience, monkeypatch: pytest.MonkeyPatch, kept: bool, window: int
) -> None:
    run_id, handle = begun(audience_store, ledger)
    out = claims(handle, window, window)
    reports = [report(out[0]), report(out[1], Busy("later"), retry_at=NOW)]
    for _ in range(2):
        with answers_lost(monkeypatch, kept=kept), pytest.raises(TemporaryError):
            handle.exchange(reports, [Wish(window)], now=NOW)
    exchange = handle.exchange(reports, [Wish(window)], now=NOW)
    assert handle.balance == ledger.balance(run_id)
    [claim] = exchange.claims
    assert claim is not None
    assert not set(ids(claim)) & set(ids(out[0])), "they were accepted"
    assert states(ledger, run_id)[S.IN_FLIGHT] == len(claim.members), "no claim is left that nobody has"
    handle.exchange([report(claim)], [], now=NOW)
    assert send_all(handle).halt is Halt.DONE
    assert handle.close(now=NOW).state is RunState.FINISHED
    assert states(ledger, run_id) == {S.ACCEPTED: 6}


@pytest.mark.parametrize("kept", [True, False])
def test_a_process_that_gives_up_after_a_lost_answer_leaves_no_unknown_of_calls_never_made(
    ledger: SqlLedger, audience_store: SqlAudience, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    run_id, handle = begun(audience_store, ledger)
    [first] = claims(handle, 3)
    with answers_lost(monkeypatch, kept=kept), pytest.raises(TemporaryError):
        handle.exchange([report(first)], [Wish(3)], now=NOW)
    handle.close(now=NOW)
    left = states(ledger, run_id)
    assert left == ({S.ACCEPTED: 3, S.RETRY_WAIT: 3} if kept else {S.UNKNOWN: 3, S.PLANNED: 3})


def test_without_the_journal_no_claim_is_given_out(
    ledger: SqlLedger, audience_store: SqlAudience, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, handle = begun(audience_store, ledger)
    with monkeypatch.context() as patch:

        def full(_journal: Journal, _entries: object, *, sync: bool) -> None:
            raise OutputError("the journal cannot be kept: No space left on device")

        patch.setattr(Journal, "append", full)
        with pytest.raises(OutputError):
            handle.exchange([], [Wish(3)], now=NOW)
    [claim] = claims(handle, 3)
    assert states(ledger, run_id)[S.IN_FLIGHT] == 3
    handle.exchange([report(claim)], [], now=NOW)
    assert send_all(handle).halt is Halt.DONE
    assert handle.close(now=NOW).state is RunState.FINISHED


def test_the_journal_names_each_claim_before_it_is_given_out(
    ledger: SqlLedger, audience_store: SqlAudience, tmp_path: Path
) -> None:
    _, handle = begun(audience_store, ledger)
    [one, _two] = claims(handle, 2, 2)
    handle.exchange([report(one)], [Wish(2)], now=NOW)
    handle.exchange([], [], now=NOW)
    entries = list(Journal(tmp_path / "journal.ndjson").entries("buzz/2026-01-07"))
    assert [(entry.event, entry.claims) for entry in entries] == [
        ("planned", ()),
        ("claimed", (Claimed(1, 1, 1, [0, 1]), Claimed(1, 1, 2, [2]))),
        ("claimed", (Claimed(2, 1, 1, [0, 1]),)),
    ]


def test_nobody_waits_while_the_journal_is_read(
    ledger: SqlLedger, audience_store: SqlAudience, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries, times = Journal.entries, []

    def written_meanwhile(journal: Journal, run: str) -> Iterator[Entry]:
        times.append(run)
        audience_store.suppress(f"{len(times)}@example.com", SuppressionReason.MANUAL, None, source="cli", now=NOW)
        return entries(journal, run)

    monkeypatch.setattr(Journal, "entries", written_meanwhile)
    run_id, handle = begun(audience_store, ledger)
    assert times == ["buzz/2026-01-07"] * 2
    die(handle)
    ledger.take(run_id, now=NOW)


# a run that was taken away


@pytest.fixture
def lost(ledger: SqlLedger, audience_store: SqlAudience) -> tuple[int, SqlRunLedger, Claim, SqlRunLedger]:
    """A run of six, of which a stopped process had claimed three, in the hands of another one."""
    run_id, handle = begun(audience_store, ledger)
    [claim] = claims(handle, 3)
    die(handle)
    return run_id, handle, claim, ledger.take(run_id, now=NOW)


def test_who_lost_the_run_gets_no_claim_and_what_it_reports_settles_its_unknowns(
    ledger: SqlLedger, lost: tuple[int, SqlRunLedger, Claim, SqlRunLedger]
) -> None:
    run_id, old, claim, new = lost
    one, two, three = ids(claim)
    assert not old.may_call()
    with pytest.raises(RunLost):
        old.keep(now=NOW)
    said = Report(claim, {one: Accepted(), two: Refused("no", "550"), three: Unknown("no answer")})
    for _ in range(2):
        with pytest.raises(RunLost):
            old.exchange([said], [Wish(3)], now=NOW)
        assert states(ledger, run_id) == {S.ACCEPTED: 1, S.RETRY_WAIT: 1, S.UNKNOWN: 1, S.PLANNED: 3}
    assert send_all(new).halt is Halt.DONE
    assert states(ledger, run_id) == {S.ACCEPTED: 5, S.UNKNOWN: 1}
    assert old.close(now=NOW).state is RunState.SENDING, "it is not ours to end"
    assert new.close(now=NOW).state is RunState.HELD


def test_a_late_report_does_not_touch_those_who_are_in_another_call_unless_they_were_accepted(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id, old = begun(audience_store, ledger, count=3)
    [claim] = claims(old, 3)
    die(old)
    new = ledger.take(run_id, resend_unknown=True, now=NOW)
    [again] = claims(new, 3)
    one, two, three = ids(claim)
    with pytest.raises(RunLost):
        old.exchange(
            [Report(claim, {one: Accepted(), two: Refused("no"), three: Busy("x")}, retry_at=NOW)], [], now=NOW
        )
    assert states(ledger, run_id) == {S.ACCEPTED: 1, S.IN_FLIGHT: 2}
    assert new.exchange([report(again, Unknown("no answer"))], [Wish(1)], now=NOW).halt is Halt.DONE
    assert states(ledger, run_id) == {S.ACCEPTED: 1, S.UNKNOWN: 2}
    assert new.balance == ledger.balance(run_id)


def test_a_late_report_on_a_held_run_ends_it_or_lets_it_go_on(ledger: SqlLedger, audience_store: SqlAudience) -> None:
    run_id, old = begun(audience_store, ledger, count=2)
    one, two = claims(old, 1, 1)
    die(old)
    assert ledger.take(run_id, now=NOW).close(now=NOW).state is RunState.HELD
    with pytest.raises(RunLost):
        old.exchange([report(one)], [], now=NOW)
    [held] = ledger.runs()
    assert held.state is RunState.HELD
    with pytest.raises(RunLost):
        old.exchange([report(two, Busy("later"), retry_at=NOW)], [], now=NOW)
    [paused] = ledger.runs()
    assert paused.state is RunState.PAUSED
    following = ledger.take(run_id, now=NOW)
    assert send_all(following).halt is Halt.DONE
    assert following.close(now=NOW).state is RunState.FINISHED


def test_an_event_between_a_claim_and_its_answer_is_kept_whatever_the_answer_says(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id, handle = begun(audience_store, ledger)
    [claim, other] = claims(handle, 3, 3)
    one, two, three = ids(claim)
    for subscriber in (one, two, three):
        assert ledger.evidence(run_id, subscriber, Mark.DELIVERED, now=NOW)
    said = Report(claim, {one: Unknown("no answer"), two: Busy("later"), three: Refused("no")}, retry_at=NOW)
    handle.exchange([said, report(other)], [], now=NOW)
    assert states(ledger, run_id) == {S.ACCEPTED: 6}
    assert handle.balance == ledger.balance(run_id)
    assert handle.balance.marks == {Mark.DELIVERED: 3}
    assert handle.exchange([], [Wish(1)], now=NOW).halt is Halt.DONE


# a database from before


def backup(database: sa.Engine) -> dict[str, list[dict[str, object]]]:
    """Every row."""
    with reading(database) as connection:
        return {
            table.name: [dict(row._mapping) for row in connection.execute(sa.select(table))]
            for table in tables.metadata.sorted_tables
        }


def restore(database: sa.Engine, rows: dict[str, list[dict[str, object]]]) -> None:
    """Puts them back in place of all there are."""
    with writing(database) as connection:
        for table in reversed(tables.metadata.sorted_tables):
            connection.execute(sa.delete(table))
        for table in tables.metadata.sorted_tables:
            if rows[table.name]:
                connection.execute(sa.insert(table), rows[table.name])


def test_what_was_claimed_since_the_backup_is_unknown_after_it_was_put_back(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id, handle = begun(audience_store, ledger, count=9)
    [first] = claims(handle, 3)
    handle.exchange([report(first)], [], now=NOW)
    before = backup(database)
    [second] = claims(handle, 3)
    handle.exchange([report(second)], [], now=NOW)
    die(handle)
    restore(database, before)
    following = ledger.take(run_id, now=NOW)
    assert states(ledger, run_id) == {S.ACCEPTED: 3, S.UNKNOWN: 3, S.PLANNED: 3}
    assert send_all(following).halt is Halt.DONE
    assert following.close(now=NOW).state is RunState.HELD
    unknown = list(ledger.deliveries(run_id, [S.UNKNOWN]))
    assert [one.subscriber_id for one in unknown] == sorted(ids(second))
    assert {(one.reason, one.attempts) for one in unknown} == {
        ("it was claimed before the database was restored from a backup", 1)
    }


def test_a_window_that_went_out_after_a_backup_in_the_middle_of_its_batch_is_unknown_and_nobody_else(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id, handle = begun(audience_store, ledger, count=8, size=8)
    [first] = claims(handle, 2)
    said = {one: Busy("later") if one == ids(first)[0] else Accepted() for one in ids(first)}
    handle.exchange([Report(first, said, retry_at=later(900))], [], now=NOW)
    before = backup(database)
    [second] = claims(handle, 2)
    handle.exchange([report(second)], [], now=NOW)
    die(handle)
    restore(database, before)
    following = ledger.take(run_id, now=NOW)
    assert states(ledger, run_id) == {S.ACCEPTED: 1, S.RETRY_WAIT: 1, S.UNKNOWN: 2, S.PLANNED: 4}
    unknown = list(ledger.deliveries(run_id, [S.UNKNOWN]))
    assert [one.subscriber_id for one in unknown] == ids(second)
    assert {(one.reason, one.attempts) for one in unknown} == {
        ("it was claimed before the database was restored from a backup", 1)
    }
    assert send_all(following).halt is Halt.DONE
    die(following)
    # what the journal says is known now, so that the next one has nothing to find
    restored = ledger.take(run_id, now=NOW)
    assert states(ledger, run_id) == {S.ACCEPTED: 6, S.UNKNOWN: 2}
    assert restored.close(now=NOW).state is RunState.HELD


def test_what_was_sent_after_two_backups_were_put_back_is_unknown_once(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id, handle = begun(audience_store, ledger, count=6, size=3)
    before = backup(database)
    for times in (1, 2):
        [claim] = claims(handle, 2)
        handle.exchange([report(claim, Busy("later"), retry_at=NOW)], [], now=NOW)
        die(handle)
        restore(database, before)
        handle = ledger.take(run_id, now=later(31))  # of the process in the backup there is no lock
        assert states(ledger, run_id) == {S.UNKNOWN: 2 * times, S.PLANNED: 6 - 2 * times}
    assert send_all(handle, now=later(31)).halt is Halt.DONE
    assert states(ledger, run_id) == {S.UNKNOWN: 4, S.ACCEPTED: 2}


def test_a_run_that_ended_after_a_backup_in_the_middle_of_its_last_batch_is_not_sent_again(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id, handle = begun(audience_store, ledger, count=6, size=6)
    [first] = claims(handle, 2)
    handle.exchange([report(first)], [], now=NOW)
    before = backup(database)
    assert send_all(handle).halt is Halt.DONE
    assert handle.close(now=NOW).state is RunState.FINISHED
    restore(database, before)
    with pytest.raises(GuardRefused, match="is being sent by"):
        ledger.take(run_id, now=later(LEASE - 1))  # its lock is gone, so that its lease counts
    ledger.take(run_id, now=later(LEASE + 1))
    assert states(ledger, run_id) == {S.ACCEPTED: 2, S.UNKNOWN: 4}


def test_a_run_that_was_opened_again_after_its_end_is_no_restored_one(
    ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id, handle = begun(audience_store, ledger, count=6, size=6)
    [first] = claims(handle, 6)
    handle.exchange([report(first, Refused("blocked"))], [], now=NOW)
    assert handle.close(now=NOW).state is RunState.FINISHED
    assert ledger.retry(run_id, [S.REJECTED], later(900), now=NOW) == 6
    again = ledger.take(run_id, now=NOW)
    [window] = claims(again, 2)
    again.exchange([report(window)], [], now=NOW)
    die(again)
    assert ledger.take(run_id, now=NOW).run.state is RunState.SENDING
    assert states(ledger, run_id) == {S.ACCEPTED: 2, S.RETRY_WAIT: 4}


def test_a_run_that_does_not_balance_is_never_finished(
    database: sa.Engine, ledger: SqlLedger, audience_store: SqlAudience
) -> None:
    run_id, handle = begun(audience_store, ledger)
    assert send_all(handle).halt is Halt.DONE
    with writing(database) as connection:
        connection.execute(sa.delete(tables.batch).where(tables.batch.c.number == 2))
    with pytest.raises(UnbalancedRun, match="buzz/2026-01-07: 6 recipients were planned, and 3 are found"):
        handle.close(now=NOW)
    [left] = ledger.runs()
    assert left.state is RunState.SENDING
    assert not ledger.balance(run_id).balances
