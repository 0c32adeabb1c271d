"""The web part is asked over real HTTP whether it lives and is ready, and what it counted."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from fresh_databases import PostgresServer

from newsletter.errors import OutputError
from newsletter.metrics import Metrics, RunMetrics
from newsletter.settings.load import load_settings
from newsletter.settings.loaded import Loaded
from newsletter.store.engine import open_engine
from newsletter.store.upgrade import HEAD, upgrade
from newsletter.web.application import application
from newsletter.web.health import Check, LastLook, health_routes
from newsletter.web.serving import WebServer, web_server


def configured(folder: Path, url: str = "sqlite:///news.db") -> Loaded:
    path = folder / "config.toml"
    web = '[web]\nhost = "127.0.0.1"\nport = 0\n'
    (folder / "key").write_text("0123456789abcdef" * 4)
    site = '[site]\nsecret_key = { file = "key" }\n'
    path.write_text(f'{web}{site}[database]\nurl = "{url}"\n[newsletters.a]\ntitle = "A"\nfrom = "a@example.com"\n')
    return load_settings(path, {})


def serving(checks: dict[str, Check] | None = None, *, patience: float = 5) -> WebServer:
    app = application(health_routes(checks or {}, Metrics(), patience=patience))
    return WebServer(app, "127.0.0.1", 0)


def test_a_process_that_answers_lives_whatever_its_database_does() -> None:
    with serving({"database": lambda: "it cannot be reached"}) as server:
        answer = httpx.get(server.url + "healthz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert answer.headers["cache-control"] == "no-store"
        answer = httpx.get(server.url + "readyz")
        assert answer.status_code == 503
        assert answer.json() == {"ready": False, "checks": {"database": "it cannot be reached"}}


def test_it_is_ready_with_a_current_database_and_a_daemon_that_looks(tmp_path: Path) -> None:
    loaded = configured(tmp_path)
    upgrade(open_engine(loaded.settings.database.url, tmp_path))
    look = LastLook()
    with web_server(loaded, Metrics(), look) as server:
        answer = httpx.get(server.url + "readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"] == {"database": "ok", "daemon": "it has not looked yet"}
        look.note()
        answer = httpx.get(server.url + "readyz")
        assert answer.status_code == 200
        assert answer.json() == {"ready": True, "checks": {"database": "ok", "daemon": "ok"}}


def test_a_daemon_that_hangs_is_not_ready() -> None:
    now = 1000.0
    look = LastLook(most=60, clock=lambda: now)
    look.note()
    now += 59
    assert look.check() == ""
    now += 11
    assert look.check() == "it last looked 70 s ago"
    look.note()
    assert look.check() == ""


def test_tables_that_are_behind_or_gone_are_not_ready(tmp_path: Path) -> None:
    loaded = configured(tmp_path)
    engine = open_engine(loaded.settings.database.url, tmp_path)
    upgrade(engine)
    with web_server(loaded, Metrics()) as server:

        def said() -> object:
            return httpx.get(server.url + "readyz").json()["checks"]["database"]

        assert said() == "ok"
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
        assert said() == "its tables are not those that this program needs"
        with engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{HEAD}'")
        assert said() == "ok"
        engine.dispose()
        (tmp_path / "news.db").unlink()
        assert said() == "its file is gone"


def test_postgresql_is_ready_when_it_is_upgraded(
    tmp_path: Path, postgres: sa.Engine, postgres_server: PostgresServer
) -> None:
    assert postgres.url.database is not None
    with web_server(configured(tmp_path, postgres_server.url(postgres.url.database)), Metrics()) as server:
        assert "tables are not" in httpx.get(server.url + "readyz").json()["checks"]["database"]
        upgrade(postgres)
        assert httpx.get(server.url + "readyz").status_code == 200


def test_a_database_that_is_away_is_said_without_its_address(tmp_path: Path) -> None:
    loaded = configured(tmp_path, "postgresql+psycopg://buzz:geheim@127.0.0.1:1/news")
    with web_server(loaded, Metrics()) as server:
        answer = httpx.get(server.url + "readyz")
    assert (answer.status_code, answer.json()["checks"]) == (503, {"database": "it cannot be reached"})


def test_a_check_that_hangs_or_breaks_holds_up_nobody() -> None:
    hold, calls = threading.Event(), []

    def hangs() -> str:
        calls.append(1)
        hold.wait(30)
        return ""

    def breaks() -> str:
        raise LookupError("postgresql://secret")

    with serving({"database": hangs, "other": breaks}, patience=0.2) as server:
        for _ in range(3):
            answer = httpx.get(server.url + "readyz")
            assert answer.status_code == 503
            assert answer.json()["checks"] == {"database": "no answer yet", "other": "no answer yet"}
            assert httpx.get(server.url + "healthz").status_code == 200
        assert calls == [1]
        hold.set()
        until = time.monotonic() + 20
        while (said := httpx.get(server.url + "readyz").json()["checks"])["database"] != "ok":
            assert time.monotonic() < until
        assert said["other"] == "the check failed (LookupError)"


def test_the_counters_of_the_process_are_shown() -> None:
    metrics = Metrics()
    RunMetrics(metrics, "daily-buzz", "smtp").paused("whatever")
    with WebServer(application(health_routes({}, metrics)), "127.0.0.1", 0) as server:
        answer = httpx.get(server.url + "metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'newsletter_run_pauses_total{newsletter="daily-buzz",provider="smtp"} 1.0' in answer.text.splitlines()


@pytest.mark.parametrize("path", ["healthz", "readyz", "metrics"])
def test_head_is_get_without_the_body(path: str) -> None:
    with serving() as server:
        got, head = httpx.get(server.url + path), httpx.head(server.url + path)
        assert head.status_code == got.status_code == 200
        assert head.content == b""
        assert head.headers["content-length"] == str(len(got.content))
        assert head.headers["content-type"] == got.headers["content-type"]


@pytest.mark.parametrize("path", ["", "nothing", "healthz/", "docs", "openapi.json", "../etc/passwd", "%00"])
def test_there_is_nothing_else(path: str) -> None:
    with serving() as server:
        assert httpx.get(server.url + path).status_code == 404
        assert httpx.head(server.url + path).status_code == 404


def test_other_methods_are_refused_by_name() -> None:
    with serving() as server:
        for method in ("POST", "PUT", "DELETE"):
            answer = httpx.request(method, server.url + "healthz")
            assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_an_address_that_is_taken_is_told(tmp_path: Path) -> None:
    with serving() as server:
        port = int(server.url.rstrip("/").rpartition(":")[2])
        with pytest.raises(OutputError, match=f" port {port} cannot be listened on: Address already in use"):
            web_server(configured(tmp_path), Metrics(), port=port)
    with pytest.raises(OutputError, match=r"nowhere\.invalid port 0"):
        web_server(configured(tmp_path), Metrics(), host="nowhere.invalid")


def test_it_stops_with_its_block_and_gives_its_port_back() -> None:
    with serving() as server:
        assert server.serves()
        port = int(server.url.rstrip("/").rpartition(":")[2])
    assert not server.serves()
    server.stop()
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_one_that_was_never_started_can_be_stopped() -> None:
    serving().stop()


def test_ipv6_stands_in_brackets() -> None:
    if not _has_ipv6():
        return
    with WebServer(application(health_routes({}, Metrics())), "::1", 0) as server:
        assert server.url.startswith("http://[::1]:")
        assert httpx.get(server.url + "healthz").status_code == 200


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True
