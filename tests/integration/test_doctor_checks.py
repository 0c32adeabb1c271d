"""Each check of the doctor but those of the DNS, against real files, databases and servers."""

from __future__ import annotations

import datetime as dt
import email.utils
import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fresh_databases import PostgresServer
from servers.http_listener import Answer, HttpListener
from servers.smtp_server import Script, SmtpServer

from newsletter.doctor import examine
from newsletter.doctor.clock import check_clock, check_time_zone
from newsletter.doctor.machine import check_database, check_disk_space, check_issue_folder
from newsletter.doctor.mail import check_alerts, check_providers, check_templates
from newsletter.doctor.model import Check, Finding, NotChecked, Result, Surroundings
from newsletter.doctor.site import check_base_url, check_secret_key
from newsletter.errors import ConfigError
from newsletter.project_files import copy_project
from newsletter.settings.load import load_settings
from newsletter.settings.secret_key import site_secret
from newsletter.store.engine import open_engine
from newsletter.store.upgrade import HEAD, upgrade
from newsletter.wiring.doctor import surroundings

NOW = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
NEWSLETTER = '[newsletters.a]\ntitle = "A"\nfrom = "a@news.example"\n'
DAILY = "[newsletters.a.schedule]\nenabled = true\n"
CANARY = "canary-7f3a-0123456789"


def around(folder: Path, text: str = "", *, online: bool = True, **environ: str) -> Surroundings:
    """The surroundings of a configuration, as the command makes them."""
    config = folder / "config.toml"
    config.write_text(text + ("" if "[newsletters" in text else NEWSLETTER))
    made = surroundings(load_settings(config, environ), online=online)
    return replace(made, environ=environ)


def rows(check: Check, looked_at: Surroundings) -> list[tuple[str, str]]:
    """Status (`-` where it was not checked) and message of each thing found."""
    results = list(check(looked_at))
    assert results
    assert len({one.check for one in results}) == 1
    for one in results:
        assert isinstance(one, NotChecked) or one.status == "pass" or one.do, one
    return [(_status(one), one.why if isinstance(one, NotChecked) else one.message) for one in results]


def _status(result: Result) -> str:
    return "-" if isinstance(result, NotChecked) else result.status.value


def row(check: Check, looked_at: Surroundings) -> tuple[str, str]:
    [only] = rows(check, looked_at)
    return only


class TestDatabase:
    def test_one_that_is_not_there_yet_is_not_made(self, tmp_path: Path) -> None:
        assert row(check_database, around(tmp_path))[0] == "pass"
        assert [one.name for one in tmp_path.iterdir()] == ["config.toml"]

    def test_one_that_cannot_be_made_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # root may write anywhere
        monkeypatch.setattr(os, "access", lambda *_: False)
        status, said = row(check_database, around(tmp_path))
        assert (status, "is not writable" in said) == ("fail", True)

    def test_the_step_of_its_tables_counts(self, tmp_path: Path) -> None:
        looked_at = around(tmp_path, '[database]\nurl = "sqlite:///news.db"\n')
        engine = open_engine("sqlite:///news.db", tmp_path)
        upgrade(engine)
        assert row(check_database, looked_at)[0] == "pass"
        for step, status, words in (
            ("0001", "pass", f"step 0001, and {HEAD} is needed; the next command upgrades it"),
            ("9999", "fail", "newer version (step 9999)"),
        ):
            with engine.begin() as connection:
                connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{step}'")
            found = row(check_database, looked_at)
            assert found[0] == status
            assert words in found[1]
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE alembic_version")
        assert "tables of another program" in row(check_database, looked_at)[1]
        engine.dispose()

    def test_a_file_that_is_no_database_fails(self, tmp_path: Path) -> None:
        (tmp_path / "news.db").write_bytes(b"no database at all" * 100)
        status, said = row(check_database, around(tmp_path, '[database]\nurl = "sqlite:///news.db"\n'))
        assert (status, "no SQLite database" in said) == ("fail", True)

    def test_postgresql_waits_for_its_upgrade(
        self, tmp_path: Path, postgres: sa.Engine, postgres_server: PostgresServer
    ) -> None:
        url = postgres_server.url(str(postgres.url.database))
        looked_at = around(tmp_path, f'[database]\nurl = "{url}"\n')
        [empty] = check_database(looked_at)
        assert isinstance(empty, Finding)
        assert (empty.status, empty.do) == ("fail", "Run `newsletter db upgrade`.")
        upgrade(postgres)
        assert row(check_database, looked_at) == ("pass", f"PostgreSQL, step {HEAD}")
        with postgres.begin() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
        [behind] = check_database(looked_at)
        assert isinstance(behind, Finding)
        assert "`newsletter db backup`, then" in behind.do

    def test_a_server_that_is_away_fails_without_its_password(self, tmp_path: Path) -> None:
        url = f"postgresql+psycopg://buzz:{CANARY}@127.0.0.1:1/news"
        status, said = row(check_database, around(tmp_path, f'[database]\nurl = "{url}"\n'))
        assert (status, CANARY in said) == ("fail", False)


