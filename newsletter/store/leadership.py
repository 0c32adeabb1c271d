"""Which of several daemons on one database acts. The lead proves that its holder lives, and nothing else: that an issue
goes out once is the business of the unique run.

On SQLite the lead is a lock on a file beside the other locks, on PostgreSQL a lock of a session of its own.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from newsletter.errors import OutputError, Place
from newsletter.schedule.records import Leadership
from newsletter.store.advisory_locks import AdvisoryLock
from newsletter.store.engine import reading, sqlite_path
from newsletter.store.failures import failures
from newsletter.store.senders import SenderLock, is_held

if TYPE_CHECKING:
    import psycopg

LOCK_FILE = "leader.lock"
#: Seconds between two signs of life of a leader on PostgreSQL, and how long the server waits for one: then it ends the
#: session, and another may lead. A leader that was stopped meanwhile finds it ended.
SIGN_OF_LIFE, SILENCE = 5.0, 20.0
#: How long a new connection may take, in seconds.
_CONNECT_WAIT = 5
#: How soon the death of a machine or a broken line is noticed, by the client and by the server: a question after so
#: many seconds of silence, then others, so far apart; the connection is lost after so many without an answer
#: (https://www.postgresql.org/docs/current/runtime-config-connection.html, "TCP Settings").
_KEEPALIVES = {"keepalives_idle": 5, "keepalives_interval": 3, "keepalives_count": 3}
#: Milliseconds that sent bytes may stay without an answer.
_USER_TIMEOUT = 10_000
#: Seconds that a server may take to say that it let go of the lead; after them the end of the session is left to do it.
_FAREWELL = 2.0
#: A session is called `newsletter HOST pid 123`; the server cuts names at 63 bytes.
_SESSION, _LONGEST_HOST = "newsletter ", 38


def leadership(engine: sa.Engine, *, locks: Path) -> Leadership:
    """Who leads among the daemons on this database. `locks` is the folder of lock files, the same for all daemons on
    one SQLite database."""
    if engine.dialect.name == "sqlite":
        return FileLeadership(locks / LOCK_FILE, database=sqlite_path(engine))
    return SessionLeadership(engine)


class FileLeadership:
    """`Leadership` by a lock on a file, for a database on a local disk: all daemons see the file. The system lets go
    of the lock as soon as its process has ended; one that is stopped keeps it."""

    def __init__(self, path: Path, *, database: Path | None = None) -> None:
        self._path = path
        self._database = database
        self._identity = _identity(database) if database is not None else None
        self._lock: SenderLock | None = None
        self._closed = False
        self._one_at_a_time = threading.Lock()

    def lead(self) -> bool:
        """See `Leadership`. Raises OutputError where the file cannot be made, or the database's is gone."""
        with self._one_at_a_time:
            if self._closed:
                return False
            self._refuse_without_database()
            if self._lock is not None and self._lock.proves:
                return True
            self._let_go()  # its file was taken away: another may lead by a new one
            try:
                lock = SenderLock(self._path)
            except BlockingIOError:
                return False
            except OSError as error:
                raise OutputError(
                    f"the lock of the leading daemon cannot be made: {error.strerror}",
                    place=Place(error.filename or self._path),
                    hint="Look at the owner and mode of the folder.",
                ) from None
            if not lock.proves:  # its holder took the file away just now
                lock.drop()
                return False
            with contextlib.suppress(OSError):  # a full disk: nobody learns who leads
                self._path.write_text(this_process(), encoding="utf-8")
            self._lock = lock
            return True

    def leader(self) -> str:
        """See `Leadership`."""
        with contextlib.suppress(OSError):
            if is_held(self._path):
                return self._path.read_text(encoding="utf-8", errors="replace").strip()
        return ""

    def close(self) -> None:
        """See `Leadership`."""
        with self._one_at_a_time:
            self._closed = True
            self._let_go()

    def _refuse_without_database(self) -> None:
        """Connections go on in a file that was taken away or replaced, and nobody else sees what they write there."""
        now = _identity(self._database) if self._database is not None else None
        if self._database is None or now == self._identity:
            return
        if now is None:
            raise OutputError(
                "the database's file is gone", place=Place(self._database), hint="Put it back where it was."
            )
        if self._identity is not None:
            raise OutputError(
                "the database's file is another one than before",
                place=Place(self._database),
                hint="Restart the daemon, or put the file from before back.",
            )
        self._identity = now

    def _let_go(self) -> None:
        if self._lock is not None:
            if self._lock.proves:
                self._lock.release()
            else:  # there may be another's file of the same name
                self._lock.drop()
            self._lock = None


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file it is, whatever its name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


