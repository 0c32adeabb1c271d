"""A worker with its parts: the ledger, the queue's connection, and runs made ready to have their batches sent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from newsletter.audience.store import AudienceStore
from newsletter.delivery.ledger import Ledger
from newsletter.delivery.pace_records import TallyRecords
from newsletter.delivery.provider import MailProvider
from newsletter.delivery.run_values import RunRecord
from newsletter.errors import ConfigError, GuardRefused, IssueError, Problem
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
from newsletter.wiring.mail_providers import mail_provider, provider_mark
from newsletter.wiring.pacing import pacing
from newsletter.wiring.parts import audience_store, database, ledger_on, settings, signing_keys
from newsletter.wiring.publishing import Publisher

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from newsletter.store.ledger import SqlLedger
    from newsletter.store.run_signals import RunSignals


@dataclass(slots=True)
class WorkerParts:
    """What a worker works with. `connection` are the arguments with which psycopg reaches the queue; `queue` and `task`
    where jobs for batches wait, and what they are for; `read` reads config.toml. To be closed."""

    loaded: Loaded
    read: Callable[[], Loaded]
    ledger: Ledger
    people: AudienceStore
    metrics: Metrics
    tracking: TrackingStore
    engine: Engine
    connection: Mapping[str, Any]
    queue: str
    task: str
    leave: Callable[[], None]
    signals: RunSignals
    tally_of: Callable[[int], TallyRecords]
    #: by name and mark (`provider_mark`): runs that began with one go on with it
    _providers: dict[tuple[str, str], MailProvider] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run_at_work(self, run: RunRecord) -> RunAtWork:
        """The run as this worker sends it: settings, keys and issue read here, and found to be what the run was planned
        with. Nothing of it is sent by that, and no subscriber file is synced.

        Raises GuardRefused, IssueError, TemplateError, UsageError, ConfigError: this worker is not fit for this run.
        """
        refuse_other_program(run)
        loaded = self._read_again()
        keys = signing_keys(loaded)
        name, newsletter = pick_newsletter(loaded.settings, run.name.newsletter)
        request = IssueRequest(loaded, name, newsletter, IssueRef(run.issue_date, run.edition))
        try:
            prepared = looked_at(request, self.people)
        except IssueError as error:
            hint = "Copy the issue from the machine that planned the run."
            raise IssueError(error.message, place=error.place, hint=hint) from error
        refuse_other_mail(run, prepared, keys)
        provider = self._provider(loaded, run.provider)
        observers = [RunLog(run.name, provider.name), RunMetrics(self.metrics, name, provider.name)]
        tools = SendTools(
            self.ledger,
            provider,
            pacing(loaded, provider.name),
            keys,
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

    def _read_again(self) -> Loaded:
        """The settings as they are now."""
        fresh = self.read()
        if fresh.settings.database.url != self.loaded.settings.database.url:
            message = "database.url names another database than this worker works with"
            place = fresh.place("database.url")
            raise ConfigError([Problem("database.url", message, place, suggestion="Restart the worker for that.")])
        return fresh

    def _provider(self, loaded: Loaded, name: str) -> MailProvider:
        """One for all runs, as long as its settings and secrets are the same: its connections are kept."""
        with self._lock:
            key = name, provider_mark(loaded, name)
            if key not in self._providers:
                self._providers[key] = mail_provider(loaded, name)
            return self._providers[key]


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

    signing_keys(loaded)  # a key that is missing is told at the start
    return WorkerParts(
        loaded,
        partial(settings, loaded.path),
        ledger,
        people,
        metrics,
        SqlTracking(engine),
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
