"""A site with its public side served over real HTTP, on a database in a file, with people and issues that went out."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from html import unescape
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import sqlalchemy as sa

from newsletter.audience.model import Subscriber
from newsletter.audience.people import Consent, Person, Selection
from newsletter.delivery.archive import PublishedIssue
from newsletter.delivery.links import LinkMaker, Purpose
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import RunPlan
from newsletter.metrics import Metrics
from newsletter.settings.load import load_settings
from newsletter.store.archive import SqlArchive
from newsletter.store.audience import SqlAudience
from newsletter.store.tables import run as run_table
from newsletter.web.serving import WebServer, web_server
from newsletter.wiring.parts import audience_store, database, ledger

NOW = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
#: Of the site's links.
KEY = "k" * 40

CONFIG = """
[site]
name = "The Site"
base_url = "http://127.0.0.1:8000"
postal_address = "1 Example Street"
secret_key = { env = "KEY" }
[web]
host = "127.0.0.1"
port = 0
[newsletters.daily-buzz]
title = "Daily Buzz"
from = "Daily Buzz <buzz@news.example.com>"
reply_to = "editor@example.com"
[newsletters.weekly]
title = "The Weekly"
from = "weekly@news.example.com"
lists = ["weekly", "weekly-old"]
[newsletters.inner-circle]
title = "Inner Circle"
from = "circle@news.example.com"
public = false
[newsletters.inner-circle.schedule]
timezone = "Asia/Hong_Kong"
"""


class PublicSite:
    """A context manager: served within its block. `get` and `post` take a path."""

    def __init__(self, folder: Path, config: str = CONFIG) -> None:
        (folder / "config.toml").write_text(config, "utf-8")
        self._key = folder / "key"
        self._key.write_text(KEY)
        text = config.replace('{ env = "KEY" }', '{ file = "key" }')
        (folder / "config.toml").write_text(text, "utf-8")
        self.loaded = load_settings(folder / "config.toml", {})
        self.store: SqlAudience = audience_store(self.loaded)
        self.ledger = ledger(self.loaded)
        self.archive = SqlArchive(database(self.loaded))
        self._server: WebServer = web_server(self.loaded, Metrics())
        self.client = httpx.Client(base_url=self._server.url, timeout=30)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, fields: Mapping[str, str | list[str]] | None = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(path, data=dict(fields or {}), headers=named)

    def token(self, number: int, newsletter: str = "daily-buzz", purpose: Purpose = Purpose.PREFERENCES) -> str:
        return LinkMaker("http://127.0.0.1:8000", newsletter, [KEY]).token(purpose, number)

    def subscribe(self, address: str = "anna@example.com", *lists: str, name: str = "") -> int:
        """Their number."""
        for one in lists or ("daily-buzz",):
            row = Subscriber(key=address.lower(), address=address, name=name)
            assert self.store.subscribe(row, one, consent=Consent(one, NOW, source="test"), now=NOW)
        return self.number(address)

    def person(self, address: str = "anna@example.com") -> Person:
        found = self.store.person(address.lower())
        assert found is not None
        return found

    def number(self, address: str = "anna@example.com") -> int:
        number = self.person(address).id
        assert number is not None
        return number

    def publish(self, issue: PublishedIssue, *, began: dt.datetime | None = NOW) -> None:
        """Keeps an issue, with a run that began (None: that is planned)."""
        date, _, edition = issue.run.slot.partition(".")
        planned = RunPlan(
            name=issue.run,
            issue_date=dt.date.fromisoformat(date),
            edition=edition,
            selection=Selection((issue.run.newsletter,)),
            content_hash=issue.content_hash,
            subject=issue.subject,
            provider="disk",
            batch_size=10,
            deadline=NOW + dt.timedelta(days=3650),
        )
        self.archive.keep(issue)
        self.ledger.plan(planned, now=NOW)
        if began is not None:
            with database(self.loaded).begin() as connection:
                named = (run_table.c.newsletter == issue.run.newsletter, run_table.c.issue_date == date)
                began_at = sa.update(run_table).where(*named, run_table.c.edition == edition)
                connection.execute(began_at.values(started_at=int(began.timestamp())))

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.client.close()
        self._server.stop()


def issue_of(
    slot: str = "2026-01-07",
    *,
    newsletter: str = "daily-buzz",
    title: str = "Daily Buzz: 7 January 2026",
    html: str = "<!DOCTYPE html>\n<html><head><title>T</title></head><body><h1>News</h1></body></html>",
    **others: str,
) -> PublishedIssue:
    """An issue as the archive keeps it."""
    return PublishedIssue(
        run=RunName(newsletter, slot),
        issue_date=dt.date.fromisoformat(slot.partition(".")[0]),
        title=title,
        subject=others.get("subject", title),
        preheader=others.get("preheader", "The first headlines"),
        html=html,
        text="News",
        content_hash="hash",
        image_origins=tuple(others.get("images", "").split()),
    )


def said(answer: httpx.Response) -> str:
    """The words on a page, as somebody reads them."""
    body = answer.text.partition("<body>")[2]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())
