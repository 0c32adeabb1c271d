"""A newsroom, its records and its clock without a file, a database or a second of waiting: a year passes in seconds.

What a process knows dies with it (`World.dead`), what the world knows stays. Everything the daemon asks of the world is
a step, and it may be killed at any of them, and within a send before any recipient.
"""

from __future__ import annotations

import datetime as dt
import heapq
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from zoneinfo import ZoneInfo

from newsletter.alerts.model import Alert, Beat, Occasion
from newsletter.audience.people import Selection
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import Balance, RunRecord
from newsletter.delivery.states import OVER, DeliveryState, RunState
from newsletter.errors import ChecksFailed, GuardRefused, IssueError, NothingToDo, Place, TemporaryError
from newsletter.pipeline.run_report import RunReport
from newsletter.schedule.deciding import PREPARE_BEFORE
from newsletter.schedule.model import CLOCKS_APART, IssueState, Readiness, Skip, Slot, SlotRecord, SlotState
from newsletter.schedule.rounds import Rounds
from newsletter.settings.model import Schedule

#: (newsletter, date, edition)
Key = tuple[str, dt.date, str]
HEARTBEAT = dt.timedelta(seconds=3)
#: A sleeping daemon looks this often in a simulation; the real one every few seconds.
LONGEST_SLEEP = dt.timedelta(hours=6)


class Killed(BaseException):
    """The process is dead."""


@dataclass
class SimulatedClock:
    """`true` passes; the clock shows `off` more."""

    true: dt.datetime
    off: dt.timedelta = dt.timedelta()

    def now(self) -> dt.datetime:
        return self.true + self.off

    def monotonic(self) -> float:
        return self.true.timestamp()

    def processor_time(self) -> float:
        return 0.0

    def wait(self, event: threading.Event, seconds: float | None = None) -> bool:
        return event.is_set()


@dataclass
class SimulatedRun:
    record: RunRecord
    left: list[str]
    sent: list[str] = field(default_factory=list)
    expired: int = 0
    first_at: dt.datetime | None = None
    #: the process that has it
    pid: int | None = None
    content: str = ""
    #: whose settings it was made by
    planned_by: object = None

    def over(self, state: RunState) -> None:
        self.record = replace(self.record, state=state)


@dataclass
class World:
    """All that outlives a process. `pid` is the living one's, None where none lives."""

    schedules: dict[str, Schedule]
    clock: SimulatedClock
    people: Sequence[str] = ("a", "b", "c")
    #: where they live
    zones: Sequence[str] = ()
    issues: dict[Key, str] = field(default_factory=dict)
    runs: dict[RunName, SimulatedRun] = field(default_factory=dict)
    marks: dict[str, dt.datetime] = field(default_factory=dict)
    slots: dict[RunName, SlotRecord] = field(default_factory=dict)
    skips: list[Skip] = field(default_factory=list)
    told: set[str] = field(default_factory=set)
    alerts: list[Alert] = field(default_factory=list)
    beats: list[Beat] = field(default_factory=list)
    mail: Counter[tuple[RunName, str]] = field(default_factory=Counter)
    pid: int | None = None
    #: steps until the process is killed
    kill_in: int | None = None
    #: a sender is killed when so many of its run are served
    kill_after: int | None = None
    database_away: bool = False
    #: newsletters that a mistake in the program befalls
    broken: set[str] = field(default_factory=set)
    #: a run that pauses itself after so many recipients
    pause_after: int | None = None
    #: whom a guard refuses, and why
    refused: dict[str, str] = field(default_factory=dict)
    _ids: count[int] = field(default_factory=lambda: count(1))

    def step(self, pid: int) -> None:
        if self.kill_in is not None and self.pid == pid:
            self.kill_in -= 1
            if self.kill_in < 0:
                self.pid, self.kill_in = None, None
        if self.pid != pid:
            raise Killed

    def database(self, pid: int) -> None:
        self.step(pid)
        if self.database_away:
            raise TemporaryError("the database is away")

    def titles(self, occasion: Occasion) -> list[str]:
        return [alert.title for alert in self.alerts if alert.occasion is occasion]

    def states(self) -> dict[str, SlotState]:
        return {str(name): record.state for name, record in sorted(self.slots.items(), key=lambda one: one[1].at)}

    def operator_sends(self, key: Key, *, people: int | None = None) -> None:
        """`newsletter send`, with the daemon beside it; to so many, and then it pauses."""
        run = self.plan(key, self.clock.now() + dt.timedelta(hours=5))
        number = len(run.left) if people is None else people
        for person in run.left[:number]:
            self.mail[run.record.name, person] += 1
        run.sent, run.left = run.left[:number], run.left[number:]
        run.over(RunState.PAUSED if run.left else RunState.FINISHED)

    def plan(self, key: Key, deadline: dt.datetime) -> SimulatedRun:
        name = name_of(key)
        if name in self.runs:
            raise GuardRefused(f"{name} is already planned")
        record = RunRecord(
            id=next(self._ids),
            name=name,
            issue_date=key[1],
            edition=key[2],
            state=RunState.PLANNED,
            content_hash=self.issues[key],
            subject="News",
            provider="simulated",
            batch_size=1,
            selection=Selection(lists=("all",)),
            planned_at=self.clock.now(),
            deadline=deadline,
        )
        run = self.runs[name] = SimulatedRun(record, list(self.people), content=self.issues[key])
        return run