class TestTemplates:
    def test_the_shipped_ones_render(self, tmp_path: Path) -> None:
        copy_project(tmp_path)
        looked_at = surroundings(load_settings(tmp_path / "config.toml", {}), online=False)
        assert row(check_templates, looked_at) == ("pass", "digest renders")

    def test_a_mistake_is_told_with_its_line(self, tmp_path: Path) -> None:
        copy_project(tmp_path)
        file = tmp_path / "templates" / "digest" / "issue.mjml.j2"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("<mjml>\n{{ nothing_of_the_kind }}\n</mjml>\n")
        status, said = row(check_templates, surroundings(load_settings(tmp_path / "config.toml", {}), online=False))
        assert status == "fail"
        assert "issue.mjml.j2:2" in said

    def test_one_that_is_not_there_fails(self, tmp_path: Path) -> None:
        text = NEWSLETTER.replace("title", 'template = "nowhere"\ntitle')
        status, said = row(check_templates, around(tmp_path, text))
        assert (status, 'no template "nowhere"' in said) == ("fail", True)

    def test_an_address_that_the_law_wants_is_missed(self, tmp_path: Path) -> None:
        found = rows(check_templates, around(tmp_path))  # no site.postal_address
        assert found[0][0] == "fail"
        assert "postal_address" in found[0][1]


