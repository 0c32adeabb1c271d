"""What a daemon does over days and years: in simulated time, with downtimes, late files, clocks that jump and kills."""

from __future__ import annotations

import datetime as dt
import random
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schedule_simulation import (
    HEARTBEAT,
    Key,
    SimulatedClock,
    SimulatedNewsroom,
    SimulatedRecords,
    SimulatedTeller,
    Simulation,
    World,
    check_each_alert_once,
    check_nobody_twice,
    days,
    name_of,
    schedule,
)

from newsletter.alerts.model import Beat, Occasion
from newsletter.delivery.states import RunState
from newsletter.schedule.model import Skip, SlotRecord, SlotState
from newsletter.schedule.slots import slots_between

MORNING = dt.datetime(2026, 3, 2, 3, 0, tzinfo=dt.UTC)
LONDON = ZoneInfo("Europe/London")
MINUTE, HOUR, DAY = dt.timedelta(minutes=1), dt.timedelta(hours=1), dt.timedelta(days=1)
NAME = "news"


def world_of(begin: dt.datetime = MORNING, **newsletters: object) -> World:
    schedules = newsletters or {NAME: schedule(timezone="Europe/London", time="06:30", deadline="12:00")}
    return World(dict(schedules), SimulatedClock(begin))  # type: ignore[arg-type]


def simulated(world: World) -> Simulation:
    simulation = Simulation(world)
    simulation.start()
    return simulation


def key(date: dt.date, edition: str = "", newsletter: str = NAME) -> Key:
    return newsletter, date, edition


def london(hour: int, minute: int = 0, second: int = 0, day: int = 2) -> dt.datetime:
    return dt.datetime(2026, 3, day, hour, minute, second, tzinfo=LONDON).astimezone(dt.UTC)


TODAY = MORNING.date()


def test_an_issue_goes_out_at_its_slot_and_is_told_of_with_its_balance() -> None:
    world = world_of()
    world.issues[key(TODAY)] = "news of today"
    simulation = simulated(world)
    simulation.run_until(london(23))
    [run] = world.runs.values()
    assert (run.record.state, run.first_at) == (RunState.FINISHED, london(6, 30))
    assert world.states() == {"news/2026-03-02": SlotState.DONE}
    assert world.titles(Occasion.SUMMARY) == [
        "news/2026-03-02 goes out to 3",
        "news/2026-03-02 is finished: accepted 3",
    ]
    assert world.beats == [Beat.START, Beat.SUCCESS]


