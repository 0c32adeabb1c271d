"""The connection to the database: SQLite so that what is committed survives a power cut, or PostgreSQL.

Every transaction of the program goes through `reading` or `writing`, but for what one statement `asking` reads.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import math
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy.pool import ConnectionPoolEntry

from newsletter.delivery.clock import boot_time
from newsletter.errors import GuardRefused, OutputError, Place
from newsletter.store.failures import failures
from newsletter.store.mounts import network_file_system

#: How long a transaction waits for another one's lock, in seconds.
LOCK_WAIT = 30
#: How long scrubbing waits for other processes, in seconds.
_SCRUB_WAIT = 5
#: A transaction on PostgreSQL that changes something is undone where its process was silent for so long, in seconds:
#: it was stopped, or its machine died, and others wait for what it holds. Less than they wait.
SILENCE = 20
#: How long a new connection to PostgreSQL may take, in seconds; and that one whose line went silent is found out
#: (libpq's parameters; the last in milliseconds), before others wait for what it holds.
_CONNECTION: dict[str, Any] = {"connect_timeout": 10, "keepalives_idle": 5, "keepalives_interval": 3}
_CONNECTION |= {"keepalives_count": 3, "tcp_user_timeout": 1000 * SILENCE}
#: To PostgreSQL, in one process; who needs one more waits for it. Transactions are short.
_MOST_CONNECTIONS = 15
#: A connection that nobody used for longer is asked whether it lives before somebody does. Seconds.
_ASK_AFTER = 1.0
_UNUSED_SINCE = "newsletter_unused_since"
#: All engines that are in use; their pools are closed when the program ends.
_OPEN: WeakSet[sa.Engine] = WeakSet()
#: An execution option, for the events below.
_READING, _STAGING, _ASKING = "newsletter_reading", "newsletter_staging", "newsletter_asking"


def open_engine(url: str, folder: Path, *, mounts: str | None = None) -> sa.Engine:
    """The engine for `[database] url`; a relative path of an SQLite file starts at `folder`.

    SQLite's file is made (0600) with its folder where it is missing. PostgreSQL is not connected to yet.
    Raises OutputError where the file cannot be made, GuardRefused where it would stand on a network file system
    (`mounts`: the text of /proc/self/mountinfo, for tests).
    """
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        path = folder / (parsed.database or "")
        _refuse_network(path, mounts)
        _make_file(path)
        engine = _sqlite_engine(path)
    else:
        engine = _postgresql_engine(parsed)
    _OPEN.add(engine)
    return engine


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that sees one state of the database from its first statement on, and can change nothing."""
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    else:
        engine = engine.execution_options(**{_READING: True})
    with failures(engine.url), engine.begin() as connection:
        let_idle(connection)  # whoever reads the answer may take their time
        yield connection


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that is kept whole when the block ends, and undone whole when it raises.

    On SQLite it is the only one that writes, from its first statement on.
    """
    with failures(engine.url), engine.begin() as connection:
        yield connection


@contextmanager
def asking(engine: sa.Engine) -> Iterator[sa.Connection]:
    """One statement that reads, in a transaction that begins and ends with it."""
    with failures(engine.url), engine.execution_options(**{_ASKING: True}).connect() as connection:
        yield connection


@contextmanager
def own_connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection for several transactions: `staging`, and `begin` for one that writes. It is closed at the end, and
    its temporary tables are gone with it."""
    with failures(engine.url), engine.connect() as connection:
        connection.detach()
        if connection.dialect.name == "sqlite":
            driver: Any = connection.connection.dbapi_connection  # a statement of ours would begin a transaction
            driver.execute("PRAGMA threads = 1")  # helps with large sorts
        yield connection


@contextmanager
def staging(connection: sa.Connection) -> Iterator[None]:
    """A transaction that fills temporary tables and nothing else. It keeps nobody from writing, however long it takes:
    SQLite has them in a file of their own."""
    connection.execution_options(**{_STAGING: True})
    try:
        with connection.begin():
            let_idle(connection)  # the rows may come from a slow pipe
            yield
    finally:
        connection.execution_options(**{_STAGING: False})


def scrub(engine: sa.Engine) -> bool:
    """Writes SQLite's file anew and empties its write-ahead log, so that nothing of deleted rows can be read in either.

    `secure_delete` overwrites what is deleted, but no copy that was left when a page was split, and the log keeps what
    pages were before. Takes two seconds a million people; other writers wait. False, and nothing is lost, where another
    process holds the database, or the disk has no room for a second copy. PostgreSQL cleans up by itself: True.
    """
    if engine.dialect.name != "sqlite":
        return True
    with failures(engine.url), contextlib.closing(engine.raw_connection()) as pooled:
        connection = pooled.driver_connection
        assert connection is not None
        connection.execute(f"PRAGMA busy_timeout = {_SCRUB_WAIT * 1000}")
        # `_begin` left it on, if the connection was last used for reading
        connection.execute("PRAGMA query_only = 0")
        try:
            connection.execute("VACUUM")
            [busy, _, _] = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL}:
                raise
            return False
        finally:
            connection.execute(f"PRAGMA busy_timeout = {LOCK_WAIT * 1000}")
    return not busy


