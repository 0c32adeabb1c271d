"""Leaving over real HTTP: what the page shows, what an answer gives away, and what happens without the database."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from fresh_databases import PostgresServer
from public_site import CONFIG, KEY, NOW, PublicSite, said

from newsletter.audience.model import ConsentState, Subscriber
from newsletter.audience.people import Consent
from newsletter.delivery.links import LinkMaker, Purpose
from newsletter.metrics import Metrics
from newsletter.settings.load import load_settings
from newsletter.store.audience import SqlAudience
from newsletter.store.upgrade import upgrade
from newsletter.web import unsubscribe
from newsletter.web.serving import WebServer, web_server

ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[PublicSite]:
    with PublicSite(tmp_path) as site:
        yield site


def link(site: PublicSite, number: int, newsletter: str = "daily-buzz") -> str:
    return f"/unsubscribe/{newsletter}/{site.token(number, newsletter, Purpose.UNSUBSCRIBE)}"


def states(site: PublicSite, address: str = "anna@example.com") -> dict[str, ConsentState]:
    return {one.list: one.state for one in site.person(address).memberships}


def test_all_lists_of_the_newsletter_are_left_and_no_other(site: PublicSite) -> None:
    number = site.subscribe("anna@example.com", "daily-buzz", "weekly", "weekly-old")
    assert site.post(link(site, number, "weekly"), ONE_CLICK).text == "You have left The Weekly\n"
    assert states(site) == {
        "daily-buzz": ConsentState.SUBSCRIBED,
        "weekly": ConsentState.UNSUBSCRIBED,
        "weekly-old": ConsentState.UNSUBSCRIBED,
    }
    assert {(one.list, one.source) for one in site.person().suppressions} == {
        ("weekly", "one-click"),
        ("weekly-old", "one-click"),
    }


def test_a_newsletter_that_is_no_longer_in_the_settings_is_left_all_the_same(site: PublicSite) -> None:
    number = site.subscribe("anna@example.com", "gone-daily", "daily-buzz")
    path = link(site, number, "gone-daily")
    assert "Leave gone-daily?" in said(site.get(path))
    assert site.post(path, ONE_CLICK).text == "You have left gone-daily\n"
    assert states(site) == {"daily-buzz": ConsentState.SUBSCRIBED, "gone-daily": ConsentState.UNSUBSCRIBED}


def test_the_page_asks_once_shows_no_address_and_thanks(site: PublicSite) -> None:
    number = site.subscribe("anna.schmidt@example.com")
    page = site.get(link(site, number))
    assert "Press the button, and Daily Buzz no longer comes to a…@example.com . Unsubscribe" in said(page)
    assert "anna" not in page.text
    assert (page.text.count("<form"), page.text.count("<button"), page.text.count("<h1>")) == (1, 1, 1)
    left = site.post(link(site, number), {"by": "page"})
    assert left.status_code == 200
    assert "You have left Daily Buzz" in said(left)
    assert "subscribe again" in said(left)
    assert [one.source for one in site.person("anna.schmidt@example.com").suppressions] == ["page"]
    assert site.get("/subscribe/daily-buzz").status_code == 200  # where the link leads


def test_a_newsletter_that_is_not_public_leads_nowhere(site: PublicSite) -> None:
    number = site.subscribe("anna@example.com", "inner-circle")
    left = site.post(link(site, number, "inner-circle"), {"by": "page"})
    assert "You have left Inner Circle" in said(left)
    assert "/subscribe/" not in left.text


def test_the_page_speaks_the_language_of_its_newsletter(tmp_path: Path) -> None:
    config = CONFIG.replace('title = "Daily Buzz"', 'title = "Täglich"\nlanguage = "de-AT"')
    with PublicSite(tmp_path, config) as site:
        page = site.get(link(site, site.subscribe()))
        assert '<html lang="de" dir="ltr">' in page.text
        assert "Täglich abbestellen?" in said(page)
        assert site.post(link(site, site.number()), ONE_CLICK).text == "Täglich ist abbestellt\n"


def test_titles_are_escaped(tmp_path: Path) -> None:
    config = CONFIG.replace('title = "Daily Buzz"', 'title = "<script>alert(1)</script> & Co"')
    with PublicSite(tmp_path, config) as site:
        path = link(site, site.subscribe())
        for page in (site.get(path), site.post(path, {"by": "page"})):
            assert "<script" not in page.text
            assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; Co" in page.text


@contextmanager
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """The calls of the audience, by name."""
    calls: Counter[str] = Counter()

    def counting(name: str) -> Any:
        real = getattr(SqlAudience, name)

        def call(self: SqlAudience, *arguments: Any, **named: Any) -> Any:
            calls[name] += 1
            return real(self, *arguments, **named)

        return call

    with monkeypatch.context() as patch:
        for name in ("leave", "members", "person", "person_of", "unsubscribe", "suppress", "lists"):
            patch.setattr(SqlAudience, name, counting(name))
        yield calls


def test_known_left_erased_and_unknown_people_get_the_same_bytes_by_the_same_way(
    site: PublicSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, left, erased = (site.subscribe(f"{name}@example.com") for name in ("known", "left", "erased"))
    site.post(link(site, left), ONE_CLICK)
    assert site.store.erase("erased@example.com", source="test", now=NOW)
    seen = []
    for number in (known, left, erased, 0, 999_999):
        with counted(monkeypatch) as calls:
            answer = site.post(link(site, number), ONE_CLICK)
        headers = {name: value for name, value in answer.headers.items() if name != "date"}
        seen.append((answer.status_code, answer.content, headers, dict(calls)))
    assert seen == [seen[0]] * 5
    assert seen[0][3] == {"leave": 1}
    for number in (known, erased, 0):
        with counted(monkeypatch) as calls:
            assert site.get(link(site, number)).status_code == 200
        assert dict(calls) == {"members": 1}


def test_a_token_that_is_none_does_not_reach_the_database(site: PublicSite) -> None:
    path = link(site, site.subscribe())
    with statements() as seen:
        site.post(path, ONE_CLICK)
    assert any("suppression" in one for one in seen)
    with statements() as seen:
        for wrong in (path[:-1], path + "A", path.replace("daily-buzz", "weekly"), "/unsubscribe/daily-buzz/x"):
            for method in ("GET", "POST", "HEAD"):
                assert site.client.request(method, wrong).status_code == 404
    assert [one for one in seen if "subscriber" in one or "suppression" in one] == []


@contextmanager
def statements() -> Iterator[list[str]]:
    """All SQL of the process."""
    seen: list[str] = []

    def hear(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", hear)
    try:
        yield seen
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", hear)


# a database that is away, slow, or another one


def test_a_database_that_is_away_is_503_and_to_be_tried_again(tmp_path: Path) -> None:
    with served(tmp_path, "postgresql+psycopg://buzz:geheim@127.0.0.1:1/news") as (client, path_of):
        for answer in (client.post(path_of(7), data=ONE_CLICK), client.get(path_of(7))):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
            assert "geheim" not in answer.text
        assert client.post("/unsubscribe/a/wrong", data=ONE_CLICK).status_code == 404


def test_two_processes_share_a_postgresql(tmp_path: Path, postgres: sa.Engine, postgres_server: PostgresServer) -> None:
    assert postgres.url.database is not None
    upgrade(postgres)
    url = postgres_server.url(postgres.url.database)
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    store = SqlAudience(postgres, b"e" * 32)
    for name in ("anna", "bert"):
        row = Subscriber(key=f"{name}@example.com", address=f"{name}@example.com")
        assert store.subscribe(row, "a", consent=Consent("a", NOW, source="test"), now=NOW)
    numbers = [person.id for name in ("anna", "bert") if (person := store.person(f"{name}@example.com"))]
    with served(tmp_path / "one", url) as (one, path_of), served(tmp_path / "other", url) as (other, _):
        answers: list[int] = []

        def leave(client: httpx.Client, number: int) -> None:
            answers.extend(client.post(path_of(number), data=ONE_CLICK).status_code for _ in range(10))

        threads = [
            threading.Thread(target=leave, args=(client, number)) for client in (one, other) for number in numbers
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert answers == [200] * 40
    for name in ("anna", "bert"):
        person = store.person(f"{name}@example.com")
        assert person is not None
        assert len(person.suppressions) == 1
        assert [one.state for one in person.memberships] == [ConsentState.UNSUBSCRIBED]


def test_one_that_takes_too_long_is_503_and_the_next_request_finds_it_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unsubscribe, "_PATIENCE", 0.3)
    with PublicSite(tmp_path) as site:
        path = link(site, site.subscribe())
        with locked(site) as let_go:
            assert site.post(path, ONE_CLICK).status_code == 503
            assert states(site)["daily-buzz"] is ConsentState.SUBSCRIBED
            let_go()
        until = time.monotonic() + 20
        while site.post(path, ONE_CLICK).status_code != 200:
            assert time.monotonic() < until
        assert states(site)["daily-buzz"] is ConsentState.UNSUBSCRIBED
        assert len(site.person().suppressions) == 1


def test_a_server_that_is_told_to_stop_still_writes_and_answers(tmp_path: Path) -> None:
    site = PublicSite(tmp_path)
    with site:
        path = link(site, site.subscribe())
        answers: list[int] = []
        with locked(site) as let_go:
            asking = threading.Thread(target=lambda: answers.append(site.post(path, ONE_CLICK).status_code))
            asking.start()
            time.sleep(0.5)
            stopping = threading.Thread(target=site._server.stop)
            stopping.start()
            time.sleep(0.3)
            assert answers == []
            let_go()
            asking.join(20)
            stopping.join(20)
        assert answers == [200]
        assert not stopping.is_alive()
        assert states(site)["daily-buzz"] is ConsentState.UNSUBSCRIBED


@contextmanager
def locked(site: PublicSite) -> Iterator[Any]:
    """Another process writes into the database, and takes its time; until it is let go."""
    with closing(sqlite3.connect(site.loaded.resolve(Path("var/newsletter.db")), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield lambda: other.execute("ROLLBACK")


@contextmanager
def served(folder: Path, url: str) -> Iterator[tuple[httpx.Client, Any]]:
    """The web part on this database, and what makes the path of somebody's link."""
    (folder / "key").write_text(KEY)
    (folder / "config.toml").write_text(
        f'[site]\nsecret_key = {{ file = "key" }}\n[web]\nport = 0\n[database]\nurl = "{url}"\n'
        '[newsletters.a]\ntitle = "A"\nfrom = "a@example.com"\n'
    )
    links = LinkMaker("http://localhost:8000", "a", [KEY])
    server: WebServer = web_server(load_settings(folder / "config.toml", {}), Metrics())
    with server, httpx.Client(base_url=server.url, timeout=60) as client:
        yield client, lambda number: f"/unsubscribe/a/{links.token(Purpose.UNSUBSCRIBE, number)}"
