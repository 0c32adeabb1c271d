"""Events from the provider to the balance sheet: posted to `newsletter web`, or taken in from a file."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from live_projects import RUN, SHIPPED, LiveProject, eventually
from servers.sendgrid_rules import Message
from servers.sendgrid_server import SAYINGS, SendgridServer
from servers.signed_posts import WebhookSigner, body_of, event_of
from test_web_command import web_process

SIGNER = WebhookSigner()
PATH = "webhooks/sendgrid/sendgrid"


@pytest.fixture
def server() -> Iterator[SendgridServer]:
    running = SendgridServer().start()
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def project(tmp_path: Path, server: SendgridServer) -> LiveProject:
    project = LiveProject(tmp_path / "project", 1)
    project.edit(project.config, 'provider = "smtp"', 'provider = "sendgrid"')
    project.edit(project.config, "https://api.sendgrid.com", server.url)
    project.edit(project.config, '{ env = "SENDGRID_WEBHOOK_KEY" }', '{ file = "webhook.key" }')
    (project.folder / "webhook.key").write_text(SIGNER.public_key)
    return project


def sent(project: LiveProject, server: SendgridServer, people: int = SHIPPED) -> Sequence[Message]:
    """The messages of a run whose answers were all lost."""
    if people != SHIPPED:
        project.people(people)
    project.delivery("batch_size", str(people))
    server.answer_next(SAYINGS["reset-after"]())
    assert project.send(confirm=people, SENDGRID_API_KEY="SG.any").code == 6
    status = project.status()
    assert (status["state"], status["unknown"]) == ("held", people)
    assert len(server.messages) == people
    return server.messages


def post(url: str, events: Sequence[object]) -> int:
    body = body_of(events)
    return httpx.post(url + PATH, content=body, headers=SIGNER.headers(body), timeout=60).status_code


def test_unknown_outcomes_settle_themselves_by_what_the_provider_tells(
    project: LiveProject, server: SendgridServer
) -> None:
    messages = sent(project, server)
    hard, full, blocked, spam, left, *others = messages
    told = [event_of(one, "processed") for one in messages[:6]]
    told += [
        event_of(hard, "bounce", type="bounce", status="5.1.1", reason="550 5.1.1 no such user"),
        event_of(full, "bounce", type="bounce", status="5.2.2", reason="552 5.2.2 mailbox full"),
        event_of(blocked, "bounce", type="blocked", reason="550 5.7.1 policy"),
        event_of(spam, "spamreport"),
        event_of(left, "unsubscribe"),
        *(event_of(one, "delivered", response="250 OK") for one in others),
    ]
    with web_process(project) as (process, url):
        assert post(url, [one | {"nl_run": f"test of {RUN}"} for one in told]) == 204
        assert post(url, told[:3]) == 204
        assert post(url, told[::-1]) == 204
        assert post(url, told) == 204
        eventually(lambda: project.status()["state"] == "finished")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    status = project.status()
    figures = {name: status[name] for name in ("accepted", "unknown", "delivered", "bounced", "complained")}
    assert figures == {"accepted": SHIPPED, "unknown": 0, "delivered": SHIPPED - 5, "bounced": 3, "complained": 1}
    reasons = {message.address: _reasons(project, message.address) for message in messages[:6]}
    expected = [["hard_bounce"], [], [], ["complaint"], ["unsubscribe"], []]
    assert list(reasons.values()) == expected
    shown = project.call("subscribers", "show", hard.address, "--json").json
    assert shown["suppressions"][0]["note"] == f"550 5.1.1 no such user ({RUN})"
    assert [(one["kind"], one["code"], one["run"]) for one in shown["events"]] == [("hard_bounce", "5.1.1", RUN)]


def _reasons(project: LiveProject, address: str) -> list[str]:
    shown = project.call("subscribers", "show", address, "--json").json
    return [one["reason"] for one in shown["suppressions"]]


def test_no_event_is_lost_when_the_process_is_killed_after_it_answered(
    project: LiveProject, server: SendgridServer
) -> None:
    """Whatever was answered for is settled by the next process, without being posted again."""
    messages = sent(project, server, people=900)
    posts = [messages[start : start + 30] for start in range(0, len(messages), 30)]
    answered: list[Sequence[Message]] = []
    enough = threading.Event()
    with web_process(project) as (process, url):

        def tell(some: Sequence[Message]) -> None:
            try:
                if post(url, [event_of(one, "delivered") for one in some]) == 204:
                    answered.append(some)
            except httpx.HTTPError:
                return
            if len(answered) >= 12:
                enough.set()

        with ThreadPoolExecutor(4) as pool:
            for some in posts:
                pool.submit(tell, some)
            assert enough.wait(60)
            process.kill()
        assert process.wait(30) == -signal.SIGKILL
    known = sum(map(len, answered))
    assert 360 <= known < len(messages), "it was killed too late to tell anything"
    with web_process(project) as (_, url):
        eventually(lambda: project.status()["delivered"] >= known)
        # the provider posts again what was not answered for
        assert all(post(url, [event_of(one, "delivered") for one in some]) == 204 for some in posts)
        eventually(lambda: project.status()["state"] == "finished")
    assert project.status()["delivered"] == len(messages)


class TestReplay:
    def replay(self, project: LiveProject, text: str | bytes, *more: str) -> Any:
        file = project.folder / "posts.json"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        ended = project.call("webhooks", "replay", "posts.json", "--json", *more)
        assert ended.code == 0, ended.err
        return ended.json

    @pytest.mark.parametrize("form", ["array", "pretty", "a post a line", "an event a line"])
    def test_a_file_of_posts_settles_the_run(self, project: LiveProject, server: SendgridServer, form: str) -> None:
        messages = sent(project, server)
        told = [event_of(one, "delivered", at=1_767_767_767) for one in messages]
        told += [event_of(messages[0], "spamreport"), event_of(messages[1], "open")]
        text = {
            "array": json.dumps(told),
            "pretty": json.dumps(told, indent=2),
            "a post a line": "\n".join(json.dumps(told[start : start + 5]) for start in range(0, len(told), 5))
            + "\n\n",
            "an event a line": "".join(json.dumps(one) + "\r\n" for one in told),
        }[form]
        found = self.replay(project, text, "--provider", "sendgrid")
        rows = {"rows": SHIPPED + 2, "new": SHIPPED + 1, "known": 0, "passed_over": 1, "unusable": 0}
        assert found == rows | {"settled": SHIPPED + 1, "suppressed": 1, "waiting": 0}
        status = project.status()
        assert (status["state"], status["delivered"], status["complained"]) == ("finished", SHIPPED, 1)
        again = self.replay(project, text)
        assert (again["suppressed"], again["known"] > 0) == (0, True)
        assert project.status() == status

    def test_for_people_it_is_two_lines(self, project: LiveProject) -> None:
        (project.folder / "posts.ndjson").write_text('{"event": "delivered"}\n{"event": "open"}\n')
        ended = project.call("webhooks", "replay", "posts.ndjson")
        assert (ended.code, ended.err) == (0, "")
        assert ended.out.splitlines() == [
            "2 events: 0 new, 0 known, 1 passed over, 1 unusable",
            "0 settled, 0 addresses suppressed",
        ]

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("", None),
            ("\n\n", None),
            ('[{"event": 1}]\n[{"event": \n', 2),
            ('{"event": 1}\n\n{"event": 1}\nfour\n', 4),
            ('[\n  {"event": 1},\n  {"event" 2}\n]\n', 3),
            ("nothing of ours\n", 1),
            ("7\n", 1),
        ],
    )
    def test_a_bad_file_gets_one_clear_error_and_changes_nothing(
        self, project: LiveProject, text: str, line: int | None
    ) -> None:
        (project.folder / "posts.json").write_text(text)
        ended = project.call("webhooks", "replay", "posts.json")
        assert ended.code == 2
        assert ended.out == ""
        place = f"posts.json:{line}: " if line else "posts.json: "
        assert ended.err.startswith(f"✗ {place}"), ended.err
        assert len(ended.err.splitlines()) == 2

    def test_a_file_that_is_not_there_and_a_provider_that_is_not(self, project: LiveProject) -> None:
        ended = project.call("webhooks", "replay", "nothing.json")
        assert (ended.code, "nothing.json: cannot be read" in ended.err) == (2, True)
        (project.folder / "posts.json").write_text("[]")
        ended = project.call("webhooks", "replay", "posts.json", "--provider", "smtp")
        assert (ended.code, "smtp is no provider of the kind sendgrid" in ended.err) == (2, True)
        assert project.call("webhooks", "replay", "posts.json", "--provider", "sendgrid").code == 0