def let_idle(connection: sa.Connection) -> None:
    """This transaction holds up nobody, so it may be silent."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")


def psycopg_arguments(engine: sa.Engine) -> dict[str, Any]:
    """psycopg's arguments for a connection beside the engine's own: a line that went silent is found out there, too."""
    _, said = engine.dialect.create_connect_args(engine.url)
    return {**_CONNECTION, **said}


def sqlite_path(engine: sa.Engine) -> Path | None:
    """The file of an SQLite database; None on PostgreSQL."""
    return Path(engine.url.database or "") if engine.dialect.name == "sqlite" else None


def _sqlite_engine(path: Path) -> sa.Engine:
    # isolation_level None: the driver begins no transactions, the event below does
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        connect_args={"timeout": LOCK_WAIT, "isolation_level": None},
        hide_parameters=True,  # of a statement that failed: they are people's, and may be a key
        # who asks twice mostly gets the same connection: what it has read is in its cache, and see `foresight`
        pool_use_lifo=True,
    )

    @sa.event.listens_for(engine, "connect")
    def _set_up(connection: sqlite3.Connection, _record: object) -> None:
        # WAL is kept in the file, so it is asked for once; asking takes a lock
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            connection.execute("PRAGMA journal_mode = WAL")
        # NORMAL may lose the last commits in a power cut, which would send a batch twice
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        # what is deleted is overwritten with zeros: an erased person must not be readable in the file (see scrub)
        connection.execute("PRAGMA secure_delete = ON")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # A writer that began as a reader could fail at its first write, without waiting.
        options = connection.get_execution_options()
        if options.get(_ASKING, False):
            return
        only_read = options.get(_READING, False)
        connection.exec_driver_sql(f"PRAGMA query_only = {int(only_read)}")
        connection.exec_driver_sql("BEGIN" if only_read or options.get(_STAGING, False) else "BEGIN IMMEDIATE")

    return engine


def _postgresql_engine(url: sa.URL) -> sa.Engine:
    # what the URL says is stronger
    settings = {name: value for name, value in _CONNECTION.items() if name not in url.query}
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args=settings,
        hide_parameters=True,
        # none is closed because others are there: to make one costs the server more than several transactions
        pool_size=_MOST_CONNECTIONS,
        max_overflow=0,
        pool_use_lifo=True,
    )
    _ask_the_idle(engine)

    @sa.event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:
        connection.execute(f"SET lock_timeout = '{LOCK_WAIT}s'")
        connection.execute(f"SET idle_in_transaction_session_timeout = '{1000 * SILENCE:.0f}'")
        # a commit that a power cut can undo would send a batch twice; the stricter settings stay
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
        connection.commit()

    return engine


def _ask_the_idle(engine: sa.Engine) -> None:
    """The daemon outlives restarts of the server: a connection that was not used for a while is asked whether it lives.
    SQLAlchemy's own `pool_pre_ping` asks each time, and so makes two transactions of each."""

    @sa.event.listens_for(engine, "checkin")
    def _note(_connection: Any, record: ConnectionPoolEntry) -> None:
        record.info[_UNUSED_SINCE] = boot_time()

    @sa.event.listens_for(engine, "checkout")
    def _ask(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        if boot_time() < record.info.get(_UNUSED_SINCE, math.inf) + _ASK_AFTER:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise sa.exc.InvalidatePoolError from error  # a new one is made, in place of all others too


def _refuse_network(path: Path, mounts: str | None) -> None:
    if kind := network_file_system(path, mounts):
        raise GuardRefused(
            f"an SQLite database cannot live on a network file system ({kind}): its locks do not hold there",
            place=Place(path),
            hint="Put it on a local disk ([database] url), or use PostgreSQL.",
        )


def _make_file(path: Path) -> None:
    """Made where it is missing; a file or folder that cannot be written is told before any work.

    A file that is there is never opened here. To close a file drops every lock that this process has on it, those of
    its open connections included; whoever closes the database elsewhere then believes to be the last, and takes the
    log away under them (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            if code := _obstacle(path):
                raise OSError(code, os.strerror(code), str(path)) from None
    except OSError as error:
        raise OutputError(
            f"the database cannot be written: {error.strerror}",
            place=Place(error.filename or path),
            hint="Look at the owner and mode of the file and its folder, or name another in [database] url.",
        ) from None


def _obstacle(path: Path) -> int:
    """Why a file that is there cannot be written (errno); 0 where it can."""
    if path.is_dir():
        return errno.EISDIR
    if os.access(path, os.R_OK | os.W_OK):
        return 0
    return errno.EROFS if os.statvfs(path).f_flag & os.ST_RDONLY else errno.EACCES


@atexit.register
def close_all() -> None:
    """Closes every connection that is not in use at this moment; of an SQLite file, the last one empties its log."""
    for engine in list(_OPEN):
        engine.dispose()
