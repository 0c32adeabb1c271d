"""`worker`, and sends that are handed to workers, run as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fresh_databases import PostgresServer
from projects import SLOT, Project
from servers.smtp_server import SmtpServer

KEY = "only for tests: 32 characters of it, or more"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


@pytest.fixture
def environment(project: Project, postgres_server: PostgresServer) -> Iterator[dict[str, str]]:
    """On a PostgreSQL database with its tables, and aimed at an SMTP server by whoever starts one."""
    name = postgres_server.create()
    made = {"NEWSLETTER__DATABASE__URL": postgres_server.url(name), "NEWSLETTER_SECRET_KEY": KEY}
    for key, old, new in (("engine", "threads", "procrastinate"), ("provider", "disk", "smtp")):
        project.edit(project.config, f'{key} = "{old}"', f'{key} = "{new}"')
    assert project.call("db", "upgrade", **made).code == 0
    yield made
    postgres_server.drop(name)


def started(project: Project, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """The command, going on."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NEWSLETTER")}
    return subprocess.Popen(
        [sys.executable, "-m", "newsletter", *arguments],
        cwd=project.folder,
        env=kept | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_where_there_is_nothing_for_workers_it_says_what_to_set(project: Project) -> None:
    ended = project.call("worker")
    assert ended.code == 5
    assert "there is nothing for workers" in ended.err
    assert 'engine = "procrastinate"' in ended.err


def test_on_sqlite_the_settings_are_refused_with_the_key(project: Project) -> None:
    project.edit(project.config, 'engine = "threads"', 'engine = "procrastinate"')
    ended = project.call("worker")
    assert ended.code == 3
    assert "newsletters.daily-buzz.delivery.engine" in ended.err
    assert "needs PostgreSQL" in ended.err


def test_one_newsletter_cannot_be_chosen(project: Project) -> None:
    assert project.call("-n", "daily-buzz", "worker").code == 2


def test_a_send_is_handed_over_looked_on_and_told_and_workers_end_well(
    project: Project, environment: dict[str, str]
) -> None:
    with SmtpServer() as server:
        at = {**environment, "NEWSLETTER__PROVIDERS__SMTP__PORT": str(server.port)}
        count = json.loads(project.call("send", SLOT, "--dry-run", "--json", **at).out)["planned"]
        looking = started(project, "send", SLOT, "--confirm", str(count), "--json", **at)
        worker = started(project, "worker", "--metrics", "worker.prom", **at)
        out, err = looking.communicate(timeout=60)
        assert looking.returncode == 0, err
        assert "was handed to workers" in err
        told = json.loads(out.splitlines()[-1])
        assert (told["state"], told["accepted"]) == ("finished", count)
        worker.send_signal(signal.SIGTERM)
        _, said = worker.communicate(timeout=30)
        assert worker.returncode == 0, said
        assert '"worker_began"' in said
        assert '"worker_ended"' in said
        assert len(server.taken) == count
    text = (project.folder / "worker.prom").read_text()
    assert (
        f'newsletter_recipients_total{{newsletter="daily-buzz",outcome="accepted",provider="smtp"}} {count}.0' in text
    )


def test_who_stops_looking_on_is_told_that_the_workers_go_on(project: Project, environment: dict[str, str]) -> None:
    count = json.loads(project.call("send", SLOT, "--dry-run", "--json", **environment).out)["planned"]
    looking = started(project, "send", SLOT, "--confirm", str(count), **environment)
    end = time.monotonic() + 30
    while "sending" not in project.call("status", "--json", **environment).out and time.monotonic() < end:
        time.sleep(0.2)
    looking.send_signal(signal.SIGINT)
    out, err = looking.communicate(timeout=30)
    assert looking.returncode == 130
    assert "the workers go on sending" in err
    assert "No worker is alive: start `newsletter worker`" in out, "there is none here"
    again = project.call("send", SLOT, "--resume", **environment)
    assert again.code == 5
    assert "is being sent by workers" in again.err
    assert project.call("pause", SLOT, **environment).code == 0
    assert "paused" in project.call("status", **environment).out


def test_a_database_that_is_away_at_the_start_is_waited_for_until_the_worker_is_told_to_end(
    project: Project, environment: dict[str, str]
) -> None:
    nowhere = {**environment, "NEWSLETTER__DATABASE__URL": "postgresql+psycopg://127.0.0.1:1/news"}
    worker = started(project, "worker", **nowhere)
    assert worker.stderr is not None
    assert "database_trouble" in worker.stderr.readline()
    worker.send_signal(signal.SIGTERM)
    worker.communicate(timeout=30)
    assert worker.returncode == 0
