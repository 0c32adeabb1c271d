"""The guards before a live send, each alone: when it refuses, and what it says."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import cast
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.audience.people import Selection
from newsletter.delivery import guards
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import Balance, RunRecord
from newsletter.delivery.states import DeliveryState, RunState
from newsletter.errors import ChecksFailed, GuardRefused
from newsletter.pipeline.prepare import Prepared
from newsletter.pipeline.send_issue import ReadyToSend, next_deadline
from newsletter.settings.model import Schedule

HKT = ZoneInfo("Asia/Hong_Kong")
NOW = dt.datetime(2026, 1, 7, 7, 0, tzinfo=HKT)
BEGAN = dt.datetime(2026, 1, 6, 22, 34, tzinfo=dt.UTC)
NAME = RunName("daily-buzz", "2026-01-07")
SENT = Balance(12_481, {DeliveryState.ACCEPTED: 12_478, DeliveryState.REJECTED: 2, DeliveryState.UNKNOWN: 1})


def run(state: RunState, *, reason: str = "", sender: str = "", began: dt.datetime | None = BEGAN) -> RunRecord:
    selection = Selection(("daily-buzz",))
    date, planned = dt.date(2026, 1, 7), BEGAN
    return RunRecord(
        *(1, NAME, date, "", state, "hash", "Subject", "smtp", 100, selection, planned, NOW),
        started_at=began,
        reason=reason,
        sender=sender,
    )


def test_a_run_that_workers_send_is_being_sent_whoever_is_there_at_this_moment() -> None:
    shared = replace(run(RunState.SENDING), shared=True)
    with pytest.raises(GuardRefused, match="It is being sent, since 06:34 HKT by workers") as refused:
        guards.refuse_known_run(shared, SENT, NOW)
    assert "newsletter watch daily-buzz/2026-01-07" in refused.value.hint


class TestApproved:
    APPROVAL = ("approved", BEGAN, "Anna")

    def test_the_content_that_was_approved_passes(self) -> None:
        guards.refuse_unapproved("approved", self.APPROVAL, "newsletter approve 2026-01-07")

    def test_without_an_approval_it_says_how_to_give_one(self) -> None:
        with pytest.raises(GuardRefused, match="is not approved") as refused:
            guards.refuse_unapproved("content", None, "newsletter approve 2026-01-07")
        assert "newsletter approve 2026-01-07" in refused.value.hint

    def test_another_content_says_when_and_by_whom_the_old_one_was_approved(self) -> None:
        with pytest.raises(GuardRefused, match="changed since it was approved by Anna, 2026-01-07 06:34 HKT"):
            guards.refuse_unapproved("changed", self.APPROVAL, "newsletter approve 2026-01-07", zone=HKT)


class TestTested:
    TEST = ("tested", BEGAN, ("editor@example.com", "chief@example.com"))

    def test_what_was_tested_passes_and_so_does_what_never_was(self) -> None:
        guards.refuse_untested("tested", self.TEST, "2026-01-07", required=True)
        guards.refuse_untested("other", None, "2026-01-07", required=False)

    @pytest.mark.parametrize("required", [True, False])
    def test_another_content_is_refused_with_when_and_to_whom(self, required: bool) -> None:
        with pytest.raises(GuardRefused) as caught:
            guards.refuse_untested("other", self.TEST, "2026-01-07", required=required, zone=HKT)
        assert "2026-01-07 06:34 HKT to editor@example.com, chief@example.com" in caught.value.message
        assert "newsletter test 2026-01-07 --to" in caught.value.hint

    def test_a_test_can_be_required(self) -> None:
        with pytest.raises(GuardRefused, match="require_test"):
            guards.refuse_untested("any", None, "2026-01-07", required=True)


def test_failed_checks_are_named_the_first_three() -> None:
    guards.refuse_failed_checks([], "2026-01-07")
    with pytest.raises(ChecksFailed) as caught:
        guards.refuse_failed_checks(["a: 1", "b: 2", "c: 3", "d: 4", "e: 5"], "2026-01-07")
    assert "a: 1; b: 2; c: 3; and 2 more" in caught.value.message
    assert "newsletter check 2026-01-07" in caught.value.hint


@pytest.mark.parametrize(
    ("known", "said", "to_do"),
    [
        (run(RunState.FINISHED), "Already sent at 06:34 HKT (12,478 accepted)", "newsletter status"),
        (run(RunState.HELD), "Already sent at 06:34 HKT (12,478 accepted)", "newsletter resolve"),
        (run(RunState.EXPIRED), "the deadline came first", "newsletter retry daily-buzz/2026-01-07 --expired"),
        (run(RunState.CANCELLED), "It was cancelled", "newsletter status"),
        (run(RunState.PAUSED, reason="two calls in a row"), "paused (12,478 accepted): two calls", "newsletter resume"),
        (run(RunState.PLANNED, began=None), "It is planned", "newsletter resume"),
        (run(RunState.SENDING), "interrupted (12,478 accepted)", "newsletter resume"),
        (run(RunState.SENDING, sender="web1 process 42"), "by web1 process 42", "newsletter watch"),
    ],
)
def test_a_run_that_there_is_refuses_another_whatever_became_of_it(known: RunRecord, said: str, to_do: str) -> None:
    with pytest.raises(GuardRefused) as caught:
        guards.refuse_known_run(known, SENT, NOW)
    assert said in caught.value.message
    assert f"{to_do}" in caught.value.hint
    assert "daily-buzz/2026-01-07" in caught.value.hint


@pytest.mark.parametrize(
    ("state", "way_on"),
    [
        (DeliveryState.CANCELLED, True),
        (DeliveryState.REJECTED, True),
        (DeliveryState.ACCEPTED, False),
        (DeliveryState.UNKNOWN, False),
        (DeliveryState.IN_FLIGHT, False),
        (DeliveryState.ABANDONED, False),
    ],
)
def test_a_cancelled_run_that_nobody_got_has_a_way_on(state: DeliveryState, way_on: bool) -> None:
    with pytest.raises(GuardRefused) as caught:
        guards.refuse_known_run(run(RunState.CANCELLED), Balance(1, {state: 1}), NOW)
    assert ("the name of another edition, such as 2026-01-07.second" in caught.value.hint) == way_on


def test_every_state_of_a_run_has_its_words() -> None:
    for state in RunState:
        with pytest.raises(GuardRefused):
            guards.refuse_known_run(run(state), SENT, NOW)
    guards.refuse_known_run(None, None, NOW)


def test_another_day_is_named() -> None:
    assert guards.clock(BEGAN, NOW) == "06:34 HKT"
    assert guards.clock(BEGAN - dt.timedelta(days=1), NOW) == "2026-01-06 06:34 HKT"


@pytest.mark.parametrize(
    "url",
    ["https://news.example.com", "HTTPS://news.example.com", "http://localhost:8000", "http://127.0.0.1", "http://[::1]:8000",
     "http://buzz.localhost"],
)  # fmt: skip
def test_https_and_this_machine_pass(url: str) -> None:
    guards.refuse_insecure_links(url)


@pytest.mark.parametrize(
    "url",
    ["http://news.example.com", "http://10.0.0.1", "http://localhost.example.com", "http://127.0.0.1.example.com"],
)
def test_everything_else_by_http_is_refused(url: str) -> None:
    with pytest.raises(GuardRefused) as caught:
        guards.refuse_insecure_links(url)
    assert url in caught.value.message
    assert "site.base_url" in caught.value.hint


def test_nobody_is_refused_with_how_many_are_left_out() -> None:
    guards.refuse_empty_audience(1, 5)
    with pytest.raises(GuardRefused, match="all 5 on its lists are left out"):
        guards.refuse_empty_audience(0, 5)
    with pytest.raises(GuardRefused, match="there is nobody on its lists"):
        guards.refuse_empty_audience(0, 0)


def test_after_the_deadline_nothing_is_sent() -> None:
    guards.refuse_late(NOW + dt.timedelta(seconds=1), NOW)
    for late in (NOW, NOW - dt.timedelta(hours=1)):
        with pytest.raises(GuardRefused, match="the deadline was 0"):
            guards.refuse_late(late, NOW)


def test_the_hour_that_clocks_show_twice_in_autumn_comes_after_a_deadline_in_the_first_one() -> None:
    new_york = ZoneInfo("America/New_York")
    deadline = dt.datetime(2026, 11, 1, 1, 30, tzinfo=new_york)
    guards.refuse_late(deadline, deadline - dt.timedelta(minutes=1))
    with pytest.raises(GuardRefused, match="the deadline was 01:30 EDT"):
        guards.refuse_late(deadline, dt.datetime(2026, 11, 1, 1, 10, fold=1, tzinfo=new_york))


def test_how_many_a_rate_leaves_no_time_for_is_reckoned_with_hours_that_there_are() -> None:
    """In the night to 8 March New York has no hour between two and three."""
    new_york = ZoneInfo("America/New_York")
    at, deadline = (dt.datetime(2026, 3, 8, hour, 30, tzinfo=new_york) for hour in (1, 6))
    prepared, selection = cast(Prepared, None), Selection(("daily-buzz",))
    ready = ReadyToSend(prepared, selection, 5 * 3600, {}, None, deadline, None, rate=1.0, at=at)
    assert ready.too_many == 3600


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_only_the_right_count_passes(typed: int, right: int) -> None:
    if typed == right:
        guards.refuse_count(typed, right, "newsletter send --confirm 1")
        return
    with pytest.raises(GuardRefused) as caught:
        guards.refuse_count(typed, right, "newsletter send --confirm 1")
    assert f"{typed:,}" in caught.value.message
    assert caught.value.hint == "newsletter send --confirm 1"


def test_a_run_goes_on_with_its_own_content_only() -> None:
    guards.refuse_other_content(run(RunState.PAUSED), "hash")
    with pytest.raises(GuardRefused, match="one content to everybody"):
        guards.refuse_other_content(run(RunState.PAUSED), "other")


def test_an_upgrade_that_changes_the_content_is_named_among_the_causes() -> None:
    with pytest.raises(GuardRefused) as resumed:
        guards.refuse_other_content(run(RunState.PAUSED), "new")
    with pytest.raises(GuardRefused, match="to somebody who was erased since") as tested:
        guards.refuse_untested("new", ("old", BEGAN, ()), "2026-01-07", required=False)
    with pytest.raises(GuardRefused) as approved:
        guards.refuse_unapproved("new", ("old", BEGAN, "me"), "newsletter approve 2026-01-07")
    assert all("upgrade" in one.value.hint for one in (resumed, tested, approved))


class TestDeadline:
    NOON = Schedule.model_validate({"timezone": "Asia/Hong_Kong", "deadline": "12:00"})

    @pytest.mark.parametrize(
        ("now", "deadline"),
        [("2026-01-07T06:30", "2026-01-07T12:00"), ("2026-01-07T11:59", "2026-01-07T12:00"),
         ("2026-01-07T12:00", "2026-01-08T12:00"), ("2026-01-07T23:59", "2026-01-08T12:00")],
    )  # fmt: skip
    def test_it_is_the_next_one_after_the_start(self, now: str, deadline: str) -> None:
        found = next_deadline(self.NOON, dt.datetime.fromisoformat(now).replace(tzinfo=HKT))
        assert found == dt.datetime.fromisoformat(deadline).replace(tzinfo=HKT)

    @given(st.datetimes(dt.datetime(2026, 1, 1), dt.datetime(2027, 1, 1), timezones=st.just(dt.UTC)))
    def test_it_is_ahead_by_at_most_a_day_and_an_hour_whatever_the_clocks_do(self, now: dt.datetime) -> None:
        schedule = Schedule.model_validate({"timezone": "Europe/London", "time": "00:30", "deadline": "01:30"})
        assert dt.timedelta() < next_deadline(schedule, now) - now <= dt.timedelta(hours=25)
