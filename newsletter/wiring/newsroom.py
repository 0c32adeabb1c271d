"""What the schedule works with: the newsletters of one config.toml, their issues, and their runs on the database."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from zoneinfo import ZoneInfo

from newsletter.audience.people import Selection
from newsletter.audience.store import AudienceStore
from newsletter.delivery.ledger import Ledger
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import Balance, RunRecord
from newsletter.errors import (
    AudienceError,
    ChecksFailed,
    ConfigError,
    GuardRefused,
    IssueError,
    TemplateError,
    TemporaryError,
    UsageError,
)
from newsletter.issue.find import IssueRef, issue_file
from newsletter.metrics import Metrics
from newsletter.pipeline.issue_fingerprint import issue_file_now
from newsletter.pipeline.local_windows import zone_called
from newsletter.pipeline.prepare import Prepared, prepare
from newsletter.pipeline.request import IssueRequest
from newsletter.pipeline.resume_run import run_to_resume
from newsletter.pipeline.run_report import RunReport, report
from newsletter.pipeline.send_issue import plan_run, ready_to_send, refuse_issue
from newsletter.pipeline.sync_subscribers import sync_subscribers
from newsletter.schedule.model import IssueState, Readiness, Slot
from newsletter.schedule.newsroom import Newsroom, PreparedSlot
from newsletter.settings.loaded import Loaded
from newsletter.settings.model import Schedule
from newsletter.settings.pick import pick_newsletter
from newsletter.wiring.cluster import refuse_unfit
from newsletter.wiring.issues import branching_values, synced_numbers
from newsletter.wiring.mail_providers import mail_provider
from newsletter.wiring.pacing import pacing
from newsletter.wiring.parts import audience_store, ledger, signing_keys, template_roots
from newsletter.wiring.pruning import prune_database
from newsletter.wiring.sending import LiveSend, Say, Watchers, now_there

#: Seconds for which an issue file must not have changed before it is sent: somebody may be saving it.
QUIET = 2.0
#: How long a file that changes all the time is waited for. Seconds.
_LONGEST_WAIT = 30.0
#: For so long the zones of the subscribers are not asked for again. Seconds.
_ZONES_KEPT = 300.0
#: What keeps an issue from being sent, and is no trouble of the database.
_AT_FAULT = (IssueError, TemplateError, ChecksFailed, GuardRefused, AudienceError, UsageError, ConfigError)


def newsroom(
    loaded: Loaded,
    say: Say,
    *,
    runs: Ledger | None = None,
    people: AudienceStore | None = None,
    metrics: Metrics | None = None,
) -> Newsroom:
    """The newsletters of these settings. `runs` and `people` are the database, where it is open already."""
    return _SettingsNewsroom(
        loaded, say, runs or ledger(loaded, say), people or audience_store(loaded, say), metrics or Metrics()
    )


@dataclass(slots=True)
class _SettingsNewsroom:
    """See `Newsroom`."""

    loaded: Loaded
    say: Say
    runs: Ledger
    people: AudienceStore
    metrics: Metrics
    _zones: dict[str, tuple[float, Sequence[ZoneInfo]]] = field(default_factory=dict)

    @property
    def schedules(self) -> Mapping[str, Schedule]:
        """See `Newsroom`."""
        newsletters = self.loaded.settings.newsletters
        return MappingProxyType(
            {name: newsletter.schedule for name, newsletter in newsletters.items() if newsletter.schedule.enabled}
        )

    def zones(self, newsletter: str) -> Sequence[ZoneInfo]:
        """See `Newsroom`."""
        name, found = pick_newsletter(self.loaded.settings, newsletter)
        own = found.schedule.timezone
        if not found.schedule.recipient_timezone:
            return (own,)
        asked, known = self._zones.get(name, (0.0, ()))
        if not known or time.monotonic() - asked > _ZONES_KEPT:
            names = self.people.timezones(Selection(lists=tuple(found.lists)))
            zones = {zone.key: zone for zone in map(zone_called, names) if zone is not None}
            known = tuple({own.key: own, **zones}.values())
            self._zones[name] = (time.monotonic(), known)
        return known

    def fingerprint(self, newsletter: str, date: dt.date, edition: str) -> str:
        """See `Newsroom`."""
        return issue_file_now(self._request(newsletter, date, edition)).fingerprint

    def issue_state(self, newsletter: str, date: dt.date, edition: str) -> IssueState:
        """See `Newsroom`."""
        request = self._request(newsletter, date, edition)
        fingerprint = issue_file_now(request).fingerprint
        try:
            issue_file(request.issues, request.newsletter.issue_path, request.ref)
        except IssueError as error:
            return IssueState(Readiness.INVALID if fingerprint else Readiness.MISSING, str(error), fingerprint)
        try:
            refuse_issue(self._prepared(request), self.runs, now_there(request), sent_before=False)
        except _AT_FAULT as error:
            return IssueState(Readiness.INVALID, str(error), fingerprint)
        return IssueState(Readiness.READY, "", fingerprint)

    def prepare(self, slot: Slot, begin: Callable[[], None]) -> PreparedSlot:
        """See `Newsroom`."""
        request = self._request(slot.newsletter, slot.date, slot.edition)
        fingerprint = _quiet_fingerprint(request)
        ready = self._prepared(request)
        last_test = refuse_issue(ready, self.runs, now_there(request))
        live = self._live(request, ready)
        try:
            rate = pacing(self.loaded, live.provider.name).rate
            numbers = synced_numbers(request, ready.issue, self.say, self.people)
            to_send = ready_to_send(ready, numbers, last_test, rate, now_there(request), slot.deadline)
            _refuse_changed(request, fingerprint)
            begin()
            frozen = plan_run(to_send, self.runs, live.provider.name, now=dt.datetime.now(dt.UTC))
            return _ReadySlot(fingerprint, self._there(ready.run), frozen.planned, live, self.runs, self.metrics)
        except BaseException:
            live.close()
            raise

    def resume(self, run: RunRecord) -> PreparedSlot:
        """See `Newsroom`."""
        request = self._request(run.name.newsletter, run.issue_date, run.edition)
        ready = self._prepared(request)
        there = run_to_resume(ready, self.runs, now_there(request))
        live = self._live(request, ready)
        planned = self.runs.balance(there.id).planned
        return _ReadySlot(issue_file_now(request).fingerprint, there, planned, live, self.runs, self.metrics)

    def run(self, name: RunName) -> RunRecord | None:
        """See `Newsroom`."""
        return self.runs.run(name)

    def withdraw(self, run: RunRecord) -> bool:
        """See `Newsroom`."""
        return self.runs.withdraw(run.id)

    def expire(self, run: RunRecord) -> RunReport:
        """See `Newsroom`. What a dead process left in flight becomes unknown."""
        taken = self.runs.take(run.id, now=dt.datetime.now(dt.UTC))
        return report(self.runs, taken.close(now=dt.datetime.now(dt.UTC)))

    def report(self, run: RunRecord) -> RunReport:
        """See `Newsroom`."""
        return report(self.runs, run)

    def sync(self) -> None:
        """See `Newsroom`."""
        sync_subscribers(self.people, self.loaded, now=dt.datetime.now(dt.UTC), write_rejects=False)

    def prune(self, stop: Callable[[], bool]) -> Mapping[str, int]:
        """See `Newsroom`."""
        removed = asdict(prune_database(self.loaded, now=dt.datetime.now(dt.UTC), stop=stop))
        return {what: number for what, number in removed.items() if number}

    def _there(self, name: RunName) -> RunRecord:
        run = self.run(name)
        if run is None:
            raise TemporaryError(f"{name} was taken back by another process", hint="It is planned again.")
        return run

    def _request(self, newsletter: str, date: dt.date, edition: str) -> IssueRequest:
        name, found = pick_newsletter(self.loaded.settings, newsletter)
        return IssueRequest(self.loaded, name, found, IssueRef(date, edition))

    def _prepared(self, request: IssueRequest) -> Prepared:
        return prepare(request, template_roots(self.loaded), branching_values(request, self.people))

    def _live(self, request: IssueRequest, ready: Prepared) -> LiveSend:
        refuse_unfit(self.loaded, request.name)
        keys, provider = signing_keys(self.loaded), mail_provider(self.loaded, request.newsletter.delivery.provider)
        return LiveSend(request, ready, self.runs, provider, keys)


@dataclass(slots=True)
class _ReadySlot:
    """See `PreparedSlot`."""

    fingerprint: str
    run: RunRecord
    planned: int
    live: LiveSend
    runs: Ledger
    metrics: Metrics

    def send(self, stop: threading.Event, on_balance: Callable[[Balance], None]) -> RunReport:
        """See `PreparedSlot`."""
        return self.live.resume(self.run, Watchers(stop, on_balance, metrics=self.metrics), limit=None)

    def withdraw(self) -> bool:
        """See `PreparedSlot`."""
        return self.runs.withdraw(self.run.id)

    def close(self) -> None:
        """See `PreparedSlot`."""
        self.live.close()


def _refuse_changed(request: IssueRequest, fingerprint: str) -> None:
    if issue_file_now(request).fingerprint != fingerprint:
        raise TemporaryError("the issue file changed while it was read", hint="It is read again.")


def _quiet_fingerprint(request: IssueRequest) -> str:
    """The file's fingerprint, once nobody is writing it any more. Raises TemporaryError where that takes too long."""
    end = time.monotonic() + _LONGEST_WAIT
    while True:
        file = issue_file_now(request)
        wait = QUIET - (time.time() - file.changed_at)
        if not 0 < wait <= QUIET:  # a file of the future is one of another clock
            return file.fingerprint
        if time.monotonic() + wait > end:
            raise TemporaryError("the issue file is still being written", hint="It is looked at again in a moment.")
        time.sleep(wait)
