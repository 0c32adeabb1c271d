"""What is to be done for a slot now, and when to look again. Pure: no clock, no database, no file.

Whatever is decided here twice is done once all the same: the run of a slot is unique. What must be right here is that
nothing is forgotten, and nothing begun too late. `now` is in UTC: two times of one zone are compared, and subtracted,
by what its clocks show, and in autumn they show an hour twice.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from enum import StrEnum

from newsletter.delivery.run_values import RunRecord
from newsletter.delivery.states import OVER, RunState
from newsletter.schedule.model import CLOCKS_APART, Slot, SlotRecord, SlotState

#: An issue is made ready so long before its slot: a million recipients are frozen in that time.
PREPARE_BEFORE = dt.timedelta(minutes=2)
#: What another process may change any moment is looked at this often.
SOON = dt.timedelta(seconds=5)
#: Before its slot an issue is looked at this often where its file is the same: its template may have changed.
LOOK_EVERY = dt.timedelta(minutes=5)
#: An issue that was not fit to be sent is tried again this often where its file is the same: an approval may have come.
TRY_EVERY = dt.timedelta(minutes=1)
#: Why a slot was missed that this process knows nothing else of.
NOBODY_RAN = "nothing was running that could send it in time"


class Step(StrEnum):
    """What the daemon does for a slot."""

    #: Nothing, for now or for ever.
    WAIT = "wait"
    #: See whether the issue is ready, and say so where it is not.
    LOOK = "look"
    #: Make the issue ready to go out, and plan its run.
    PREPARE = "prepare"
    #: Take back a planned run that nobody has begun: its issue changed, or another process planned it and is gone.
    WITHDRAW = "withdraw"
    #: Send the run that is ready.
    SEND = "send"
    #: Send what is left of a run whose sender died.
    GO_ON = "go on"
    #: Record that nothing went out, and tell.
    MISS = "miss"
    #: Record that nothing was to go out.
    SKIP = "skip"
    #: The deadline is over, and nobody sends the run: what is left of it expires.
    EXPIRE = "expire"
    #: Record that the slot is settled.
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Decision:
    """A step; `again` is when to look again, None where nothing will come of it but by another's doing. `why` is the
    reason of a miss."""

    step: Step
    again: dt.datetime | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """The issue was looked at: at this moment, with this fingerprint; `why` it was not ready ('' where it was)."""

    at: dt.datetime
    fingerprint: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A step that failed: when, with which issue file, why, and from when on it is worth another try."""

    at: dt.datetime
    fingerprint: str
    why: str
    again_at: dt.datetime


@dataclass(frozen=True, slots=True)
class Situation:
    """How a slot stands: in the database (`record`, `run`), on the disk (`fingerprint` of the issue file, '' where
    there is none), and in this process. `ready` is the fingerprint of the issue that it holds ready; None where it
    holds none."""

    record: SlotRecord | None = None
    run: RunRecord | None = None
    fingerprint: str = ""
    ready: str | None = None
    looked: Look | None = None
    trouble: Trouble | None = None


def decide(slot: Slot, seen: Situation, now: dt.datetime, *, ahead: dt.timedelta = PREPARE_BEFORE) -> Decision:
    """The next step for a slot; an issue is made ready `ahead` of it."""
    slot = _in_utc(slot)
    if seen.record is not None and is_final(seen.record, now):
        return Decision(Step.WAIT)
    if seen.run is not None:
        return _with_run(slot, seen, seen.run, now, ahead)
    return _without_run(slot, seen, now, ahead)


def decide_left_over(run: RunRecord | None, now: dt.datetime) -> Decision:
    """The next step for a slot that was begun and is no more in the schedule: nothing more of it is sent."""
    if run is None:
        return Decision(Step.MISS, why="it was taken out of the schedule")
    if run.state in OVER or run.state is RunState.HELD:
        return Decision(Step.DONE)
    if run.sender:
        return Decision(Step.WAIT, now + SOON)
    if run.state is RunState.PLANNED:
        return Decision(Step.WITHDRAW, now)
    return Decision(Step.EXPIRE) if now >= run.deadline else Decision(Step.WAIT, run.deadline)


