"""`test`, `pause`, `resume`, `cancel`, `resolve`, `retry`, `watch`, `history`: an operator's word on a run."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from live_projects import RUN, SHIPPED, Gate, LiveProject, last_line, smtp_server
from projects import SLOT
from servers.smtp_server import Moment, Reaction, Script, SmtpServer

from newsletter.cli.watching import Standing
from newsletter.delivery.states import DeliveryState

AMELIA = "amelia.hart@example.com"
NOW_BUSY = Reaction(b"451 4.3.0 try again later\r\n")


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with smtp_server() as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, server: SmtpServer) -> LiveProject:
    return LiveProject(tmp_path / "project", server.port)


def loses_answers(*numbers: int) -> Script:
    """A server that takes everything and is silenced before it answers these messages."""

    def react(moment: Moment) -> Reaction | None:
        return Reaction(accept=True, reset=True) if moment.step == "content" and moment.before in numbers else None

    return Script(react=react)


class TestTestSend:
    def test_it_is_a_real_mail_that_says_what_it_is(self, project: LiveProject, server: SmtpServer) -> None:
        ended = project.call("test", SLOT, "--to", "editor@example.com", "--to", "chief@example.com", "--json")
        assert ended.code == 0, ended.err
        document = ended.json
        assert document["accepted"] == 2
        assert [one["outcome"] for one in document["recipients"]] == ["accepted", "accepted"]
        messages = [message_from_bytes(taken.message, policy=policy.default) for taken in server.taken]
        assert [message["Subject"] for message in messages] == ["[TEST] Daily Buzz: 7 January 2026"] * 2
        first_ids = {message["Message-ID"] for message in messages}
        assert project.call("status", RUN).code == 4

        assert project.call("test", SLOT, "--to", "editor@example.com").code == 0
        assert project.send().code == 0
        ids = {message_from_bytes(taken.message, policy=policy.default)["Message-ID"] for taken in server.taken}
        assert len(ids) == 2 + 1 + SHIPPED
        assert first_ids < ids

    def test_addresses_may_follow_one_another(self, project: LiveProject, server: SmtpServer) -> None:
        assert project.call("test", SLOT, "--to", "a@example.com", "b@example.com").code == 0
        assert project.call("test", SLOT, "--to", "a@example.com,c@example.com").code == 0
        assert server.addresses() == ["a@example.com", "b@example.com", "a@example.com", "c@example.com"]

    def test_a_subscribers_own_values_are_in_it_and_nobodys_links(
        self, project: LiveProject, server: SmtpServer
    ) -> None:
        project.call("subscribers", "sync")
        assert project.call("test", SLOT, "--to", "amelia.hart@example.com").code == 0
        assert project.send().code == 0
        test, *live = (message_from_bytes(taken.message, policy=policy.default) for taken in server.taken)
        assert test["To"].addresses[0].display_name == "Amelia Hart"
        assert test["List-Unsubscribe"] not in {message["List-Unsubscribe"] for message in live}

    def test_an_address_that_is_refused_ends_it_with_6_and_is_no_test(
        self, project: LiveProject, server: SmtpServer
    ) -> None:
        server.script.rcpt["gone@example.com"] = b"550 5.1.1 no such user\r\n"
        ended = project.call("test", SLOT, "--to", "gone@example.com")
        assert ended.code == 6
        assert "✗ gone@example.com  refused: " in ended.out
        project.edit(project.issue, "Daily Buzz: 7 January 2026", "Daily Buzz, mended: 7 January 2026")
        assert project.send().code == 0

    def test_who_complained_gets_no_test_either(self, project: LiveProject, server: SmtpServer) -> None:
        project.call("suppress", "add", "anna@example.com", "--reason", "complaint")
        ended = project.call("test", SLOT, "--to", "anna@example.com")
        assert ended.code == 5
        assert "complaint" in ended.err
        assert server.taken == []

    @pytest.mark.parametrize("to", [[], ["--to", "nobody"], ["--to", ",".join(f"a{n}@example.com" for n in range(21))]])
    def test_it_goes_to_a_few_real_addresses(self, project: LiveProject, server: SmtpServer, to: list[str]) -> None:
        assert project.call("test", SLOT, *to).code == 2
        assert server.taken == []


class TestPauseAndCancel:
    def test_a_run_is_paused_from_another_terminal_and_watched(self, tmp_path: Path) -> None:
        gate = Gate(after=10)
        with smtp_server(Script(react=gate)) as server:
            project = LiveProject(tmp_path / "project", server.port)
            project.people(100)
            sending = project.start("send", SLOT, "--confirm", "100")
            assert gate.reached.wait(60)
            watching = project.start("watch", "--json", "--every", "0.1")
            paused = project.call("pause", RUN, "--reason", "wrong headline", "--json")
            assert paused.code == 0, paused.err
            assert (paused.json["state"], paused.json["reason"]) == ("paused", "paused by an operator: wrong headline")
            assert project.call("pause", RUN).code == 4
            # its calls are still out: nobody may take it over, and who watches goes on watching
            shown = project.call("status", RUN)
            assert f"are still out, in the hands of {paused.json['sender']}" in shown.out
            resumed = project.call("resume", RUN)
            assert resumed.code == 75
            assert "is paused, and calls of it are still out" in resumed.err
            assert "Going on" not in resumed.err
            gate.open()
            out, err = sending.communicate(timeout=60)
            assert sending.returncode == 130, err
            assert "Paused by an operator: wrong headline" in out
            seen, _ = watching.communicate(timeout=60)
            assert watching.returncode == 0
            last = json.loads(seen.splitlines()[-1])
            assert (last["state"], last["in_flight"], last["sender"]) == ("paused", 0, "")
            assert project.call("resume", "2026-01-07").code == 0
            assert len(set(server.addresses())) == len(server.taken) == 100

    def test_a_cancelled_run_does_not_go_on(self, project: LiveProject, server: SmtpServer) -> None:
        assert project.send("--limit", "5").code == 0
        # off a terminal the call is the word
        ended = project.call("cancel", RUN, "--json")
        assert ended.code == 0, ended.err
        assert (ended.json["state"], ended.json["accepted"], ended.json["cancelled"]) == ("cancelled", 5, SHIPPED - 5)
        assert project.call("resume", RUN).code == 4
        assert project.call("cancel", RUN).code == 5
        assert project.call("retry", RUN, "--expired").code == 5
        again = project.send()
        assert again.code == 5
        assert "It was cancelled" in again.err
        assert len(server.taken) == 5

    def test_a_run_that_there_is_not_is_nothing_to_do(self, project: LiveProject) -> None:
        for command in (["pause"], ["resume"], ["cancel"], ["resolve"], ["retry", "--expired"], ["status"], ["watch"]):
            ended = project.call(*command, RUN)
            assert ended.code == 4, (command, ended)
        assert project.call("status").code == 4
        assert project.call("history", "--json").json == {"count": 0}
        for wrong in ("nonsense", "daily-buzz/nonsense", "daily-buzz/2026-13-01"):
            ended = project.call("status", wrong)
            assert ended.code == 2
            assert "names no run" in ended.err
            assert "daily-buzz/2026-01-07" in ended.err


class TestResolve:
    @pytest.fixture
    def held(self, tmp_path: Path) -> Iterator[tuple[LiveProject, SmtpServer]]:
        """A run of 20 with one message whose answer was lost."""
        with smtp_server(loses_answers(4)) as server:
            project = LiveProject(tmp_path / "project", server.port)
            project.people(20)
            project.delivery("concurrency", "1")
            assert project.send(confirm=20).code == 6
            assert project.status()["state"] == "held"
            yield project, server

    def test_unknown_outcomes_are_listed_by_address(self, held: tuple[LiveProject, SmtpServer]) -> None:
        project, _ = held
        lines = [json.loads(line) for line in project.call("resolve", RUN, "--json").out.splitlines()]
        *unknown, total = lines
        assert total == {"count": len(unknown)}
        assert len(unknown) >= 1
        assert {one["state"] for one in unknown} == {"unknown"}
        assert {one["email"] for one in unknown} <= {f"p{n:05}@example.com" for n in range(20)}
        assert unknown[0]["email"] in project.call("resolve", RUN).out

    def test_nothing_is_settled_without_the_right_count(self, held: tuple[LiveProject, SmtpServer]) -> None:
        project, _ = held
        before = project.status()
        number = before["unknown"]
        for ended in (
            project.call("resolve", RUN, "--abandon"),
            project.call("resolve", RUN, "--abandon", "--confirm", str(number + 1)),
        ):
            assert ended.code == 5
            assert f"newsletter resolve {RUN} --abandon --confirm {number}" in ended.err
        assert project.call("resolve", RUN, "--abandon", "--resend").code == 2
        assert project.status() == before

    @pytest.mark.parametrize(
        ("word", "state", "counted"),
        [("--assume-accepted", "finished", "accepted"), ("--abandon", "finished", "abandoned")],
    )
    def test_an_operators_word_ends_the_run(
        self, held: tuple[LiveProject, SmtpServer], word: str, state: str, counted: str
    ) -> None:
        project, _ = held
        before = project.status()
        ended = project.call("resolve", RUN, word, "--confirm", str(before["unknown"]), "--json")
        assert ended.code == 0, ended.err
        after = ended.json
        assert (after["state"], after["unknown"], after["settled"]) == (state, 0, before["unknown"])
        assert after[counted] == before[counted] + before["unknown"]
        assert project.call("resolve", RUN).code == 4

    @pytest.mark.parametrize(("arguments", "said"), [(["--yes"], ""), ([], "y\n"), ([], "{number}\n")])
    def test_a_script_says_yes(self, held: tuple[LiveProject, SmtpServer], arguments: list[str], said: str) -> None:
        project, _ = held
        said = said.format(number=project.status()["unknown"])
        ended = project.call("resolve", RUN, "--abandon", *arguments, said=said)
        assert ended.code == 0, ended.err
        assert project.status()["unknown"] == 0

    def test_resending_makes_it_go_on(self, held: tuple[LiveProject, SmtpServer]) -> None:
        project, server = held
        number, sent = project.status()["unknown"], len(server.taken)
        server.script.react = lambda _moment: None
        ended = project.call("resolve", RUN, "--resend", "--confirm", str(number))
        assert ended.code == 0, ended.err
        assert f"newsletter resume {RUN}" in ended.out
        assert project.call("resume", RUN).code == 0
        assert project.status()["accepted"] == 20
        assert len(server.taken) == sent + number

    def test_one_recipient_alone_can_be_settled(self, held: tuple[LiveProject, SmtpServer]) -> None:
        project, _ = held
        someone = json.loads(project.call("resolve", RUN, "--json").out.splitlines()[0])["email"]
        assert project.call("resolve", RUN, "--only", "editor@example.com").code == 2
        ended = project.call("resolve", RUN, "--abandon", "--only", someone, "--confirm", "1")
        assert ended.code == 0, ended.err
        assert project.status()["abandoned"] == 1


class TestRetry:
    def test_those_refused_are_tried_again_after_an_operators_word(
        self, project: LiveProject, server: SmtpServer
    ) -> None:
        project.people(30)
        server.script.rcpt["p00007@example.com"] = b"550 5.7.1 blocked\r\n"
        assert project.send(confirm=30).code == 6
        assert project.call("retry", RUN).code == 2
        assert project.call("retry", RUN, "--expired").code == 4
        del server.script.rcpt["p00007@example.com"]
        ended = project.call("retry", RUN, "--rejected", "--json")
        assert ended.code == 0, ended.err
        assert (ended.json["state"], ended.json["opened"]) == ("paused", 1)
        done = project.call("resume", RUN, "--json")
        assert done.code == 0, done.err
        assert last_line(done)["accepted"] == 30
        assert len(server.taken) == 30

    def test_those_whose_time_was_up_are_tried_again(self, project: LiveProject, server: SmtpServer) -> None:
        project.people(3)
        project.delivery("retry_for", '"1s"')
        server.script.react = lambda moment: NOW_BUSY if moment.step == "RCPT" else None
        ended = project.send(confirm=3)
        assert ended.code == 6, ended
        assert f"newsletter retry {RUN} --expired" in ended.out
        assert project.status()["expired"] == 3
        server.script.react = lambda _moment: None
        project.delivery("retry_for", '"45m"')
        assert project.call("retry", RUN, "--expired").code == 0
        assert project.call("resume", RUN).code == 0
        assert project.status()["accepted"] == 3


def test_history_has_every_run_and_its_balance_sheet(project: LiveProject) -> None:
    assert project.send().code == 0
    project.edit(project.issue, "7 January", "8 January")
    project.issue.rename(project.issue.with_name("2026-01-08.txt"))
    assert project.call("send", "2026-01-08", "--confirm", "12", "--limit", "2").code == 0
    lines = [json.loads(line) for line in project.call("history", "--json").out.splitlines()]
    assert [one["run"] for one in lines[:-1]] == ["daily-buzz/2026-01-08", RUN]
    assert lines[-1] == {"count": 2}
    assert [(one["state"], one["accepted"], one["remaining"]) for one in lines[:-1]] == [
        ("paused", 2, 10),
        ("finished", 12, 0),
    ]
    assert project.call("history", "--limit", "1").out.count("\n") == 1
    # the one that is not over is the one to look at
    assert project.call("status", "--json").json["run"] == "daily-buzz/2026-01-08"


def test_status_tells_the_newsletters_time_and_who_is_still_to_come(project: LiveProject) -> None:
    assert project.send("--limit", "5").code == 0
    shown = project.call("status", RUN).out
    assert "begun       20" in shown
    assert "HKT, deadline " in shown
    assert shown.count("planned") == 1
    assert f"waiting     {SHIPPED - 5}" in shown
    assert "HKT" in project.call("history").out


def test_status_says_when_those_who_wait_are_tried_again(project: LiveProject, server: SmtpServer) -> None:
    server.script.rcpt[AMELIA] = b"451 4.7.1 greylisted\r\n"
    sending = project.start("send", SLOT, "--confirm", str(SHIPPED))
    try:
        until = time.monotonic() + 60
        while project.call("status", RUN).code == 4 or project.status()["accepted"] < SHIPPED - 1:
            assert time.monotonic() < until
            time.sleep(0.1)
        while (document := project.status())["in_flight"]:
            assert time.monotonic() < until
        assert document["next_try"] > document["started_at"]
        assert re.search(r"\n  retry_wait  1, the next try at 20\d\d-", project.call("status", RUN).out)
        assert project.call("cancel", RUN, "--yes").code == 0
        assert project.status()["next_try"] is None
        sending.communicate(timeout=60)
    finally:
        sending.kill()
        sending.communicate()


class TestWho:
    def test_those_in_a_state_are_listed_by_address(self, project: LiveProject, server: SmtpServer) -> None:
        server.script.rcpt[AMELIA] = b"550 5.1.1 no such user\r\n"
        ended = project.send()
        assert f"Who was refused: newsletter status {RUN} --who rejected" in ended.out
        listed = project.call("status", RUN, "--who", "rejected").out
        assert listed == f"{AMELIA}  rejected  550 5.1.1 no such user\n"
        lines = project.call("status", RUN, "--who", "accepted", "--who", "rejected", "--json").out.splitlines()
        *found, last = map(json.loads, lines)
        assert last == {"count": SHIPPED}
        assert {(one["email"], one["code"]) for one in found if one["state"] == "rejected"} == {(AMELIA, "550 5.1.1")}
        assert {one["email"] for one in found if one["state"] == "accepted"} == set(server.addresses())

    def test_nobody_is_told(self, project: LiveProject) -> None:
        project.send("--limit", "5")
        ended = project.call("status", RUN, "--who", "expired", "--who", "unknown")
        assert (ended.code, ended.out) == (0, "")
        assert f"nobody in {RUN} is expired or unknown" in ended.err
        waiting = project.call("status", RUN, "--who", "waiting", "--json").out.splitlines()
        assert {json.loads(line)["state"] for line in waiting[:-1]} == {"planned"}
        assert json.loads(waiting[-1]) == {"count": SHIPPED - 5}

    def test_of_somebody_who_was_erased_no_address_is_known(self, project: LiveProject) -> None:
        project.send()
        assert project.call("subscribers", "erase", AMELIA, "--confirm", AMELIA).code == 0
        listed = project.call("status", RUN, "--who", "accepted").out.splitlines()
        assert len(listed) == SHIPPED
        assert [line for line in listed if "@" not in line] == ["(erased)  accepted"]

    def test_a_state_that_there_is_not_is_told(self, project: LiveProject) -> None:
        ended = project.call("status", "--who", "lost")
        assert ended.code == 2
        assert "'lost' is not one of" in ended.err

    @pytest.mark.parametrize("state", DeliveryState)
    def test_every_state_has_a_word(self, state: DeliveryState) -> None:
        assert [one for one in DeliveryState if Standing.of(one) is Standing.of(state)] == [state]


def test_a_long_list_of_recipients_is_read_in_parts(project: LiveProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("newsletter.pipeline.listing_parts._READ_AT_ONCE", 3)
    project.send()
    found = project.call("status", RUN, "--who", "accepted").out.splitlines()
    assert len(found) == len(set(found)) == SHIPPED


def test_going_on_with_a_count_wants_that_of_the_run(project: LiveProject, server: SmtpServer) -> None:
    assert project.send("--limit", "5").code == 0
    refused = project.send("--resume", confirm=SHIPPED - 5)
    assert refused.code == 5
    assert f"newsletter send {SLOT} --resume --confirm {SHIPPED}" in refused.err
    assert len(server.taken) == 5
    assert project.send("--resume").code == 0
    assert len(server.taken) == SHIPPED
