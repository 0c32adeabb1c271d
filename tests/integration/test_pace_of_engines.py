"""Which pace a run gets: within the process, or over all workers where a newsletter of the account has them."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from fresh_databases import make_tables

from newsletter.delivery.pacing import Limiter
from newsletter.delivery.shared_pacing import SharedLimiter
from newsletter.project_files import copy_project
from newsletter.settings.load import load_settings
from newsletter.settings.loaded import Loaded
from newsletter.store.engine import close_all
from newsletter.store.shared_pace import SqlPaceRecords
from newsletter.wiring.pacing import pacing


def loaded(folder: Path, url: str = "sqlite:///var/newsletter.db", engine: str = "threads") -> Loaded:
    copy_project(folder)
    path = folder / "config.toml"
    text = path.read_text("utf-8")
    for old, new in (
        ('engine = "threads"', f'engine = "{engine}"'),
        ('url = "sqlite:///var/newsletter.db"', f'url = "{url}"'),
        ('provider = "disk"', 'provider = "smtp"'),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    head, table, rest = text.partition('kind = "smtp"')
    rest = rest.replace("per_domain = {}", 'per_domain = { "example.net" = "2/s" }', 1)
    path.write_text(head + table + rest, "utf-8")
    return load_settings(path, {"NEWSLETTER__PROVIDERS__SMTP__RATE": "100/s"})


@pytest.fixture
def on_postgresql(postgres: sa.Engine, tmp_path: Path) -> Loaded:
    make_tables(postgres)
    return loaded(tmp_path / "project", postgres.url.render_as_string(hide_password=False), "procrastinate")


def test_with_threads_nothing_is_shared(tmp_path: Path) -> None:
    settings = loaded(tmp_path / "project")
    assert isinstance(pacing(settings, "smtp"), Limiter)


def test_with_workers_the_account_of_the_newsletter_is_and_others_are_not(
    on_postgresql: Loaded, postgres: sa.Engine
) -> None:
    one = pacing(on_postgresql, "smtp")
    assert isinstance(one, SharedLimiter)
    assert (one.rate, one is pacing(on_postgresql, "smtp")) == (100.0, True)
    assert one.admit is not None
    assert isinstance(pacing(on_postgresql, "sendgrid"), Limiter)
    assert one.try_take(50)
    SqlPaceRecords(postgres, "smtp").hold(one._bucket, 60)  # type: ignore[arg-type]
    close_all()
