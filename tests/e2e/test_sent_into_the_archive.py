"""An issue goes out for real, and stands in the archive: as it was mailed, with nothing of anybody in it."""

from __future__ import annotations

import base64
import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import sqlalchemy as sa
from live_projects import RUN, LiveProject, smtp_server
from projects import SLOT

from newsletter.delivery.archive import PublishedIssue
from newsletter.delivery.links import LinkMaker, Purpose
from newsletter.delivery.names import RunName
from newsletter.metrics import Metrics
from newsletter.settings.load import load_settings
from newsletter.store.archive import SqlArchive
from newsletter.store.engine import close_all
from newsletter.store.tables import subscriber
from newsletter.web.serving import web_server
from newsletter.wiring.parts import database

NAME = RunName("daily-buzz", SLOT)


def kept(project: LiveProject) -> PublishedIssue | None:
    """The issue of the archive."""
    return SqlArchive(database(load_settings(project.config, {}))).issue(NAME)


@contextmanager
def served(project: LiveProject) -> Iterator[httpx.Client]:
    loaded = load_settings(project.config, {})
    with web_server(loaded, Metrics(), port=0) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        yield client
    close_all()


def people(project: LiveProject) -> Sequence[sa.Row[Any, Any, Any]]:
    loaded = load_settings(project.config, {})
    with database(loaded).connect() as connection:
        return connection.execute(sa.select(subscriber.c.id, subscriber.c.address, subscriber.c.name)).all()


def test_the_link_in_every_mail_leads_to_the_issue_and_nobody_is_in_it(tmp_path: Path) -> None:
    with smtp_server() as server:
        project = LiveProject(tmp_path / "project", server.port)
        # those who stay pending have names, too
        with (project.folder / "subscribers" / "daily-buzz.csv").open(encoding="utf-8") as file:
            listed = [value for row in csv.DictReader(file) for value in (row["email"], row.get("name", ""))]
        assert project.send("--quiet").code == 0
        mails = [taken.message for taken in server.taken]
    [link] = {re.search(rb"View online: (\S+)", _plain(mail))[1].decode() for mail in mails}  # type: ignore[index]
    everybody = people(project)
    secrets = {text for one in everybody for text in (one.address, one.name) if text} | {one for one in listed if one}
    keys = [(project.folder / "var" / "secret.key").read_text("utf-8").strip()]
    links = LinkMaker("http://localhost:8000", "daily-buzz", keys)
    secrets |= {links.token(purpose, one.id) for one in everybody for purpose in Purpose}
    tokens = {found.decode() for mail in mails for found in re.findall(rb"<https?://\S+/([A-Za-z0-9_-]{32})>", mail)}
    assert tokens  # of List-Unsubscribe
    assert tokens <= secrets
    with served(project) as client:
        pages = [
            client.get(path)
            for path in (urlsplit(link).path, "/archive/daily-buzz", "/archive/daily-buzz/feed.atom", "/")
        ]
    assert [page.status_code for page in pages] == [200] * 4
    issue = kept(project)
    assert issue is not None
    for text in [*(page.text for page in pages), issue.html, issue.text, repr(issue)]:
        assert not [secret for secret in secrets if secret in text]
    assert "Harbor Nations Sign Pact" in pages[0].text
    assert "your address is subscribed to Daily Buzz" in pages[0].text
    assert issue.title in pages[1].text


def _plain(mail: bytes) -> bytes:
    """The mail without the soft breaks of quoted-printable."""
    return mail.replace(b"=\r\n", b"").replace(b"=3D", b"=")


def test_a_dry_run_a_test_and_a_preview_publish_nothing(tmp_path: Path) -> None:
    with smtp_server() as server:
        project = LiveProject(tmp_path / "project", server.port)
        assert project.call("send", SLOT, "--dry-run", "--quiet").code == 0
        assert project.call("test", SLOT, "--to", "editor@example.com", "--quiet").code == 0
        assert project.call("preview", SLOT, "--quiet").code == 0
    with database(load_settings(project.config, {})).connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM published_issue").scalar() == 0


def test_the_mail_goes_out_whatever_befalls_its_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def fails(_: SqlArchive, issue: PublishedIssue) -> None:
        tried.append(issue.run)
        raise OSError("the disk is full")

    monkeypatch.setattr(SqlArchive, "keep", fails)
    with smtp_server() as server:
        project = LiveProject(tmp_path / "project", server.port)
        ended = project.send("-v")
        assert ended.code == 0
        assert len(server.taken) == 12
    assert tried == [NAME, NAME]  # once more when the run was over
    assert "not_in_the_archive" in ended.err or "not in the archive" in ended.err
    assert kept(project) is None


def test_what_failed_at_first_is_kept_when_the_run_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep, tried = SqlArchive.keep, []

    def fails_once(archive: SqlArchive, issue: PublishedIssue) -> None:
        tried.append(issue)
        if len(tried) == 1:
            raise OSError("the disk is full")
        keep(archive, issue)

    monkeypatch.setattr(SqlArchive, "keep", fails_once)
    with smtp_server() as server:
        project = LiveProject(tmp_path / "project", server.port)
        assert project.send("--quiet").code == 0
    assert kept(project) is not None


def test_a_run_that_goes_on_has_its_issue_in_the_archive(tmp_path: Path) -> None:
    with smtp_server() as server:
        project = LiveProject(tmp_path / "project", server.port)
        project.send("--limit", "5", "--quiet")
        assert len(server.taken) == 5
        first = kept(project)
        assert first is not None
        with database(load_settings(project.config, {})).begin() as connection:
            connection.exec_driver_sql("DELETE FROM published_issue")
        close_all()
        project.call("resume", RUN, "--quiet")
        assert len(server.taken) == 12
    assert kept(project) == first


def test_without_an_archive_no_mail_has_a_link_to_it(tmp_path: Path) -> None:
    with smtp_server() as server:
        project = LiveProject(tmp_path / "project", server.port)
        project.edit(project.config, "archive = true", "archive = false")
        assert project.send("--quiet").code == 0
        assert server.taken
        for taken in server.taken:
            text = _plain(taken.message)
            assert b"/archive/" not in text
            assert b"View online" not in text
            assert base64.b64encode(b"View online")[:-2] not in text
