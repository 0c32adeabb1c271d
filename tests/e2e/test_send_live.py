"""`send` for real: to an SMTP server and to a server that behaves like SendGrid's, in processes of its own where that
matters: signals, a terminal, two senders at once."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from live_projects import RUN, SHIPPED, STATUS_KEYS, Gate, LiveProject, eventually, last_line, smtp_server
from projects import SLOT
from servers.sendgrid_server import SAYINGS, SendgridServer
from servers.smtp_server import Reaction, Script, SmtpServer


def project_at(folder: Path, server: SmtpServer, people: int = 0) -> LiveProject:
    project = LiveProject(folder / "project", server.port)
    if people:
        project.people(people)
    return project


def nobody_twice(server: SmtpServer, people: int) -> None:
    assert sorted(server.addresses()) == [f"p{one:05}@example.com" for one in range(people)]


class TestWhatGoesOut:
    def test_everybody_gets_one_message_of_their_own(self, tmp_path: Path) -> None:
        with smtp_server() as server:
            project = project_at(tmp_path, server)
            ended = project.run("send", SLOT, "--confirm", "12")
            assert ended.code == 0, ended.err
            assert ended.err == ""
            assert re.search(r"✓ accepted 12 · [0-9.]+s", ended.out)
            assert len(set(server.addresses())) == len(server.taken) == SHIPPED
            messages = [message_from_bytes(taken.message, policy=policy.default) for taken in server.taken]
            assert len({message["Message-ID"] for message in messages}) == SHIPPED
            assert len({message["List-Unsubscribe"] for message in messages}) == SHIPPED
            for message in messages:
                assert message["Subject"] == "Daily Buzz: 7 January 2026"
                assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
                # when it was sent, not when it was due
                assert abs(message["Date"].datetime.timestamp() - time.time()) < 600

    def test_json_ends_with_the_status_of_the_run_and_it_balances(self, tmp_path: Path) -> None:
        with smtp_server() as server:
            project = project_at(tmp_path, server)
            ended = project.send("--json")
            result = last_line(ended)
            assert result.keys() >= set(STATUS_KEYS)
            assert result == project.status()
            assert (result["run"], result["state"], result["planned"], result["accepted"]) == (
                RUN,
                "finished",
                SHIPPED,
                SHIPPED,
            )
            assert all("progress" in json.loads(line) for line in ended.out.splitlines()[:-1])

    def test_refused_recipients_are_counted_grouped_by_the_servers_words_and_end_it_with_6(
        self, tmp_path: Path
    ) -> None:
        with smtp_server() as server:
            project = project_at(tmp_path, server, people=40)
            for one in (3, 17):
                server.script.rcpt[f"p{one:05}@example.com"] = (
                    f"550 5.1.1 <p{one:05}@example.com> no such user\r\n".encode()
                )
            project.delivery("pause_on_failure_rate", '"50%"')
            ended = project.send(confirm=40)
            assert ended.code == 6
            assert "✓ accepted 38 · rejected 2 ·" in ended.out
            assert re.search(r"2 rejected: .*<[^@\n]+> no such user\n", ended.out)
            shown = project.call("subscribers", "show", "p00003@example.com", "--json").json
            assert [(one["run"], one["state"]) for one in shown["deliveries"]] == [(RUN, "rejected")]
            assert "no such user" in shown["deliveries"][0]["reason"]

    def test_too_many_refusals_pause_it_with_the_reason(self, tmp_path: Path) -> None:
        with smtp_server(Script(react=lambda moment: Reaction(b"550 5.7.1 we do not like you\r\n")
                                if moment.step == "RCPT" else None)) as server:  # fmt: skip
            project = project_at(tmp_path, server, people=200)
            ended = project.send(confirm=200)
            assert ended.code == 6
            assert "■ paused" in ended.out
            assert "pause_on_failure_rate" in ended.out
            assert f"newsletter resume {RUN}" in ended.out
            assert project.status()["state"] == "paused"

    def test_a_canary_goes_to_the_first_and_the_rest_waits(self, tmp_path: Path) -> None:
        with smtp_server() as server:
            project = project_at(tmp_path, server, people=30)
            ended = project.send("--limit", "5", confirm=30)
            assert ended.code == 0, ended.err
            assert len(server.taken) == 5
            assert (project.status()["state"], project.status()["remaining"]) == ("paused", 25)
            again = project.send(confirm=30)
            assert again.code == 5
            assert "It is paused (5 accepted)" in again.err
            rest = project.call("send", SLOT, "--resume")
            assert rest.code == 0, rest.err
            nobody_twice(server, 30)

    def test_a_run_sends_one_content_to_everybody(self, tmp_path: Path) -> None:
        with smtp_server() as server:
            project = project_at(tmp_path, server, people=30)
            project.send("--limit", "5", confirm=30)
            before = project.issue.read_text("utf-8")
            project.edit(project.issue, "Daily Buzz: 7 January 2026", "Daily Buzz, mended: 7 January 2026")
            ended = project.call("resume", RUN)
            assert ended.code == 5
            assert "changed since daily-buzz/2026-01-07 was begun" in ended.err
            project.issue.write_text(before, "utf-8")
            assert project.call("resume", RUN).code == 0
            nobody_twice(server, 30)

    def test_counters_are_written_for_prometheus(self, tmp_path: Path) -> None:
        with smtp_server() as server:
            project = project_at(tmp_path, server)
            assert project.send("--metrics", "none/there.prom").code == 3
            assert server.taken == []
        with smtp_server() as server:
            project = project_at(tmp_path / "second", server)
            assert project.send("--metrics", "newsletter.prom").code == 0
            text = (project.folder / "newsletter.prom").read_text()
            whose = 'newsletter="daily-buzz"'
            assert f'newsletter_recipients_total{{{whose},outcome="accepted",provider="smtp"}} 12.0' in text
            assert f'newsletter_run_state{{{whose},state="finished"}} 1.0' in text
            assert "example.com" not in text


class TestSendgrid:
    @pytest.fixture
    def project(self, tmp_path: Path) -> LiveProject:
        project = LiveProject(tmp_path / "project", 1)
        project.edit(project.config, 'provider = "smtp"', 'provider = "sendgrid"')
        return project

    def test_everybody_gets_one_message(self, project: LiveProject) -> None:
        server = SendgridServer(key="SG.canary").start()
        try:
            project.edit(project.config, "https://api.sendgrid.com", server.url)
            ended = project.send(SENDGRID_API_KEY="SG.canary")
            assert ended.code == 0, ended.err
            assert len({message.address for message in server.messages}) == len(server.messages) == SHIPPED
        finally:
            server.close()

    def test_a_key_that_is_refused_pauses_the_run_and_a_good_one_goes_on(self, project: LiveProject) -> None:
        server = SendgridServer(key="SG.right").start()
        try:
            project.edit(project.config, "https://api.sendgrid.com", server.url)
            ended = project.send(SENDGRID_API_KEY="SG.wrong-canary")
            assert ended.code == 6, ended
            assert "cannot be used as it is set up" in ended.out
            assert "SG.wrong-canary" not in ended.out + ended.err
            assert project.status()["remaining"] == SHIPPED
            assert project.call("resume", RUN, SENDGRID_API_KEY="SG.right").code == 0
            assert len(server.messages) == SHIPPED
        finally:
            server.close()

    def test_an_answer_that_is_lost_is_unknown_listed_and_never_repeated(self, project: LiveProject) -> None:
        server = SendgridServer().start()
        try:
            project.edit(project.config, "https://api.sendgrid.com", server.url)
            server.answer_next(SAYINGS["reset-after"]())
            ended = project.send(SENDGRID_API_KEY="SG.any")
            assert ended.code == 6, ended
            assert f"12 recipients' outcomes are unknown: newsletter resolve {RUN}" in ended.out
            assert project.status()["state"] == "held"
            assert len(server.bodies) == 1
        finally:
            server.close()


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_the_first_finishes_what_is_out_and_the_run_is_resumed(
        self, tmp_path: Path, number: signal.Signals
    ) -> None:
        gate = Gate(after=30)
        with smtp_server(Script(react=gate)) as server:
            project = project_at(tmp_path, server, people=200)
            process = project.start("send", SLOT, "--confirm", "200")
            assert gate.reached.wait(60)
            process.send_signal(number)
            time.sleep(0.3)
            gate.open()
            out, err = process.communicate(timeout=60)
            assert process.returncode == 130, err
            assert "Finishing the calls that are out" in err
            assert "■ interrupted" in out
            status = project.status()
            assert (status["state"], status["unknown"], status["in_flight"]) == ("sending", 0, 0)
            assert 30 <= len(server.taken) < 200
            watched = project.call("watch", RUN)  # nobody sends it: there is nothing to wait for
            assert (watched.code, f"newsletter resume {RUN}" in watched.out) == (0, True)
            assert project.call("resume", RUN).code == 0
            nobody_twice(server, 200)

    def test_the_second_leaves_at_once_and_what_was_out_is_unknown(self, tmp_path: Path) -> None:
        gate = Gate(after=30)
        with smtp_server(Script(react=gate)) as server:
            project = project_at(tmp_path, server, people=200)
            process = project.start("send", SLOT, "--confirm", "200")
            assert gate.reached.wait(60)
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
            assert process.returncode == 130
            assert "Left at once" in err
            crashed = project.call("status", RUN).out
            assert "were in flight when their process ended: resume makes them unknown" in crashed
            gate.open()
            ended = project.call("resume", RUN)
            assert ended.code == 6, ended
            status = project.status()
            # window (10) times concurrency (4)
            assert 0 < status["unknown"] <= 40
            assert status["accepted"] + status["unknown"] == 200
            assert len(server.addresses()) == len(set(server.addresses()))

    def test_a_second_sender_is_told_to_look_on(self, tmp_path: Path) -> None:
        gate = Gate(after=10)
        with smtp_server(Script(react=gate)) as server:
            project = project_at(tmp_path, server, people=60)
            process = project.start("send", SLOT, "--confirm", "60")
            assert gate.reached.wait(60)
            second = project.send(confirm=60)
            assert second.code == 5
            assert "It is being sent" in second.err
            assert f"newsletter watch {RUN}" in second.err
            resumed = project.call("resume", RUN)
            assert resumed.code == 5, resumed
            gate.open()
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0, out + err
            nobody_twice(server, 60)


@pytest.mark.parametrize("columns", [80, 120])
def test_at_a_terminal_the_count_is_typed_and_progress_is_shown(tmp_path: Path, columns: int) -> None:
    with smtp_server(Script(delay=0.01)) as server:
        project = project_at(tmp_path, server, people=60)
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "newsletter", "send", SLOT],
            cwd=project.folder,
            env={**os.environ, "TERM": "xterm", "COLUMNS": str(columns)},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        shown = ""

        def read() -> str:
            nonlocal shown
            while select.select([ours], [], [], 0.05)[0]:
                try:
                    data = os.read(ours, 65536)
                except OSError:  # the other side is closed
                    break
                if not data:
                    break
                shown += data.decode(errors="replace")
            return shown

        try:
            eventually(lambda: "Type the recipient count to send" in read())
            assert "This cannot be undone." in shown
            assert "Audience  60" in shown
            assert server.taken == []
            os.write(ours, b"60\n")
            eventually(lambda: process.poll() is not None or not read())
            eventually(lambda: (read(), process.poll() is not None)[1])
            read()
        finally:
            process.kill()
            process.wait(10)
            os.close(ours)
        assert "accepted 60" in shown
        assert "0/60" in shown
        assert "60/60" in shown
        bars = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in re.split(r"[\r\n]", shown) if "━" in line]
        assert max(map(len, bars)) <= columns
        nobody_twice(server, 60)
