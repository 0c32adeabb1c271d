"""What is to be done for a slot, by how it stands and what time it is."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.audience.people import Selection
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import RunRecord
from newsletter.delivery.states import OVER, RunState
from newsletter.schedule.deciding import (
    LOOK_EVERY,
    PREPARE_BEFORE,
    Look,
    Situation,
    Step,
    Trouble,
    decide,
    decide_left_over,
    is_final,
)
from newsletter.schedule.model import Slot, SlotRecord, SlotState

ZONE = ZoneInfo("Europe/London")
AT = dt.datetime(2026, 1, 7, 6, 30, tzinfo=ZONE)
MINUTE, HOUR = dt.timedelta(minutes=1), dt.timedelta(hours=1)
SLOT = Slot("news", AT.date(), "", AT, AT - HOUR, AT + 2 * HOUR, AT + 5 * HOUR)
NAME = RunName("news", "2026-01-07")
BEGUN = SlotRecord(NAME, AT, SlotState.BEGUN)


def utc(minutes: float) -> dt.datetime:
    """So many minutes after the slot."""
    return AT.astimezone(dt.UTC) + minutes * MINUTE


def run(state: RunState, sender: str = "") -> RunRecord:
    return RunRecord(
        id=1,
        name=NAME,
        issue_date=AT.date(),
        edition="",
        state=state,
        content_hash="hash",
        subject="News",
        provider="smtp",
        batch_size=100,
        selection=Selection(lists=("news",)),
        planned_at=utc(-2),
        deadline=utc(300),
        sender=sender,
    )


PLANNED = Situation(BEGUN, run(RunState.PLANNED), "now", ready="now")
#: With workers, of whom there is none at this moment.
SHARED = Situation(BEGUN, replace(run(RunState.SENDING), shared=True), "now")


@pytest.mark.parametrize(
    ("seen", "minutes", "step"),
    [
        (Situation(), -90, Step.WAIT),
        (Situation(), -60, Step.LOOK),
        (Situation(fingerprint="a", looked=Look(utc(-60), "a")), -59, Step.WAIT),
        (Situation(fingerprint="b", looked=Look(utc(-60), "a")), -59, Step.LOOK),
        (Situation(fingerprint="a", looked=Look(utc(-60), "a")), -55, Step.LOOK),
        (Situation(), -2, Step.PREPARE),
        (Situation(), 119, Step.PREPARE),
        (Situation(), 120, Step.MISS),
        (Situation(record=BEGUN), 10, Step.PREPARE),
        (SHARED, 10, Step.WAIT),
        (SHARED, 300, Step.EXPIRE),
        (Situation(record=BEGUN), 120, Step.MISS),
        (PLANNED, -1, Step.WAIT),
        (PLANNED, 0, Step.SEND),
        (PLANNED, 119, Step.SEND),
        (PLANNED, 120, Step.WITHDRAW),
        (PLANNED, -3, Step.WITHDRAW),
        (replace(PLANNED, fingerprint="later"), -1, Step.WITHDRAW),
        (replace(PLANNED, ready=None), -1, Step.WITHDRAW),
        (Situation(BEGUN, run(RunState.SENDING)), 10, Step.GO_ON),
        (Situation(BEGUN, run(RunState.SENDING)), 130, Step.GO_ON),
        (Situation(BEGUN, run(RunState.SENDING)), 300, Step.EXPIRE),
        (Situation(BEGUN, run(RunState.SENDING, "host pid 1")), 10, Step.WAIT),
        (Situation(BEGUN, run(RunState.SENDING, "host pid 1")), 400, Step.WAIT),
        (Situation(BEGUN, run(RunState.PAUSED)), 10, Step.WAIT),
        (Situation(BEGUN, run(RunState.PAUSED)), 300, Step.EXPIRE),
        (Situation(BEGUN, run(RunState.HELD)), 10, Step.DONE),
        (Situation(BEGUN, run(RunState.FINISHED)), 10, Step.DONE),
        # an operator's
        (Situation(None, run(RunState.SENDING)), 10, Step.DONE),
        (Situation(None, run(RunState.PAUSED)), -30, Step.DONE),
        (Situation(None, run(RunState.PLANNED)), 0, Step.DONE),
        # settled
        (Situation(replace(BEGUN, state=SlotState.DONE)), 10, Step.WAIT),
        (Situation(replace(BEGUN, state=SlotState.MISSED)), 10, Step.WAIT),
        (Situation(replace(BEGUN, state=SlotState.SKIPPED)), 10, Step.WAIT),
        # by a clock that was ahead
        (Situation(replace(BEGUN, state=SlotState.MISSED)), -1, Step.PREPARE),
    ],
)
def test_the_next_step(seen: Situation, minutes: float, step: Step) -> None:
    assert decide(SLOT, seen, utc(minutes)).step is step


@pytest.mark.parametrize(
    ("seen", "minutes", "step"),
    [(Situation(), -1, Step.WAIT), (Situation(), 0, Step.SKIP), (PLANNED, -1, Step.WITHDRAW)],
)
def test_the_next_step_of_a_date_that_is_left_out(seen: Situation, minutes: float, step: Step) -> None:
    assert decide(replace(SLOT, skipped="Boxing Day"), seen, utc(minutes)).step is step


def test_what_failed_is_tried_again_when_its_time_has_come_or_the_file_changed() -> None:
    trouble = Trouble(utc(1), "a", "no", utc(2))
    seen = Situation(fingerprint="a", trouble=trouble)
    assert decide(SLOT, seen, utc(1.5)) == replace(decide(SLOT, seen, utc(1)), again=utc(2))
    assert decide(SLOT, seen, utc(1.5)).step is Step.WAIT
    assert decide(SLOT, seen, utc(2)).step is Step.PREPARE
    assert decide(SLOT, replace(seen, fingerprint="b"), utc(1.5)).step is Step.PREPARE
    # the clock was set back: what happened lies ahead
    assert decide(SLOT, seen, utc(0.5)).step is Step.PREPARE
    assert decide(SLOT, seen, utc(120)).why == "no"


@pytest.mark.parametrize(
    ("found", "minutes", "step"),
    [
        (None, 0, Step.MISS),
        (run(RunState.PLANNED), 0, Step.WITHDRAW),
        (run(RunState.SENDING), 0, Step.WAIT),
        (run(RunState.SENDING), 300, Step.EXPIRE),
        (run(RunState.SENDING, "host pid 1"), 300, Step.WAIT),
        (run(RunState.FINISHED), 0, Step.DONE),
    ],
)
def test_of_a_slot_that_was_taken_out_of_the_schedule_nothing_more_is_sent(
    found: RunRecord | None, minutes: float, step: Step
) -> None:
    assert decide_left_over(found, utc(minutes)).step is step


RUNS = st.none() | st.builds(run, st.sampled_from(RunState), st.sampled_from(["", "host pid 1"]))
RECORDS = st.none() | st.builds(lambda state: replace(BEGUN, state=state), st.sampled_from(SlotState))
SITUATIONS = st.builds(
    Situation, RECORDS, RUNS, st.sampled_from(["", "a", "b"]), st.sampled_from([None, "a", "b"]), st.none(), st.none()
)


@given(SITUATIONS, st.floats(-200, 500), st.booleans())
def test_nothing_is_ever_begun_before_its_time_or_after_it(seen: Situation, minutes: float, skipped: bool) -> None:
    now, slot = utc(minutes), replace(SLOT, skipped="left out" if skipped else "")
    decision = decide(slot, seen, now)
    match decision.step:
        case Step.SEND:
            assert AT <= now < SLOT.catch_up_until
            assert seen.run is not None
            assert seen.run.state is RunState.PLANNED
            assert seen.ready == seen.fingerprint
            assert not skipped
        case Step.PREPARE:
            assert AT - PREPARE_BEFORE <= now < SLOT.catch_up_until
            assert seen.run is None
            assert not skipped
        case Step.GO_ON | Step.EXPIRE | Step.WITHDRAW:
            assert seen.run is not None
            assert not seen.run.sender
            assert seen.run.state not in OVER
            assert (decision.step is not Step.GO_ON) or now < seen.run.deadline
        case Step.MISS:
            assert seen.run is None
            assert now >= SLOT.catch_up_until
        case Step.WAIT:
            settled = seen.record is not None and is_final(seen.record, now)
            assert settled or decision.again is not None
            assert decision.again is None or decision.again > now
        case _:
            pass


def test_a_slot_in_the_hour_that_autumn_shows_twice_is_reckoned_by_the_first() -> None:
    at = dt.datetime(2026, 10, 25, 1, 30, tzinfo=ZONE)  # the first 01:30, BST
    slot = Slot("news", at.date(), "", at, at - HOUR, at + 2 * HOUR, at + 5 * HOUR)
    moment = at.astimezone(dt.UTC)
    assert decide(slot, Situation(), moment - PREPARE_BEFORE - MINUTE).step is Step.LOOK
    assert decide(slot, Situation(), moment - PREPARE_BEFORE).step is Step.PREPARE
    later = decide(slot, Situation(looked=Look(moment - 4 * MINUTE, "")), moment - 3 * MINUTE)
    assert later.again == min(moment - PREPARE_BEFORE, moment - 4 * MINUTE + LOOK_EVERY)
