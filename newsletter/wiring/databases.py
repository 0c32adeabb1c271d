"""`db upgrade` and `db backup`."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

from newsletter.errors import NothingToDo
from newsletter.settings.loaded import Loaded
from newsletter.wiring.parts import database

if TYPE_CHECKING:
    from newsletter.store.upgrade import Upgraded


def upgrade_database(loaded: Loaded) -> Upgraded:
    """Brings the database's tables to what this program needs. Raises GuardRefused, TemporaryError or OutputError."""
    from newsletter.store.upgrade import upgrade  # see database

    return upgrade(database(loaded))


def backup_database(loaded: Loaded, target: Path | None) -> Path:
    """Writes a copy of the database, by default into `var/`; its path. Raises NothingToDo where there is no table."""
    from newsletter.store.backup import backup, backup_into  # see database
    from newsletter.store.upgrade import database_state

    engine = database(loaded)
    if database_state(engine).empty:
        raise NothingToDo("the database is empty: there is nothing to back up")
    if target is None:
        return backup_into(engine, loaded.resolve(Path("var")), dt.datetime.now(dt.UTC))
    backup(engine, target)
    return target
