"""Brings the tables to what this program needs, step by step (`migrations/`); in one transaction, and once.

SQLite is upgraded when it is opened, after a copy was put beside it. PostgreSQL, which others may be using, is
upgraded when an operator says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from newsletter.errors import GuardRefused, OutputError, Place
from newsletter.store.advisory_locks import AdvisoryLock, hold
from newsletter.store.backup import backup
from newsletter.store.engine import let_idle, reading, sqlite_path
from newsletter.store.failures import failures, shown_url

#: The last step; a test compares it with the files. Known here so that a look at it loads nothing of Alembic.
HEAD = "0007"
_STEPS = "newsletter.store:migrations"
_VERSION_TABLE = "alembic_version"


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """Which step the tables are at (`current`; None before the first), and which the program needs (`head`).

    `empty`: there is no table at all.
    """

    current: str | None
    empty: bool
    head: str

    @property
    def is_current(self) -> bool:
        """Nothing is to be done."""
        return self.current == self.head


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What an upgrade did: from which step (None: made anew) to which, and where the copy from before is."""

    before: str | None
    after: str
    copy: Path | None = None

    @property
    def changed(self) -> bool:
        """False where the tables were current."""
        return self.before != self.after


def database_state(engine: sa.Engine) -> DatabaseState:
    """Which step the tables are at. Raises TemporaryError or OutputError where they cannot be read."""
    with reading(engine) as connection:
        return _state(connection)


def ensure_current(engine: sa.Engine, say: Callable[[str], None]) -> None:
    """Makes sure that the tables are what this program needs: upgrades SQLite, and refuses a PostgreSQL that is behind.

    `say` hears of an upgrade and its copy; nothing is said of a database made anew.
    Raises GuardRefused, also where the database is newer than this program or is another program's.
    """
    state = database_state(engine)
    if state.is_current:
        return
    where = Place(shown_url(engine.url))
    _refuse_foreign(state, where)
    if sqlite_path(engine) is None:
        if state.empty:
            hint = "Run `newsletter db upgrade`, which makes its tables."
            raise GuardRefused("the database is empty", place=where, hint=hint)
        raise GuardRefused(
            f"the database is at step {state.current}, and this program needs step {HEAD}",
            place=where,
            hint="Run `newsletter db backup`, then `newsletter db upgrade`.",
        )
    done = upgrade(engine)
    if done.copy:
        say(f"The database was upgraded from step {done.before} to {done.after}. A copy from before: {done.copy}")


def upgrade(engine: sa.Engine) -> Upgraded:
    """Takes every step that is missing, all or none; of two processes that try at once, one does and one finds it done.

    An SQLite database that has tables is copied to `FILE.before-STEP` first.
    Raises GuardRefused where the database is newer than this program or another program's.
    """
    with _alone(engine) as connection:
        before = _state(connection)
        if before.is_current:
            return Upgraded(before.current, HEAD)
        _refuse_foreign(before, Place(shown_url(engine.url)))
        copy = None if before.empty else _copy_beside(engine)
        _take_steps(connection)
        if engine.dialect.name == "sqlite":
            _check_references(connection, Place(shown_url(engine.url)))
    return Upgraded(before.current, HEAD, copy)


@contextmanager
def new_tables(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction in which the tables are made, in a database that has none or has them all already; the block fills
    them. Where it raises, nothing of it is kept, the tables included.

    Raises GuardRefused where the database is at another step or is another program's.
    """
    with _alone(engine) as connection:
        let_idle(connection)  # what fills them may have to be waited for
        before, where = _state(connection), Place(shown_url(engine.url))
        _refuse_foreign(before, where)
        if not before.empty and not before.is_current:
            raise GuardRefused(
                f"the database is at step {before.current}, and this program needs step {HEAD}",
                place=where,
                hint="Name an empty database.",
            )
        if not before.is_current:
            _take_steps(connection)
        yield connection
        if engine.dialect.name == "sqlite":
            _check_references(connection, where)


def _state(connection: sa.Connection) -> DatabaseState:
    names = sa.inspect(connection).get_table_names()
    current = None
    if _VERSION_TABLE in names:
        current = connection.scalar(sa.text(f"SELECT version_num FROM {_VERSION_TABLE}"))  # noqa: S608 - a constant
    return DatabaseState(current, empty=not set(names) - {_VERSION_TABLE}, head=HEAD)


def _refuse_foreign(state: DatabaseState, where: Place) -> None:
    if state.current is None and not state.empty:
        raise GuardRefused(
            "the database holds tables, and none that this program made",
            place=where,
            hint="Give the newsletter a database of its own in [database] url.",
        )
    if state.current is not None and state.current not in _known_steps():
        raise GuardRefused(
            f"the database is at step {state.current}, which a newer version of this program made",
            place=where,
            hint="Install that version again; or put back a backup from before the upgrade.",
        )


@contextmanager
def _alone(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that no second upgrade runs beside."""
    with failures(engine.url), engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            # A table that is made anew is dropped in between, and what refers to it must not mind. It cannot be
            # switched within a transaction (https://www.sqlite.org/lang_altertable.html, "making other kinds of …").
            raw = connection.connection.driver_connection
            assert raw is not None
            raw.execute("PRAGMA foreign_keys = OFF")
            try:
                with connection.begin():
                    yield connection
            finally:
                raw.execute("PRAGMA foreign_keys = ON")
        else:
            with connection.begin():
                hold(connection, AdvisoryLock.UPGRADE)
                yield connection


def _copy_beside(engine: sa.Engine) -> Path | None:
    path = sqlite_path(engine)
    if path is None:
        return None
    name, number = f"{path.name}.before-{HEAD}", 1
    target = path.with_name(name)
    # an upgrade that failed left one
    while os.path.lexists(target):
        number += 1
        target = path.with_name(f"{name}.{number}")
    backup(engine, target)
    return target


def _take_steps(connection: sa.Connection) -> None:
    from alembic import command  # loading it takes a while, and it is hardly ever needed
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", _STEPS)
    command.upgrade(config, "head")


def _known_steps() -> frozenset[str]:
    from alembic.config import Config  # see _take_steps
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", _STEPS)
    return frozenset(one.revision for one in ScriptDirectory.from_config(config).walk_revisions())


def _check_references(connection: sa.Connection, where: Place) -> None:
    if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first():
        raise OutputError(
            f"the upgrade was undone: a row of {broken[0]} refers to a row of {broken[2]} that is not there",
            place=where,
            hint="Please report it; the database is as it was.",
        )