def name_of(key: Key) -> RunName:
    return RunName(key[0], f"{key[1]}.{key[2]}" if key[2] else str(key[1]))


class SimulatedRecords:
    def __init__(self, world: World, pid: int) -> None:
        self.world, self.pid = world, pid

    def mark(self, newsletter: str) -> dt.datetime | None:
        self.world.database(self.pid)
        return self.world.marks.get(newsletter)

    def advance(self, newsletter: str, until: dt.datetime) -> None:
        self.world.database(self.pid)
        marks = self.world.marks
        marks[newsletter] = max(until, marks.get(newsletter, until))

    def slot(self, name: RunName) -> SlotRecord | None:
        self.world.database(self.pid)
        return self.world.slots.get(name)

    def begun(self) -> Sequence[SlotRecord]:
        self.world.database(self.pid)
        return [record for record in self.world.slots.values() if record.state is SlotState.BEGUN]

    def record(self, record: SlotRecord, *, now: dt.datetime) -> bool:
        self.world.database(self.pid)
        before = self.world.slots.get(record.name)
        states = {None, SlotState.BEGUN}
        if record.state is SlotState.BEGUN:
            states = {None, SlotState.MISSED, SlotState.SKIPPED}
        if before is not None and before.changed_at and before.changed_at > now + CLOCKS_APART:
            states |= {SlotState.MISSED, SlotState.SKIPPED}
        if (before.state if before else None) not in states:
            return False
        self.world.slots[record.name] = replace(record, changed_at=now)
        return True

    def history(self, newsletter: str | None = None, *, limit: int = 100) -> Sequence[SlotRecord]:
        raise NotImplementedError

    def skip(self, skip: Skip, *, now: dt.datetime) -> bool:
        raise NotImplementedError

    def unskip(self, newsletter: str, date: dt.date, edition: str | None = None) -> bool:
        raise NotImplementedError

    def skips(self, newsletter: str) -> Sequence[Skip]:
        self.world.database(self.pid)
        return [skip for skip in self.world.skips if skip.newsletter == newsletter]

    def first_time(self, key: str, *, now: dt.datetime) -> bool:
        self.world.database(self.pid)
        first = key not in self.world.told
        self.world.told.add(key)
        return first

    def forget(self, key: str) -> None:
        self.world.database(self.pid)
        self.world.told.discard(key)


class SimulatedTeller:
    """An alert that is told counts as heard, also where the process dies right then."""

    def __init__(self, world: World, pid: int) -> None:
        self.world, self.pid = world, pid

    def tell(self, alert: Alert) -> None:
        self.world.alerts.append(alert)
        self.world.step(self.pid)

    def beat(self, beat: Beat) -> None:
        self.world.step(self.pid)
        self.world.beats.append(beat)

    def close(self) -> None:
        pass


class SimulatedLeadership:
    def __init__(self, world: World, pid: int) -> None:
        self.world, self.pid = world, pid
        self.led = True

    def lead(self) -> bool:
        self.world.database(self.pid)
        return self.led

    def leader(self) -> str:
        return "simulated"

    def close(self) -> None:
        self.led = False


