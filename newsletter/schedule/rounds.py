"""A look at every newsletter: which slots there are to deal with, and the step that each one needs.

Only the leader does anything. What was dealt with is in the database; what is kept here are issues that are ready, and
what went wrong last.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from newsletter.alerts.model import Teller
from newsletter.delivery.clock import Clock
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import RunRecord
from newsletter.delivery.states import RunState
from newsletter.errors import ConfigError, NewsletterError, OutputError, TemporaryError
from newsletter.schedule import announcing
from newsletter.schedule.calendar import Calendar, Placed, Terms
from newsletter.schedule.deciding import PREPARE_BEFORE, SOON, Decision, Step, decide, decide_left_over, is_final
from newsletter.schedule.herald import Herald, Log
from newsletter.schedule.housekeeping import Housekeeping
from newsletter.schedule.model import Slot, SlotRecord, SlotState
from newsletter.schedule.morning import Morning, Result, Tools
from newsletter.schedule.newsroom import Newsroom
from newsletter.schedule.records import Leadership, ScheduleRecords
from newsletter.schedule.slots import ON_TIME, ZONES_APART
from newsletter.schedule.threads import Spawn
from newsletter.settings.model import Schedule

#: Slots that were missed longer ago are told in one alert, not one by one.
LONGEST_AWAY = dt.timedelta(days=400)
#: What the database says, for all newsletters.
_OF_THE_DATABASE = (TemporaryError, OutputError, ConfigError)
_A_DAY = dt.timedelta(days=1)
#: For so long a slot is still looked at that can be caught up no more: to record that it was missed.
_AFTER_CATCH_UP = dt.timedelta(minutes=10)
#: A mark so far ahead was left by a clock that was ahead, and says nothing of the slots before it.
_CLOCK_WAS_WRONG = dt.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of a look: when the next one is due (None: whenever), and whether anything was done."""

    again: dt.datetime | None
    acted: bool


