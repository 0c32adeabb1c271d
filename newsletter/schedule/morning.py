"""One slot in the hands of this process: its issue made ready, its run sent, and what went wrong with it.

Each act runs in a thread of its own, one at a time; nothing that befalls one slot reaches another.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from dataclasses import dataclass

from newsletter.alerts.model import Beat
from newsletter.delivery.clock import Clock
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import RunRecord
from newsletter.delivery.states import OVER, DeliveryState, RunState
from newsletter.errors import (
    ChecksFailed,
    GuardRefused,
    IssueError,
    NewsletterError,
    OutputError,
    TemplateError,
    TemporaryError,
)
from newsletter.pipeline.run_report import RunReport
from newsletter.schedule import announcing
from newsletter.schedule.deciding import SOON, TRY_EVERY, Look, Situation, Trouble
from newsletter.schedule.herald import Herald
from newsletter.schedule.model import Readiness, Slot, SlotRecord, SlotState
from newsletter.schedule.newsroom import Newsroom, PreparedSlot
from newsletter.schedule.records import ScheduleRecords

#: The issue itself is at fault: its editors can mend it.
_OF_THE_ISSUE = (IssueError, TemplateError, ChecksFailed)
#: What passes by itself is tried again soon, and then less often: seconds, doubled each time.
_PASSING = (TemporaryError, OutputError)
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 30.0


@dataclass(frozen=True, slots=True)
class Result:
    """How an act on a slot ended, for the exit code of `run --once`: with the run's report, with an error of this
    class, or with a slot that was missed."""

    name: RunName
    report: RunReport | None = None
    error: type[BaseException] | None = None
    missed: bool = False


@dataclass(frozen=True, slots=True)
class Tools:
    """What all slots share. `spawn` runs an act in a thread of its own; `over` hears how it ended, in that thread."""

    records: ScheduleRecords
    herald: Herald
    clock: Clock
    stop: threading.Event
    spawn: Callable[[str, Callable[[], None]], None]
    over: Callable[[Result | None], None]


class Morning:
    """What this process does, and knows, of one slot."""

    def __init__(self, name: RunName, at: dt.datetime, tools: Tools) -> None:
        self.name = name
        #: of the slot, as it is in the schedule now
        self.at = at
        self._tools = tools
        self._fingerprint = ""
        self._busy = threading.Event()
        self._ready: PreparedSlot | None = None
        #: by whose settings it was made ready
        self._made_by: Newsroom | None = None
        self._looked: Look | None = None
        self._trouble: Trouble | None = None
        self._failures = 0
        self._told_pause: str | None = None

    @property
    def busy(self) -> bool:
        """Whether an act is going on."""
        return self._busy.is_set()

    @property
    def ready(self) -> bool:
        """Whether an issue is held ready."""
        return self._ready is not None

    def situation(
        self, newsroom: Newsroom, record: SlotRecord | None, run: RunRecord | None, fingerprint: str
    ) -> Situation:
        """How the slot stands. A ready issue is no more ready where its run is another one by now, or where the
        settings changed while it was made."""
        ready = self._ready
        if ready is not None and (run is None or run.id != ready.run.id or self._made_by is not newsroom):
            self._let_go()
        held = self._ready.fingerprint if self._ready is not None else None
        self._fingerprint = fingerprint
        return Situation(record, run, fingerprint, held, self._looked, self._trouble)

    # acts; each begins and ends in a thread of its own

    def look(self, newsroom: Newsroom, slot: Slot) -> None:
        """Sees whether the issue is ready, and tells where it is not."""

        def act() -> None:
            now = self._tools.clock.now()
            state = newsroom.issue_state(slot.newsletter, slot.date, slot.edition)
            ready = state.readiness is Readiness.READY
            self._looked = Look(now, state.fingerprint, "" if ready else state.why or state.readiness.value)
            if not ready:
                missing = state.readiness is Readiness.MISSING
                hint = _to_begin_it(slot) if missing else _check(slot)
                self._tools.herald.tell(announcing.not_ready(slot, state.why, hint, missing=missing, now=now))

        self._begin(act, lambda error: self._refused(slot, error))

    def prepare(self, newsroom: Newsroom, slot: Slot) -> None:
        """Makes the issue ready and plans its run."""

        def act() -> None:
            self._made_by = newsroom
            self._ready = newsroom.prepare(slot, self._record_begun)
            self._log("info", "prepared", planned=self._ready.planned, at=slot.at.isoformat())

        def failed(error: NewsletterError) -> None:
            if isinstance(error, GuardRefused) and newsroom.run(slot.name) is not None:
                return  # somebody else planned it: the next look says what to make of that
            self._refused(slot, error)

        self._begin(act, failed)

    def withdraw(self, newsroom: Newsroom, run: RunRecord) -> None:
        """Takes the planned run back."""

        def act() -> None:
            ready = self._ready
            taken_back = ready.withdraw() if ready is not None else newsroom.withdraw(run)
            self._let_go()
            self._log("info", "withdrawn" if taken_back else "not_withdrawn")

        self._begin(act, lambda error: self._broken_off(newsroom, run, error))

    def send(self, newsroom: Newsroom) -> None:
        """Sends the run that is ready."""
        ready = self._ready
        assert ready is not None
        self._begin(lambda: self._send(ready), lambda error: self._broken_off(newsroom, ready.run, error))

    def go_on(self, newsroom: Newsroom, run: RunRecord) -> None:
        """Sends what is left of a run whose sender died."""

        def act() -> None:
            self._let_go()
            self._made_by = newsroom
            self._ready = newsroom.resume(run)
            self._log("warning", "goes_on", state=run.state.value)
            self._send(self._ready)

        self._begin(act, lambda error: self._broken_off(newsroom, run, error))

    def expire(self, newsroom: Newsroom, run: RunRecord) -> None:
        """The deadline of a run that nobody sends is over."""
        self._begin(lambda: self._settle(newsroom.expire(run)), lambda error: self._broken_off(newsroom, run, error))

    # within a look, at once

    def miss(self, slot: Slot, why: str) -> None:
        """Records and tells that nothing goes out for this slot."""
        self._tools.herald.tell(announcing.missed(slot, why))
        self._tools.herald.beat(Beat.FAIL)
        self._record(SlotState.MISSED, why)
        self._log("error", "missed", why=why)
        self._tools.over(Result(self.name, missed=True))

    def drop(self, why: str) -> None:
        """The same for a slot that is no more in the schedule."""
        self._tools.herald.tell(announcing.dropped(self.name))
        self._record(SlotState.MISSED, why)
        self._tools.over(Result(self.name, missed=True))

    def skip(self, slot: Slot) -> None:
        """Records that nothing was to go out."""
        self._record(SlotState.SKIPPED, slot.skipped)
        self._log("info", "skipped", why=slot.skipped)

    def done(self, found: RunReport | None) -> None:
        """Records that the slot is settled; `found`: by a run that the daemon had begun, and whose end it tells."""
        if found is not None:
            self._settle(found)
        else:
            self._record(SlotState.DONE)
            self._log("info", "settled_by_an_operator")

    def tell_pause(self, newsroom: Newsroom, run: RunRecord) -> None:
        """Tells that the run is paused, once for each reason."""
        if self._told_pause != run.reason:
            self._tools.herald.tell(announcing.paused(newsroom.report(run)))
            self._told_pause = run.reason

    def put_down(self, *, withdraw: bool) -> None:
        """Lets go of a ready issue; `withdraw`: its run is taken back, as this process ends in good order."""
        ready = self._ready
        if ready is None or self.busy:
            return
        if withdraw:
            try:
                ready.withdraw()
            except NewsletterError as error:  # whoever comes next takes it back
                self._log("warning", "not_withdrawn", error=str(error))
        self._let_go()

    # within

    def _begin(self, act: Callable[[], None], failed: Callable[[NewsletterError], None]) -> None:
        self._busy.set()
        try:
            self._tools.spawn(str(self.name), lambda: self._guarded(act, failed))
        except BaseException:
            self._busy.clear()
            raise

    def _guarded(self, act: Callable[[], None], failed: Callable[[NewsletterError], None]) -> None:
        """An act, whatever it raises. No error is kept: its frames hold the run, and with it the lock on it."""
        result: Result | None = None
        try:
            act()
            self._trouble, self._failures = None, 0
        except NewsletterError as error:
            result = Result(self.name, error=type(error))
            self._log("error", "failed", error=str(error), hint=error.hint)
            self._in_spite(lambda error=error: failed(error))  # type: ignore[misc]  # called before it is unbound
        except BaseException as error:  # noqa: BLE001 - also what is no Exception (pyo3): other slots go on
            result = Result(self.name, error=type(error))
            self._note_trouble(f"{type(error).__name__}: {error}", TRY_EVERY)
            self._log("exception", "program_error", error=f"{type(error).__name__}: {error}")
            told = announcing.program_error(str(self.name), error)
            self._in_spite(lambda: self._tools.herald.tell(told))
        finally:
            self._busy.clear()
            self._tools.over(result)

    def _in_spite(self, tell: Callable[[], None]) -> None:
        """The database may be what failed."""
        try:
            tell()
        except NewsletterError as error:
            self._note_trouble(str(error), SOON)
            self._log("error", "not_told", error=str(error))

    def _send(self, ready: PreparedSlot) -> None:
        run = ready.run
        self._tools.herald.beat(Beat.START)
        self._tools.herald.tell(announcing.started(run, ready.planned))
        try:
            found = ready.send(self._tools.stop, lambda _: None)
        finally:
            self._let_go()
        self._settle(found)

    def _settle(self, found: RunReport) -> None:
        """Tells how the run stands, and records the slot where nothing is left for the daemon to do."""
        run, herald = found.run, self._tools.herald
        self._tools.over(Result(self.name, report=found))
        if run.state is RunState.PAUSED:
            herald.beat(Beat.FAIL)
            herald.tell(announcing.paused(found))
            self._told_pause = run.reason
        if run.state not in OVER and run.state is not RunState.HELD:
            return
        if found.of(DeliveryState.UNKNOWN):
            herald.tell(announcing.unknown(found))
        if found.of(DeliveryState.EXPIRED):
            herald.tell(announcing.deadline(found))
        herald.tell(announcing.ended(found))
        if self._record(SlotState.DONE):  # else another process did, while this one was stopped
            herald.beat(Beat.SUCCESS if run.state is RunState.FINISHED else Beat.FAIL)
            self._log("info", "ended", state=run.state.value, balance=announcing.balance_words(found))

    def _record_begun(self) -> None:
        """Raises GuardRefused where the slot is settled: by another process, a moment ago."""
        if not self._record(SlotState.BEGUN):
            there = self._tools.records.slot(self.name)
            if there is None or there.state is not SlotState.BEGUN:
                raise GuardRefused(f"{self.name} is settled already", hint="newsletter history says how it went.")

    def _record(self, state: SlotState, reason: str = "") -> bool:
        return self._tools.records.record(SlotRecord(self.name, self.at, state, reason), now=self._tools.clock.now())

    def _refused(self, slot: Slot, error: NewsletterError) -> None:
        now = self._tools.clock.now()
        self._note_trouble(str(error), self._pause_after(error), slot.at)
        if isinstance(error, _OF_THE_ISSUE):
            hint = error.hint or _check(slot)
            told = announcing.not_ready(slot, str(error), hint, missing=not self._fingerprint, now=now)
        else:
            told = announcing.refused(slot, str(error), error.hint, now=now)
        self._tools.herald.tell(told)

    def _broken_off(self, newsroom: Newsroom, run: RunRecord, error: NewsletterError) -> None:
        self._let_go()
        self._note_trouble(str(error), self._pause_after(error))
        if isinstance(error, GuardRefused):
            there = newsroom.run(run.name)
            if there is None or there.id != run.id or there.sender:
                return  # in the hands of another process, which tells how it ends
        self._tools.herald.tell(announcing.broken_off(run, str(error), error.hint))

    def _pause_after(self, error: NewsletterError) -> dt.timedelta:
        if not isinstance(error, _PASSING):
            return TRY_EVERY
        self._failures += 1
        return dt.timedelta(seconds=min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self._failures - 1, 10)))

    def _note_trouble(self, why: str, pause: dt.timedelta, slot_at: dt.datetime | None = None) -> None:
        now = self._tools.clock.now()
        again = now + pause
        if slot_at is not None and now < slot_at:
            again = min(again, slot_at)
        self._trouble = Trouble(now, self._fingerprint, why, again)

    def _let_go(self) -> None:
        ready, self._ready = self._ready, None
        if ready is not None:
            ready.close()

    def _log(self, level: str, event: str, **fields: object) -> None:
        self._tools.herald.log(level, f"slot_{event}", run=str(self.name), **fields)


def _to_begin_it(slot: Slot) -> str:
    return f"To begin it: newsletter -n {slot.newsletter} new {slot.name.slot}"


def _check(slot: Slot) -> str:
    return f"newsletter -n {slot.newsletter} check {slot.name.slot}"
