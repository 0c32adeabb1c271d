"""What the schedule asks of the rest of the program, one newsletter at a time. `newsletter.wiring` puts it together."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol
from zoneinfo import ZoneInfo

from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import Balance, RunRecord
from newsletter.pipeline.run_report import RunReport
from newsletter.schedule.model import IssueState, Slot
from newsletter.settings.model import Schedule


class PreparedSlot(Protocol):
    """An issue that was read, rendered and checked, with its audience frozen in a planned run: ready to go out.

    What it holds in memory is enough to begin at once: no file is read again.
    """

    @property
    def fingerprint(self) -> str:
        """Of the issue file that it was made of; see `IssueState`."""
        ...

    @property
    def run(self) -> RunRecord:
        """Its run."""
        ...

    @property
    def planned(self) -> int:
        """How many recipients it has."""
        ...

    def send(self, stop: threading.Event, on_balance: Callable[[Balance], None]) -> RunReport:
        """Sends what is left of the run, until it halts or `stop` is set. Blocks. Raises what `send_run` raises, and
        GuardRefused where another living process has the run."""
        ...

    def withdraw(self) -> bool:
        """Takes the planned run back, as if it had never been, because its issue changed. False where it was taken into
        somebody's hands meanwhile."""
        ...

    def close(self) -> None:
        """Lets go of the provider's connections. May be called twice."""
        ...


class Newsroom(Protocol):
    """The newsletters of one config.toml, and their issues and runs."""

    @property
    def schedules(self) -> Mapping[str, Schedule]:
        """The schedules by the newsletter's name, of those that are enabled."""
        ...

    def zones(self, newsletter: str) -> Sequence[ZoneInfo]:
        """The zones that its subscribers live in, the newsletter's own among them; only its own where
        `recipient_timezone` is off. May be some minutes old."""
        ...

    def fingerprint(self, newsletter: str, date: dt.date, edition: str) -> str:
        """Of the issue file as it is now, '' where there is none. Costs little: asked every few seconds."""
        ...

    def issue_state(self, newsletter: str, date: dt.date, edition: str) -> IssueState:
        """Reads, renders and checks the issue. Raises nothing about the issue: that is what it says."""
        ...

    def prepare(self, slot: Slot, begin: Callable[[], None]) -> PreparedSlot:
        """All that goes before the first call: the issue past its guards, subscriber files synced, the run planned.
        `begin` is called when nothing but the plan is left to do; what it raises keeps the run from being planned.

        Raises IssueError, ChecksFailed, GuardRefused (a guard, or the run exists), TemporaryError and every other
        NewsletterError; then nothing was planned.
        """
        ...

    def resume(self, run: RunRecord) -> PreparedSlot:
        """A run that was planned, interrupted or paused, to be sent on. Raises as `prepare` does, also where the issue
        is another one by now."""
        ...

    def run(self, name: RunName) -> RunRecord | None:
        """The run of this name. `RunRecord.sender` names a living process that has it, '' where none has."""
        ...

    def withdraw(self, run: RunRecord) -> bool:
        """Takes back a planned run of a process that is gone: see `PreparedSlot.withdraw`."""
        ...

    def expire(self, run: RunRecord) -> RunReport:
        """The run's deadline is over: what is left of it expires. Raises GuardRefused where a living process has it."""
        ...

    def report(self, run: RunRecord) -> RunReport:
        """How the run stands."""
        ...

    def sync(self) -> None:
        """Syncs the subscriber files into the database, as at the start of the daemon."""
        ...

    def prune(self, stop: Callable[[], bool]) -> Mapping[str, int]:
        """Removes what `[retention]` keeps no longer; how many of what, where it was any. `stop` is asked between two
        transactions whether to end."""
        ...