@dataclass
class SimulatedSlot:
    world: World
    pid: int
    fingerprint: str
    simulated: SimulatedRun

    @property
    def run(self) -> RunRecord:
        return self.simulated.record

    @property
    def planned(self) -> int:
        return len(self.world.people)

    def send(self, stop: threading.Event, on_balance: Callable[[Balance], None]) -> RunReport:
        world, run = self.world, self.simulated
        world.database(self.pid)
        if world.runs.get(self.run.name) is not run:
            raise GuardRefused("there is no such run")
        if run.pid is not None and run.pid == world.pid != self.pid:
            raise GuardRefused("is being sent by another")
        run.pid = self.pid
        run.record = replace(run.record, state=RunState.SENDING, started_at=run.record.started_at or world.clock.now())
        if world.clock.now() >= run.record.deadline:
            return _expire(world, run)
        run.first_at = run.first_at or world.clock.true
        while run.left and not stop.is_set():
            if world.pause_after is not None and len(run.sent) >= world.pause_after:
                run.record = replace(run.record, state=RunState.PAUSED, reason="too many refusals")
                break
            if world.kill_after == len(run.sent):
                world.pid = world.kill_after = None
            world.step(self.pid)
            person = run.left.pop(0)
            world.mail[run.record.name, person] += 1
            run.sent.append(person)
        run.pid = None
        if not run.left:
            run.over(RunState.FINISHED)
        return report_of(run)

    def withdraw(self) -> bool:
        self.world.database(self.pid)
        return withdraw(self.world, self.run)

    def close(self) -> None:
        pass


class SimulatedNewsroom:
    def __init__(self, world: World, pid: int) -> None:
        self.world, self.pid = world, pid
        self.known: Mapping[str, Schedule] = dict(world.schedules)

    @property
    def schedules(self) -> Mapping[str, Schedule]:
        return {name: schedule for name, schedule in self.known.items() if schedule.enabled}

    def zones(self, newsletter: str) -> Sequence[ZoneInfo]:
        self.world.database(self.pid)
        return [ZoneInfo(name) for name in self.world.zones]

    def fingerprint(self, newsletter: str, date: dt.date, edition: str) -> str:
        self.world.step(self.pid)
        if newsletter in self.world.broken:
            raise RuntimeError("a mistake in the program")
        return self.world.issues.get((newsletter, date, edition), "")

    def issue_state(self, newsletter: str, date: dt.date, edition: str) -> IssueState:
        self.world.step(self.pid)
        content = self.world.issues.get((newsletter, date, edition), "")
        if not content:
            return IssueState(Readiness.MISSING, "there is no such issue file")
        if content.startswith("bad"):
            return IssueState(Readiness.INVALID, f"the issue is {content}", content)
        return IssueState(Readiness.READY, "", content)

    def prepare(self, slot: Slot, begin: Callable[[], None]) -> SimulatedSlot:
        world, key = self.world, (slot.newsletter, slot.date, slot.edition)
        world.step(self.pid)
        content = world.issues.get(key, "")
        if not content:
            raise IssueError("there is no such issue file", place=Place(f"{slot.date}.txt"))
        if content.startswith("bad"):
            raise ChecksFailed(f"the issue is {content}")
        if why := world.refused.get(slot.newsletter):
            raise GuardRefused(why)
        world.database(self.pid)
        begin()
        world.database(self.pid)
        run = world.plan(key, slot.deadline.astimezone(dt.UTC))
        run.planned_by = self
        return SimulatedSlot(world, self.pid, content, run)

    def resume(self, run: RunRecord) -> SimulatedSlot:
        self.world.database(self.pid)
        there = self.world.runs[run.name]
        if there.record.state in OVER:
            raise NothingToDo("nothing is left to send")
        key = (run.name.newsletter, run.issue_date, run.edition)
        if self.world.issues.get(key, "") != run.content_hash:
            raise GuardRefused("the issue changed since its run was begun")
        return SimulatedSlot(self.world, self.pid, run.content_hash, there)

    def run(self, name: RunName) -> RunRecord | None:
        self.world.database(self.pid)
        run = self.world.runs.get(name)
        if run is None:
            return None
        return replace(run.record, sender=f"pid {run.pid}" if run.pid is not None and run.pid == self.world.pid else "")

    def withdraw(self, run: RunRecord) -> bool:
        self.world.database(self.pid)
        return withdraw(self.world, run)

    def expire(self, run: RunRecord) -> RunReport:
        self.world.database(self.pid)
        return _expire(self.world, self.world.runs[run.name])

    def report(self, run: RunRecord) -> RunReport:
        self.world.database(self.pid)
        return report_of(self.world.runs[run.name])

    def sync(self) -> None:
        self.world.database(self.pid)

    def prune(self, stop: Callable[[], bool]) -> Mapping[str, int]:
        self.world.database(self.pid)
        return {}