class TestTime:
    def test_the_time_there_is_said(self, tmp_path: Path) -> None:
        text = f'{NEWSLETTER}[newsletters.a.schedule]\nenabled = true\ntimezone = "Asia/Kolkata"\n'
        looked_at = replace(around(tmp_path, text), now=lambda: NOW)
        assert row(check_time_zone, looked_at) == (
            "pass",
            "Asia/Kolkata: it is Wed 2026-01-07 12:00 there (UTC+05:30)",
        )

    def test_a_schedule_without_a_zone_is_told(self, tmp_path: Path) -> None:
        looked_at = replace(around(tmp_path, NEWSLETTER + DAILY), now=lambda: NOW)
        status, said = row(check_time_zone, looked_at)
        assert status == "warn"
        assert "UTC: it is Wed 2026-01-07 06:30 there (UTC)" in said

    @pytest.mark.parametrize(
        ("off", "status", "said"),
        [
            (0, "pass", "as relay has it"),
            (3, "pass", "3 s behind relay"),
            (20, "warn", "this machine's clock is 20 s behind relay"),
            (-21, "warn", "this machine's clock is 20 s ahead of relay"),  # a date leaves out up to a second
            (3600, "fail", "this machine's clock is 3,600 s behind relay"),
        ],
    )
    def test_the_clock_is_held_against_the_providers(self, tmp_path: Path, off: int, status: str, said: str) -> None:
        with provider_clock(NOW + dt.timedelta(seconds=off)) as url:
            text = delivered_by(f'kind = "sendgrid"\nhost = "{url}"\n')
            looked_at = replace(around(tmp_path, text), now=lambda: NOW)
            assert row(check_clock, looked_at) == (status, said)

    @pytest.mark.parametrize(
        "greeting", ["Exim 4.98 Wed, 07 Jan 2026 06:30:20 +0000", "ready 7 Jan 2026 14:30:20 +0800"]
    )
    def test_the_clock_is_held_against_an_smtp_greeting(self, tmp_path: Path, greeting: str) -> None:
        with greeted_with(f"220 relay.example ESMTP {greeting}\r\n") as port:
            text = delivered_by(f'kind = "smtp"\nport = {port}\n')
            looked_at = replace(around(tmp_path, text), now=lambda: NOW)
            assert row(check_clock, looked_at) == ("warn", "this machine's clock is 20 s behind relay")

    def test_the_clock_is_held_against_the_databases(
        self, tmp_path: Path, postgres: sa.Engine, postgres_server: PostgresServer
    ) -> None:
        url = postgres_server.url(str(postgres.url.database))
        looked_at = around(tmp_path, f'[database]\nurl = "{url}"\n', online=False)
        assert row(check_clock, looked_at) == ("pass", "as the database's server has it")
        late = dt.timedelta(hours=2)
        looked_at = replace(looked_at, now=lambda: dt.datetime.now(dt.UTC) - late)
        assert row(check_clock, looked_at)[0] == "fail"

    @pytest.mark.parametrize("online", [True, False])
    def test_where_nobody_says_the_time_that_is_said(self, tmp_path: Path, online: bool) -> None:
        with greeted_with("220 relay.example ESMTP Postfix\r\n") as port:
            text = delivered_by(f'kind = "smtp"\nport = {port}\n')
            status, why = row(check_clock, around(tmp_path, text, online=online))
        assert status == "-"
        assert ("--offline" in why) is not online

    def test_an_answer_out_of_a_cache_says_nothing(self, tmp_path: Path) -> None:
        with HttpListener(lambda *_: Answer(headers={"Age": "4000"})) as server:
            text = delivered_by(f'kind = "sendgrid"\nhost = "{server.url("")}"\n')
            assert row(check_clock, around(tmp_path, text))[0] == "-"


def delivered_by(provider: str) -> str:
    return f'{NEWSLETTER}delivery = {{ provider = "relay" }}\n[providers.relay]\n{provider}'


@contextmanager
def provider_clock(now: dt.datetime) -> Iterator[str]:
    """A server that answers 401 and dates it so; where it is."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(401)
            self.end_headers()

        def date_time_string(self, timestamp: float | None = None) -> str:
            return email.utils.format_datetime(now, usegmt=True)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def greeted_with(greeting: str) -> Iterator[int]:
    """A server that says one line to everybody; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(greeting.encode())

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


class TestProvider:
    def test_a_login_is_tried(self, tmp_path: Path) -> None:
        with SmtpServer(Script(logins={"buzz": CANARY})) as server:
            text = delivered_by(f'kind = "smtp"\nhost = "127.0.0.1"\nport = {server.port}\nusername = "buzz"\n')
            os.environ["SMTP_PASSWORD"] = CANARY
            try:
                status, said = row(check_providers, around(tmp_path, text))
                assert (status, "login by" in said) == ("pass", True)
                os.environ["SMTP_PASSWORD"] = f"{CANARY}-wrong"
                status, said = row(check_providers, around(tmp_path, text))
                assert (status, "refuses us" in said, CANARY in said) == ("fail", True, False)
            finally:
                del os.environ["SMTP_PASSWORD"]
            status, said = row(check_providers, around(tmp_path, text))
            assert (status, "SMTP_PASSWORD is not set" in said) == ("fail", True)

    def test_one_that_is_away_fails(self, tmp_path: Path) -> None:
        status, said = row(check_providers, around(tmp_path, delivered_by('kind = "smtp"\nport = 1\n')))
        assert (status, "cannot be reached" in said) == ("fail", True)

    def test_offline_only_its_secrets_are_looked_at(self, tmp_path: Path) -> None:
        text = delivered_by('kind = "smtp"\nport = 1\n')
        assert row(check_providers, around(tmp_path, text, online=False))[0] == "-"
        text = delivered_by('kind = "sendgrid"\n')
        status, said = row(check_providers, around(tmp_path, text, online=False))
        assert (status, "SENDGRID_API_KEY is not set" in said) == ("fail", True)

    def test_the_disk_sends_nothing(self, tmp_path: Path) -> None:
        assert row(check_providers, around(tmp_path))[0] == "warn"
        assert row(check_providers, around(tmp_path, NEWSLETTER + DAILY))[0] == "fail"


