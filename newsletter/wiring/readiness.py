"""Whether the database is there and fit, for /readyz."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from newsletter import logs
from newsletter.errors import NewsletterError
from newsletter.settings.loaded import Loaded
from newsletter.wiring.parts import database

if TYPE_CHECKING:
    from sqlalchemy import Engine


def database_check(loaded: Loaded) -> Callable[[], str]:
    """A check that asks the database each time; '' where it answers and its tables are what this program needs.

    What is wrong is said in words that anybody may read; the log has the error.
    """
    lock = threading.Lock()
    opened: list[Engine] = []

    def check() -> str:
        from newsletter.store.engine import sqlite_path  # see wiring.parts.database
        from newsletter.store.upgrade import database_state

        try:
            with lock:
                if not opened:
                    opened.append(database(loaded))
            [engine] = opened
            file = sqlite_path(engine)
            if file is not None and not file.exists():  # a connection from before would still see it
                return "its file is gone"
            state = database_state(engine)
        except NewsletterError as error:
            logs.write("warning", "not_ready", check="database", error=str(error))
            return "it cannot be reached"
        return "" if state.is_current else "its tables are not those that this program needs"

    return check


def make_current(loaded: Loaded, say: Callable[[str], None]) -> None:
    """Upgrades an SQLite database, as every command that opens it does. PostgreSQL may be behind, or away, and come
    later: /readyz says so meanwhile. Raises GuardRefused and OutputError, on SQLite only."""
    if loaded.settings.database.url.startswith("sqlite"):
        from newsletter.store.upgrade import ensure_current  # see wiring.parts.database

        ensure_current(database(loaded), say)
