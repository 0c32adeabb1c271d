"""A worker with its parts: the ledger, the queue's connection, and runs made ready to have their batches sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from newsletter.audience.store import AudienceStore
from newsletter.delivery.ledger import Ledger, RunRecord
from newsletter.delivery.pace_records import TallyRecords
from newsletter.delivery.provider import MailProvider
from newsletter.errors import GuardRefused
from newsletter.events.tracking import TrackingStore
from newsletter.issue.find import IssueRef
from newsletter.logs import RunLog
from newsletter.metrics import Metrics, RunMetrics
from newsletter.pipeline.request import IssueRequest
from newsletter.pipeline.run_facts import refuse_other_mail, refuse_other_program
from newsletter.pipeline.send_batch import RunAtWork
from newsletter.pipeline.send_issue import SendTools
from newsletter.settings.loaded import Loaded
from newsletter.settings.pick import pick_newsletter
from newsletter.wiring.cluster import ENGINE, refuse_unfit
from newsletter.wiring.issues import looked_at
from newsletter.wiring.mail_providers import mail_provider
from newsletter.wiring.pacing import pacing
from newsletter.wiring.parts import audience_store, database, ledger_on, signing_keys
from newsletter.wiring.publishing import Publisher

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from newsletter.store.ledger import SqlLedger
    from newsletter.store.run_signals import RunSignals


@dataclass(slots=True)
class WorkerParts:
    """What a worker works with. `connection` are the arguments with which psycopg reaches the queue; `queue` and `task`
    where jobs for batches wait, and what they are for. To be closed."""

    loaded: Loaded
    ledger: Ledger
    people: AudienceStore
    keys: Sequence[str]
    metrics: Metrics
    tracking: TrackingStore
    engine: Engine
    connection: Mapping[str, Any]
    queue: str
    task: str
    leave: Callable[[], None]
    signals: RunSignals
    tally_of: Callable[[int], TallyRecords]
    _providers: dict[str, MailProvider] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run_at_work(self, run: RunRecord) -> RunAtWork:
        """The run as this worker sends it: its issue read and rendered here, and found to be what the run was planned
        with. Nothing of it is sent by that, and no subscriber file is synced.

        Raises GuardRefused, IssueError, TemplateError, UsageError, ConfigError: this worker is not fit for this run.
        """
        refuse_other_program(run)
        name, newsletter = pick_newsletter(self.loaded.settings, run.name.newsletter)
        request = IssueRequest(self.loaded, name, newsletter, IssueRef(run.issue_date, run.edition))
        prepared = looked_at(request, self.people)
        refuse_other_mail(run, prepared, self.keys)
        provider = self._provider(run.provider)
        observers = [RunLog(run.name, provider.name), RunMetrics(self.metrics, name, provider.name)]
        tools = SendTools(
            self.ledger,
            provider,
            pacing(self.loaded, provider.name),
            self.keys,
            observers=observers,
            publish=Publisher(self.engine),
            tracking=self.tracking,
        )
        ready = RunAtWork(prepared, tools, self.tally_of(run.id), partial(self.signals.of_run, run.id))
        ready.begin()
        return ready

    def close(self) -> None:
        """Lets go of the providers' connections, and of what proves that this process sends."""
        for one in self._providers.values():
            one.close()
        self.signals.close()
        self.leave()

    def _provider(self, name: str) -> MailProvider:
        """One for all runs: its connections are kept."""
        with self._lock:
            if name not in self._providers:
                self._providers[name] = mail_provider(self.loaded, name)
            return self._providers[name]


def refuse_unfit_worker(loaded: Loaded) -> None:
    """Raises GuardRefused where workers send none of the newsletters, and what `refuse_unfit` raises."""
    mine = [name for name, one in loaded.settings.newsletters.items() if one.delivery.engine == ENGINE]
    if not mine:
        name = next(iter(loaded.settings.newsletters))
        raise GuardRefused(
            'there is nothing for workers: delivery.engine is "threads" for all newsletters',
            place=loaded.place(f"newsletters.{name}.delivery.engine"),
            hint=f'Set engine = "{ENGINE}" under [newsletters.{name}.delivery], on every machine.',
        )
    for name in mine:
        refuse_unfit(loaded, name)


def worker_parts(loaded: Loaded, say: Callable[[str], None], metrics: Metrics) -> WorkerParts:
    """Opens the database. Raises what `newsletter.store.failures` says, and GuardRefused where `newsletter db upgrade`
    is needed."""
    import datetime as dt

    from newsletter.store.engine import psycopg_arguments
    from newsletter.store.jobs import QUEUE, TASK  # see wiring.parts.database
    from newsletter.store.ledger import SqlLedger
    from newsletter.store.run_signals import RunSignals
    from newsletter.store.shared_pace import SqlTally
    from newsletter.store.tracking import SqlTracking

    people = audience_store(loaded, say)  # whose tables are found up to date
    engine = database(loaded)
    ledger = ledger_on(loaded, engine)
    assert isinstance(ledger, SqlLedger)

    def leave(mine: SqlLedger = ledger) -> None:
        mine.leave(now=dt.datetime.now(dt.UTC))

    keys, tracking = signing_keys(loaded), SqlTracking(engine)
    return WorkerParts(
        loaded,
        ledger,
        people,
        keys,
        metrics,
        tracking,
        engine,
        psycopg_arguments(engine),
        QUEUE,
        TASK,
        leave,
        RunSignals(engine),
        partial(SqlTally, engine),
    )


def most_threads(loaded: Loaded) -> int:
    """How many batches a worker sends at the same time where nothing else is asked for."""
    newsletters = loaded.settings.newsletters.values()
    return max(one.delivery.concurrency for one in newsletters if one.delivery.engine == ENGINE)
