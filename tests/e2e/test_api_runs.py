"""Runs and issues over the API: looked at, approved, sent, steered; and what becomes of a run when the process ends."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from api_projects import EVERY, Api, ApiProject, tokens_of
from live_projects import RUN, STATUS_KEYS, Gate, eventually, smtp_server
from projects import SLOT
from servers.smtp_server import Script, SmtpServer

_PEOPLE = 60
_OVER = {"finished", "held", "paused", "cancelled", "expired"}


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with smtp_server() as server:
        yield server


def project_at(folder: Path, server: SmtpServer, people: int = _PEOPLE) -> ApiProject:
    project = ApiProject(folder / "project", server.port)
    project.people(people)
    return project


def over(api: Api) -> dict[str, Any]:
    """The run as soon as nobody sends it any more."""
    found: dict[str, Any] = {}

    def is_over() -> bool:
        found.update(api.get(f"/runs/{RUN}"))
        return found["state"] in _OVER and not found["sender"]

    eventually(is_over)
    return found


def nobody_twice(server: SmtpServer, people: int = _PEOPLE) -> None:
    assert sorted(server.addresses()) == [f"p{one:05}@example.com" for one in range(people)]


class TestSending:
    def test_an_issue_goes_out_once_and_the_run_reads_as_on_the_command_line(
        self, tmp_path: Path, server: SmtpServer
    ) -> None:
        project = project_at(tmp_path, server)
        with project.api() as api:
            begun = api.post(f"/runs/{RUN}", {"confirm": _PEOPLE}, 202)
            assert begun.keys() >= set(STATUS_KEYS)
            assert (begun["run"], begun["planned"]) == (RUN, _PEOPLE)
            done = over(api)
            assert (done["state"], done["accepted"]) == ("finished", _PEOPLE)
            nobody_twice(server)
            assert done == project.status()
            again = api.post(f"/runs/{RUN}", {"confirm": _PEOPLE}, 409)
            assert again["code"] == "refused"
            assert again["detail"].startswith("Already sent at")
            assert api.post(f"/runs/{RUN}/resume", {}, 409)["code"] == "nothing_to_do"
            assert api.post(f"/runs/{RUN}/cancel", {}, 409)["code"] == "refused"
            [listed] = api.get("/runs")["items"]
            assert listed == {name: done[name] for name in listed}
            assert api.get("/runs", newsletter="weekly")["items"] == []
            deliveries = api.items(f"/runs/{RUN}/deliveries", limit=7)
            assert [one["email"] for one in deliveries] == [f"p{one:05}@example.com" for one in range(_PEOPLE)]
            assert {one["state"] for one in deliveries} == {"accepted"}
            assert len(api.items(f"/runs/{RUN}/deliveries", limit=59, state="accepted")) == _PEOPLE
            assert api.get(f"/runs/{RUN}/deliveries", state="unknown") == {"items": [], "next": None}
            assert api.get("/subscribers/p00007@example.com")["deliveries"] == [deliveries[7]]
        assert len(server.taken) == _PEOPLE

    def test_the_guards_are_those_of_the_command_and_nothing_is_planned_where_one_refuses(
        self, tmp_path: Path, server: SmtpServer
    ) -> None:
        project = project_at(tmp_path, server)
        with project.api() as api:
            wrong = api.post(f"/runs/{RUN}", {"confirm": 59}, 409)
            assert wrong["detail"] == f"59 was confirmed, and it would be {_PEOPLE}: nothing was sent"
            said = project.call("send", SLOT, "--confirm", "59", "--json").json["error"]
            assert (wrong["detail"], wrong["hint"]) == (said["message"], said["hint"])
            project.edit(project.issue, "Daily Buzz: 7 January 2026", "{{ Daily }} Buzz: 7 January 2026")
            missing = api.post("/runs/daily-buzz/2026-01-08", {"confirm": _PEOPLE}, 409)
            assert missing["code"] == "issue_unreadable"
            assert str(tmp_path) not in json.dumps(missing["detail"])
            assert api.post("/runs/weekly/2026-01-07", {"confirm": 1}, 404)["code"] == "not_found"
            assert api.get(f"/runs/{RUN}", 404)["code"] == "not_found"
            for path in (f"/runs/{RUN}/pause", f"/runs/{RUN}/resume", f"/runs/{RUN}/cancel"):
                api.post(path, {}, 404)
        assert server.taken == []

    def test_what_needs_an_approval_goes_out_with_one_and_only_as_it_was_approved(
        self, tmp_path: Path, server: SmtpServer
    ) -> None:
        project = project_at(tmp_path, server)
        project.edit(project.config, "require_approval = false", "require_approval = true")
        with project.api() as api:
            assert "not approved" in api.post(f"/runs/{RUN}", {"confirm": _PEOPLE}, 409)["detail"]
            approved = api.post(f"/issues/{RUN}/approve", {})
            assert (approved["run"], approved["by"]) == (RUN, "api:every")
            named = api.post(f"/issues/{RUN}/approve", {"by": "Anna\u202e, news desk"})
            assert named == {**approved, "by": "Anna, news desk (api:every)"}
            before = project.issue.read_text("utf-8")
            project.edit(project.issue, "Daily Buzz: 7 January 2026", "Daily Buzz, changed: 7 January 2026")
            assert "changed since it was approved" in api.post(f"/runs/{RUN}", {"confirm": _PEOPLE}, 409)["detail"]
            project.issue.write_text(before, "utf-8")
            api.post(f"/runs/{RUN}", {"confirm": _PEOPLE}, 202)
            assert over(api)["content_hash"] == approved["content_hash"]
            assert api.post(f"/issues/{RUN}/approve", {"by": "Anna"}, 409)["code"] == "refused"
        nobody_twice(server)

    def test_a_canary_waits_and_goes_on(self, tmp_path: Path, server: SmtpServer) -> None:
        with project_at(tmp_path, server).api() as api:
            api.post(f"/runs/{RUN}", {"confirm": _PEOPLE, "limit": 5}, 202)
            done = over(api)
            assert (done["state"], done["accepted"], done["remaining"]) == ("paused", 5, 55)
            assert api.post(f"/runs/{RUN}/resume", {"confirm": 55}, 409)["code"] == "refused"
            api.post(f"/runs/{RUN}/resume", {"confirm": _PEOPLE}, 202)
            eventually(lambda: api.get(f"/runs/{RUN}")["state"] == "finished")
            nobody_twice(server)

    def test_a_run_is_paused_resumed_and_cancelled_while_it_goes_out(self, tmp_path: Path) -> None:
        gate = Gate(after=12)
        with smtp_server(Script(react=gate)) as server, project_at(tmp_path, server).api() as api:
            api.post(f"/runs/{RUN}", {"confirm": _PEOPLE}, 202)
            assert gate.reached.wait(30)
            busy = api.post(f"/runs/{RUN}", {"confirm": _PEOPLE}, 409)
            assert "is being sent by this process" in busy["detail"]
            paused = api.post(f"/runs/{RUN}/pause", {"reason": "wrong\u0007 headline"})
            assert (paused["state"], paused["reason"]) == ("paused", "paused by an operator: wrong headline")
            assert (
                api.post(f"/runs/{RUN}/pause", {"reason": "again"})["reason"] == "paused by an operator: wrong headline"
            )
            gate.open()
            there = over(api)
            assert 0 < there["accepted"] < _PEOPLE
            eventually(lambda: api.call("POST", f"/runs/{RUN}/resume", json={"limit": 3}).status_code == 202)
            eventually(lambda: over(api)["accepted"] == there["accepted"] + 3)
            cancelled = api.post(f"/runs/{RUN}/cancel", {})
            assert cancelled["state"] == "cancelled"
            assert cancelled["cancelled"] == _PEOPLE - there["accepted"] - 3
        assert len(set(server.addresses())) == len(server.taken) == there["accepted"] + 3

    def test_a_server_that_ends_finishes_the_calls_in_flight_and_the_command_line_goes_on(self, tmp_path: Path) -> None:
        gate = Gate(after=20)
        with smtp_server(Script(react=gate)) as server:
            project = project_at(tmp_path, server)
            with project.api() as api:
                api.post(f"/runs/{RUN}", {"confirm": _PEOPLE}, 202)
                assert gate.reached.wait(30)
                # the calls that wait are let go once the server has been told to end
                threading.Timer(1, gate.open).start()
            status = project.status()
            assert (status["unknown"], status["in_flight"], status["sender"]) == (0, 0, "")
            assert 0 < status["accepted"] == len(server.taken) < _PEOPLE
            assert project.call("send", SLOT, "--resume").code == 0
            nobody_twice(server)


def test_a_process_that_is_killed_leaves_a_run_that_goes_on_and_nobody_gets_it_twice(tmp_path: Path) -> None:
    gate = Gate(after=25)
    with smtp_server(Script(react=gate)) as server:
        project = project_at(tmp_path, server, people=200)
        token = tokens_of(project.loaded)[EVERY]
        web = project.start("web", "--port", "0", "--json")
        try:
            assert web.stdout is not None
            url = json.loads(web.stdout.readline())["url"]
            headers = {"Authorization": f"Bearer {token}"}
            begun = httpx.post(f"{url}api/v1/runs/{RUN}", json={"confirm": 200}, headers=headers, timeout=60)
            assert begun.status_code == 202, begun.text
            assert gate.reached.wait(60)
        finally:
            web.send_signal(signal.SIGKILL)
            web.communicate(timeout=60)
        server.drop_connections()
        gate.open()
        with project.api() as api:
            assert api.get(f"/runs/{RUN}")["sender"] == ""
            api.post(f"/runs/{RUN}/resume", {}, 202)
            done = over(api)
            assert done["state"] == "held"
            unknown = [one["email"] for one in api.items(f"/runs/{RUN}/deliveries", limit=9, state="unknown")]
        assert 0 < len(unknown) == done["unknown"] <= 40  # window × concurrency
        assert done["accepted"] + done["unknown"] == 200
        taken = server.addresses()
        assert len(set(taken)) == len(taken)
        assert set(taken) | set(unknown) == {f"p{one:05}@example.com" for one in range(200)}


class TestIssues:
    @pytest.fixture
    def project(self, tmp_path: Path) -> ApiProject:
        return ApiProject(tmp_path)

    def test_an_issue_reads_as_check_has_it_and_looking_changes_nothing(self, project: ApiProject) -> None:
        project.call("subscribers", "sync")
        project.people(40)  # not synced: that would be a change
        with project.api() as api:
            before = tables(project)
            assert api.get(f"/issues/{RUN}") == project.call("check", SLOT, "--json").json
            for path in (
                "/newsletters",
                "/issues/daily-buzz",
                "/runs",
                "/subscribers",
                "/suppressions",
                "/openapi.json",
            ):
                api.get(path)
                assert api.call("HEAD", path).content == b""
            assert api.call("HEAD", f"/issues/{RUN}").status_code == 200
            assert tables(project) == before
            assert api.get("/issues/daily-buzz/2026-01-08", 404)["code"] == "not_found"
            assert api.get("/issues/weekly", 404)["code"] == "not_found"

    def test_a_template_that_asks_for_a_readers_fields_is_checked_without_a_sync(self, project: ApiProject) -> None:
        assert project.call("subscribers", "sync").code == 0
        template = project.folder / "templates" / "digest" / "issue.txt.j2"
        template.write_text("{% if recipient.language == 'pl' %}Dzień dobry{% endif %}\n" + template.read_text("utf-8"))
        project.people(40)
        with project.api() as api:
            before = tables(project)
            answer = api.call("GET", f"/issues/{RUN}")
            assert answer.status_code in {200, 409}, answer.text
            assert tables(project) == before

    def test_the_newsletters_and_their_issues_are_listed(self, project: ApiProject) -> None:
        for day in ("08", "09", "10"):
            text = project.issue.read_text("utf-8").replace("7 January", f"{int(day)} January")
            (project.issue.parent / f"2026-01-{day}.evening.txt").write_text(text, "utf-8")
        (project.issue.parent / "notes.txt").write_text("no issue")
        with project.api() as api:
            [newsletter] = api.get("/newsletters")["items"]
            assert (newsletter["name"], newsletter["lists"]) == ("daily-buzz", ["daily-buzz"])
            assert newsletter["from"] == "Daily Buzz <buzz@news.example.com>"
            issues = api.items("/issues/daily-buzz", limit=1)
            evenings = [f"2026-01-{day}.evening" for day in ("10", "09", "08")]
            assert [one["slot"] for one in issues] == [*evenings, SLOT]
            assert issues[0] == {
                "slot": "2026-01-10.evening",
                "date": "2026-01-10",
                "edition": "evening",
                "file": "2026-01-10.evening.txt",
            }
            assert api.get("/issues/daily-buzz/2026-01-10.evening")["issue"]["edition"] == "evening"

    def test_what_stands_in_an_issue_is_text_and_never_a_template_or_a_page(self, project: ApiProject) -> None:
        nasty = "{{ 7*7 }} {% raw %} <script>alert(1)</script> ${7*7} #{7*7}"
        project.edit(project.issue, "Harbor Nations Sign Pact to Share Storm Warnings", nasty)
        with project.api() as api:
            answer = api.call("GET", f"/issues/{RUN}", headers={"Accept": "text/html"})
            [*_] = answer.json()["findings"]
            headlines = [one["headline"] for part in answer.json()["issue"]["sections"] for one in part["stories"]]
            texts = [*headlines, *(part["title"] for part in answer.json()["issue"]["sections"])]
            assert any(nasty in text for text in texts), texts[:3]
            assert "49" not in answer.json()["issue"]["preheader"]
            assert answer.headers["content-type"] == "application/json"

    def test_an_issue_that_cannot_be_read_says_where(self, project: ApiProject) -> None:
        project.issue.write_bytes(b"Daily Buzz: 7 January 2026\n\xff\xfe nonsense\n")
        with project.api() as api:
            problem = api.get(f"/issues/{RUN}", 409)
            assert problem["code"] == "issue_unreadable"
            assert problem["detail"].startswith(f"{SLOT}.txt:2: ")
            assert str(project.folder) not in json.dumps(problem)
            assert api.post(f"/issues/{RUN}/approve", {}, 409)["code"] == "issue_unreadable"


def tables(project: ApiProject) -> dict[str, list[Any]]:
    """Every row of the database."""
    engine = sa.create_engine(f"sqlite:///{project.folder}/var/newsletter.db")
    try:
        with engine.connect() as connection:
            names = sa.inspect(connection).get_table_names()
            return {name: list(connection.exec_driver_sql(f'SELECT * FROM "{name}"').fetchall()) for name in names}
    finally:
        engine.dispose()
