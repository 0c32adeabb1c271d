"""What holds for every test: no skips where it counts, Hypothesis without deadlines, one browser a process."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from fresh_databases import ERASURE_KEY, PostgresServer, empty_tables, make_tables, sqlite_engine
from hypothesis import HealthCheck, settings
from no_skips import IN_CI, pytest_make_collect_report, pytest_runtest_makereport
from playwright.sync_api import Browser, sync_playwright

from newsletter.store.audience import SqlAudience
from newsletter.store.engine import open_engine

if TYPE_CHECKING:
    from crash_trials import Tools

#: The hooks of the rule, which pytest finds here.
__all__ = ["pytest_make_collect_report", "pytest_runtest_makereport"]

# A shell starts what it runs in the background with Ctrl-C ignored, and so would everything be that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Examples are slow when the machine is busy, which says nothing about the code.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples on every run: a red build can be looked at again. New ones are found on developers' machines.
settings.register_profile("ci", settings.get_profile("here"), derandomize=True, database=None, print_blob=True)
settings.load_profile("ci" if IN_CI else "here")


_QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium, once: Playwright's synchronous API runs once a process."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine: install the package chromium to see pages laid out")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=_QUIET)
        try:
            yield running
        finally:
            running.close()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A real PostgreSQL, one a process."""
    server = PostgresServer()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def _postgres_database(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a database with tables, which the tests of a process use one after the other."""
    name = postgres_server.create()
    engine = open_engine(postgres_server.url(name), Path("/"))
    make_tables(engine)
    engine.dispose()
    yield postgres_server.url(name)
    postgres_server.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """A database with its tables and nothing in them: the test runs once on each kind."""
    if request.param == "sqlite":
        engine = sqlite_engine(tmp_path)
        make_tables(engine)
    else:
        engine = open_engine(request.getfixturevalue("_postgres_database"), tmp_path)
        empty_tables(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[sa.Engine]:
    """A PostgreSQL database of its own, without tables."""
    name = postgres_server.create()
    engine = open_engine(postgres_server.url(name), Path("/"))
    yield engine
    engine.dispose()
    postgres_server.drop(name)


@pytest.fixture
def audience_store(database: sa.Engine) -> SqlAudience:
    """The audience on an empty database, of both kinds."""
    return SqlAudience(database, ERASURE_KEY)


@pytest.fixture(scope="session")
def crash_tools(postgres_server: PostgresServer) -> Iterator[Tools]:
    """Recorders, a sender that has everything loaded, and projects on both databases."""
    from crash_table import tools_in, work_folder  # on the path of tests/crash alone

    with work_folder() as folder, tools_in(folder, postgres_server) as tools:
        yield tools