class Rounds:
    """Looks at every newsletter, as often as `look` is called, by one thread at a time.

    `stop` ends sends after the calls that are out; `ahead` is how long before a slot its issue is made ready.
    """

    def __init__(
        self,
        newsroom: Newsroom,
        records: ScheduleRecords,
        leadership: Leadership,
        teller: Teller,
        *,
        clock: Clock,
        log: Log,
        spawn: Spawn,
        stop: threading.Event,
        wake: threading.Event,
        ahead: dt.timedelta = PREPARE_BEFORE,
    ) -> None:
        self.herald = Herald(records, teller, log, clock)
        self._newsroom = newsroom
        self._records = records
        self._leadership = leadership
        self._clock = clock
        self._ahead = ahead
        self._wake = wake
        self._spawn = spawn
        self._lock = threading.Lock()
        self._results: list[Result] = []
        self._mornings: dict[RunName, Morning] = {}
        self._tools = Tools(records, self.herald, clock, stop, spawn, self._over)
        self._calendar = Calendar()
        self._leads: bool | None = None
        self._synced = False
        self._housekeeping = Housekeeping(self.herald, clock, spawn, stop)

    @property
    def results(self) -> Sequence[Result]:
        """How everything that was done so far ended."""
        with self._lock:
            return tuple(self._results)

    @property
    def leads(self) -> bool:
        """Whether this process led at the last look."""
        return bool(self._leads)

    def replace(self, newsroom: Newsroom, teller: Teller) -> None:
        """From now on the settings are others. What is ready was made by the old ones, and is made anew; what is being
        sent goes on."""
        self._newsroom = newsroom
        self.herald.tell_through(teller)
        self._put_down(withdraw=False)

    def look(self) -> Looked:
        """One look at everything. Raises what the database does; then nothing was lost, and the next look does it."""
        if not self._lead():
            return Looked(self._clock.now() + SOON, False)
        begun = {record.name: record for record in self._records.begun()}
        looks: list[Looked] = []
        broken_off: set[str] = set()
        for newsletter, schedule in self._newsroom.schedules.items():
            broken_off.add(newsletter)
            with self._kept_apart(newsletter):
                looks.append(self._look_at(newsletter, schedule, begun))
                broken_off.discard(newsletter)
        for record in begun.values():  # what no schedule has any more; of a look that broke off nothing is known
            if record.name.newsletter not in broken_off:
                with self._kept_apart(str(record.name)):
                    looks.append(self._look_at_left_over(record))
        self._forget_settled()
        self._sync_once()
        self._housekeeping.look(self._newsroom, busy=any(morning.busy for morning in self._mornings.values()))
        times = [look.again for look in looks if look.again is not None]
        return Looked(min(times, default=None), any(look.acted for look in looks))

    def close(self) -> None:
        """At the end, with no act going on: what was planned and not begun is taken back, for whoever comes next."""
        self._put_down(withdraw=self.leads)
        self._leadership.close()

    def _lead(self) -> bool:
        leads = self._leadership.lead()
        if leads != self._leads:
            self.herald.log("info", "leads" if leads else "stands_by", leader=self._leadership.leader())
        if self._leads and not leads:
            self._put_down(withdraw=False)
        self._leads = leads
        return leads

    def _look_at(self, newsletter: str, schedule: Schedule, begun: dict[RunName, SlotRecord]) -> Looked:
        now = self._clock.now()
        mark = self._mark(newsletter, schedule, now)
        new_mark, all_recorded, looks = mark, True, [Looked(None, False)]
        for placed in self._slots(newsletter, schedule, mark, now, begun):
            slot, record = placed.slot, begun.pop(placed.slot.name, None)
            soonest = min(slot.warn_at.astimezone(dt.UTC), slot.at.astimezone(dt.UTC) - self._ahead)
            if record is None and now < soonest and slot.name not in self._mornings:
                looks.append(Looked(soonest, False))
            else:
                record = record or self._records.slot(slot.name)
                looked, record = self._look_at_slot(slot, record, now)
                looks.append(looked)
            if placed.place > now or record is None:
                all_recorded = False
            elif all_recorded:
                new_mark = max(new_mark, placed.place)
        if new_mark > mark:
            self._records.advance(newsletter, new_mark)
        times = [look.again for look in looks if look.again is not None]
        return Looked(min(times, default=None), any(look.acted for look in looks))

    def _mark(self, newsletter: str, schedule: Schedule, now: dt.datetime) -> dt.datetime:
        mark = self._records.mark(newsletter)
        if mark is None:
            mark = now - (schedule.catch_up or ON_TIME)
            self._records.advance(newsletter, mark)
        elif mark < now - LONGEST_AWAY:
            away, mark = mark, now - LONGEST_AWAY
            self.herald.tell(announcing.long_away(newsletter, away, mark))
            self._records.advance(newsletter, mark)
        return mark.astimezone(dt.UTC)

    def _slots(
        self,
        newsletter: str,
        schedule: Schedule,
        mark: dt.datetime,
        now: dt.datetime,
        begun: Mapping[RunName, SlotRecord],
    ) -> list[Placed]:
        """The slots to look at, by place: those after the mark up to the next ones to come; before it those that can
        still be caught up (the schedule may have changed, or the clock gone back behind the mark) or were looked at
        while they could; and those that have begun."""
        skips = self._records.skips(newsletter)
        zones = self._newsroom.zones(newsletter) if schedule.recipient_timezone else ()
        terms = Terms(newsletter, schedule, tuple(skips), tuple(zones))
        end = now + max(schedule.warn_before, self._ahead) + _A_DAY + (ZONES_APART if zones else dt.timedelta())
        since = min(mark, now - (schedule.catch_up or ON_TIME))
        if mark > now + _CLOCK_WAS_WRONG:
            since -= _A_DAY
        slots = self._calendar.slots(terms, since - _AFTER_CATCH_UP, end)
        found = [placed for placed in slots if placed.place > since or placed.slot.name in self._mornings]
        there = {placed.slot.name for placed in found}
        for name in begun:
            if name.newsletter == newsletter and name not in there:
                date, _, edition = name.slot.partition(".")
                placed = terms.placed(dt.date.fromisoformat(date), edition)
                found += [placed] if placed is not None else []
        return sorted(found, key=lambda placed: placed.place)

    def _look_at_slot(
        self, slot: Slot, record: SlotRecord | None, now: dt.datetime
    ) -> tuple[Looked, SlotRecord | None]:
        """Does what the slot needs; and what is recorded of it then."""
        morning = self._mornings.get(slot.name)
        if morning is not None:
            if morning.busy:
                return Looked(None, False), record
            record = self._records.slot(slot.name)  # what was read before may be older than the end of its act
        if record is not None and is_final(record, now):
            return Looked(None, False), record
        if morning is None:
            morning = self._mornings[slot.name] = Morning(slot.name, slot.at, self._tools)
        morning.at = slot.at
        newsroom = self._newsroom
        run = newsroom.run(slot.name)
        fingerprint = newsroom.fingerprint(slot.newsletter, slot.date, slot.edition)
        decision = decide(slot, morning.situation(newsroom, record, run, fingerprint), now, ahead=self._ahead)
        match decision.step:
            case Step.LOOK:
                morning.look(newsroom, slot)
            case Step.PREPARE:
                morning.prepare(newsroom, slot)
            case Step.SEND:
                morning.send(newsroom)
            case Step.MISS:
                morning.miss(slot, decision.why)
            case Step.SKIP:
                morning.skip(slot)
            case _:
                self._with_run(morning, record, run, decision)
        if decision.step is Step.WAIT:
            return Looked(decision.again, False), record
        return Looked(decision.again, True), self._records.slot(slot.name)

    def _look_at_left_over(self, record: SlotRecord) -> Looked:
        morning = self._mornings.get(record.name)
        if morning is None:
            morning = self._mornings[record.name] = Morning(record.name, record.at, self._tools)
        if morning.busy:
            return Looked(None, False)
        there = self._records.slot(record.name)  # see _look_at_slot
        if there is None or there.state is not SlotState.BEGUN:
            return Looked(None, False)
        run = self._newsroom.run(record.name)
        morning.situation(self._newsroom, record, run, "")
        decision = decide_left_over(run, self._clock.now())
        if decision.step is Step.MISS:
            morning.drop(decision.why)
        else:
            self._with_run(morning, record, run, decision)
        return Looked(decision.again, decision.step is not Step.WAIT)

    def _with_run(self, morning: Morning, record: SlotRecord | None, run: RunRecord | None, decision: Decision) -> None:
        """The steps that need nothing but the run."""
        newsroom = self._newsroom
        if run is None:
            return
        match decision.step:
            case Step.WITHDRAW:
                morning.withdraw(newsroom, run)
            case Step.GO_ON:
                morning.go_on(newsroom, run)
            case Step.EXPIRE:
                morning.expire(newsroom, run)
            case Step.DONE:
                begun = record is not None and record.state is SlotState.BEGUN
                morning.done(newsroom.report(run) if begun else None)
            case Step.WAIT if run.state is RunState.PAUSED:
                morning.tell_pause(newsroom, run)
            case _:
                pass

    def _kept_apart(self, where: str) -> _KeptApart:
        return _KeptApart(self.herald, where)

    def _forget_settled(self) -> None:
        """Of slots long over nothing is kept."""
        before = self._clock.now() - 7 * _A_DAY
        for name, morning in list(self._mornings.items()):
            if not morning.busy and not morning.ready and morning.at < before:
                del self._mornings[name]

    def _sync_once(self) -> None:
        """The subscriber files are synced at the start; where an issue is being made ready, that does it."""
        if self._synced:
            return
        self._synced = True
        if any(morning.busy for morning in self._mornings.values()):
            return

        def sync() -> None:
            try:
                self._newsroom.sync()
            except NewsletterError as error:
                self.herald.log("error", "not_synced", error=str(error), hint=error.hint)
                self.herald.tell_in_any_case(announcing.not_synced(str(error), error.hint))
            else:
                self.herald.forget_for_good(announcing.NOT_SYNCED)

        def kept_apart() -> None:
            with self._kept_apart("sync"):
                sync()

        self._spawn("sync", kept_apart)

    def _put_down(self, *, withdraw: bool) -> None:
        for morning in self._mornings.values():
            morning.put_down(withdraw=withdraw)

    def _over(self, result: Result | None) -> None:
        if result is not None:
            with self._lock:
                self._results.append(result)
        self._wake.set()


class _KeptApart:
    """What goes wrong with one newsletter by a mistake of this program keeps no other from being sent."""

    def __init__(self, herald: Herald, where: str) -> None:
        self._herald = herald
        self._where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> bool:
        if not isinstance(error, Exception) or isinstance(error, _OF_THE_DATABASE):
            return False
        self._herald.log("exception", "program_error", where=self._where, error=f"{type(error).__name__}: {error}")
        self._herald.tell(announcing.program_error(self._where, error))
        return True
