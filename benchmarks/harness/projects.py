"""A fresh project that is ready to send: an issue, people in the database, and settings that aim at a sink.

The people come by statements of their own, not from a CSV file: what an import takes is another benchmark's subject,
and a send that finds no files has none to look through.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.harness.commands import Usage, run
from benchmarks.render import NAMES, SECTIONS
from newsletter.issue.parse import parse_issue
from newsletter.project_files import copy_project

ROOT = Path(__file__).resolve().parents[2]
ISSUE = ROOT / "issues" / "2026-01-07.txt"

#: :count people, each with a name of their own, who asked for it a year ago.
_PEOPLE = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < :count - 1),
     name(k, said) AS (SELECT key, value FROM json_each(:names))
INSERT INTO subscriber (key, address, name, created_at)
SELECT 'reader' || i || '@example.org', 'reader' || i || '@example.org', said || ' ' || i, :then
FROM n JOIN name ON k = i % json_array_length(:names)
"""
_LIST = "INSERT INTO mailing_list (name) VALUES ('daily-buzz')"
_MEMBERSHIPS = """
INSERT INTO membership (list_id, subscriber_id, state, since)
SELECT (SELECT id FROM mailing_list WHERE name = 'daily-buzz'), id, 'subscribed', :then FROM subscriber
"""
_CONSENTS = """
INSERT INTO consent (subscriber_id, list_id, at, source, recorded_at)
SELECT subscriber_id, list_id, since, 'form', since FROM membership
"""


class Project:
    """A project on disk with so many people who get the issue of `date`."""

    def __init__(self, folder: Path, people: int, issue: Path = ISSUE) -> None:
        self.folder = folder
        self.people = people
        copy_project(folder)
        octets = issue.read_bytes()
        self.date = str(parse_issue(octets, source=issue.name, sections=SECTIONS).date or "2026-01-07")
        (folder / "issues" / f"{self.date}.txt").write_bytes(octets)
        for file in (folder / "subscribers").glob("*.csv"):
            file.unlink()
        (folder / "var").mkdir(exist_ok=True)
        (folder / "var" / "newsletter.db").write_bytes(_empty_database())
        fill(folder / "var" / "newsletter.db", people)

    def command(self, settings: Mapping[str, str], *arguments: str) -> Usage:
        """What `newsletter ARGUMENTS` took."""
        return run([sys.executable, "-m", "newsletter", *arguments], folder=self.folder, environment=settings)

    def send(self, settings: Mapping[str, str]) -> Usage:
        """What sending the issue took. Raises RuntimeError unless the ledger says that everybody was accepted."""
        usage = self.command(settings, "send", self.date, "--confirm", str(self.people), "--json")
        sheet: dict[str, Any] = json.loads(usage.output.splitlines()[-1])
        if (sheet["state"], sheet["planned"], sheet["accepted"]) != ("finished", self.people, self.people):
            raise RuntimeError(f"the ledger says {sheet}")
        return usage


@contextmanager
def project(people: int, issue: Path = ISSUE) -> Iterator[Project]:
    """A project in a folder that goes away."""
    with TemporaryDirectory(prefix="newsletter-bench-") as folder:
        yield Project(Path(folder) / "project", people, issue)


@cache
def _empty_database() -> bytes:
    """A database of the current version with nobody in it; made once, it is the same for every project."""
    with TemporaryDirectory(prefix="newsletter-bench-") as name:
        folder = Path(name) / "project"
        copy_project(folder)
        run([sys.executable, "-m", "newsletter", "db", "upgrade"], folder=folder, environment=environment({}))
        return (folder / "var" / "newsletter.db").read_bytes()


def fill(database: Path, people: int) -> None:
    """Puts so many people into an empty SQLite database of the current version."""
    given = {
        "count": people,
        "names": json.dumps(NAMES),
        "then": int(dt.datetime(2025, 1, 1, tzinfo=dt.UTC).timestamp()),
    }
    with closing(sqlite3.connect(database)) as connection, connection:
        for statement in (_PEOPLE, _LIST, _MEMBERSHIPS, _CONSENTS):
            connection.execute(statement, given)


def environment(settings: Mapping[str, object]) -> dict[str, str]:
    """The process environment with these settings, named as in config.toml (`providers.smtp.port`, `delivery.window`
    for the newsletter's own), without any others, and with a deadline that is far away."""
    late = dt.datetime.now(dt.UTC) + dt.timedelta(hours=12)
    late = max(late, late.replace(hour=0, minute=1))  # it must come after the time of the issue, on its day
    wanted = {"schedule.timezone": "UTC", "schedule.time": "00:00", "schedule.deadline": f"{late:%H:%M}", **settings}
    own = {}
    for key, value in wanted.items():
        whole = key if key.startswith(("providers.", "database.", "site.")) else f"newsletters.daily-buzz.{key}"
        own["NEWSLETTER__" + whole.replace("-", "_").replace(".", "__").upper()] = str(value)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NEWSLETTER")}
    paths = os.pathsep.join(path for path in (str(ROOT), kept.get("PYTHONPATH", "")) if path)
    return kept | {"PYTHONPATH": paths, "SENDGRID_API_KEY": "SG.loopback"} | own


def over_smtp(port: int, **delivery: object) -> dict[str, str]:
    """An environment that sends to a sink on this port; `delivery` are settings under `[newsletters.*.delivery]`."""
    return environment(
        {
            "delivery.provider": "smtp",
            "providers.smtp.host": "127.0.0.1",
            "providers.smtp.port": port,
            "providers.smtp.security": "none",
            **{f"delivery.{key}": value for key, value in delivery.items()},
        }
    )


def over_sendgrid(port: int, **delivery: object) -> dict[str, str]:
    """The same for an HTTP sink."""
    return environment(
        {
            "delivery.provider": "sendgrid",
            "providers.sendgrid.host": f"http://127.0.0.1:{port}",
            **{f"delivery.{key}": value for key, value in delivery.items()},
        }
    )