def is_final(record: SlotRecord, now: dt.datetime) -> bool:
    """Whether nothing is to be done any more for this slot.

    What was recorded as missed or skipped, and yet lies ahead, or was recorded later than now, was recorded by a clock
    that was wrong: nothing was sent, and its time comes.
    """
    if record.state in {SlotState.DONE, SlotState.BEGUN}:
        return record.state is SlotState.DONE
    return record.at <= now and (record.changed_at is None or record.changed_at <= now + CLOCKS_APART)


def _with_run(slot: Slot, seen: Situation, run: RunRecord, now: dt.datetime, ahead: dt.timedelta) -> Decision:
    begun = seen.record is not None and seen.record.state is SlotState.BEGUN
    if not begun or run.state in OVER or run.state is RunState.HELD:
        # over; or an operator's, who knows what they do with it
        return Decision(Step.DONE)
    if run.sender:
        return Decision(Step.WAIT, now + SOON)
    if now >= run.deadline:
        decision = Decision(Step.EXPIRE)
    elif run.state is RunState.PAUSED:
        decision = Decision(Step.WAIT, run.deadline)
    elif run.with_workers:
        decision = Decision(Step.WAIT, now + SOON)
    elif run.state is RunState.SENDING:
        decision = Decision(Step.GO_ON)
    else:
        decision = _planned(slot, seen, now, ahead)
    return _unless_troubled(decision, seen, now)


def _planned(slot: Slot, seen: Situation, now: dt.datetime, ahead: dt.timedelta) -> Decision:
    """Nothing of the run was sent yet: it can still be taken back."""
    in_time = slot.at - ahead <= now < slot.catch_up_until
    if slot.skipped or not in_time or seen.ready is None or seen.ready != seen.fingerprint:
        return Decision(Step.WITHDRAW, now)
    return Decision(Step.SEND) if now >= slot.at else Decision(Step.WAIT, slot.at)


def _without_run(slot: Slot, seen: Situation, now: dt.datetime, ahead: dt.timedelta) -> Decision:
    if slot.skipped:
        return Decision(Step.SKIP, why=slot.skipped) if now >= slot.at else Decision(Step.WAIT, slot.at)
    if now >= slot.catch_up_until:
        return Decision(Step.MISS, why=_why_missed(seen))
    if now >= slot.at - ahead:
        return _unless_troubled(Decision(Step.PREPARE, slot.at), seen, now)
    if now < slot.warn_at:
        return Decision(Step.WAIT, slot.warn_at)
    looked = seen.looked
    if looked is not None and looked.fingerprint == seen.fingerprint:
        next_look = looked.at + LOOK_EVERY
        if looked.at <= now < next_look:
            return Decision(Step.WAIT, min(next_look, slot.at - ahead))
    return _unless_troubled(Decision(Step.LOOK, min(now + LOOK_EVERY, slot.at - ahead)), seen, now)


def _unless_troubled(decision: Decision, seen: Situation, now: dt.datetime) -> Decision:
    """The step, unless it just failed and nothing changed since."""
    trouble = seen.trouble
    if (
        decision.step is Step.WAIT
        or trouble is None
        or trouble.fingerprint != seen.fingerprint
        or not trouble.at <= now < trouble.again_at
    ):
        return decision
    return Decision(Step.WAIT, trouble.again_at)


def _in_utc(slot: Slot) -> Slot:
    return replace(
        slot,
        at=slot.at.astimezone(dt.UTC),
        warn_at=slot.warn_at.astimezone(dt.UTC),
        catch_up_until=slot.catch_up_until.astimezone(dt.UTC),
        deadline=slot.deadline.astimezone(dt.UTC),
    )


def _why_missed(seen: Situation) -> str:
    if seen.trouble is not None:
        return seen.trouble.why
    if seen.looked is not None and seen.looked.why:
        return seen.looked.why
    return NOBODY_RAN
