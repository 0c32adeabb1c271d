"""The daemon with its parts: the database, who leads, who is told, the newsletters, and new settings on demand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from newsletter import logs
from newsletter.alerts.model import Teller
from newsletter.alerts.telling import teller
from newsletter.audience.store import AudienceStore
from newsletter.delivery.clock import SystemClock
from newsletter.delivery.ledger import Ledger
from newsletter.errors import ConfigError, GuardRefused, NewsletterError, Problem
from newsletter.metrics import Metrics
from newsletter.schedule import announcing
from newsletter.schedule.daemon import Daemon
from newsletter.schedule.deciding import PREPARE_BEFORE
from newsletter.schedule.morning import Result
from newsletter.schedule.newsroom import Newsroom
from newsletter.schedule.records import Leadership, ScheduleRecords
from newsletter.schedule.rounds import Rounds
from newsletter.schedule.threads import Threads
from newsletter.settings.loaded import Loaded
from newsletter.settings.model import Newsletter
from newsletter.wiring.cluster import refuse_unfit
from newsletter.wiring.mail_providers import mail_provider
from newsletter.wiring.newsroom import newsroom
from newsletter.wiring.parts import audience_store, leadership, ledger, signing_keys
from newsletter.wiring.schedules import schedule_records
from newsletter.wiring.sending import Say

__all__ = ["Database", "Result", "RunningSchedule", "open_database", "refuse_nothing_scheduled", "refuse_unsendable"]


def refuse_nothing_scheduled(loaded: Loaded) -> None:
    """Raises GuardRefused where no newsletter goes out by itself: whoever starts the daemon expects that one does."""
    newsletters = loaded.settings.newsletters
    if not any(one.schedule.enabled for one in newsletters.values()):
        name = next(iter(newsletters))
        raise GuardRefused(
            "no newsletter goes out by itself: schedule.enabled is false for all of them",
            place=loaded.place(f"newsletters.{name}.schedule.enabled"),
            hint=f"Set enabled = true under [newsletters.{name}.schedule]; "
            "`newsletter schedule list` shows what would go out then.",
        )


def refuse_unsendable(loaded: Loaded) -> None:
    """Raises what `refuse_unfit` does, where this installation cannot hand over what goes out by itself."""
    for name, one in loaded.settings.newsletters.items():
        if one.schedule.enabled:
            refuse_unfit(loaded, name)


@dataclass(slots=True)
class Database:
    """What the daemon keeps open of it."""

    runs: Ledger
    people: AudienceStore
    records: ScheduleRecords
    leadership: Leadership


def open_database(loaded: Loaded, say: Say) -> Database:
    """Raises what `newsletter.store.failures` says, and GuardRefused where `newsletter db upgrade` is needed."""
    runs = ledger(loaded, say)
    return Database(runs, audience_store(loaded, say), schedule_records(loaded, say), leadership(loaded))


@dataclass(slots=True)
class RunningSchedule:
    """The daemon of one process. `stop` ends it; `read_again`, when it is set, has the settings read once more."""

    loaded: Loaded
    say: Say
    read: Callable[[], Loaded]
    metrics: Metrics = field(default_factory=Metrics)
    on_look: Callable[[], None] = lambda: None
    stop: threading.Event = field(default_factory=threading.Event)
    read_again: threading.Event = field(default_factory=threading.Event)
    _wake: threading.Event = field(default_factory=threading.Event)
    _told: Teller | None = None
    #: keys of the alerts on settings that were refused since the last good ones
    _refused: set[str] = field(default_factory=set)

    def run(self, database: Database) -> None:
        """Until `stop` is set."""
        self._with(database, lambda daemon: daemon.run(), once=False)

    def once(self, database: Database) -> Sequence[Result]:
        """All that is due, and how it ended. Raises what the database does."""
        return self._with(database, lambda daemon: daemon.once(), once=True)

    def _with(self, database: Database, go: Callable[[Daemon], None], *, once: bool) -> Sequence[Result]:
        clock, threads = SystemClock(), Threads()
        told = self._told = teller(self.loaded)
        try:
            rounds = Rounds(
                self._newsroom(database),
                database.records,
                database.leadership,
                told,
                clock=clock,
                log=logs.write,
                spawn=threads.spawn,
                stop=self.stop,
                wake=self._wake,
                ahead=PREPARE_BEFORE * (not once),
            )
            self._tell_unsendable(rounds)
            daemon = Daemon(
                rounds,
                threads,
                clock=clock,
                stop=self.stop,
                wake=self._wake,
                before_look=lambda: self._before_look(rounds, database),
            )
            go(daemon)
            return rounds.results
        finally:
            self._told.close()

    def _newsroom(self, database: Database) -> Newsroom:
        return newsroom(self.loaded, self.say, runs=database.runs, people=database.people, metrics=self.metrics)

    def _before_look(self, rounds: Rounds, database: Database) -> None:
        self.on_look()
        if not self.read_again.is_set():
            return
        self.read_again.clear()
        try:
            fresh = self.read()
            if fresh.settings.database.url != self.loaded.settings.database.url:
                raise ConfigError([_moved(fresh)])
            refuse_unsendable(fresh)
            told = teller(fresh)
        except NewsletterError as error:
            logs.write("error", "settings_refused", error=str(error), hint=error.hint)
            alert = announcing.settings_refused(str(error))
            rounds.herald.tell_without_database(alert)
            self._refused.add(alert.key)
            return
        while self._refused:
            rounds.herald.forget(self._refused.pop())
        self.loaded, self._told = fresh, told
        rounds.replace(self._newsroom(database), told)
        self._tell_unsendable(rounds)
        logs.write("info", "settings_read", newsletters=", ".join(self._scheduled()) or "none goes out by itself")

    def _tell_unsendable(self, rounds: Rounds) -> None:
        """A provider that cannot send, or a secret that is missing, is told at the start, and not first at the slot."""
        for name, newsletter in self._scheduled().items():
            try:
                mail_provider(self.loaded, newsletter.delivery.provider).close()
                signing_keys(self.loaded)
            except NewsletterError as error:
                logs.write("error", "cannot_send", newsletter=name, error=str(error), hint=error.hint)
                rounds.herald.tell_in_any_case(announcing.cannot_send(name, str(error), error.hint))
            else:
                rounds.herald.forget_for_good(announcing.cannot_send_key(name))

    def _scheduled(self) -> dict[str, Newsletter]:
        return {name: one for name, one in self.loaded.settings.newsletters.items() if one.schedule.enabled}


def _moved(fresh: Loaded) -> Problem:
    return Problem(
        "database.url",
        "database.url names another database than the daemon works with",
        fresh.place("database.url"),
        suggestion="Restart the daemon for that.",
    )
