"""The stores of the public side, from a project's settings."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from newsletter import wiring
from newsletter.access.model import Scope
from newsletter.audience.model import Subscriber
from newsletter.audience.people import Consent
from newsletter.errors import TemporaryError
from newsletter.project_files import copy_project
from newsletter.wiring.public import public_stores

NOW = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
ANNA = Subscriber("anna@example.com", "anna@example.com")


def test_they_stand_on_the_projects_database_and_share_its_erasure_key(tmp_path: Path) -> None:
    copy_project(tmp_path)
    loaded = wiring.settings(tmp_path / "config.toml")
    stores = public_stores(loaded)
    assert stores.audience.confirm(ANNA, "daily", consent=Consent("daily", NOW), now=NOW)
    stores.tokens.add("shop", b"1" * 32, [Scope.READ], now=NOW)
    commands = wiring.audience_store(loaded)
    assert commands.erase(ANNA.key, source="letter", now=NOW)
    [left] = commands.suppressions()
    found = stores.audience.person(ANNA.key)
    assert found is not None
    assert found.suppressions == (left,)
    assert [one.name for one in public_stores(loaded).tokens.tokens()] == ["shop"]


def test_a_postgresql_that_is_away_keeps_nobody_from_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_project(tmp_path)
    monkeypatch.setenv("NEWSLETTER__DATABASE__URL", f"postgresql://nobody@/none?host={tmp_path}")
    stores = public_stores(wiring.settings(tmp_path / "config.toml"))
    with pytest.raises(TemporaryError):
        stores.audience.person(ANNA.key)