def site(line: str) -> str:
    return f"[site]\n{line}\n"


class TestSite:
    @pytest.mark.parametrize(
        ("url", "daily", "status"),
        [
            ("http://localhost:8000", "", "warn"),
            ("http://localhost:8000", DAILY, "fail"),
            ("https://127.0.0.1", DAILY, "fail"),
            ("https://192.168.1.7", "", "warn"),
            ("http://news.example", "", "fail"),
            ("https://news.example", DAILY, "pass"),
        ],
    )
    def test_the_base_url_is_public_and_https(self, tmp_path: Path, url: str, daily: str, status: str) -> None:
        text = site(f'base_url = "{url}"') + NEWSLETTER + daily
        assert row(check_base_url, around(tmp_path, text, online=False))[0] == status

    def test_a_site_that_does_not_answer_is_told(self, tmp_path: Path) -> None:
        found = row(check_base_url, around(tmp_path, site('base_url = "https://nowhere.invalid"')))
        assert found == ("warn", "https://nowhere.invalid cannot be reached (ConnectError)")

    def test_a_key_of_ones_own_passes(self, tmp_path: Path) -> None:
        looked_at = around(tmp_path, site('secret_key = { env = "KEY" }'), KEY="k" * 40)
        assert row(check_secret_key, looked_at) == ("pass", "from the environment variable KEY")

    @pytest.mark.parametrize(("key", "said"), [("short", "fewer than 32 characters"), ("", "is empty")])
    def test_one_that_does_not_do_fails(self, tmp_path: Path, key: str, said: str) -> None:
        status, message = row(check_secret_key, around(tmp_path, site('secret_key = { env = "KEY" }'), KEY=key))
        assert (status, said in message) == ("fail", True)

    def test_a_variable_that_is_not_set_is_told_and_no_key_is_made(self, tmp_path: Path) -> None:
        looked_at = around(tmp_path, site('secret_key = { env = "KEY" }'))
        status, said = row(check_secret_key, looked_at)
        assert (status, "KEY, which is not set here; one will be generated" in said) == ("warn", True)
        assert not (tmp_path / "var").exists()
        key = site_secret(looked_at.loaded, {})
        status, said = row(check_secret_key, looked_at)
        assert (status, "the generated one in var/secret.key is used" in said) == ("warn", True)
        assert key not in said

    def test_a_generated_key_is_kept_from_others(self, tmp_path: Path) -> None:
        looked_at = around(tmp_path)
        assert row(check_secret_key, looked_at)[0] == "pass"
        assert not (tmp_path / "var").exists()
        site_secret(looked_at.loaded, {})
        assert row(check_secret_key, looked_at)[0] == "pass"
        file = tmp_path / "var" / "secret.key"
        file.chmod(0o644)
        status, said = row(check_secret_key, looked_at)
        assert (status, said) == ("warn", f"{file} can be read by everybody on this machine")
        file.chmod(0o600)
        file.write_text("damaged")
        assert row(check_secret_key, looked_at)[0] == "fail"

    def test_a_shared_database_needs_a_shared_key(self, tmp_path: Path) -> None:
        text = '[database]\nurl = "postgresql+psycopg://127.0.0.1:1/news"\n'
        assert row(check_secret_key, around(tmp_path, text))[0] == "fail"
        status, said = row(check_secret_key, around(tmp_path, text + site('secret_key = { env = "KEY" }')))
        assert (status, "KEY is not set" in said) == ("fail", True)

    @pytest.mark.parametrize("key", ["", 'secret_key = { env = "KEY" }'])
    def test_a_key_that_was_generated_before_is_to_be_named(self, tmp_path: Path, key: str) -> None:
        """Else the links in mails that are out would stop working."""
        text = '[database]\nurl = "postgresql+psycopg://127.0.0.1:1/news"\n' + site(key)
        site_secret(around(tmp_path).loaded, {})
        [found] = check_secret_key(around(tmp_path, text))
        assert isinstance(found, Finding)
        assert 'secret_key = { file = "var/secret.key" }' in found.do


