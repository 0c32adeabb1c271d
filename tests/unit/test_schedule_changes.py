"""Slots that could be forgotten: the schedule changes during the day, the clock was wrong, a look breaks off."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from typing import cast

from schedule_simulation import (
    Key,
    SimulatedClock,
    SimulatedNewsroom,
    SimulatedSlot,
    SimulatedTeller,
    Simulation,
    World,
    name_of,
    schedule,
)

from newsletter.alerts.model import Alert, Occasion, Teller
from newsletter.delivery.clock import SystemClock
from newsletter.schedule.daemon import Daemon
from newsletter.schedule.herald import Herald
from newsletter.schedule.model import Skip, Slot, SlotState
from newsletter.schedule.records import ScheduleRecords
from newsletter.schedule.rounds import Looked, Rounds
from newsletter.schedule.threads import Threads

NAME = "news"
TODAY = dt.date(2026, 3, 2)
DAY = dt.timedelta(days=1)
#: Nothing here takes as long; what does is stuck. Seconds.
STUCK = 30
EVERY_MORNING = schedule(time="06:30", deadline="12:00")


def utc(hour: int, minute: int = 0, second: int = 0, day: int = 2) -> dt.datetime:
    return dt.datetime(2026, 3, day, hour, minute, second, tzinfo=dt.UTC)


def key(day: int = 2, edition: str = "") -> Key:
    return NAME, dt.date(2026, 3, day), edition


def simulated(begin: dt.datetime) -> Simulation:
    simulation = Simulation(World({NAME: EVERY_MORNING}, SimulatedClock(begin)))
    for day in range(1, 10):
        simulation.world.issues[key(day)] = f"news of {day}"
    return simulation


def test_an_edition_that_is_added_just_after_its_time_goes_out_also_where_a_later_one_has() -> None:
    simulation = simulated(utc(3))
    world = simulation.world
    simulation.start()
    simulation.run_until(utc(7))
    world.issues[key(2, "early")] = "early news"
    world.schedules[NAME] = schedule(time="06:30", deadline="12:00", editions={"early": "06:00"})
    simulation.restart()
    simulation.run_until(utc(7, 1))
    assert world.states() == {"news/2026-03-02": SlotState.DONE, "news/2026-03-02.early": SlotState.DONE}


def test_an_edition_that_is_added_long_after_its_time_is_not_told_as_missed_where_a_later_one_went_out() -> None:
    simulation = simulated(utc(3))
    world = simulation.world
    simulation.start()
    simulation.run_until(utc(9))
    world.schedules[NAME] = schedule(time="06:30", deadline="12:00", editions={"early": "06:00"})
    simulation.restart()
    simulation.run_until(utc(10))
    assert world.states() == {"news/2026-03-02": SlotState.DONE}
    assert world.titles(Occasion.FAILED) == []


def test_slots_after_a_clock_was_months_ahead_for_a_while_are_not_forgotten() -> None:
    simulation = simulated(utc(3))
    world = simulation.world
    simulation.start()
    simulation.run_until(utc(7))
    world.marks[NAME] = utc(7) + 90 * DAY  # what such a clock left
    del world.issues[key(3)]
    simulation.run_until(utc(7, day=3))
    world.issues[key(3)] = "late news"
    simulation.run_until(utc(7, 5, day=3))
    assert world.runs[name_of(key(3))].first_at is not None
    simulation.kill()
    world.clock.true = utc(6, 31, day=4)
    simulation.start(ahead=dt.timedelta())  # by cron, a minute after the slot
    simulation.run_until(utc(6, 32, day=4))
    assert world.runs[name_of(key(4))].first_at is not None
    simulation.kill()
    world.clock.true = utc(11, day=5)
    simulation.start()
    simulation.run_until(utc(11, 1, day=5))
    assert world.slots[name_of(key(5))].state is SlotState.MISSED


def test_what_a_clock_that_was_ahead_recorded_as_missed_goes_out_when_its_time_has_come() -> None:
    simulation = simulated(utc(3))
    world = simulation.world
    del world.issues[key(2)]
    simulation.start()
    simulation.run_until(utc(3, 1))
    world.clock.off = dt.timedelta(hours=8)
    simulation.run_until(utc(3, 10))
    assert world.slots[name_of(key(2))].state is SlotState.MISSED
    world.clock.off = dt.timedelta()
    simulation.run_until(utc(7))
    world.issues[key(2)] = "late news"
    simulation.run_until(utc(7, 5))
    assert world.runs[name_of(key(2))].first_at is not None
    assert world.slots[name_of(key(2))].state is SlotState.DONE


def test_a_slot_that_had_begun_is_not_dropped_where_a_look_at_its_newsletter_breaks_off() -> None:
    simulation = simulated(utc(3))
    world = simulation.world
    simulation.start()
    simulation.run_until(utc(6, 29))
    world.issues[key(2)] = "bad"
    simulation.run_until(utc(6, 31))
    assert (world.slots[name_of(key(2))].state, world.runs) == (SlotState.BEGUN, {})
    world.skips.append(cast(Skip, None))  # a mistake in the program befalls whoever reads this
    simulation.look()
    world.skips.clear()
    assert any("an error in the program" in title for title in world.titles(Occasion.FAILED))
    world.issues[key(2)] = "good"
    simulation.run_until(utc(6, 40))
    assert world.states() == {"news/2026-03-02": SlotState.DONE}


class Overtaken(SimulatedNewsroom):
    """One whose settings are replaced while it makes an issue ready."""

    replaced: Callable[[], None]

    def prepare(self, slot: Slot, begin: Callable[[], None]) -> SimulatedSlot:
        self.replaced()
        return super().prepare(slot, begin)


def test_an_issue_that_was_being_made_ready_while_the_settings_changed_is_made_anew_by_the_new_ones() -> None:
    simulation = simulated(utc(6, 27))
    world = simulation.world
    simulation.start()
    rounds, pid = simulation.rounds, world.pid
    assert rounds is not None
    assert pid is not None
    old, new, teller = Overtaken(world, pid), SimulatedNewsroom(world, pid), SimulatedTeller(world, pid)
    old.replaced = lambda: rounds.replace(new, teller)
    rounds.replace(old, teller)
    simulation.run_until(utc(7))
    run = world.runs[name_of(key(2))]
    assert run.first_at == utc(6, 30)
    assert run.planned_by is new


def test_without_catching_up_the_first_start_is_still_on_time_a_moment_after_the_slot() -> None:
    simulation = simulated(utc(6, 30, 5))
    simulation.world.schedules[NAME] = schedule(time="06:30", deadline="12:00", catch_up="0m")
    simulation.start(ahead=dt.timedelta())
    simulation.run_until(utc(6, 31))
    assert simulation.world.states() == {"news/2026-03-02": SlotState.DONE}


def test_what_falls_due_while_a_long_run_goes_on_is_not_left_lying_by_once() -> None:
    """A run to recipients in all zones takes more than a day."""
    threads, wake, stop = Threads(), threading.Event(), threading.Event()
    long_run, looked = threading.Event(), []

    class LongRun:
        def look(self) -> Looked:
            looked.append(long_run.is_set())
            if len(looked) == 1:
                threads.spawn("long", lambda: cast(None, long_run.wait(STUCK)))
            if len(looked) == 3:
                long_run.set()
            return Looked(None, len(looked) == 1)

        def close(self) -> None:
            looked.append(True)

    daemon = Daemon(cast(Rounds, LongRun()), threads, clock=SystemClock(), stop=stop, wake=wake, heartbeat=0.1)
    daemon.once()
    assert looked[:3] == [False, False, False]
    assert threads.idle


def test_settings_that_cannot_be_read_at_all_do_not_end_the_daemon() -> None:
    stop, told = threading.Event(), Told()
    looks = []

    class Quiet:
        herald = Herald(cast(ScheduleRecords, None), told, lambda _level, _event, /, **_fields: None, SystemClock())

        def look(self) -> Looked:
            looks.append(1)
            if len(looks) == 2:
                stop.set()
            return Looked(None, False)

        def close(self) -> None:
            pass

    def broken() -> None:
        raise RuntimeError("a mistake in the program")

    rounds = cast(Rounds, Quiet())
    wake = threading.Event()
    Daemon(rounds, Threads(), clock=SystemClock(), stop=stop, wake=wake, before_look=broken, heartbeat=0.1).run()
    assert [alert.occasion for alert in told.alerts] == [Occasion.FAILED]


def test_a_place_that_does_not_answer_holds_up_no_look_when_the_settings_are_read_again() -> None:
    answer, closed, answered = threading.Event(), threading.Event(), []

    class Silent(Told):
        def close(self) -> None:
            answered.append(answer.wait(STUCK))
            closed.set()

    herald = Herald(cast(ScheduleRecords, None), Silent(), lambda _level, _event, /, **_fields: None, SystemClock())
    herald.tell_through(Told())
    answer.set()
    assert closed.wait(STUCK)
    assert answered == [True]


class Told(Teller):
    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    def tell(self, alert: Alert) -> None:
        self.alerts.append(alert)

    def beat(self, beat: object) -> None:
        pass

    def close(self) -> None:
        pass
