"""The daemon: looks at every newsletter when something is due, and every few seconds all the same.

APScheduler only wakes it, a date job at the next moment that matters and an interval job as the heartbeat. What is to
be done is decided from the database and the clock at each look; a wake too many, or one that never came, changes
nothing.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from newsletter.delivery.clock import Clock
from newsletter.errors import NewsletterError
from newsletter.schedule import announcing
from newsletter.schedule.rounds import Rounds
from newsletter.schedule.threads import Threads

#: Seconds between two looks at most: how soon another leader's death, a new file or a changed clock is noticed.
HEARTBEAT = 3.0
#: How soon a wish to stop, which a signal handler only notes, is seen. Seconds.
_GLANCE = 0.1
#: The clock was changed where it moved by so much more, or less, than time went by.
_JUMP = dt.timedelta(seconds=2)
#: A database that comes and goes is told of once: again only where it was well for so long. Seconds.
CALM = 600.0
_DATABASE = "database"


class Daemon:
    """Runs until `stop` is set. `wake` makes it look at once, and may be set by any thread.

    `before_look` is called before each look, in its thread.
    """

    def __init__(
        self,
        rounds: Rounds,
        threads: Threads,
        *,
        clock: Clock,
        stop: threading.Event,
        wake: threading.Event,
        before_look: Callable[[], None] = lambda: None,
        heartbeat: float = HEARTBEAT,
        calm: float = CALM,
    ) -> None:
        self._rounds = rounds
        self._threads = threads
        self._clock = clock
        self._stop = stop
        self._wake = wake
        self._before_look = before_look
        self._heartbeat = heartbeat
        self._calm = calm
        # a wake is a flag that is set: it needs no pool of threads, which could be gone before the last job
        self._wakers = BackgroundScheduler(timezone=dt.UTC, executors={"default": DebugExecutor()})
        self._seen = (clock.now(), clock.monotonic())
        self._away = False
        self._well_since: float | None = None

    def run(self) -> None:
        """Looks, acts and waits until `stop` is set; then waits for the calls that are out. Raises nothing that a
        newsletter or the database does."""
        self._wakers.start()
        try:
            self._wake_regularly()
            while not self._stop.is_set():
                self._wake.clear()
                self._hear()
                self._notice_jump()
                self._wake_at(self._look())
                self._wait()
        finally:
            self._wakers.shutdown(wait=False)
            self._stop.set()
            self._threads.join()
            self._close()

    def once(self) -> None:
        """Does all that is due, waits for it, and does what came of that, and what falls due meanwhile: a run may take
        a day, and nobody else leads. Raises what the database does."""
        try:
            while not self._stop.is_set():
                self._wake.clear()
                idle = self._threads.idle
                if not self._rounds.look().acted:
                    if idle:
                        break
                    self._wait_for_acts()
        finally:
            self._threads.join()
            self._close()

    def _hear(self) -> None:
        try:
            self._before_look()
        except Exception as error:  # noqa: BLE001 - what was in force stays so, and the daemon goes on
            herald = self._rounds.herald
            herald.log("exception", "program_error", error=f"{type(error).__name__}: {error}")
            herald.tell_without_database(announcing.program_error("the settings", error))

    def _look(self) -> dt.datetime | None:
        herald = self._rounds.herald
        try:
            again = self._rounds.look().again
        except NewsletterError as error:
            herald.log("error", "database_trouble", error=str(error), hint=error.hint)
            herald.tell_without_database(announcing.database_away(str(error), error.hint))
            self._away = True
            return None
        except Exception as error:  # noqa: BLE001 - a mistake of this program must not end the daemon
            herald.log("exception", "program_error", error=f"{type(error).__name__}: {error}")
            herald.tell_without_database(announcing.program_error("the schedule", error))
            return None
        self._note_well()
        return again

    def _note_well(self) -> None:
        """The database answered."""
        now = self._clock.monotonic()
        if self._away:
            self._away, self._well_since = False, now
            self._rounds.herald.log("info", "database_back")
        if self._well_since is not None and now - self._well_since >= self._calm:
            self._well_since = None
            self._rounds.herald.forget(_DATABASE)

    def _wake_regularly(self) -> None:
        self._wakers.add_job(
            self._wake.set,
            "interval",
            seconds=self._heartbeat,
            id="heartbeat",
            replace_existing=True,
            coalesce=True,
            misfire_grace_time=None,
        )

    def _wake_at(self, moment: dt.datetime | None) -> None:
        if moment is not None:
            self._wakers.add_job(
                self._wake.set, "date", run_date=moment, id="next", replace_existing=True, misfire_grace_time=None
            )

    def _notice_jump(self) -> None:
        """A clock that was set back would keep APScheduler's jobs waiting until it is where it was."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        moved = (now - self._seen[0]) - dt.timedelta(seconds=monotonic - self._seen[1])
        self._seen = (now, monotonic)
        if abs(moved) > _JUMP:
            self._rounds.herald.log("warning", "clock_jumped", seconds=round(moved.total_seconds()))
            self._wake_regularly()

    def _wait(self) -> None:
        """Until something wakes it; whatever the clock does, not much longer than a heartbeat."""
        end = self._clock.monotonic() + 2 * self._heartbeat
        while not self._stop.is_set() and self._clock.monotonic() < end:
            if self._wake.wait(_GLANCE):
                return

    def _wait_for_acts(self) -> None:
        """Until one is over, or a heartbeat."""
        end = self._clock.monotonic() + self._heartbeat
        while not self._stop.is_set() and self._clock.monotonic() < end:
            if self._wake.wait(_GLANCE) or self._threads.idle:
                return

    def _close(self) -> None:
        try:
            self._rounds.close()
        except NewsletterError as error:
            self._rounds.herald.log("warning", "not_closed", error=str(error))