class TestMachine:
    @pytest.mark.parametrize(
        ("free", "status"), [(10 << 20, "fail"), (500 << 20, "warn"), (5 << 30, "pass")], ids=["10M", "500M", "5G"]
    )
    def test_room_on_the_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, status: str) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 40, 0, free))
        assert row(check_disk_space, around(tmp_path)) == (status, f"{free >> 20:,} MB are free")

    def test_a_large_database_needs_room_for_a_copy(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 40, 0, 5 << 30))
        with (tmp_path / "news.db").open("wb") as file:
            file.truncate(3 << 30)  # a hole: it takes no room
        looked_at = around(tmp_path, '[database]\nurl = "sqlite:///news.db"\n')
        assert row(check_disk_space, looked_at)[0] == "warn"

    def test_the_folder_of_issues(self, tmp_path: Path) -> None:
        looked_at = around(tmp_path)
        assert row(check_issue_folder, looked_at) == ("fail", "there is no such folder")
        (tmp_path / "issues").mkdir()
        assert row(check_issue_folder, looked_at) == ("warn", "there is no issue file")
        (tmp_path / "issues" / "2026-01-07.txt").write_text("x")
        assert row(check_issue_folder, looked_at) == ("pass", "1 issue file")


def notified(*urls: str, more: str = "") -> str:
    return f"[notifications]\nurls = {json.dumps(urls)}\n{more}"


class TestAlerts:
    def test_nothing_is_requested(self, tmp_path: Path) -> None:
        with HttpListener() as server:
            text = notified(server.url(f"/{CANARY}"), more=f'heartbeat_url = "{server.url(f"/{CANARY}")}"\n')
            status, said = row(check_alerts, around(tmp_path, text))
            assert (status, CANARY in said, server.asked) == ("pass", False, [])

    def test_a_schedule_of_which_nobody_hears_is_told(self, tmp_path: Path) -> None:
        assert row(check_alerts, around(tmp_path))[0] == "pass"
        status, said = row(check_alerts, around(tmp_path, NEWSLETTER + DAILY))
        assert (status, "nobody is told" in said) == ("warn", True)
        text = notified("https://hooks.example/x") + NEWSLETTER + DAILY
        assert "this machine itself is off" in row(check_alerts, around(tmp_path, text))[1]

    def test_each_url_that_is_not_understood_is_told(self, tmp_path: Path) -> None:
        text = notified("https://hooks.example/x", f"nonsense://{CANARY}", CANARY)
        found = rows(check_alerts, around(tmp_path, text))
        assert [status for status, _ in found] == ["fail", "fail"]
        assert "config.toml:2: notifications.urls[1]" in found[0][1]
        assert CANARY not in str(found)


def test_a_check_that_breaks_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(_around: Surroundings) -> Iterator[Result]:
        raise LookupError(CANARY)

    entries = [examine.Entry("breaks", breaks), examine.Entry("issues", check_issue_folder)]
    monkeypatch.setattr(examine, "CHECKS", entries)
    heard: list[Result] = []
    results = examine.examined(around(tmp_path), heard.append)
    assert [(one.check, _status(one)) for one in results] == [("breaks", "fail"), ("issues", "fail")]
    assert heard == results
    assert CANARY not in str(results)


def test_of_a_broken_configuration_every_problem_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        around(tmp_path, f'{NEWSLETTER}lists = 3\nnonsense = "{CANARY}"\n')
    document: Any = examine.document(examine.of_broken_configuration(caught.value))
    assert [(one["id"], one["status"]) for one in document["checks"]] == [("config", "fail")] * 2
    assert {one["id"] for one in document["not_checked"]} == {entry.id for entry in examine.CHECKS}
    assert document["ok"] is False
    assert CANARY not in str(document)
