"""Everything of one database into another, empty one: in one transaction of the target, from one state of the source.

The source is only read. What was written is read again and compared with the source, row by row, before it is kept; so
the target holds all of it, or nothing.
"""

from __future__ import annotations

import datetime as dt
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from newsletter.errors import GuardRefused, NothingToDo, OutputError, Place
from newsletter.store.copying_rows import carry_numbers_on, compare, count_rows, key_of, parts_of, write_rows
from newsletter.store.engine import reading, sqlite_path
from newsletter.store.failures import failures, shown_url
from newsletter.store.leadership import leadership
from newsletter.store.senders import Senders
from newsletter.store.tables import metadata, sender
from newsletter.store.upgrade import HEAD, database_state, new_tables

_STOP = (
    "Stop it, and whatever else uses the database (`newsletter run`, `newsletter worker`, `newsletter web`), then run "
    "this again."
)


@dataclass(frozen=True, slots=True)
class CopiedTable:
    """One table: how many rows, and in how many seconds they were written and compared."""

    name: str
    rows: int
    writing: float
    comparing: float


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied, in the order in which it was. `target` is where, without user and password."""

    target: str
    tables: tuple[CopiedTable, ...]

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(one.rows for one in self.tables)


def copy_database(
    source: sa.Engine,
    target: sa.Engine,
    *,
    locks: Path,
    now: dt.datetime,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Copied:
    """Copies all rows of our tables, with their numbers. `locks` is the folder of the source's lock files.

    `on_progress` hears how many steps of how many are done: a row is written, and later compared.

    Raises NothingToDo where the source has no tables; GuardRefused, and nothing was changed, where it is at another
    step than this program, where somebody sends, leads or writes on it, where the target is the same database, holds a
    row, is at another step or another program's; OutputError where the target cannot keep a value, or keeps another
    one; and what `newsletter.store.failures` says.
    """
    with _no_empty_file(target):
        _refuse_other_step(source)
        _refuse_same_file(source, target)
        return _copied(source, target, locks, now, on_progress)


@contextmanager
def _no_empty_file(target: sa.Engine) -> Iterator[None]:
    """A file of SQLite that held nothing, as one that was made when its engine was, is not there after a failure."""
    file = sqlite_path(target)
    is_new = file is not None and not (file.exists() and file.stat().st_size)
    try:
        yield
    except BaseException:
        if is_new:
            target.dispose()
            for end in ("", "-wal", "-shm", "-journal"):
                Path(f"{file}{end}").unlink(missing_ok=True)
        raise


def _copied(
    source: sa.Engine, target: sa.Engine, locks: Path, now: dt.datetime, on_progress: Callable[[int, int], None]
) -> Copied:
    with reading(source) as ours, failures(source.url):
        _refuse_in_use(source, ours, locks, now)
        mark = _mark_of(ours)
        with new_tables(target) as theirs:
            _refuse_same(theirs, mark)
            _refuse_rows(theirs)
            copied = _copy(ours, theirs, on_progress)
            with reading(source) as meanwhile:
                _refuse_in_use(source, meanwhile, locks, now)
                _refuse_written(meanwhile, copied)
    return Copied(shown_url(target.url), copied)


def _copy(
    ours: sa.Connection, theirs: sa.Connection, on_progress: Callable[[int, int], None]
) -> tuple[CopiedTable, ...]:
    tables = metadata.sorted_tables  # what is referred to comes first
    total = 2 * sum(count_rows(ours, table) for table in tables)
    done = 0

    def step(rows: int) -> None:
        nonlocal done
        done += rows
        on_progress(done, total)

    written: dict[str, tuple[int, float]] = {}
    for table in tables:
        rows, begin = 0, time.monotonic()
        for part in parts_of(ours, table):
            write_rows(theirs, table, part)
            rows += len(part)
            step(len(part))
        carry_numbers_on(ours, theirs, table)
        written[table.name] = rows, time.monotonic() - begin
    if theirs.dialect.name == "postgresql":
        theirs.exec_driver_sql("ANALYZE")  # else it would take the tables for empty until it looks by itself
    copied = []
    for table in tables:
        begin = time.monotonic()
        if (row := compare(table, ours, theirs, step)) is not None:
            raise OutputError(
                f"the copy is not what was copied, in the table {table.name}: {key_of(table, row)}",
                place=Place(shown_url(theirs.engine.url)),
                hint="Nothing was kept of it. Has that database triggers of its own, or another encoding?",
            )
        copied.append(CopiedTable(table.name, *written[table.name], time.monotonic() - begin))
    return tuple(copied)


def _refuse_other_step(source: sa.Engine) -> None:
    state = database_state(source)
    if state.empty:
        raise NothingToDo("the database is empty: there is nothing to copy")
    if not state.is_current:
        raise GuardRefused(
            f"the database is at step {state.current or 'none of ours'}, and this program needs step {HEAD}",
            place=Place(shown_url(source.url)),
            hint="Run `newsletter db upgrade`, then copy.",
        )


def _refuse_same_file(source: sa.Engine, target: sa.Engine) -> None:
    """Where both are SQLite; a transaction would wait for itself."""
    one, other = sqlite_path(source), sqlite_path(target)
    if one is not None and other is not None and other.exists() and one.samefile(other):
        raise _same(target)


def _mark_of(connection: sa.Connection) -> int | None:
    """A mark on a PostgreSQL database that this transaction holds: whoever is on the same one sees it, by whichever
    name they came."""
    if connection.dialect.name != "postgresql":
        return None
    mark = secrets.randbits(62)
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(mark)))
    return mark


def _refuse_same(theirs: sa.Connection, mark: int | None) -> None:
    if mark is None or theirs.dialect.name != "postgresql":
        return
    if not theirs.scalar(sa.select(sa.func.pg_try_advisory_xact_lock(mark))):
        raise _same(theirs.engine)


def _same(target: sa.Engine) -> GuardRefused:
    return GuardRefused(
        "this is the database that would be copied",
        place=Place(shown_url(target.url)),
        hint="Name another, empty one.",
    )


def _refuse_rows(theirs: sa.Connection) -> None:
    for table in metadata.sorted_tables:
        if theirs.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first() is not None:
            raise GuardRefused(
                f"the database is not empty: there are rows in the table {table.name}",
                place=Place(shown_url(theirs.engine.url)),
                hint="Name an empty one (`createdb NAME`). A copy never adds to what is there, nor replaces it.",
            )


def _refuse_in_use(source: sa.Engine, ours: sa.Connection, locks: Path, now: dt.datetime) -> None:
    senders = Senders(locks, one_host=source.dialect.name == "sqlite")
    for number in ours.scalars(sa.select(sender.c.id).where(sender.c.ended_at.is_(None))).all():
        if who := senders.living(ours, number, now):
            raise GuardRefused(f"mail is being sent by {who}", place=Place(shown_url(source.url)), hint=_STOP)
    if who := leadership(source, locks=locks).leader():
        raise GuardRefused(f"a daemon runs on this database: {who}", place=Place(shown_url(source.url)), hint=_STOP)


def _refuse_written(meanwhile: sa.Connection, copied: tuple[CopiedTable, ...]) -> None:
    """Whoever left meanwhile would be mailed again out of the copy. Nobody leaves, joins or is mailed without a row."""
    rows = {one.name: one.rows for one in copied}
    for table in metadata.sorted_tables:
        if count_rows(meanwhile, table) != rows[table.name]:
            raise GuardRefused(
                f"somebody wrote to the table {table.name} while it was copied; nothing was kept of the copy",
                place=Place(shown_url(meanwhile.engine.url)),
                hint="Stop whatever uses the database (`newsletter run`, `newsletter worker`, `newsletter web`), then "
                "run this again.",
            )
