"""Workers and the runs that are handed to them: who is fit for a run, who leaves it to others, and what is said.

In one process, with a real PostgreSQL and a real SMTP server; `tests/crash/test_cluster.py` has workers in processes of
their own.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import psycopg_pool
import pytest
import sqlalchemy as sa
from event_loops import in_a_thread
from far_deadlines import far_deadline
from fresh_databases import PostgresServer
from procrastinate import App
from procrastinate.periodic import PeriodicRegistry
from procrastinate.testing import InMemoryConnector
from servers.smtp_server import SmtpServer

from newsletter import logs, wiring
from newsletter.cli import run_words
from newsletter.delivery.clock import SystemClock
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import NotTaken, RunRecord, Wish
from newsletter.delivery.states import DeliveryState, RunState
from newsletter.doctor.machine import check_workers
from newsletter.doctor.model import Finding, Status
from newsletter.errors import ConfigError, GuardRefused, TemporaryError
from newsletter.metrics import Metrics
from newsletter.pipeline import run_facts, share_run
from newsletter.pipeline.run_report import report, status_document
from newsletter.pipeline.steer_run import pause_run
from newsletter.project_files import copy_project
from newsletter.settings.loaded import Loaded
from newsletter.store import engine as engine_module
from newsletter.store import job_schema, senders
from newsletter.store.upgrade import upgrade
from newsletter.wiring import cluster, sending
from newsletter.wiring.daemons import refuse_unsendable
from newsletter.wiring.doctor import surroundings
from newsletter.wiring.workers import WorkerParts, refuse_unfit_worker, worker_parts
from newsletter.worker import serving
from newsletter.worker.batches import Batches
from newsletter.worker.serving import Work, serve

PEOPLE = 12
KEY = "only for tests: 32 characters of it, or more"


@dataclass
class Site:
    """A project on PostgreSQL, with everything for a run that workers send."""

    folder: Path
    server: SmtpServer
    database: sa.Engine

    def set(self, key: str, value: str) -> None:
        """A key of config.toml, wherever it stands first."""
        config = self.folder / "config.toml"
        changed, number = re.subn(rf"(?m)^{key} = .*$", lambda _: f"{key} = {value}", config.read_text(), count=1)
        assert number, key
        config.write_text(changed)

    def loaded(self) -> Loaded:
        return wiring.settings(self.folder / "config.toml")

    def planned(self, limit: int | None = None) -> RunRecord:
        """The run of the day, handed to workers."""
        request = wiring.request(self.loaded(), None, "2026-01-07")
        live = sending.live_send(request, lambda _: None)
        try:
            ready = live.ready(lambda _: None)
            name = live.provider.name
            return share_run.share_issue(ready, live.ledger, name, live.keys, confirmed=PEOPLE, limit=limit)
        finally:
            live.close()

    def run(self) -> RunRecord:
        found = wiring.ledger(self.loaded()).run(RunName("daily-buzz", "2026-01-07"))
        assert found is not None
        return found

    def parts(self) -> WorkerParts:
        return worker_parts(self.loaded(), lambda _: None, Metrics())

    def jobs(self) -> list[int]:
        with self.database.connect() as connection:
            found = connection.execute(sa.text("SELECT (args->>'batch')::int FROM procrastinate_jobs ORDER BY id"))
            return [number for (number,) in found]


@pytest.fixture
def site(
    tmp_path: Path, postgres: sa.Engine, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    upgrade(postgres)
    monkeypatch.setenv("NEWSLETTER__DATABASE__URL", postgres_server.url(str(postgres.url.database)))
    monkeypatch.setenv("NEWSLETTER_SECRET_KEY", KEY)
    monkeypatch.setattr(engine_module, "open_engine", lambda *_: postgres)  # one for all, and closed
    copy_project(tmp_path / "project")
    rows = "".join(f"p{number}@example.com,2025-01-01\n" for number in range(PEOPLE))
    (tmp_path / "project/subscribers/daily-buzz.csv").write_text(f"email,consent_at\n{rows}")
    with SmtpServer() as server:
        made = Site(tmp_path / "project", server, postgres)
        for key, value in {
            "provider": '"smtp"',
            "engine": '"procrastinate"',
            "port": str(server.port),
            "host": '"127.0.0.1"',
            "batch_size": "4",
            "window": "2",
            **far_deadline(),
        }.items():
            made.set(key, value)
        yield made


def one_job(site: Site, parts: WorkerParts, run: RunRecord, number: int, **given: Any) -> None:
    """What a worker does with the job of a batch, and does not wait where it leaves the batch to others."""
    Batches(parts, sits_out=0.0, **given).one(run.uid, number, threading.Event())


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """What the worker logs."""
    lines: list[dict[str, object]] = []
    monkeypatch.setattr(logs, "write", lambda level, event, **fields: lines.append({"event": event, **fields}))
    return lines


def refused(site: Site, run: RunRecord, said: list[dict[str, object]], **given: Any) -> str:
    """The one message with which this worker refuses the run. Nothing was sent, and the batch has a job again."""
    parts = site.parts()
    before = site.jobs()
    batches = Batches(parts, sits_out=0.0, **given)
    for _ in range(2):
        batches.one(run.uid, 1, threading.Event())
    assert site.jobs() == [*before, 1, 1], "put back for others, each time"
    balance = parts.ledger.balance(run.id)
    assert balance.of(DeliveryState.PLANNED) == PEOPLE
    assert site.server.taken == []
    with site.database.connect() as connection:
        assert connection.scalar(sa.text("SELECT sum(attempts) FROM batch")) == 0, "it counts as no attempt"
    parts.close()
    lines = [line for line in said if line["event"] == "worker_not_fit"]
    assert len(lines) == 1, "it is said once"
    assert lines[0]["hint"]
    return str(lines[0]["error"])


def test_a_worker_sends_its_batches_and_the_last_one_ends_the_run(site: Site, said: list[dict[str, object]]) -> None:
    run = site.planned()
    assert run.state is RunState.SENDING
    parts = site.parts()
    for number in site.jobs():
        one_job(site, parts, run, number)
    assert site.run().state is RunState.FINISHED
    assert len({mail.address for mail in site.server.taken}) == len(site.server.taken) == PEOPLE
    parts.close()
    assert [line["event"] for line in said if line["event"] in ("run_began", "run_left")].count("run_left") == 1


def test_a_worker_of_another_version_refuses(
    site: Site, said: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = site.planned()
    monkeypatch.setattr(run_facts, "__version__", "9.9")
    assert "was planned by newsletter" in (message := refused(site, run, said))
    assert "this worker is 9.9" in message


def test_a_worker_with_another_issue_refuses(site: Site, said: list[dict[str, object]]) -> None:
    run = site.planned()
    issue = site.folder / "issues/2026-01-07.txt"
    issue.write_text(issue.read_text().replace("Top News", "Top Stories"))
    assert "does not render here as it did" in refused(site, run, said)


def test_a_worker_without_the_issue_refuses(site: Site, said: list[dict[str, object]]) -> None:
    run = site.planned()
    (site.folder / "issues/2026-01-07.txt").unlink()
    assert "2026-01-07" in refused(site, run, said)
    [line] = [line for line in said if line["event"] == "worker_not_fit"]
    assert line["hint"] == "Copy the issue from the machine that planned the run."


def test_a_worker_without_the_template_refuses(site: Site, said: list[dict[str, object]]) -> None:
    (site.folder / "templates/digest").rename(site.folder / "templates/mine")
    site.set("template", '"mine"')
    run = site.planned()
    (site.folder / "templates/mine").rename(site.folder / "templates/gone")
    assert "mine" in refused(site, run, said)


@pytest.mark.parametrize(
    ("key", "value"), [("from", '"Other <other@news.example.com>"'), ("window", "3"), ("reply_to", '"x@example.com"')]
)
def test_a_worker_with_other_settings_refuses(site: Site, said: list[dict[str, object]], key: str, value: str) -> None:
    run = site.planned()
    site.set(key, value)
    assert re.search("settings of daily-buzz are others here|does not render here", refused(site, run, said))


def test_a_worker_with_another_key_for_links_refuses(
    site: Site, said: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = site.planned()
    monkeypatch.setenv("NEWSLETTER_SECRET_KEY", KEY[::-1])
    assert "settings of daily-buzz are others here" in refused(site, run, said)


def test_a_worker_that_does_not_know_the_newsletter_refuses(site: Site, said: list[dict[str, object]]) -> None:
    run = site.planned()
    config = site.folder / "config.toml"
    config.write_text(config.read_text().replace("newsletters.daily-buzz", "newsletters.weekly-buzz"))
    assert "daily-buzz" in refused(site, run, said)


@pytest.mark.parametrize("seconds", [30.0, -30.0])
def test_a_worker_whose_clock_is_off_refuses(site: Site, said: list[dict[str, object]], seconds: float) -> None:
    run = site.planned()

    def now() -> dt.datetime:
        return dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)

    assert "the clock of this machine is 30 s" in refused(site, run, said, now=now)


@pytest.mark.parametrize("hours", [24, -24])
def test_a_worker_whose_clock_is_off_ends_no_run_and_puts_no_job_off(
    site: Site, said: list[dict[str, object]], hours: float
) -> None:
    run, parts = site.planned(), site.parts()
    off = lambda: dt.datetime.now(dt.UTC) + dt.timedelta(hours=hours)  # noqa: E731 - named as the argument is
    batches = Batches(parts, off, sits_out=0.0)
    with site.database.begin() as connection:
        connection.execute(sa.text("DELETE FROM procrastinate_jobs"))
    batches.one(run.uid, 1, threading.Event())
    with site.database.connect() as connection:
        at = connection.scalar(sa.text("SELECT scheduled_at FROM procrastinate_jobs"))
    assert isinstance(at, dt.datetime)
    assert abs((at - dt.datetime.now(dt.UTC)).total_seconds()) < 60, "another one does it soon"
    assert [batches.tend(), batches.tend()] == [0, 0]
    assert site.run().state is RunState.SENDING
    told = [line for line in said if line["event"] == "worker_not_fit"]
    assert len(told) == 2, "of the run, and of tending"
    assert Batches(parts).tend() == 2, "one whose clock is right gives jobs to those that have none"
    parts.close()


def test_a_worker_whose_clock_is_off_takes_nothing_for_a_dead_ones(site: Site, said: list[dict[str, object]]) -> None:
    """Also of a run that is not being sent: whose lease seems to be over lives yet."""
    run, parts = site.planned(), site.parts()
    handle = site.parts().ledger.take_batch(run.uid, 1, now=dt.datetime.now(dt.UTC))
    assert not isinstance(handle, NotTaken)
    handle.exchange([], [Wish(1)], now=dt.datetime.now(dt.UTC))
    parts.ledger.pause(run.id, "stop", now=dt.datetime.now(dt.UTC))
    one_job(site, parts, run, 1, now=lambda: dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))
    assert parts.ledger.balance(run.id).of(DeliveryState.IN_FLIGHT) == 1
    handle.close(now=dt.datetime.now(dt.UTC))
    parts.close()


def test_a_worker_that_is_not_fit_ends_a_run_whose_deadline_is_over(
    site: Site, said: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a dead worker, whose machine is gone, has a batch of it."""
    run, parts, now = site.planned(), site.parts(), dt.datetime.now(dt.UTC)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(senders, "this_host", lambda: "a machine that is gone")
        handle = site.parts().ledger.take_batch(run.uid, 1, now=now)
    assert not isinstance(handle, NotTaken)
    handle.exchange([], [Wish(1)], now=now)
    monkeypatch.setattr(run_facts, "__version__", "9.9")
    after = run.deadline + dt.timedelta(minutes=1)
    monkeypatch.setattr(parts.ledger, "clock", lambda: after)
    batches = Batches(parts, lambda: after, sits_out=0.0)
    batches.tend()
    batches.one(run.uid, 1, threading.Event())
    batches.tend()
    assert site.run().state is RunState.HELD
    balance = parts.ledger.balance(run.id)
    assert (balance.of(DeliveryState.UNKNOWN), balance.of(DeliveryState.EXPIRED)) == (1, PEOPLE - 1)
    handle.abandon()
    parts.close()


