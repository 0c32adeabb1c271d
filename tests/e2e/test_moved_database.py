"""A newsletter that moves from SQLite to PostgreSQL in the middle of its life, as the command itself says to do it."""

from __future__ import annotations

import email
import email.policy
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fresh_databases import PostgresServer
from live_projects import LiveProject, smtp_server
from projects import Ended, connections_closed
from public_sites import link_to
from servers.smtp_server import Moment, Reaction, Script, SmtpServer

from newsletter.metrics import Metrics
from newsletter.web.serving import web_server
from newsletter.wiring import parts

PEOPLE = 20
DAYS = {"finished": "2026-01-07", "paused": "2026-01-08", "held": "2026-01-09"}


class MovingProject(LiveProject):
    """A project whose connections to PostgreSQL are closed when a command is over, as a process's are."""

    def call(self, *arguments: str, said: str = "", **environment: str) -> Ended:
        with connections_closed():
            return super().call(*arguments, said=said, **environment)


class Losing(Script):
    """A server that takes everything, and while `losing` is set is silenced before it answers."""

    losing = False

    def __init__(self) -> None:
        super().__init__(react=self._react)

    def _react(self, moment: Moment) -> Reaction | None:
        return Reaction(accept=True, reset=True) if self.losing and moment.step == "content" else None


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with smtp_server(Losing()) as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, server: SmtpServer) -> LiveProject:
    """Three runs on SQLite: finished; paused behind its tenth recipient; held with one whose answer was lost."""
    project = MovingProject(tmp_path / "project", server.port)
    project.people(PEOPLE)
    project.delivery("concurrency", "1")
    project.delivery("window", "1")
    text = project.issue.read_text("utf-8")
    for state, day in DAYS.items():
        said = "\n".join(f"{line} ({state})" if line.endswith(".") else line for line in text.splitlines())
        if day != "2026-01-07":
            said = said.replace("7 January", f"{int(day[-2:])} January")
            (project.folder / f"issues/{day}.txt").write_text(said)
    assert project.send(confirm=PEOPLE).code == 0
    assert project.call("send", DAYS["paused"], "--confirm", str(PEOPLE), "--limit", "10").code == 0
    held = ("send", DAYS["held"], "--confirm", str(PEOPLE))
    assert project.call(*held, "--limit", str(PEOPLE - 1)).code == 0
    server.script.losing = True  # type: ignore[attr-defined]
    project.call("send", DAYS["held"], "--resume")
    server.script.losing = False  # type: ignore[attr-defined]
    return project


def new_database(server: PostgresServer) -> str:
    """Its URL, without the password that it does not have."""
    return server.url(server.create()).replace(":@", "@")


def statuses(project: LiveProject) -> dict[str, object]:
    return {day: project.call("status", f"daily-buzz/{day}", "--json").json for day in DAYS.values()}


def move(project: LiveProject, url: str) -> None:
    """What `db copy` says is to be done."""
    ended = project.call("db", "copy", url, "--json")
    assert ended.code == 0, ended.err
    said = "\n".join(ended.json["next"])
    assert f'`url = "{url}"` under [database] (' in said
    assert f"Leave {project.folder}/var/journal.ndjson where it is" in said
    [key] = re.findall(r"Write `(secret_key = .*)` under \[site\]", said)
    project.edit(project.config, 'url = "sqlite:///var/newsletter.db"', f'url = "{url}"')
    project.edit(project.config, 'secret_key = { env = "NEWSLETTER_SECRET_KEY" }', key)


def test_everything_goes_on_where_it_was(
    project: LiveProject, server: SmtpServer, postgres_server: PostgresServer
) -> None:
    before = statuses(project)
    assert {day: one["state"] for day, one in before.items()} == {day: state for state, day in DAYS.items()}  # type: ignore[index]
    move(project, new_database(postgres_server))
    assert statuses(project) == before
    again = project.send(confirm=PEOPLE)
    assert (again.code, "Already sent" in again.err) == (5, True), again

    assert project.call("send", DAYS["paused"], "--resume").code == 0
    resolved = project.call("resolve", f"daily-buzz/{DAYS['held']}", "--assume-accepted", "--confirm", "1", "--json")
    assert (resolved.code, resolved.json["state"]) == (0, "finished"), resolved.err
    got = Counter((taken.address, _subject(taken.message)) for taken in server.taken)
    assert set(got.values()) == {1}
    assert len(got) == 3 * PEOPLE

    # a link of a mail that went out by the old database
    mail = email.message_from_bytes(server.taken[0].message, policy=email.policy.default)
    leaver = server.taken[0].address
    path = link_to(mail, "/unsubscribe/").partition("/unsubscribe/")[2]
    loaded = parts.settings(project.config)
    with connections_closed(), web_server(loaded, Metrics(), host="127.0.0.1", port=0) as web:
        answer = httpx.post(f"{web.url}unsubscribe/{path}", data={"List-Unsubscribe": "One-Click"}, timeout=30)
        assert answer.status_code == 200
    assert project.call("subscribers", "show", leaver, "--json").json["state"] == "unsubscribed"
    project.call("doctor")


def test_people_are_told_in_words_and_the_old_database_is_as_it_was(
    project: LiveProject, postgres_server: PostgresServer
) -> None:
    before = statuses(project)
    url = new_database(postgres_server)
    ended = project.call("db", "copy", url)
    assert (ended.code, ended.err) == (0, "")
    assert re.search(r"^subscriber +20 +\d\.\d s +\d\.\d s$", ended.out, re.MULTILINE)
    assert "rows copied to postgresql://localhost/" in ended.out
    assert re.search(r"^1\. Write `url = ", ended.out, re.MULTILINE)
    assert statuses(project) == before
    again = project.call("db", "copy", url)
    assert (again.code, "not empty" in again.err) == (5, True)
    assert project.call("db", "copy", "sqlite:///var/newsletter.db").code == 5
    nowhere = project.call("db", "copy", "sqlite:///nowhere/newsletter.db")
    assert (nowhere.code, "there is no folder" in nowhere.err) == (2, True)
    assert not (project.folder / "nowhere").exists()
    nonsense = project.call("db", "copy", "mysql://localhost/news")
    assert (nonsense.code, "✗ TO_URL: expected" in nonsense.err) == (2, True)
    away = project.call("db", "copy", "postgresql+psycopg://nobody@127.0.0.1:1/nowhere")
    assert (away.code, "TO_URL: PostgreSQL cannot be reached" in away.err) == (75, True)
    assert "[database]" not in away.err


def _subject(message: bytes) -> str:
    return str(email.message_from_bytes(message, policy=email.policy.default)["Subject"])
