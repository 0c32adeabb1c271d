"""What keeps a live send from going out: each refusal says what, why and what to do, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_projects import RUN, SHIPPED, LiveProject, smtp_server
from projects import SLOT, Ended
from servers.smtp_server import SmtpServer


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with smtp_server() as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, server: SmtpServer) -> LiveProject:
    return LiveProject(tmp_path / "project", server.port)


def refused(ended: Ended, *words: str, code: int = 5) -> None:
    assert ended.code == code, ended
    assert ended.err.count("✗") == 1
    for word in words:
        assert word in ended.err, ended.err


def nothing_was_sent(project: LiveProject, server: SmtpServer) -> None:
    assert server.taken == []
    assert project.call("status", RUN).code == 4


def test_without_a_terminal_the_count_must_be_given(project: LiveProject, server: SmtpServer) -> None:
    ended = project.call("send", SLOT)
    refused(ended, "no terminal to ask at", f"newsletter send {SLOT} --confirm {SHIPPED}")
    assert f"Audience  {SHIPPED}   (the first run)" in ended.out
    assert "LIVE via smtp" in ended.out
    nothing_was_sent(project, server)


@pytest.mark.parametrize("count", [0, 11, 13])
def test_another_count_is_refused(project: LiveProject, server: SmtpServer, count: int) -> None:
    refused(project.send(confirm=count), f"{count} was confirmed, and it would be 12", "--confirm 12")
    nothing_was_sent(project, server)


def test_an_issue_that_changed_since_its_test_is_refused_until_it_is_tested_again(
    project: LiveProject, server: SmtpServer
) -> None:
    assert project.call("test", SLOT, "--to", "editor@example.com").code == 0
    project.edit(project.issue, "Daily Buzz: 7 January 2026", "Daily Buzz, mended: 7 January 2026")
    refused(project.send(), "changed since its test of", "to editor@example.com", f"newsletter test {SLOT} --to")
    assert len(server.taken) == 1
    assert project.call("test", SLOT, "--to", "editor@example.com").code == 0
    sent = project.send()
    assert sent.code == 0, sent.err
    assert "to editor@example.com (same content)" in sent.out


def test_a_test_can_be_demanded(project: LiveProject, server: SmtpServer) -> None:
    project.delivery("require_test", "true")
    refused(project.send(), "was not sent as a test", f"newsletter test {SLOT} --to")
    nothing_was_sent(project, server)
    assert project.call("test", SLOT, "--to", "editor@example.com").code == 0
    assert project.send().code == 0


def test_an_issue_that_fails_its_checks_is_not_sent(project: LiveProject, server: SmtpServer) -> None:
    project.edit(project.issue, "7 January", "8 January")
    refused(project.send(), "does not pass its checks: date-mismatch", f"newsletter check {SLOT}", code=3)
    nothing_was_sent(project, server)


def test_what_was_sent_is_not_sent_again(project: LiveProject, server: SmtpServer) -> None:
    assert project.send().code == 0
    refused(project.send(), "Already sent at", "(12 accepted)", f"newsletter status {RUN}")
    assert len(server.taken) == SHIPPED
    ended = project.call("send", SLOT, "--resume")
    assert ended.code == 4
    assert "nothing is left to send" in ended.err


def test_a_database_put_back_from_a_backup_does_not_send_again(project: LiveProject, server: SmtpServer) -> None:
    assert project.call("subscribers", "sync").code == 0
    assert project.call("db", "backup", "before.db").code == 0
    assert project.send().code == 0
    for file in ("newsletter.db", "newsletter.db-wal", "newsletter.db-shm"):
        (project.folder / "var" / file).unlink(missing_ok=True)
    (project.folder / "before.db").rename(project.folder / "var" / "newsletter.db")
    refused(project.send(), f"{RUN} was sent before", "journal.ndjson", "backup")
    asked = project.call("send", SLOT)
    refused(asked, f"{RUN} was sent before")
    assert asked.out == "", "the guard comes before the count is asked for"
    for command in ("resume", "status", "cancel", "resolve"):
        refused(project.call(command, RUN), f"{RUN} was sent before")
    assert len(server.taken) == SHIPPED


def test_an_audience_that_changed_too_much_is_refused(project: LiveProject, server: SmtpServer) -> None:
    assert project.send().code == 0
    project.people(40)
    project.edit(project.issue, "7 January", "8 January")
    project.issue.rename(project.issue.with_name("2026-01-08.txt"))
    ended = project.call("send", "2026-01-08", "--confirm", "52")
    refused(ended, "from 12 in the last run to 52", "max_audience_change", "newsletter subscribers stats")
    assert len(server.taken) == SHIPPED


def test_nobody_is_no_audience(project: LiveProject, server: SmtpServer) -> None:
    (project.folder / "subscribers" / "daily-buzz.csv").write_text("email\nanna@example.com\n")
    refused(project.send(confirm=0), "nobody would get this issue: all 1 on its lists are left out", "--dry-run")
    nothing_was_sent(project, server)


def test_links_by_plain_http_are_for_this_machine_only(project: LiveProject, server: SmtpServer) -> None:
    ended = project.send(NEWSLETTER__SITE__BASE_URL="http://news.example.com")
    refused(ended, "http://news.example.com, which is not https", "site.base_url")
    nothing_was_sent(project, server)
    assert project.send(NEWSLETTER__SITE__BASE_URL="https://news.example.com").code == 0


def test_the_disk_sends_nothing(project: LiveProject, server: SmtpServer) -> None:
    disk = {"NEWSLETTER__NEWSLETTERS__DAILY_BUZZ__DELIVERY__PROVIDER": "disk"}
    ended = project.call("send", SLOT, "--confirm", "12", **disk)
    refused(ended, "writes to disk and sends nothing", "--dry-run", "delivery.provider")
    refused(project.call("test", SLOT, "--to", "a@example.com", **disk), "sends nothing")
    nothing_was_sent(project, server)


def test_a_missing_secret_is_told_before_anything_is_planned(project: LiveProject, server: SmtpServer) -> None:
    project.edit(project.config, 'username = ""', 'username = "buzz"')
    ended = project.send()
    assert (ended.code, "SMTP_PASSWORD is not set" in ended.err) == (3, True)
    nothing_was_sent(project, server)


def test_a_key_that_cannot_sign_links_is_told_before_the_count_is_asked_for(
    project: LiveProject, server: SmtpServer
) -> None:
    ended = project.call("send", SLOT, NEWSLETTER_SECRET_KEY="too short")
    assert (ended.code, ended.out) == (3, "")
    assert "NEWSLETTER_SECRET_KEY" in ended.err
    nothing_was_sent(project, server)


def test_options_of_a_dry_run_and_of_a_live_send_do_not_mix(project: LiveProject) -> None:
    assert project.call("send", SLOT, "--dry-run", "--confirm", "12").code == 2
    assert project.call("send", SLOT, "--eml", "3").code == 2