class SessionLeadership:
    """`Leadership` by an advisory lock of a PostgreSQL session, on a connection of its own.

    The server lets go of the lock when the session ends: with the process, with its machine or its line (TCP
    keepalives), or where the process gives no sign of life for `SILENCE` seconds (PostgreSQL 14 and later). Whether
    it is still held is asked of the server each time, and never assumed. Not through a pooler that gives a session's
    transactions to several connections.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._session: psycopg.Connection[Any] | None = None
        self._process = 0
        self._one_at_a_time = threading.Lock()
        self._closing = threading.Event()

    def lead(self) -> bool:
        """See `Leadership`. Raises TemporaryError where the server cannot be reached."""
        with failures(self._engine.url), self._one_at_a_time:
            if self._closing.is_set():
                return False
            if self._session is not None and self._process == os.getpid() and self._still_held(self._session):
                return True
            self._let_go()
            session = self._connect()
            try:
                [held] = session.execute("SELECT pg_try_advisory_lock(%s)", [AdvisoryLock.LEAD.value]).fetchone() or [0]
            except BaseException:
                session.close()
                raise
            if not held:
                session.close()
                return False
            self._session, self._process = session, os.getpid()
            threading.Thread(target=self._live, args=(session,), name="leader", daemon=True).start()
            return True

    def leader(self) -> str:
        """See `Leadership`. '' also where the role may not see other roles' sessions."""
        with reading(self._engine) as connection:
            name = connection.scalar(sa.text(_HOLDER), _LOCK_NUMBERS) or ""
        return str(name).removeprefix(_SESSION)

    def close(self) -> None:
        """See `Leadership`."""
        self._closing.set()
        with self._one_at_a_time:
            self._let_go()

    def _connect(self) -> psycopg.Connection[Any]:
        import psycopg  # takes long to load, and SQLite does without

        _, parameters = self._engine.dialect.create_connect_args(self._engine.url)
        kept = {"keepalives": 1, **_KEEPALIVES, "tcp_user_timeout": _USER_TIMEOUT, "connect_timeout": _CONNECT_WAIT}
        name = f"{_SESSION}{this_process()}"
        session = psycopg.connect(**{**kept, **parameters, "application_name": name}, autocommit=True)
        try:
            settings = {f"tcp_{name}": str(value) for name, value in _KEEPALIVES.items()}
            settings |= {"tcp_user_timeout": str(_USER_TIMEOUT), "statement_timeout": f"{1000 * _CONNECT_WAIT}"}
            if session.info.server_version >= 14_00_00:
                settings["idle_session_timeout"] = f"{1000 * SILENCE:.0f}"
            for setting, value in settings.items():
                session.execute("SELECT set_config(%s, %s, false)", [setting, value])
        except BaseException:
            session.close()
            raise
        return session

    def _still_held(self, session: psycopg.Connection[Any]) -> bool:
        """Asks the server whether this session has the lock; one that is lost has not."""
        import psycopg  # see _connect

        try:
            return session.execute(_HELD, _LOCK_NUMBERS).fetchone() is not None
        except psycopg.Error:
            return False

    def _live(self, session: psycopg.Connection[Any]) -> None:
        """Gives signs of life for as long as the session is the one that leads."""
        while not self._closing.wait(SIGN_OF_LIFE):
            with self._one_at_a_time:
                if self._session is not session:
                    return
                if not self._still_held(session):
                    self._let_go()
                    return

    def _let_go(self) -> None:
        # a forked child must not say goodbye on its parent's connection
        session, self._session = self._session, None
        if session is not None and self._process == os.getpid():
            try:
                _give_up(session)
            finally:
                session.close()


def _give_up(session: psycopg.Connection[Any]) -> None:
    """Unlocks, and waits for the answer: the server ends a session only some time after it was closed here, and until
    then nobody else could lead."""
    import psycopg  # see SessionLeadership._connect

    answer = select.poll()
    with contextlib.suppress(psycopg.Error):  # a session that is lost has no lock
        session.pgconn.send_query(_UNLOCK)
        answer.register(session.pgconn.socket, select.POLLIN)
        answer.poll(1000 * _FAREWELL)


def this_process() -> str:
    """`HOST pid 123`."""
    return f"{socket.gethostname()[:_LONGEST_HOST]} pid {os.getpid()}"


# A key of 64 bits stands in pg_locks as two halves (https://www.postgresql.org/docs/current/view-pg-locks.html).
_LOCK_NUMBERS = {"high": AdvisoryLock.LEAD.value >> 32, "low": AdvisoryLock.LEAD.value & 0xFFFF_FFFF}
_UNLOCK = f"SELECT pg_advisory_unlock({AdvisoryLock.LEAD.value})".encode()
_LEAD = """
    locktype = 'advisory' AND granted AND objsubid = 1 AND classid::bigint = {high} AND objid::bigint = {low}
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_HELD = f"SELECT 1 FROM pg_locks WHERE pid = pg_backend_pid() AND {_LEAD}".format(high="%(high)s", low="%(low)s")  # noqa: S608 - constants
_HOLDER = (
    "SELECT application_name FROM pg_stat_activity WHERE pid IN (SELECT pid FROM pg_locks WHERE "  # noqa: S608 - constants
    f"{_LEAD})".format(high=":high", low=":low")
)