def withdraw(world: World, run: RunRecord) -> bool:
    there = world.runs.get(run.name)
    if there is None or there.record.id != run.id or there.record.state is not RunState.PLANNED:
        return False
    del world.runs[run.name]
    return True


def _expire(world: World, run: SimulatedRun) -> RunReport:
    assert world.clock.now() >= run.record.deadline
    run.expired, run.left, run.pid = len(run.left), [], None
    run.over(RunState.EXPIRED if run.expired else RunState.FINISHED)
    return report_of(run)


def report_of(run: SimulatedRun) -> RunReport:
    counts = {DeliveryState.ACCEPTED: len(run.sent), DeliveryState.EXPIRED: run.expired}
    counts[DeliveryState.PLANNED] = len(run.left)
    planned = sum(counts.values())
    return RunReport(run.record, Balance(planned, {state: n for state, n in counts.items() if n}), {}, {})


#: What happens at a moment.
Event = Callable[[], None]


class Simulation:
    """Lets time pass over a world, with at most one daemon in it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rounds: Rounds | None = None
        self.newsroom: SimulatedNewsroom | None = None
        self.stop = threading.Event()
        self.looks = 0
        self._events: list[tuple[dt.datetime, int, Event]] = []
        self._order = count()
        self._pids = count(100)
        self.log: list[str] = []
        #: what is done with an act; the real daemon gives it a thread
        self.spawn: Callable[[Callable[[], None]], None] = lambda act: act()

    def at(self, moment: dt.datetime, event: Event) -> None:
        """`event` happens then; true time."""
        heapq.heappush(self._events, (moment, next(self._order), event))

    def start(self, *, ahead: dt.timedelta = PREPARE_BEFORE) -> None:
        """A daemon begins to run."""
        world = self.world
        pid = world.pid = next(self._pids)
        world.kill_in = None
        self.stop = threading.Event()
        self.newsroom = SimulatedNewsroom(world, pid)
        self.rounds = Rounds(
            self.newsroom,
            SimulatedRecords(world, pid),
            SimulatedLeadership(world, pid),
            SimulatedTeller(world, pid),
            clock=world.clock,
            log=lambda level, event, /, **fields: self.log.append(f"{level} {event} {fields}"),
            spawn=lambda _name, act: self.spawn(act),
            stop=self.stop,
            wake=threading.Event(),
            ahead=ahead,
        )

    def kill(self) -> None:
        """As SIGKILL."""
        self.world.pid = self.rounds = None

    def end(self) -> None:
        """As SIGTERM."""
        if self.rounds is not None:
            self.rounds.close()
        self.kill()

    def restart(self) -> None:
        self.kill()
        self.start()

    def look(self) -> dt.datetime | None:
        """One look, and all that follows from it at once."""
        if self.rounds is None:
            return None
        again: dt.datetime | None = None
        for _ in range(50):
            self.looks += 1
            try:
                looked = self.rounds.look()
            except TemporaryError:
                return self.world.clock.now() + HEARTBEAT
            except Killed:
                self.kill()
                return None
            again = looked.again
            if not looked.acted:
                return again
        raise AssertionError(f"the daemon does not come to rest: {self.log[-5:]}")

    def run_until(self, end: dt.datetime) -> None:
        """True time passes."""
        clock = self.world.clock
        again = self.look()
        while clock.true < end:
            wake = min(end, clock.true + LONGEST_SLEEP)
            if again is not None:
                wake = min(wake, max(clock.true + HEARTBEAT, again - clock.off))
            if self._events:
                wake = min(wake, max(clock.true, self._events[0][0]))
            clock.true = wake
            happened = False
            while self._events and self._events[0][0] <= clock.true:
                heapq.heappop(self._events)[2]()
                happened = True
            if happened and self.rounds is not None:
                again = self.look()
                # what just happened may be seen a heartbeat later, as by the real one
                again = min(filter(None, [again, clock.now() + HEARTBEAT]))
            else:
                again = self.look()


def check_nobody_twice(world: World) -> None:
    assert [one for one, number in world.mail.items() if number > 1] == []


def check_each_alert_once(world: World) -> None:
    keys = Counter(alert.key for alert in world.alerts)
    assert {key: number for key, number in keys.items() if number > 1} == {}


def schedule(**keys: object) -> Schedule:
    """A schedule as config.toml would have it."""
    return Schedule.model_validate({"enabled": True, **keys})


def days(first: dt.date, number: int) -> Iterable[dt.date]:
    return (first + dt.timedelta(days=one) for one in range(number))
