"""How the web part begins and ends: what is wrong is said before anybody is served, and nothing is left half-done."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response

from newsletter.errors import ConfigError, OutputError, TemplateError
from newsletter.metrics import Metrics
from newsletter.project_files import Shipped, copy_project, shipped
from newsletter.settings.load import load_settings
from newsletter.settings.loaded import Loaded
from newsletter.web.application import application
from newsletter.web.serving import WebServer, web_server


def configured(folder: Path, more: str = "", url: str = "sqlite:///news.db") -> Loaded:
    (folder / "config.toml").write_text(
        f'[database]\nurl = "{url}"\n[web]\nport = 0\n[newsletters.a]\ntitle = "A"\nfrom = "a@example.com"\n{more}'
    )
    return load_settings(folder / "config.toml", {})


def writers() -> list[str]:
    return sorted(one.name for one in threading.enumerate() if one.name in {"departures", "posts"})


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("pages/unsubscribe.html.j2", "<p>\n{{ words( }}\n", r"pages/unsubscribe\.html\.j2:2: "),
        (
            "pages/error.html.j2",
            "{% extends 'base.html.j2' %}{% block main %}\n{{ nothing }}{% endblock %}",
            r":2: 'nothing' is undefined",
        ),
        ("pages/base.html.j2", "{{ words('page.nothing') }}", r"pages/base\.html\.j2:1: there are no words"),
        (
            "pages/subscribe.html.j2",
            "\n{{ words('subscribe.nope') }}",
            r"pages/subscribe\.html\.j2:2: there are no words",
        ),
        ("pages/erase.html.j2", "\n\n{% extends 'bse.html.j2' %}", r"pages/erase\.html\.j2:3: there is no bse\.html"),
        ("pages/home.html.j2", "{% include 'part.html.j2' %}", r"pages/home\.html\.j2:1: there is no part\.html"),
        ("languages/en.toml", "[page]\nskip = 7\n", r"languages/en\.toml: page\.skip is no text"),
        ("languages/de.toml", "[page\n", r"languages/de\.toml:1:6: not valid TOML"),
    ],
)
def test_a_page_or_catalogue_that_is_wrong_is_told_at_the_start(
    tmp_path: Path, file: str, text: str, said: str
) -> None:
    loaded = configured(tmp_path, 'language = "de"\n')
    path = tmp_path / "templates" / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    before = writers()
    with pytest.raises(TemplateError, match=said):
        web_server(loaded, Metrics())
    assert writers() == before


def test_a_project_restyles_single_files(tmp_path: Path) -> None:
    pages = tmp_path / "templates" / "pages"
    pages.mkdir(parents=True)
    base = (shipped(Shipped.TEMPLATES) / "pages" / "base.html.j2").read_text("utf-8")
    (pages / "base.html.j2").write_text(base.replace("<footer>", "<footer><b>Ours</b>"), "utf-8")
    (pages / "page.css").write_text("body { color: red }")
    (pages / "logo.png").write_bytes(b"\x89PNG")
    with web_server(configured(tmp_path), Metrics()) as server:
        page = httpx.get(f"{server.url}nothing", headers={"Accept": "text/html"})
        assert "<b>Ours</b>" in page.text
        css = httpx.get(f"{server.url}assets/page.css")
        assert (css.text, css.headers["content-type"]) == ("body { color: red }", "text/css; charset=utf-8")
        known = {"If-None-Match": css.headers["etag"]}
        assert httpx.get(f"{server.url}assets/page.css", headers=known).status_code == 304
        assert httpx.get(f"{server.url}assets/logo.png").headers["content-type"] == "image/png"
        assert httpx.get(f"{server.url}assets/icon.svg").status_code == 200


def test_nothing_but_the_pages_own_files_is_given_out(tmp_path: Path) -> None:
    names = ["base.html.j2", ".page.css", "page.CSS", "", "nothing.css", "..%2F..%2Fconfig.toml", "%2Fetc%2Fpasswd"]
    names += ["..%2Flanguages%2Fen.toml", "..%5Cpage.css", "page.css%00.png", "..%2F..%2Ftemplates%2Fpages%2Fpage.css"]
    with web_server(configured(tmp_path), Metrics()) as server:
        found = {name: httpx.get(f"{server.url}assets/{name}").status_code for name in names}
    assert found == dict.fromkeys(names, 404)


def test_without_a_key_for_its_links_there_is_no_web_part(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="secret_key is missing"):
        web_server(configured(tmp_path, url="postgresql+psycopg://u@127.0.0.1:1/news"), Metrics())


def test_a_port_that_is_taken_leaves_no_thread_behind(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    with web_server(configured(tmp_path / "one"), Metrics()) as server:
        port = int(server.url.rstrip("/").rpartition(":")[2])
        before = writers()
        with pytest.raises(OutputError, match="Address already in use"):
            web_server(configured(tmp_path / "other"), Metrics(), port=port)
        assert writers() == before


class Noted:
    """A worker that notes what happens to it."""

    def __init__(self, name: str, notes: list[str], fails: bool = False) -> None:
        self.name, self.notes, self.fails = name, notes, fails

    def start(self) -> None:
        if self.fails:
            raise OSError(self.name)
        self.notes.append(f"{self.name} starts")

    def stop(self) -> None:
        self.notes.append(f"{self.name} stops")


def test_workers_stop_after_the_last_answer_and_writers_after_them() -> None:
    notes: list[str] = []
    routes, entered, let_go = APIRouter(), threading.Event(), threading.Event()

    @routes.get("/slow")
    def slow() -> Response:
        entered.set()
        let_go.wait(20)
        notes.append("answers")
        return PlainTextResponse("done")

    ending = ExitStack()
    ending.callback(lambda: notes.append("writers close"))
    workers = [Noted("one", notes), Noted("two", notes)]
    server = WebServer(application(routes), "127.0.0.1", 0, workers=workers, ending=ending)
    answers: list[str] = []
    with server:
        asking = threading.Thread(target=lambda: answers.append(httpx.get(f"{server.url}slow", timeout=30).text))
        asking.start()
        assert entered.wait(20)
        threading.Timer(0.3, let_go.set).start()
    asking.join(20)
    assert answers == ["done"]
    assert notes == ["one starts", "two starts", "answers", "two stops", "one stops", "writers close"]
    server.stop()
    assert len(notes) == 6


def test_a_worker_that_cannot_start_stops_those_before_it() -> None:
    notes: list[str] = []
    ending = ExitStack()
    ending.callback(lambda: notes.append("writers close"))
    workers = [Noted("one", notes), Noted("two", notes, fails=True)]
    server = WebServer(application(), "127.0.0.1", 0, workers=workers, ending=ending)
    with pytest.raises(OSError, match="two"), server:
        pass
    assert notes == ["one starts", "one stops", "writers close"]
    assert not server.serves()


def test_pages_and_catalogues_are_among_what_ships(tmp_path: Path) -> None:
    """`init` copies them for operators to edit, as it does with the mail's templates."""
    made = {file.relative_to(tmp_path).as_posix() for file in copy_project(tmp_path)}
    pages = {f"templates/pages/{name}" for name in ("base.html.j2", "error.html.j2", "page.css", "icon.svg")}
    assert pages | {"templates/languages/en.toml", "templates/languages/de.toml"} <= made
