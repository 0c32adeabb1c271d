"""Picks the concrete parts: settings, templates, keys, the database and what is kept in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from newsletter.project_files import Shipped, shipped
from newsletter.settings.load import load_settings
from newsletter.settings.loaded import Loaded
from newsletter.settings.secret_key import site_secrets

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from newsletter.delivery.ledger import Ledger
    from newsletter.events.tracking import TrackingStore
    from newsletter.schedule.records import Leadership
    from newsletter.store.audience import SqlAudience


def settings(path: Path) -> Loaded:
    """config.toml with the process's environment on top. Raises ConfigError."""
    return load_settings(path, os.environ)


def template_roots(loaded: Loaded) -> tuple[Path, ...]:
    """Where templates are looked up: in the project, then in the package."""
    return (loaded.resolve(loaded.settings.paths.templates), shipped(Shipped.TEMPLATES))


def database(loaded: Loaded) -> Engine:
    """The database as it is, whatever its tables. Raises what `newsletter.store.failures` says."""
    # imported here: SQLAlchemy takes longer to load than `check` to run
    from newsletter.store.engine import open_engine

    return open_engine(loaded.settings.database.url, loaded.folder)


def audience_store(loaded: Loaded, say: Callable[[str], None] = lambda _: None) -> SqlAudience:
    """The audience, its tables brought up to date (SQLite) or found up to date (PostgreSQL).

    `say` hears of a backup copy that was made. Raises GuardRefused where `newsletter db upgrade` is needed.
    """
    from newsletter.store.audience import SqlAudience
    from newsletter.store.erasure_key import erasure_key
    from newsletter.store.upgrade import ensure_current

    engine = database(loaded)
    ensure_current(engine, say)
    return SqlAudience(engine, erasure_key(engine))


def leadership(loaded: Loaded) -> Leadership:
    """Who of several daemons on the database acts. Its lock stands with those of senders."""
    from newsletter.store.leadership import leadership as leadership_on  # see database

    engine = database(loaded)
    return leadership_on(engine, locks=beside_database(loaded, engine) / "locks")


def beside_database(loaded: Loaded, engine: Engine) -> Path:
    """The folder of the lock files' folder and of the journal."""
    from newsletter.store.engine import sqlite_path  # see database

    file = sqlite_path(engine)
    return file.parent if file is not None else loaded.resolve("var")


def signing_keys(loaded: Loaded) -> Sequence[str]:
    """The keys that sign links, the present one first; made on first use where none is configured."""
    return site_secrets(loaded, os.environ)


def ledger(loaded: Loaded, say: Callable[[str], None] = lambda _: None) -> Ledger:
    """Runs and deliveries, on a database that is up to date (see `audience_store`).

    The locks that prove that a sender is alive, and the journal that outlives a database, stand beside an SQLite file,
    else in `var/` beside config.toml.
    """
    from newsletter.store.upgrade import ensure_current  # see database

    engine = database(loaded)
    ensure_current(engine, say)
    return ledger_on(loaded, engine)


def ledger_on(loaded: Loaded, engine: Engine) -> Ledger:
    """Runs and deliveries on a database that is open already; see `ledger`."""
    from newsletter.store.ledger import SqlLedger  # see database

    beside = beside_database(loaded, engine)
    return SqlLedger(engine, locks=beside / "locks", journal=beside / "journal.ndjson")


def tracking_store(loaded: Loaded) -> TrackingStore:
    """Where counted links lead, and how often they were followed, on a database that is up to date (see `ledger`)."""
    from newsletter.store.tracking import SqlTracking  # see database

    return SqlTracking(database(loaded))
