"""Projects to send from: one is made with its database, and each trial gets a copy of both."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import sqlalchemy as sa
from far_deadlines import far_deadline
from fresh_databases import PostgresServer
from recorders import Mail

from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import Balance, RunRecord
from newsletter.delivery.states import DeliveryState
from newsletter.project_files import copy_project
from newsletter.store.backup import backup
from newsletter.store.engine import open_engine, sqlite_path
from newsletter.store.ledger import SqlLedger
from newsletter.store.upgrade import upgrade

SLOT = "2026-01-07"
NAME = RunName("daily-buzz", SLOT)
KEY = "only for tests: 32 characters of it, or more"


#: Alembic keeps what it works on in its modules: one thread at a time.
_ALEMBIC = threading.Lock()


class Kind(StrEnum):
    """On which database."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


@dataclass(frozen=True)
class Terms:
    """What a trial sends: to how many, and what one claim covers (`batch_size`; `window` for SMTP)."""

    people: int = 300
    batch_size: int = 25
    window: int = 5
    threads: int = 4

    def in_flight(self, mail: Mail) -> int:
        """How many may be unknown after one crash."""
        return self.threads * (min(self.window, self.batch_size) if mail is Mail.SMTP else self.batch_size)


@dataclass
class TrialProject:
    """A project with a database of its own. Its ledger is read by the test as the product reads it."""

    folder: Path
    url: str
    people: int
    environment: dict[str, str] = field(default_factory=dict)

    def ledger(self, engine: sa.Engine) -> SqlLedger:
        """As the program has it."""
        path = sqlite_path(engine)
        beside = path.parent if path else self.folder / "var"
        return SqlLedger(engine, locks=beside / "locks", journal=beside / "journal.ndjson")

    @contextmanager
    def engine(self) -> Iterator[sa.Engine]:
        """Its database."""
        engine = open_engine(self.url, self.folder)
        try:
            yield engine
        finally:
            engine.dispose()

    def run(self) -> RunRecord | None:
        """The run of the issue, once there is one."""
        with self.engine() as engine:
            return self.ledger(engine).run(NAME)

    def balance(self) -> Balance | None:
        """The run's balance sheet, once there is a run."""
        with self.engine() as engine:
            ledger = self.ledger(engine)
            run = ledger.run(NAME)
            return ledger.balance(run.id) if run else None

    def states(self) -> dict[str, DeliveryState]:
        """Everybody in the run, by address."""
        with self.engine() as engine:
            ledger = self.ledger(engine)
            run = ledger.run(NAME)
            everybody = ledger.deliveries(run.id, list(DeliveryState)) if run else ()
            return {one.address: one.state for one in everybody}

    def set(self, key: str, value: str, table: str = "newsletters.daily-buzz.delivery") -> None:
        """Sets a key of config.toml that stands there, in this table."""
        config = self.folder / "config.toml"
        head, start, rest = config.read_text("utf-8").partition(f"[{table}]\n")
        assert start, table
        changed, number = re.subn(rf"(?m)^{key} = .*$", lambda _: f"{key} = {value}", rest, count=1)
        assert number, key
        config.write_text(head + start + changed, "utf-8")

    def use(self, url: str) -> None:
        """From now on this is its database."""
        self.url = self.environment["NEWSLETTER__DATABASE__URL"] = url

    def aim_at(self, mail: Mail, port: int, terms: Terms) -> None:
        """Sends to this recorder, in this manner."""
        self.set("provider", f'"{mail}"')
        for key, value in (("batch_size", terms.batch_size), ("window", terms.window), ("concurrency", terms.threads)):
            self.set(key, str(value))
        if mail is Mail.SMTP:
            self.set("port", str(port), "providers.smtp")
            self.set("host", '"127.0.0.1"', "providers.smtp")
        else:
            self.set("host", f'"http://127.0.0.1:{port}"', "providers.sendgrid")


def address(number: int) -> str:
    """The address of a subscriber, by number from 0."""
    return f"p{number:06}@example.com"


class Projects:
    """Makes projects below `folder`; a PostgreSQL server is needed where projects on it are asked for."""

    def __init__(self, folder: Path, postgres: PostgresServer | None = None) -> None:
        self.folder = folder
        self.postgres = postgres
        self._templates: dict[tuple[Kind, int], tuple[Path, str]] = {}
        self._number = 0

    @contextmanager
    def project(self, kind: Kind, people: int) -> Iterator[TrialProject]:
        """A project with so many subscribers; gone afterwards."""
        template, database = self._template(kind, people)
        self._number += 1
        folder = self.folder / f"trial-{self._number}"
        shutil.copytree(template, folder)
        name = self.postgres.copy(database) if kind is Kind.POSTGRESQL and self.postgres else ""
        try:
            yield self._made(kind, folder, people, name)
        finally:
            if name and self.postgres:
                self.postgres.drop(name)
            shutil.rmtree(folder)

    @contextmanager
    def backed_up(self, project: TrialProject) -> Iterator[Callable[[], None]]:
        """A copy of the project's database as it is; what is yielded puts it in the place of the database."""
        if project.url.startswith("sqlite"):
            file, copy = project.folder / "var" / "newsletter.db", project.folder / "var" / "copy.db"
            with project.engine() as engine:
                backup(engine, copy)

            def put_file_back() -> None:
                for name in ("newsletter.db-wal", "newsletter.db-shm"):
                    (file.parent / name).unlink(missing_ok=True)
                copy.replace(file)

            yield put_file_back
            return
        assert self.postgres is not None
        name = self.postgres.copy(sa.make_url(project.url).database or "")
        before = project.url

        def use_the_copy() -> None:
            project.use(self.postgres.url(name) if self.postgres else "")

        try:
            yield use_the_copy
        finally:
            project.use(before)
            self.postgres.drop(name)

    def _template(self, kind: Kind, people: int) -> tuple[Path, str]:
        if (kind, people) not in self._templates:
            folder = self.folder / f"template-{kind}-{people}"
            copy_project(folder)
            rows = "".join(f"{address(number)},2025-01-01\n" for number in range(people))
            (folder / "subscribers" / "daily-buzz.csv").write_text(f"email,consent_at\n{rows}")
            name = self.postgres.create() if kind is Kind.POSTGRESQL and self.postgres else ""
            project = self._made(kind, folder, people, name)
            for key, value in far_deadline().items():
                project.set(key, value, "newsletters.daily-buzz.schedule")
            with _ALEMBIC, project.engine() as engine:
                upgrade(engine)
            self._templates[kind, people] = folder, name
        return self._templates[kind, people]

    def _made(self, kind: Kind, folder: Path, people: int, database: str) -> TrialProject:
        url = "sqlite:///var/newsletter.db"
        if kind is Kind.POSTGRESQL:
            assert self.postgres is not None, "no PostgreSQL server"
            url = self.postgres.url(database)
        names = {"NEWSLETTER__DATABASE__URL": url, "NEWSLETTER_SECRET_KEY": KEY, "SENDGRID_API_KEY": "SG.test"}
        return TrialProject(folder, url, people, names)