def test_a_clock_that_is_set_is_noticed_at_once_though_the_databases_is_asked_for_seldom(
    site: Site, said: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, parts, ahead = site.planned(), site.parts(), [0.0]
    asked = mock.Mock(wraps=parts.ledger.clock)
    monkeypatch.setattr(parts.ledger, "clock", asked)
    batches = Batches(parts, lambda: dt.datetime.now(dt.UTC) + dt.timedelta(seconds=ahead[0]), sits_out=0.0)
    batches.one(run.uid, 1, threading.Event())
    ahead[0] = 30.0
    batches.one(run.uid, 2, threading.Event())
    assert (asked.call_count, len(site.server.taken)) == (1, 4)
    assert "the clock of this machine is 30 s" in str([line for line in said if line["event"] == "worker_not_fit"])
    ahead[0] = 0.0
    batches.one(run.uid, 2, threading.Event())
    assert len(site.server.taken) == 8
    parts.close()


def test_a_worker_that_was_mended_goes_on(site: Site, said: list[dict[str, object]]) -> None:
    run = site.planned()
    issue = site.folder / "issues/2026-01-07.txt"
    before = issue.read_text()
    issue.write_text(before.replace("Top News", "Top Stories"))
    parts = site.parts()
    batches = Batches(parts, sits_out=0.0)
    batches.one(run.uid, 1, threading.Event())
    issue.write_text(before)
    batches.one(run.uid, 1, threading.Event())
    assert len(site.server.taken) == 4
    parts.close()


def test_a_worker_reads_its_settings_and_its_key_anew_for_each_handing_over(
    site: Site, said: list[dict[str, object]]
) -> None:
    """Whoever changes config.toml on all machines restarts nothing."""
    key = site.folder / "link.key"
    key.write_text(KEY)
    config = site.folder / "config.toml"
    site.set("secret_key", '{ file = "link.key" }')
    parts = site.parts()
    batches = Batches(parts, sits_out=0.0)
    site.set("reply_to", '"x@example.com"')
    key.write_text(KEY[::-1])
    run = site.planned()
    batches.one(run.uid, 1, threading.Event())
    assert len(site.server.taken) == 4
    before = config.read_text()
    config.write_text("[")
    batches.one(run.uid, 2, threading.Event())
    assert len(site.server.taken) == 8, "looked at once for each handing over"
    parts.ledger.pause(run.id, "", now=dt.datetime.now(dt.UTC))
    config.write_text(before)
    with SmtpServer() as moved:
        site.set("port", str(moved.port))
        live, paused = sending.resumed_send(wiring.request(site.loaded(), None, "2026-01-07"), lambda _: None)
        live.close()
        share_run.share_planned(live.prepared, paused, live.ledger, live.keys, limit=None)
        config.write_text("[")
        for _ in range(2):
            batches.one(run.uid, 3, threading.Event())
        [line] = [line for line in said if line["event"] == "worker_not_fit"]
        assert "config.toml" in str(line["error"])
        config.write_text(before.replace(f"port = {site.server.port}", f"port = {moved.port}"))
        batches.one(run.uid, 3, threading.Event())
        assert len(moved.taken) == 4, "a provider that was set otherwise has a new adapter"
        parts.close()


def test_a_new_time_of_day_makes_no_worker_unfit(site: Site, said: list[dict[str, object]]) -> None:
    run = site.planned()
    site.set("time", '"00:00:17"')
    parts = site.parts()
    one_job(site, parts, run, 1)
    assert len(site.server.taken) == 4
    parts.close()


def test_a_worker_whose_settings_name_another_database_says_to_restart_it(
    site: Site, said: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, parts = site.planned(), site.parts()
    monkeypatch.setenv("NEWSLETTER__DATABASE__URL", "postgresql+psycopg://nobody@127.0.0.1/elsewhere")
    one_job(site, parts, run, 1)
    [line] = [line for line in said if line["event"] == "worker_not_fit"]
    assert "another database" in str(line["error"])
    parts.close()


def test_who_is_not_fit_takes_no_other_job_for_a_while_and_ends_at_once_when_told(
    site: Site, said: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = site.planned()
    monkeypatch.setattr(run_facts, "__version__", "9.9")
    parts, stop = site.parts(), threading.Event()
    began = time.monotonic()
    threading.Timer(0.5, stop.set).start()
    Batches(parts, sits_out=60.0).one(run.uid, 1, stop)
    assert 0.4 < time.monotonic() - began < 10
    parts.close()


def served(site: Site, until: Callable[[], bool]) -> None:
    """A worker with Procrastinate's loop, in a thread, until it is so."""
    parts, stop = site.parts(), threading.Event()
    batches = Batches(parts)
    work = Work(parts.queue, parts.task, batches.one, batches.tend, batches.compare, batches.shorten)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            serve(work, parts.connection, 2, stop)
        except BaseException as error:  # noqa: BLE001 - it is looked at below
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    end = time.monotonic() + 60
    while not until() and thread.is_alive() and time.monotonic() < end:
        time.sleep(0.05)
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    parts.close()
    assert not failed, failed
    assert until()


def test_jobs_come_by_the_queue_and_those_that_were_lost_by_tending(
    site: Site, said: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "EVERY", "* * * * * *")
    site.planned()
    with site.database.begin() as connection:
        connection.execute(sa.text("DELETE FROM procrastinate_jobs WHERE args->>'batch' = '2'"))
    served(site, lambda: site.run().state is RunState.FINISHED)
    assert len(site.server.taken) == PEOPLE
    assert {"event": "batches_had_no_job", "batches": 1} in said
    assert site.jobs() == [], "what is done leaves nothing behind"


def test_the_journal_is_compared_before_the_first_job_and_again_whenever_the_database_was_away(
    site: Site, said: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_FIRST_PAUSE", 0.05)
    site.planned()
    parts, stop, did = site.parts(), threading.Event(), list[str]()

    def compare() -> None:
        did.append("compare")
        if len(did) == 1:
            raise TemporaryError("the database is away yet")
        if did.count("compare") == 3:
            stop.set()

    def batch(uid: str, number: int, stop: threading.Event) -> None:
        did.append("batch")

    def cut_off() -> None:
        """Now and then: a worker that had begun to listen only after the first time would never hear of it."""
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        end = time.monotonic() + 60
        while not stop.wait(0.5) and time.monotonic() < end:
            if "batch" in did:
                with site.database.begin() as connection:
                    connection.execute(sa.text(f"{others} AND datname = current_database()"))
        stop.set()

    cutting = threading.Thread(target=cut_off)
    cutting.start()
    work = Work(parts.queue, parts.task, batch, lambda: 0, compare, lambda: None)
    in_a_thread(serve, work, parts.connection, 1, stop)
    cutting.join()
    parts.close()
    assert did[:3] == ["compare", "compare", "batch"]
    assert did[-1] == "compare"
    assert "database_trouble" in [line["event"] for line in said]


def test_the_journal_of_a_worker_is_made_shorter_now_and_then_also_after_it_failed(
    site: Site, said: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "SHORTEN_AFTER", 0.1)
    monkeypatch.setattr(serving, "SHORTEN_EVERY", 0.1)
    parts, stop, times = site.parts(), threading.Event(), list[int]()
    batches = Batches(parts)

    def shorten() -> None:
        batches.shorten()
        times.append(1)
        if len(times) == 2:
            stop.set()
        raise TemporaryError("the disk is full")

    work = Work(parts.queue, parts.task, batches.one, lambda: 0, batches.compare, shorten)
    at_last = threading.Timer(60, stop.set)
    at_last.start()
    in_a_thread(serve, work, parts.connection, 1, stop)
    at_last.cancel()
    parts.close()
    assert len(times) >= 2
    assert {"event": "job_failed", "error": "the disk is full", "hint": ""} in said


def test_the_job_of_a_worker_that_died_is_given_to_another(
    site: Site, said: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "EVERY", "* * * * * *")
    monkeypatch.setattr(serving, "SILENCE", 2.0)
    monkeypatch.setattr(serving, "SIGN_OF_LIFE", 0.5)
    site.planned()
    with site.database.begin() as connection:
        silent = "INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 hour') RETURNING id"
        dead = connection.scalar(sa.text(silent))
        connection.execute(
            sa.text("UPDATE procrastinate_jobs SET status = 'doing', worker_id = :dead WHERE args->>'batch' = '1'"),
            {"dead": dead},
        )
    served(site, lambda: site.run().state is RunState.FINISHED)
    assert len(site.server.taken) == PEOPLE
    assert [line["batch"] for line in said if line["event"] == "job_of_a_dead_worker"] == [1]


def test_the_queues_connections_notice_a_silent_line(site: Site) -> None:
    parts = site.parts()
    assert {"keepalives_idle", "keepalives_interval", "tcp_user_timeout", "connect_timeout"} <= parts.connection.keys()
    parts.close()


def test_whoever_looks_on_sees_the_end_and_may_leave_before(
    site: Site, said: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = site.planned()
    ledger, stop = wiring.ledger(site.loaded()), threading.Event()
    threading.Timer(0.3, stop.set).start()
    watching: dict[str, Any] = {
        "clock": SystemClock(),
        "on_balance": lambda _: None,
        "observer": SimpleNamespace(paused=lambda reason: said.append({"event": "paused", "reason": reason})),
        "every": 0.05,
    }
    monkeypatch.setattr(share_run, "NO_WORKER_AFTER", 0.0)
    lacking: list[bool] = []
    left = share_run.look_on(run.name, ledger, stop, no_worker=lacking.append, **watching)
    assert left.run.state is RunState.SENDING, "the workers go on"
    assert lacking == [False], "told once that there are none"
    assert status_document(left)["any_worker"] is False
    steps = list(run_words.next_steps(left))
    assert steps[0].startswith("No worker is alive: start `newsletter worker`")
    with site.database.begin() as connection:
        connection.execute(sa.text("INSERT INTO procrastinate_workers DEFAULT VALUES"))
    alive = report(ledger, run)
    assert alive.any_worker is True
    assert next(run_words.next_steps(alive)).startswith("Workers are alive, and none has taken up a part of it")
    share_run.look_on(run.name, ledger, stop, no_worker=lacking.append, **watching)
    assert lacking == [False, True]
    parts = site.parts()
    for number in site.jobs():
        one_job(site, parts, run, number)
    seen = share_run.look_on(run.name, ledger, threading.Event(), **watching)
    assert (seen.run.state, seen.of(DeliveryState.ACCEPTED)) == (RunState.FINISHED, PEOPLE)
    parts.close()


def test_without_the_package_sending_and_workers_say_how_to_install_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda _: None)
    request = wiring.request(site.loaded(), None, "2026-01-07")
    for act in (lambda: sending.live_send(request, lambda _: None), lambda: refuse_unfit_worker(site.loaded())):
        with pytest.raises(ConfigError) as caught:
            act()
        [problem] = caught.value.problems
        assert problem.key == "newsletters.daily-buzz.delivery.engine"
        assert 'pip install "newsletter[cluster]"' in problem.suggestion


def test_without_the_package_the_daemon_does_not_begin_and_doctor_says_so(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = site.folder / "config.toml"
    config.write_text(config.read_text().replace("enabled = false", "enabled = true", 1))
    refuse_unsendable(site.loaded())
    [fine] = check_workers(surroundings(site.loaded(), online=False))
    assert isinstance(fine, Finding)
    assert fine.status is Status.PASS
    monkeypatch.setattr(cluster, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="not installed"):
        refuse_unsendable(site.loaded())
    [found] = check_workers(surroundings(site.loaded(), online=False))
    assert isinstance(found, Finding)
    assert (found.status, found.about) == (Status.FAIL, "daily-buzz")
    assert 'pip install "newsletter[cluster]"' in found.do
    site.set("engine", '"threads"')
    refuse_unsendable(site.loaded())
    [unneeded] = check_workers(surroundings(site.loaded(), online=False))
    assert isinstance(unneeded, Finding)
    assert unneeded.status is Status.PASS


def test_what_nobody_waited_for_is_one_line_of_the_log(said: list[dict[str, object]]) -> None:
    logging.getLogger("asyncio").setLevel(logging.NOTSET)
    loop = asyncio.new_event_loop()
    serving._tell_unheard(loop, {"message": "never retrieved", "exception": psycopg_pool.PoolTimeout("not\nin 10 s")})
    serving._tell_unheard(loop, {"message": "never retrieved", "exception": ValueError("odd")})
    serving._tell_unheard(loop, {"message": "something\nelse"})
    loop.close()
    assert said == [
        {"event": "database_trouble", "error": "not in 10 s"},
        {"event": "queue_trouble", "error": "ValueError: odd"},
        {"event": "queue_trouble", "error": "something else"},
    ]


def test_a_task_that_fails_unheard_leaves_no_traceback(
    site: Site, said: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    inner = serving._Shift.work_off

    async def broken(self: serving._Shift, connection: Any) -> None:
        async def fails() -> None:
            raise psycopg_pool.PoolTimeout("no connection")

        task = asyncio.create_task(fails())
        await asyncio.sleep(0)
        del task
        gc.collect()
        await inner(self, connection)

    monkeypatch.setattr(serving._Shift, "work_off", broken)
    served(site, lambda: any(line["event"] == "database_trouble" for line in said))
    assert {"event": "database_trouble", "error": "no connection"} in said
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(("reason", "stopped_itself"), [("", False), ("wrong headline", False), (None, True)])
def test_an_operators_pause_is_told_apart_from_a_breakers_whatever_its_words(
    site: Site, reason: str | None, stopped_itself: bool
) -> None:
    run, ledger, now = site.planned(), wiring.ledger(site.loaded()), dt.datetime.now(dt.UTC)
    if reason is None:
        ledger.pause(run.id, "5.0% were refused", now=now)
    else:
        pause_run(ledger, run, reason, now=now)
    told: list[str] = []
    observer: Any = SimpleNamespace(paused=told.append)
    seen = share_run.look_on(
        run.name, ledger, threading.Event(), clock=SystemClock(), on_balance=lambda _: None, observer=observer
    )
    assert bool(told) is stopped_itself
    assert (reason or "") in seen.run.reason
    assert next(run_words.next_steps(seen)).startswith("Paused: " if reason is None else "Paused by an operator")


def test_a_procrastinate_that_needs_other_tables_is_refused_by_name(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_unfit_worker(site.loaded())
    ours = job_schema._schema_we_make()
    monkeypatch.setattr(job_schema, "_schema_we_make", lambda: ours.replace("attempts integer", "tries integer"))
    with pytest.raises(GuardRefused, match=r"Procrastinate \d+\.\d+\.\d+ needs other tables") as refusal:
        refuse_unfit_worker(site.loaded())
    assert "newsletter[cluster]" in refusal.value.hint


def test_our_step_makes_the_tables_of_the_procrastinate_that_is_installed() -> None:
    job_schema.refuse_other_schema()
    theirs = (resources.files("procrastinate") / "sql" / "schema.sql").read_text()
    assert job_schema._schema_we_make().endswith(theirs)


def test_a_worker_where_there_is_nothing_for_workers_says_so(site: Site) -> None:
    site.set("engine", '"threads"')
    with pytest.raises(GuardRefused, match="nothing for workers") as refusal:
        refuse_unfit_worker(site.loaded())
    assert "delivery" in refusal.value.hint


def test_the_queue_is_put_in_order_every_five_seconds_at_any_time_of_day() -> None:
    """The field of seconds is the sixth one; in the first place it would be minutes."""
    app = App(connector=InMemoryConnector())
    task = app.task(name="tick")(lambda timestamp: None)
    registered = PeriodicRegistry().register_task(  # type: ignore[no-untyped-call]
        task, serving.EVERY, "", {}
    )
    for start in (1_796_033_054.0, 1_796_033_361.0):
        ticks = [registered.croniter.get_next(float, start_time=start + number * 5) for number in range(20)]
        assert {later - sooner for sooner, later in pairwise(ticks)} == {5.0}
        assert 0 < ticks[0] - start <= 5
