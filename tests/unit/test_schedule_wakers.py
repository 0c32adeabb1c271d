"""The daemon's own loop: woken by APScheduler, by itself where the clock was set back, and never ended by an error."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from typing import cast

from newsletter.alerts.model import Alert, Beat
from newsletter.delivery.clock import SystemClock
from newsletter.errors import TemporaryError
from newsletter.schedule.daemon import Daemon
from newsletter.schedule.herald import Herald
from newsletter.schedule.records import ScheduleRecords
from newsletter.schedule.rounds import Looked, Rounds
from newsletter.schedule.threads import Threads

#: Nothing here takes as long; a loop that does is stuck.
STUCK = 30


class Told:
    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    def tell(self, alert: Alert) -> None:
        self.alerts.append(alert)

    def beat(self, beat: Beat) -> None:
        raise AssertionError

    def close(self) -> None:
        pass


class ShiftedClock(SystemClock):
    off = dt.timedelta()

    def now(self) -> dt.datetime:
        return super().now() + self.off


class Looks:
    """Rounds that do what a test says at each look, and end the daemon after the last."""

    def __init__(self, looks: list[Callable[[], dt.datetime | None]], stop: threading.Event) -> None:
        self.told = Told()
        self.events: list[str] = []
        log = lambda _level, event, /, **_fields: self.events.append(event)  # noqa: E731 - a Protocol with one method
        self.herald = Herald(cast(ScheduleRecords, None), self.told, log, SystemClock())
        self.done = 0
        self.closed = False
        self._looks = looks
        self._stop = stop

    def look(self) -> Looked:
        do = self._looks[self.done]
        self.done += 1
        if self.done == len(self._looks):
            self._stop.set()
        return Looked(do(), False)

    def close(self) -> None:
        self.closed = True


def run(
    looks: list[Callable[[], dt.datetime | None]],
    *,
    heartbeat: float,
    clock: SystemClock | None = None,
    calm: float = 0.0,
) -> Looks:
    stop, wake, clock = threading.Event(), threading.Event(), clock or SystemClock()
    rounds = Looks(looks, stop)
    daemon = Daemon(cast(Rounds, rounds), Threads(), clock=clock, stop=stop, wake=wake, heartbeat=heartbeat, calm=calm)
    thread = threading.Thread(target=daemon.run, daemon=True)
    thread.start()
    thread.join(STUCK)
    assert not thread.is_alive(), "the daemon does not look any more"
    assert rounds.closed
    return rounds


def nothing() -> None:
    return None


def test_it_looks_again_at_the_moment_that_a_look_names() -> None:
    """The heartbeat would come too late."""
    run([lambda: dt.datetime.now(dt.UTC) + dt.timedelta(seconds=0.3), nothing], heartbeat=STUCK)


def test_it_looks_every_heartbeat_where_nothing_is_due() -> None:
    assert run([nothing] * 4, heartbeat=0.1).done == 4


def test_a_database_that_is_away_is_told_once_and_when_it_is_back_may_be_told_again() -> None:
    def away() -> None:
        raise TemporaryError("the database is away", hint="Look whether the server runs.")

    rounds = run([away, away, nothing, away, nothing], heartbeat=0.1)
    assert [alert.title for alert in rounds.told.alerts] == ["nothing can be sent: the database is away"] * 2
    assert rounds.events.count("database_back") == 2


def test_a_database_that_comes_and_goes_is_told_of_once() -> None:
    def away() -> None:
        raise TemporaryError("the database is away")

    rounds = run([away, nothing, away, nothing, away, nothing], heartbeat=0.1, calm=60)
    assert len(rounds.told.alerts) == 1


def test_a_mistake_of_the_program_does_not_end_it() -> None:
    def broken() -> None:
        raise RuntimeError("no")

    rounds = run([broken, broken, nothing], heartbeat=0.1)
    assert len(rounds.told.alerts) == 1
    assert rounds.events.count("program_error") == 2


def test_a_clock_that_was_set_back_an_hour_keeps_it_from_nothing() -> None:
    clock = ShiftedClock()

    def set_back() -> dt.datetime:
        clock.off = -dt.timedelta(hours=1)
        return dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)

    rounds = run([nothing, set_back, nothing, nothing], heartbeat=0.2, clock=clock)
    assert "clock_jumped" in rounds.events