@pytest.mark.parametrize("taken_out", [False, True])
def test_a_run_that_ends_while_the_daemon_looks_is_told_of_once(
    taken_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, acts = world_of(london(6, 30)), deque[Callable[[], None]]()
    world.issues[key(TODAY)] = "news of today"
    simulation = Simulation(world)
    simulation.spawn = acts.append
    simulation.start()

    def finish() -> None:
        while acts:
            acts.popleft()()

    assert simulation.newsroom is not None
    simulation.look()
    finish()
    simulation.look()
    assert [run.record.state for run in world.runs.values()] == [RunState.PLANNED], "its sending is about to begin"
    if taken_out:
        simulation.newsroom.known = {}
    begun = SimulatedRecords.begun

    def begun_a_moment_ago(records: SimulatedRecords) -> Sequence[SlotRecord]:
        found = begun(records)
        finish()
        return found

    monkeypatch.setattr(SimulatedRecords, "begun", begun_a_moment_ago)
    simulation.look()
    assert simulation.rounds is not None
    assert [result.report.run.state for result in simulation.rounds.results if result.report] == [RunState.FINISHED]
    assert world.beats == [Beat.START, Beat.SUCCESS]
    check_each_alert_once(world)


def test_its_run_is_planned_two_minutes_before_and_nothing_is_sent_until_then() -> None:
    world = world_of()
    world.issues[key(TODAY)] = "news of today"
    simulation = simulated(world)
    simulation.run_until(london(6, 27, 59))
    assert not world.runs
    simulation.run_until(london(6, 29, 59))
    [run] = world.runs.values()
    assert run.record.state is RunState.PLANNED
    assert not world.mail


def test_a_file_that_changes_after_it_was_prepared_goes_out_as_it_is_at_the_slot() -> None:
    world = world_of()
    world.issues[key(TODAY)] = "news of yesterday evening"
    simulation = simulated(world)
    simulation.at(london(6, 29), lambda: world.issues.update({key(TODAY): "the latest"}))
    simulation.run_until(london(7))
    [run] = world.runs.values()
    assert (run.content, run.first_at) == ("the latest", london(6, 30))


def test_a_file_that_changes_in_the_last_moment_costs_no_more_than_preparing_it_anew() -> None:
    world = world_of()
    world.issues[key(TODAY)] = "news of yesterday evening"
    simulation = simulated(world)
    simulation.at(london(6, 30), lambda: world.issues.update({key(TODAY): "the latest"}))
    simulation.run_until(london(7))
    [run] = world.runs.values()
    assert (run.content, run.first_at) == ("the latest", london(6, 30))


def test_a_missing_issue_is_told_before_the_slot_and_at_it_and_missed_when_it_is_too_late() -> None:
    world = world_of()
    simulation = simulated(world)
    simulation.run_until(london(23))
    assert world.titles(Occasion.MISSING_ISSUE) == [
        "news/2026-03-02 is due at 06:30 GMT and has no issue",
        "news/2026-03-02 was due at 06:30 GMT and has no issue",
    ]
    [missed] = world.titles(Occasion.FAILED)
    assert missed == "news/2026-03-02 was missed: 2026-03-02.txt: there is no such issue file"
    assert world.states() == {"news/2026-03-02": SlotState.MISSED}
    assert world.beats == [Beat.FAIL]


@pytest.mark.parametrize(("arrives", "goes_out"), [((7, 15), True), ((8, 29), True), ((8, 31), False)])
def test_an_issue_that_arrives_late_is_sent_while_it_can_be_caught_up(arrives: tuple[int, int], goes_out: bool) -> None:
    world = world_of()
    simulation = simulated(world)
    simulation.at(london(*arrives), lambda: world.issues.update({key(TODAY): "late news"}))
    simulation.run_until(london(23))
    assert [run.first_at for run in world.runs.values()] == ([london(*arrives)] if goes_out else [])
    assert world.states()["news/2026-03-02"] is (SlotState.DONE if goes_out else SlotState.MISSED)


def test_another_cause_is_told_too_and_the_same_one_not_again() -> None:
    world = world_of()
    simulation = simulated(world)
    simulation.at(london(6), lambda: world.issues.update({key(TODAY): "bad: 12 of 30 links are dead"}))
    simulation.at(london(6, 5), lambda: world.issues.update({key(TODAY): "bad: 11 of 30 links are dead"}))
    simulation.at(london(6, 45), lambda: world.issues.update({key(TODAY): "good"}))
    simulation.run_until(london(23))
    assert [alert.text.split(".")[0] for alert in world.alerts if alert.occasion is Occasion.MISSING_ISSUE] == [
        "there is no such issue file",
        "the issue is bad: 12 of 30 links are dead",
        "the issue is bad: 11 of 30 links are dead",  # at the slot
    ]
    assert world.runs[name_of(key(TODAY))].first_at == london(6, 45)


def test_a_guard_that_refuses_is_told_once_however_its_figures_move() -> None:
    world = world_of()
    world.issues[key(TODAY)] = "news"
    simulation = simulated(world)
    for minute in range(20):
        why = f"the audience changed from 100 in the last run to {50 + minute} (-{50 - minute}.0%)"
        simulation.at(london(6, 20 + minute) if minute < 40 else london(7), partial(world.refused.update, {NAME: why}))
    simulation.run_until(london(23))
    assert len(world.titles(Occasion.FAILED)) == 3  # before the slot, at the slot, missed
    check_each_alert_once(world)


def test_after_a_downtime_each_slot_is_sent_or_missed_with_an_alert_of_its_own() -> None:
    world = world_of()
    for day in days(TODAY, 8):
        world.issues[key(day)] = f"news of {day}"
    simulation = simulated(world)
    simulation.run_until(london(10))
    simulation.end()
    simulation.run_until(london(7, 45, day=7))
    simulation.start()
    simulation.run_until(london(10, day=8))
    states = list(world.states().values())
    assert states == [SlotState.DONE, *[SlotState.MISSED] * 4, SlotState.DONE, SlotState.DONE]
    assert len(world.titles(Occasion.FAILED)) == 4
    assert all("nothing was running" in title for title in world.titles(Occasion.FAILED))
    assert world.runs[name_of(key(dt.date(2026, 3, 7)))].first_at == london(7, 45, day=7)


def test_the_first_start_sends_what_can_be_caught_up_and_says_nothing_of_earlier_days() -> None:
    world = world_of(london(7))
    world.issues[key(TODAY)] = "news"
    simulation = simulated(world)
    simulation.run_until(london(7, 1))
    assert world.states() == {"news/2026-03-02": SlotState.DONE}
    assert world.titles(Occasion.FAILED) == []


def test_a_downtime_of_years_is_told_in_one_alert_but_for_its_last_year() -> None:
    world = world_of()
    world.marks[NAME] = MORNING - 3_000 * DAY
    simulation = simulated(world)
    simulation.run_until(london(4))
    failed = world.titles(Occasion.FAILED)
    assert failed[0] == "news was not sent by itself from 2017-12-14 to 2025-01-26: nothing was running"
    assert len(failed) == 1 + 400


def test_what_is_skipped_is_recorded_and_told_nobody() -> None:
    world = world_of()
    world.skips.append(Skip(NAME, TODAY, None, "office closed"))
    simulation = simulated(world)
    simulation.run_until(london(23))
    [record] = world.slots.values()
    assert (record.state, record.reason) == (SlotState.SKIPPED, "office closed")
    assert world.alerts == []


def test_a_date_that_is_skipped_after_its_run_was_planned_does_not_go_out() -> None:
    world = world_of()
    world.issues[key(TODAY)] = "news"
    simulation = simulated(world)
    simulation.at(london(6, 29), lambda: world.skips.append(Skip(NAME, TODAY)))
    simulation.run_until(london(23))
    assert world.states() == {"news/2026-03-02": SlotState.SKIPPED}
    assert (world.runs, world.mail) == ({}, {})


def test_a_run_that_an_operator_sent_before_the_slot_settles_it() -> None:
    world = world_of()
    world.issues[key(TODAY)] = "news"
    simulation = simulated(world)
    simulation.at(london(6), lambda: world.operator_sends(key(TODAY)))
    simulation.run_until(london(23))
    assert world.states() == {"news/2026-03-02": SlotState.DONE}
    check_nobody_twice(world)


def test_an_operators_run_that_is_paused_or_was_broken_off_is_left_alone() -> None:
    world = world_of()
    world.issues[key(TODAY)] = "news"
    simulation = simulated(world)
    simulation.at(london(6), lambda: world.operator_sends(key(TODAY), people=1))
    simulation.run_until(london(23))
    assert sum(world.mail.values()) == 1
    assert world.runs[name_of(key(TODAY))].record.state is RunState.PAUSED


def test_a_run_that_pauses_itself_waits_for_an_operator_and_expires_at_its_deadline() -> None:
    world = world_of()
    world.issues[key(TODAY)], world.pause_after = "news", 1
    simulation = simulated(world)
    simulation.run_until(london(11, 59))
    assert world.titles(Occasion.PAUSED) == ["news/2026-03-02 is paused: too many refusals"]
    assert world.states() == {"news/2026-03-02": SlotState.BEGUN}
    simulation.run_until(london(12, 1))
    assert world.titles(Occasion.DEADLINE) == ["news/2026-03-02: 2 of 3 were not reached in time"]
    assert world.states() == {"news/2026-03-02": SlotState.DONE}
    check_each_alert_once(world)


def test_a_run_that_is_paused_while_it_is_planned_waits_too() -> None:
    world = world_of()
    world.issues[key(TODAY)] = "news"
    simulation = simulated(world)
    simulation.at(london(6, 29), lambda: world.runs[name_of(key(TODAY))].over(RunState.PAUSED))
    simulation.run_until(london(11))
    assert not world.mail
    assert len(world.titles(Occasion.PAUSED)) == 1


def test_a_killed_daemon_goes_on_where_it_was_and_tells_nothing_again() -> None:
    world = world_of()
    world.issues[key(TODAY)] = "news"
    world.people = [f"p{number}" for number in range(30)]
    simulation = simulated(world)
    simulation.run_until(london(6, 29, 50))
    world.kill_after = 20
    simulation.run_until(london(6, 40))
    assert len(world.mail) == 20
    simulation.start()
    simulation.run_until(london(7))
    assert len(world.mail) == 30
    assert world.runs[name_of(key(TODAY))].record.state is RunState.FINISHED
    check_nobody_twice(world)
    check_each_alert_once(world)


def test_a_run_whose_issue_changed_after_it_was_begun_does_not_go_on_with_another_content() -> None:
    world = world_of()
    world.issues[key(TODAY)] = "news"
    simulation = simulated(world)
    simulation.run_until(london(6, 29, 50))
    world.kill_after = 1
    simulation.run_until(london(6, 31))
    assert len(world.mail) == 1
    world.issues[key(TODAY)] = "other news"
    simulation.start()
    simulation.run_until(london(11))
    assert len(world.mail) == 1
    assert "was broken off: the issue changed" in world.titles(Occasion.FAILED)[0]
    world.issues[key(TODAY)] = "news"
    simulation.run_until(london(11, 2))
    assert len(world.mail) == 3


def test_a_daemon_that_ends_in_order_takes_back_what_it_planned() -> None:
    world = world_of()
    world.issues[key(TODAY)] = "news"
    simulation = simulated(world)
    simulation.run_until(london(6, 29))
    simulation.end()
    assert world.runs == {}
    simulation.start()
    simulation.run_until(london(7))
    assert world.runs[name_of(key(TODAY))].first_at == london(6, 29) + MINUTE


def test_a_database_that_is_away_is_endured_and_nothing_is_doubled() -> None:
    world = world_of()
    world.issues[key(TODAY)] = "news"
    simulation = simulated(world)
    simulation.at(london(6, 29, 30), lambda: setattr(world, "database_away", True))
    simulation.at(london(6, 40), lambda: setattr(world, "database_away", False))
    simulation.run_until(london(9))
    [run] = world.runs.values()
    assert run.first_at is not None
    assert london(6, 40) <= run.first_at <= london(6, 41)
    check_nobody_twice(world)
    check_each_alert_once(world)


def test_a_mistake_in_one_newsletter_keeps_no_other_from_going_out() -> None:
    every_morning = schedule(timezone="Europe/London", time="06:30", deadline="12:00")
    world = world_of(broken=every_morning, news=every_morning)
    for name in ("broken", "news"):
        world.issues[key(TODAY, newsletter=name)] = "news"
    world.broken.add("broken")
    simulation = simulated(world)
    simulation.run_until(london(7))
    assert [str(name) for name in world.runs] == ["news/2026-03-02"]
    assert any("an error in the program" in title for title in world.titles(Occasion.FAILED))


def test_two_newsletters_and_an_edition_of_one_day_are_three_runs() -> None:
    world = world_of(
        news=schedule(timezone="Europe/London", time="06:30", deadline="12:00", editions={"evening": "18:00"}),
        weekly=schedule(timezone="Asia/Hong_Kong", cron="30 14 * * mon", deadline="20:00"),
    )
    world.issues |= {key(TODAY): "a", key(TODAY, "evening"): "b", key(TODAY, newsletter="weekly"): "c"}
    simulation = simulated(world)
    simulation.run_until(london(23, 59))
    assert {str(name): run.first_at for name, run in world.runs.items()} == {
        "news/2026-03-02": london(6, 30),
        "news/2026-03-02.evening": london(18),
        "weekly/2026-03-02": london(6, 30),
    }


def test_a_clock_that_jumps_back_makes_nothing_happen_again() -> None:
    world = world_of()
    world.issues[key(TODAY)] = "news"
    simulation = simulated(world)
    simulation.run_until(london(7))
    world.clock.off = -HOUR
    simulation.run_until(london(10))
    world.clock.off = -3 * DAY
    simulation.run_until(london(20))
    assert sum(world.mail.values()) == 3
    check_each_alert_once(world)


def test_a_clock_that_was_ahead_for_a_while_costs_no_issue_that_lies_ahead() -> None:
    world = world_of()
    for day in days(TODAY, 5):
        world.issues[key(day)] = f"news of {day}"
    simulation = simulated(world)
    world.clock.off = 30 * DAY
    simulation.run_until(london(3, 30))
    world.clock.off = dt.timedelta()
    simulation.run_until(london(10, day=6))
    assert len(world.runs) == 5
    check_nobody_twice(world)


def test_new_settings_hold_from_the_next_look_on_also_for_what_is_planned() -> None:
    world = world_of()
    world.issues[key(TODAY)] = "news"
    simulation = simulated(world)

    def reload() -> None:
        assert simulation.rounds is not None
        assert world.pid is not None
        world.schedules[NAME] = schedule(timezone="Europe/London", time="09:00", deadline="12:00")
        simulation.rounds.replace(SimulatedNewsroom(world, world.pid), SimulatedTeller(world, world.pid))

    simulation.at(london(6, 29), reload)
    simulation.run_until(london(8, 30))
    assert not world.runs
    simulation.run_until(london(23))
    assert world.runs[name_of(key(TODAY))].first_at == london(9)


def test_what_was_planned_by_the_old_settings_is_planned_anew_by_the_new_ones() -> None:
    world = world_of()
    world.issues[key(TODAY)] = "news"
    simulation = simulated(world)
    assert world.pid is not None
    fresh = SimulatedNewsroom(world, world.pid)

    def reload() -> None:
        assert simulation.rounds is not None
        assert world.pid is not None
        simulation.rounds.replace(fresh, SimulatedTeller(world, world.pid))

    simulation.at(london(6, 29), reload)
    simulation.run_until(london(7))
    [run] = world.runs.values()
    assert run.planned_by is fresh
    assert run.first_at == london(6, 30)


def test_a_plan_that_another_process_took_back_and_made_anew_is_not_mistaken_for_ones_own() -> None:
    world = world_of()
    world.issues[key(TODAY)] = "news"
    simulation = simulated(world)

    def another() -> None:
        del world.runs[name_of(key(TODAY))]
        world.plan(key(TODAY), london(12))

    simulation.at(london(6, 29), another)
    simulation.run_until(london(7))
    [run] = world.runs.values()
    assert (run.record.state, run.first_at) == (RunState.FINISHED, london(6, 30))


@pytest.mark.parametrize("steps", range(60))
def test_a_kill_at_any_step_around_the_slot_loses_nobody(steps: int) -> None:
    world = world_of()
    world.issues[key(TODAY)] = "news"
    simulation = simulated(world)
    simulation.run_until(london(6, 27, 59))
    world.kill_in = steps
    simulation.run_until(london(6, 40))
    simulation.restart()
    simulation.run_until(london(7))
    [run] = world.runs.values()
    assert run.record.state is RunState.FINISHED
    assert set(world.mail.values()) == {1}
    assert len(world.mail) == 3
    assert world.states() == {"news/2026-03-02": SlotState.DONE}
    check_each_alert_once(world)


def test_a_slot_that_waits_is_not_forgotten_because_a_later_one_was_sent() -> None:
    editions = {"later": "07:00"}
    world = world_of(news=schedule(timezone="Europe/London", time="06:30", deadline="12:00", editions=editions))
    world.issues[key(TODAY, "later")] = "news"
    simulation = simulated(world)
    simulation.run_until(london(7, 30))
    assert world.states() == {"news/2026-03-02.later": SlotState.DONE}
    simulation.kill()
    simulation.run_until(london(9))
    simulation.start()
    simulation.run_until(london(9, 1))
    assert world.states()["news/2026-03-02"] is SlotState.MISSED


def test_a_newsletter_that_is_switched_off_just_before_its_slot_does_not_go_out() -> None:
    world = world_of()
    world.issues[key(TODAY)] = "news"
    simulation = simulated(world)

    def reload() -> None:
        assert simulation.rounds is not None
        assert world.pid is not None
        world.schedules[NAME] = schedule(enabled=False)
        simulation.rounds.replace(SimulatedNewsroom(world, world.pid), SimulatedTeller(world, world.pid))

    simulation.at(london(6, 29), reload)
    simulation.run_until(london(23))
    assert (world.runs, world.mail) == ({}, {})
    assert world.states() == {"news/2026-03-02": SlotState.MISSED}


def test_once_does_what_is_due_and_prepares_nothing_ahead() -> None:
    world = world_of(london(6, 29))
    world.issues[key(TODAY)] = "news"
    simulation = Simulation(world)
    simulation.start(ahead=dt.timedelta())
    simulation.look()
    assert not world.runs
    world.clock.true = london(6, 31)
    simulation.start(ahead=dt.timedelta())
    simulation.look()
    assert len(world.mail) == 3


def test_recipients_in_other_zones_move_the_slot_and_nobody_who_joins_far_in_the_east_makes_it_missed() -> None:
    world = world_of(news=schedule(timezone="Europe/London", time="06:30", deadline="12:00", recipient_timezone=True))
    world.zones = ["Europe/London"]
    world.issues |= {key(TODAY): "news", key(TODAY + DAY): "more news"}
    simulation = simulated(world)
    simulation.run_until(london(7))
    assert world.runs[name_of(key(TODAY))].first_at == london(6, 30)
    # in Kiritimati tomorrow's 06:30 was at 16:30 today: four hours ago, and longer than it may be caught up
    simulation.run_until(london(20, 30))
    world.zones = ["Europe/London", "Pacific/Kiritimati"]
    simulation.run_until(london(20, 31))
    run = world.runs[name_of(key(TODAY + DAY))]
    assert run.first_at is not None
    assert london(20, 30) <= run.first_at <= london(20, 31)
    assert world.titles(Occasion.FAILED) == []
    world.issues[key(TODAY + 2 * DAY)] = "still more"
    simulation.run_until(london(23, day=3))
    assert world.runs[name_of(key(TODAY + 2 * DAY))].first_at == london(16, 30, day=3)


# a year

SPRING = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


def year(zone: str, seed: dict[int, str]) -> tuple[World, Simulation]:
    """A year of a morning and an evening edition and a weekly; `seed` says on which days something is the matter."""
    world = world_of(
        SPRING,
        news=schedule(timezone=zone, time="02:30", deadline="09:00", editions={"evening": "18:00"}),
        weekly=schedule(timezone="UTC", cron="15 5 * * tue", deadline="11:00", catch_up="30m"),
    )
    simulation = simulated(world)
    for number, day in enumerate(days(SPRING.date(), 367)):
        midnight, what = dt.datetime.combine(day, dt.time(), dt.UTC), seed.get(number, "")
        for one in (key(day), key(day, "evening"), key(day, newsletter="weekly")):
            if what == "late":
                simulation.at(midnight + 4 * HOUR, partial(world.issues.update, {one: "late"}))
            elif what != "missing":
                world.issues[one] = "bad" if what == "mended" else f"news of {day}"
            if what == "mended":
                simulation.at(midnight + 3 * HOUR, partial(world.issues.update, {one: "good"}))
        trouble(world, simulation, midnight, what)
    return world, simulation


def trouble(world: World, simulation: Simulation, midnight: dt.datetime, what: str) -> None:
    """One day on which something is the matter with the machine."""

    def at(hours: float, event: Callable[[], None]) -> None:
        simulation.at(midnight + hours * HOUR, event)

    match what:
        case "down":
            at(1, simulation.end)
            at(8, simulation.start)
        case "killed":
            for number in range(200):
                at(number * 0.12, lambda: kill_soon(simulation, world))
            at(24, simulation.restart)
        case "restarted":
            for hour in range(24):
                at(hour, simulation.restart)
        case "database away":
            at(2, lambda: setattr(world, "database_away", True))
            at(4, lambda: setattr(world, "database_away", False))
        case "skipped":
            world.skips.append(Skip(NAME, midnight.date()))
        case "ahead" | "behind":
            off = 5 * HOUR if what == "ahead" else -5 * HOUR
            at(1, lambda: setattr(world.clock, "off", off))
            at(20, lambda: setattr(world.clock, "off", dt.timedelta()))
        case _:
            pass


def kill_soon(simulation: Simulation, world: World) -> None:
    """Killed after some steps of its next work, and started again."""
    simulation.restart()
    world.kill_in = 25


TROUBLES = ("missing", "late", "mended", "down", "killed", "restarted", "database away", "skipped", "ahead", "behind")


def check_year(world: World, simulation: Simulation, end: dt.datetime) -> None:
    assert simulation.rounds is not None
    check_nobody_twice(world)
    check_each_alert_once(world)
    missed = {alert.key.split(" ")[0] for alert in world.alerts if alert.key.endswith("missed")}
    for name, one in world.schedules.items():
        for slot in slots_between(name, one, SPRING, end - 12 * HOUR, skips=world.skips):
            record = world.slots.get(slot.name)
            assert record is not None, f"{slot.name} was skipped in silence"
            assert record.state is not SlotState.BEGUN, slot.name
            run = world.runs.get(slot.name)
            assert (record.state is SlotState.DONE) == (run is not None), slot.name
            assert (record.state is SlotState.MISSED) <= (str(slot.name) in missed), slot.name
            if run is not None and run.record.state is RunState.FINISHED:
                assert len(run.sent) == 3


def test_a_quiet_year_has_every_slot_at_its_second() -> None:
    world, simulation = year("Europe/London", {})
    end = SPRING + 365 * DAY
    simulation.run_until(end)
    check_year(world, simulation, end)
    slots = [slot for name, one in world.schedules.items() for slot in slots_between(name, one, SPRING, end)]
    assert len(slots) == 365 * 2 + 52
    for slot in slots:
        assert world.runs[slot.name].first_at == slot.at.astimezone(dt.UTC)
    assert {alert.occasion for alert in world.alerts} == {Occasion.SUMMARY}


def test_a_year_in_which_something_is_the_matter_every_third_day() -> None:
    chance = random.Random(2026)
    world, simulation = year("America/New_York", {day: chance.choice(TROUBLES) for day in range(0, 362, 3)})
    end = SPRING + 365 * DAY
    simulation.run_until(end)
    check_year(world, simulation, end)
    states = list(world.slots.values())
    assert {state: sum(one.state is state for one in states) > 20 for state in SlotState} == {
        SlotState.BEGUN: False,
        SlotState.DONE: True,
        SlotState.MISSED: True,
        SlotState.SKIPPED: True,
    }


@settings(max_examples=8, deadline=None)
@given(
    seed=st.dictionaries(st.integers(0, 44), st.sampled_from(TROUBLES), min_size=10),
    zone=st.sampled_from(["Europe/London", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]),
)
def test_weeks_of_troubles_lose_and_double_nothing(seed: dict[int, str], zone: str) -> None:
    world, simulation = year(zone, seed)
    end = SPRING + 46 * DAY
    simulation.run_until(end)
    check_year(world, simulation, end)


@settings(max_examples=150, deadline=None)
@given(
    kills=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 60)), max_size=6),
    arrives=st.integers(-60, 180),
    jumps=st.lists(st.tuples(st.integers(0, 200), st.integers(-120, 120)), max_size=2),
)
def test_one_morning_with_kills_at_any_step_ends_with_everybody_served_once_or_the_slot_missed(
    kills: list[tuple[int, int]], arrives: int, jumps: list[tuple[int, int]]
) -> None:
    """Kills come so many minutes after 05:30 and steps later, and the daemon starts again half a minute after."""
    world = world_of()
    simulation = simulated(world)
    for minute, steps in kills:
        moment = london(5, 30) + minute * MINUTE
        simulation.at(moment, partial(setattr, world, "kill_in", steps))
        simulation.at(moment + HEARTBEAT * 10, simulation.restart)
    for minute, off in jumps:
        simulation.at(london(5, 30) + minute * MINUTE, partial(setattr, world.clock, "off", off * MINUTE))
    simulation.at(london(6, 30) + arrives * MINUTE, lambda: world.issues.update({key(TODAY): "news"}))
    simulation.at(london(10), lambda: setattr(world.clock, "off", dt.timedelta()))
    simulation.at(london(13), simulation.restart)
    simulation.run_until(london(14))
    check_nobody_twice(world)
    check_each_alert_once(world)
    record = world.slots[name_of(key(TODAY))]
    run = world.runs.get(name_of(key(TODAY)))
    if run is None:
        assert record.state is SlotState.MISSED
        assert arrives >= 0 or jumps or kills
    else:
        assert record.state is SlotState.DONE
        assert run.record.state in (RunState.FINISHED, RunState.EXPIRED)
        assert len(run.sent) + run.expired == 3
