"""`subscribers import --send-confirmations`: those who are pending are asked by mail before the command ends."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_projects import LiveProject, smtp_server
from servers.smtp_server import Moment, Reaction, SmtpServer

from newsletter.delivery.links import LinkMaker, Purpose
from newsletter.wiring.confirmations import signup_store
from newsletter.wiring.parts import settings

LEADS = "email,name,language,consent_at,list\n" + "".join(
    (
        "anna@example.com,Anna,,,\n",
        "ben@example.com,Ben,de,,\n",
        "consented@example.com,,,2025-01-01,\n",
        "gone@example.com,,,,\n",
        "not an address,,,,\n",
        "elsewhere@example.com,,,,archive\n",
    )
)


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with smtp_server() as made:
        yield made


@pytest.fixture
def project(tmp_path: Path, server: SmtpServer) -> LiveProject:
    made = LiveProject(tmp_path / "project", server.port)
    (made.folder / "leads.csv").write_text(LEADS)
    assert made.call("suppress", "add", "gone@example.com", "--reason", "complaint").code == 0
    return made


def asks(project: LiveProject, *more: str, code: int = 0) -> dict[str, object]:
    ended = project.call("subscribers", "import", "leads.csv", "--send-confirmations", "--json", *more)
    assert ended.code == code, ended.err
    found = ended.json["confirmations"]
    assert isinstance(found, dict)
    return found


def test_those_who_are_pending_are_asked_once_and_can_confirm(project: LiveProject, server: SmtpServer) -> None:
    nothing = {"sent": 0, "later": 0, "refused": 0, "unknown": 0}
    assert asks(project) == {**nothing, "requested": 2, "asked_lately": 0, "unclear": {"archive": 1}, "sent": 2}
    assert sorted(server.addresses()) == ["anna@example.com", "ben@example.com"]
    mails = {one.address: email.message_from_bytes(one.message, policy=email.policy.default) for one in server.taken}
    assert mails["ben@example.com"]["Subject"] == "Bitte bestätigen: Daily Buzz"
    body = mails["anna@example.com"].get_body(("plain",))
    assert body is not None
    assert "Your address stands on a list of ours" in " ".join(body.get_content().split())
    # the link is that of the request
    loaded = settings(project.config)
    key = (project.folder / "var" / "secret.key").read_text().strip()
    token = re.search(r"/confirm/daily-buzz/(\S+)", body.get_content())
    assert token
    number = LinkMaker("", "daily-buzz", [key]).subscriber_id(Purpose.CONFIRM, token[1])
    assert number is not None
    kept = signup_store(loaded).find(number)
    assert kept is not None
    assert (kept.request.address, kept.request.source) == ("anna@example.com", "import:leads.csv")
    # nobody is asked twice in a day
    assert asks(project) == {**nothing, "requested": 0, "asked_lately": 2, "unclear": {"archive": 1}}
    assert len(server.taken) == 2


def test_it_says_what_it_did_and_what_it_could_not(project: LiveProject, server: SmtpServer) -> None:
    server.script.rcpt["ben@example.com"] = b"550 5.1.1 no such user\r\n"
    ended = project.call("subscribers", "import", "leads.csv", "--send-confirmations")
    assert ended.code == 6
    assert "asked 2 · mailed 1 · refused 1" in ended.out
    assert "no such user" in ended.err
    assert "1 person on archive" in ended.err
    assert server.addresses() == ["anna@example.com"]


def test_a_dry_run_asks_nobody(project: LiveProject, server: SmtpServer) -> None:
    ended = project.call("subscribers", "import", "leads.csv", "--send-confirmations", "--dry-run", "--json")
    assert ended.code == 0
    assert "confirmations" not in ended.json
    assert server.addresses() == []
    assert signup_store(settings(project.config)).of_person("anna@example.com") == []


def test_an_account_that_is_refused_ends_it_and_the_same_command_goes_on(
    project: LiveProject, server: SmtpServer
) -> None:
    def refuse(moment: Moment) -> Reaction | None:
        return Reaction(b"530 5.7.0 your account was closed\r\n") if moment.step == "MAIL" else None

    server.script.react = refuse
    found = asks(project, code=75)
    assert (found["requested"], found["sent"], found["later"]) == (2, 0, 1)
    assert sum(command.startswith("MAIL") for command in server.commands) == 1
    server.script.react = lambda _: None
    again = asks(project)
    assert (again["asked_lately"], again["sent"]) == (2, 1)
    assert len(server.taken) == 1


def test_a_project_that_sends_nothing_writes_the_mails_into_a_folder(project: LiveProject) -> None:
    project.delivery("provider", '"disk"')
    ended = project.call("subscribers", "import", "leads.csv", "--send-confirmations")
    assert ended.code == 0
    assert "the mails are in out/confirmations/" in ended.out
    assert len(list((project.folder / "out" / "confirmations").glob("*.eml"))) == 2


def test_without_it_the_answer_says_that_there_is_such_a_thing(project: LiveProject, server: SmtpServer) -> None:
    ended = project.call("subscribers", "import", "leads.csv")
    assert "To ask them by mail: --send-confirmations" in ended.out
    assert server.addresses() == []
