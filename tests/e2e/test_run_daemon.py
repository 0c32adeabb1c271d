"""`newsletter run` as operators leave it running: in processes, with the slot seconds ahead, killed in the middle."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from daemons import ScheduledProject, daemon, end, log_of, said, until_said
from live_projects import Gate, eventually, smtp_server
from servers.smtp_server import Script, SmtpServer


def check_everybody_once(server: SmtpServer, people: int) -> None:
    served = Counter(server.addresses())
    assert len(served) == people
    assert set(served.values()) == {1}


def alerts(project: ScheduledProject, words: str) -> list[str]:
    """The titles with these words of what was told."""
    return [line["title"] for line in log_of(project) if line["event"] == "alert" and words in line["title"]]


def test_a_daemon_that_is_killed_in_mid_send_and_started_again_serves_everybody_once(tmp_path: Path) -> None:
    gate = Gate(after=40)
    with smtp_server(Script(react=gate)) as server:
        project = ScheduledProject(tmp_path / "project", server.port, people=120)
        project.delivery("window", "3")
        project.delivery("concurrency", "2")
        project.write_issue()
        with daemon(project) as first:
            assert gate.reached.wait(60)
            first.send_signal(signal.SIGKILL)
            assert first.wait(30) == -signal.SIGKILL
        gate.open()
        sent_before = len(server.addresses())
        assert 40 <= sent_before < 120
        with daemon(project) as second:
            eventually(lambda: project.run_status().get("state") in ("held", "finished"))
            assert project.run_status()["unknown"] <= 3 * 2
            until_said(project, "slot_ended")
            end(second)
        if project.resolve_by(server):
            project.call("resume", project.run_name)
        status = project.run_status()
        assert (status["state"], status["accepted"], status["unknown"]) == ("finished", 120, 0)
        check_everybody_once(server, 120)
    started = [line["title"] for line in log_of(project) if line["event"] == "alert" and "goes out" in line["title"]]
    assert started == [f"{project.run_name} goes out to 120"]


def test_of_four_daemons_one_sends_and_another_goes_on_within_half_a_minute_of_its_death(tmp_path: Path) -> None:
    gate = Gate(after=10)
    with smtp_server(Script(react=gate)) as server, ExitStack() as running:
        project = ScheduledProject(tmp_path / "project", server.port, seconds=6, people=60)
        project.delivery("window", "2")
        project.delivery("concurrency", "1")
        project.write_issue()
        daemons = {one.pid: one for one in (running.enter_context(daemon(project)) for _ in range(4))}
        assert gate.reached.wait(60)
        sender = daemons.pop(int(project.run_status()["sender"].rpartition(" ")[2]))
        killed_at = time.monotonic()
        sender.send_signal(signal.SIGKILL)
        sender.wait(30)
        before = len(server.addresses())
        gate.open()
        eventually(lambda: len(server.addresses()) > before + 2)
        took = time.monotonic() - killed_at
        until_said(project, "slot_ended")
        if project.resolve_by(server):
            project.call("resume", project.run_name)
        check_everybody_once(server, 60)
        for one in daemons.values():
            end(one)
    assert took < 30, f"failover took {took:.1f} s"


def test_nothing_leaves_before_the_slot_and_an_idle_daemon_ends_in_order(tmp_path: Path) -> None:
    with smtp_server() as server:
        project = ScheduledProject(tmp_path / "project", server.port, seconds=15)
        project.write_issue()
        with daemon(project) as process:
            until_said(project, "slot_prepared")
            assert time.time() < project.at.timestamp()
            assert server.addresses() == []
            eventually(lambda: len(server.addresses()) == 12)
            assert time.time() >= project.at.timestamp()
            until_said(project, "slot_ended", state="finished")
            end(process)


def test_a_daemon_that_ends_before_the_slot_takes_its_plan_back(tmp_path: Path) -> None:
    with smtp_server() as server:
        project = ScheduledProject(tmp_path / "project", server.port, seconds=60)
        project.write_issue()
        with daemon(project) as process:
            until_said(project, "slot_prepared")
            assert project.run_status()["state"] == "planned"
            end(process)
        assert project.run_status() == {}


def test_an_issue_that_comes_late_is_sent_and_its_absence_told(tmp_path: Path) -> None:
    with smtp_server() as server:
        project = ScheduledProject(tmp_path / "project", server.port, seconds=1)
        with daemon(project) as process:
            eventually(lambda: any("has no issue" in line.get("title", "") for line in log_of(project)))
            project.write_issue()
            eventually(lambda: len(server.addresses()) == 12)
            until_said(project, "slot_ended")
            end(process)


def test_new_settings_are_read_at_a_signal_and_broken_ones_are_not_taken(tmp_path: Path) -> None:
    with smtp_server() as server:
        project = ScheduledProject(tmp_path / "project", server.port, seconds=600)
        project.write_issue()
        with daemon(project) as process:
            until_said(project, "leads")
            good = project.config.read_text("utf-8")
            project.config.write_text(good.replace('timezone = "', 'timezone = "Mars/'), "utf-8")
            process.send_signal(signal.SIGHUP)
            until_said(project, "settings_refused")
            assert any("the settings were not read again" in line.get("title", "") for line in log_of(project))
            project.config.write_text(good, "utf-8")
            project.slot_in(1)
            process.send_signal(signal.SIGHUP)
            until_said(project, "settings_read")
            eventually(lambda: len(server.addresses()) == 12)
            until_said(project, "slot_ended")
            project.config.write_text(good.replace('timezone = "', 'timezone = "Mars/'), "utf-8")
            process.send_signal(signal.SIGHUP)
            eventually(lambda: len(alerts(project, "the settings were not read again")) == 2)
            end(process)


def test_once_sends_what_is_due_and_then_finds_nothing_to_do(tmp_path: Path) -> None:
    with smtp_server() as server:
        project = ScheduledProject(tmp_path / "project", server.port, seconds=-5)
        project.write_issue()
        first = project.call("run", "--once", "--json")
        assert first.code == 0, first.err
        [run] = first.json["runs"]
        assert (run["run"], run["state"], run["accepted"]) == (project.run_name, "finished", 12)
        again = project.call("run", "--once", "--json")
        assert (again.code, again.json) == (0, {"runs": [], "missed": [], "failed": []})
        [slot] = project.call("schedule", "list", "--from", project.slot, "--count", "1", "--json").json
        assert (slot["state"], slot["why"], slot["record"]["state"]) == ("ready", "", "done")
        check_everybody_once(server, 12)


def test_once_says_by_its_exit_code_what_it_could_not_do(tmp_path: Path) -> None:
    with smtp_server() as server:
        project = ScheduledProject(tmp_path / "project", server.port, seconds=-5)
        assert project.call("run", "--once").code == 3  # no issue
        file = project.write_issue()
        file.write_text(file.read_text("utf-8").replace(f"{project.at.year}\n", f"{project.at.year - 1}\n", 1), "utf-8")
        stale = project.call("run", "--once")
        assert stale.code == 3
        assert "date-mismatch" in stale.err
        file.unlink()
        project.slot_in(-600)
        project.schedule("catch_up", "5m")
        missed = project.call("run", "--once", "--json")
        assert (missed.code, missed.json["missed"]) == (6, [project.run_name])
        assert server.addresses() == []


def test_what_keeps_a_newsletter_from_being_sent_is_told_once_until_it_is_mended(tmp_path: Path) -> None:
    project = ScheduledProject(tmp_path / "project", 1, seconds=4 * 3600)
    project.edit(project.config, 'provider = "smtp"', 'provider = "sendgrid"')
    lists = project.folder / "subscribers" / "daily-buzz.csv"
    good = lists.read_bytes()

    def told(**environment: str) -> list[str]:
        """What a cron job that runs every minute says."""
        err = project.call("run", "--once", **environment).err
        lines = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
        return [line["key"] for line in lines if line["event"] == "alert"]

    lists.write_text("name\nnobody\n", "utf-8")
    assert sorted(told()) == ["daily-buzz cannot be sent", "sync"]
    assert told() == []
    lists.write_bytes(good)
    assert told(SENDGRID_API_KEY="SG.key") == []
    project.edit(project.config, '{ env = "NEWSLETTER_SECRET_KEY" }', '{ file = "nowhere.key" }')
    assert told(SENDGRID_API_KEY="SG.key") == ["daily-buzz cannot be sent"]
    project.edit(project.config, '{ file = "nowhere.key" }', '{ env = "NEWSLETTER_SECRET_KEY" }')
    assert told(SENDGRID_API_KEY="SG.key") == []
    lists.write_text("name\nnobody\n", "utf-8")
    assert sorted(told()) == ["daily-buzz cannot be sent", "sync"]


def test_an_issue_that_is_not_there_yet_is_told_with_the_command_that_begins_it(tmp_path: Path) -> None:
    project = ScheduledProject(tmp_path / "project", 1, seconds=1800)
    assert f"To begin it: newsletter -n daily-buzz new {project.slot}" in project.call("run", "--once").err


def test_what_an_operator_sent_before_its_slot_is_listed_as_done(tmp_path: Path) -> None:
    with smtp_server() as server:
        project = ScheduledProject(tmp_path / "project", server.port, seconds=1800)
        project.write_issue()
        assert project.call("send", project.slot, "--confirm", "12").code == 0
        listed = project.call("schedule", "list", "--from", project.slot, "--count", "1")
        assert listed.out.endswith(f"done: newsletter status {project.run_name}\n")


def test_a_database_whose_file_is_taken_away_is_told_and_nothing_is_begun_until_it_is_back(tmp_path: Path) -> None:
    with smtp_server() as server:
        project = ScheduledProject(tmp_path / "project", server.port, seconds=1800)
        project.write_issue()
        var, away = project.folder / "var", project.folder / "away"
        with daemon(project) as process:
            until_said(project, "leads")
            var.rename(away)
            until_said(project, "database_trouble")
            project.slot_in(1)
            process.send_signal(signal.SIGHUP)
            until_said(project, "settings_read")
            time.sleep(4)
            assert server.addresses() == []
            shutil.rmtree(var, ignore_errors=True)
            away.rename(var)
            eventually(lambda: len(server.addresses()) == 12)
            until_said(project, "slot_ended")
            assert len(alerts(project, "the database's file is gone")) == 1
            end(process)


def test_it_refuses_to_start_where_nothing_would_ever_go_out(tmp_path: Path) -> None:
    project = ScheduledProject(tmp_path / "project", 1)
    project.schedule("enabled", False)
    refused = project.call("run")
    assert refused.code == 5
    assert "enabled = true" in refused.err
    assert project.call("-n", "daily-buzz", "run").code == 2
    assert project.call("run", "--once", "--with-web").code == 2
    project.schedule("timezone", "Mars/Olympus")
    assert project.call("run").code == 3


def test_what_is_not_approved_goes_out_neither_by_itself_nor_by_hand(tmp_path: Path) -> None:
    with smtp_server() as server:
        project = ScheduledProject(tmp_path / "project", server.port, seconds=-5)
        project.schedule("require_approval", True)
        file = project.write_issue()
        refused = project.call("run", "--once")
        assert refused.code == 5
        assert f"newsletter approve {project.slot}" in refused.err
        approved = project.call("approve", project.slot, "--by", "Anna", "--json")
        assert approved.code == 0, approved.err
        assert approved.json["by"] == "Anna"
        project.write_issue(
            "Late News\nIt was added after Anna had read the issue, and nobody has read it since then.\n"
        )
        changed = project.call("run", "--once")
        assert changed.code == 5
        assert "changed since it was approved by Anna" in changed.err
        by_hand = project.call("send", project.slot, "--confirm", "12")
        assert by_hand.code == 5
        assert server.addresses() == []
        assert project.call("approve", project.slot).code == 0
        limited = project.call("send", project.slot, "--confirm", "12", "--limit", "5")
        assert limited.code == 0, limited.err
        assert file.exists()
        project.call("approve", project.slot)
        resumed = project.call("resume", project.run_name)
        assert resumed.code == 0, resumed.err
        check_everybody_once(server, 12)


def test_each_recipient_gets_it_at_the_time_of_their_own_zone(tmp_path: Path) -> None:
    with smtp_server() as server:
        project = ScheduledProject(tmp_path / "project", server.port, seconds=1)
        project.schedule("recipient_timezone", True)
        east, west = (f"Etc/GMT{hours:+d}" for hours in (project.hours_west - 1, project.hours_west + 1))
        rows = [f"east{n}@example.com,2025-01-01,{east}" for n in range(3)]
        rows += [f"here{n}@example.com,2025-01-01," for n in range(3)]
        rows += [f"west{n}@example.com,2025-01-01,{west}" for n in range(3)]
        lists = project.folder / "subscribers" / "daily-buzz.csv"
        lists.write_text("\n".join(["email,consent_at,timezone", *rows]) + "\n", "utf-8")
        project.call("subscribers", "sync")
        project.write_issue()
        with daemon(project) as process:
            # theirs was an hour ago, or is now
            eventually(lambda: len(server.addresses()) == 6)
            # the server has its mail a moment before the ledger has its answer
            eventually(lambda: project.run_status()["remaining"] == 3)
            time.sleep(1)
            assert {address[:4] for address in server.addresses()} == {"east", "here"}
            end(process)
        assert (project.run_status()["state"], project.run_status()["remaining"]) == ("sending", 3)


def test_an_approval_of_a_broken_issue_is_refused(tmp_path: Path) -> None:
    project = ScheduledProject(tmp_path / "project", 1)
    file = project.write_issue()
    file.write_text(file.read_text("utf-8").replace(f"{project.at.year}\n", f"{project.at.year - 1}\n", 1), "utf-8")
    assert project.call("approve", project.slot).code == 3


def test_the_log_is_json_without_a_terminal_and_has_no_address(tmp_path: Path) -> None:
    with smtp_server() as server:
        project = ScheduledProject(tmp_path / "project", server.port, seconds=1)
        project.write_issue()
        with daemon(project) as process:
            until_said(project, "slot_ended")
            end(process)
    text = (project.folder / "daemon.log").read_text("utf-8")
    assert said(project, "run_left", accepted=12)
    assert "@example.com" not in text
    assert all(json.loads(line) for line in text.splitlines() if line.startswith("{"))
