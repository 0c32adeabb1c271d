"""What databases say when something is wrong, as the errors that a user can meet; the only place that reads it.

Errors that are a mistake of this program (a broken constraint, wrong SQL) pass unchanged.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import sqlalchemy as sa

from newsletter.errors import ConfigError, NewsletterError, OutputError, Place, Problem, TemporaryError

if TYPE_CHECKING:
    import psycopg

_LATER = "Run the same command again in a moment."

#: Primary result codes of SQLite (https://www.sqlite.org/rescode.html): what is said, and what to do next.
_SQLITE: dict[int, tuple[type[NewsletterError], str, str]] = {
    sqlite3.SQLITE_BUSY: (TemporaryError, "the database is locked by another process", _LATER),
    sqlite3.SQLITE_LOCKED: (TemporaryError, "the database is locked by another process", _LATER),
    sqlite3.SQLITE_FULL: (OutputError, "the disk is full; nothing was changed", "Make room, then run it again."),
    sqlite3.SQLITE_NOTADB: (
        OutputError,
        "this file is no SQLite database",
        "Move it away, or name another file in [database] url.",
    ),
    sqlite3.SQLITE_CORRUPT: (
        OutputError,
        "the database is damaged",
        "Keep the file, and put the latest backup (`newsletter db backup`) in its place.",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        OutputError,
        "the database cannot be opened",
        "Look at the owner and mode of the file and its folder.",
    ),
    sqlite3.SQLITE_READONLY: (
        OutputError,
        "the database cannot be written",
        "Look at the owner and mode of the file and its folder.",
    ),
    sqlite3.SQLITE_IOERR: (
        OutputError,
        "the disk failed while the database was read or written",
        "Look at the system's log, the room on the disk and the limit on file sizes (ulimit -f). Nothing was changed.",
    ),
}

#: Classes and codes of PostgreSQL (its manual, appendix A) that pass with time.
_PASSING = {
    "08": "the connection was lost",
    "40001": "another process changed the same rows at the same time",
    "40P01": "two processes waited for each other",
    "53300": "the server has no connection left",
    "55P03": "another process holds a lock",
    "57014": "the server stopped a statement that took too long",
    "57P01": "the server is shutting down",
    "57P02": "the server is recovering from a crash",
    "57P03": "the server is starting",
    "57P05": "the server ended an idle connection",
}
#: Refusals of a login. libpq gives no code for them, only the server's words.
_WRONG_LOGIN = re.compile(
    r"password authentication failed|no password supplied|(role|database) \"[^\"]*\" does not exist|pg_hba\.conf"
    r"|permission denied for database|is not permitted to log in"
    # what stands behind the `?` of the URL
    r"|invalid connection option|invalid \w+ value|invalid integer value"
)


@contextmanager
def failures(url: sa.URL) -> Iterator[None]:
    """Turns what the database at `url` says about its disk, its locks and its connections into NewsletterErrors."""
    driver = _driver_error(url)
    try:
        yield
    except (sa.exc.DBAPIError, driver) as error:
        said = failure(error, url)
        if said is None:
            raise
        raise said from error
    except sa.exc.TimeoutError as error:
        message = "all connections to the database are in use"
        raise TemporaryError(message, place=Place(shown_url(url)), hint=_LATER) from error


def failure(error: BaseException, url: sa.URL) -> NewsletterError | None:
    """The error to show for a driver's, or None where it is a mistake of this program."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return _of_sqlite(cause, url)
    if url.get_backend_name() == "sqlite":
        return None
    import psycopg  # see _driver_error

    if isinstance(cause, psycopg.Error):
        lost = isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated
        return _of_postgresql(cause, url, lost=lost)
    return None


def shown_url(url: sa.URL) -> str:
    """Where the database is, without its user, password and parameters."""
    if url.get_backend_name() == "sqlite":
        return url.database or ""
    host = url.host or "localhost"
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{host}{port}/{url.database or ''}"


def _driver_error(url: sa.URL) -> type[Exception]:
    """The base of what the driver raises beside SQLAlchemy."""
    if url.get_backend_name() == "sqlite":
        return sqlite3.Error
    import psycopg  # takes long to load, and SQLite does without

    return psycopg.Error


def _of_sqlite(error: sqlite3.Error, url: sa.URL) -> NewsletterError | None:
    # extended codes carry the primary one in their low byte; Python's own errors carry none
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code not in _SQLITE:
        return None
    kind, message, hint = _SQLITE[code]
    return kind(message, place=Place(shown_url(url)), hint=hint)


def _of_postgresql(error: psycopg.Error, url: sa.URL, *, lost: bool) -> NewsletterError | None:
    import psycopg  # see _driver_error

    state, where = error.sqlstate, Place(shown_url(url))
    words = _first_line(str(error), url)
    if state == "53100":
        message = "the database server's disk is full; nothing was changed"
        return OutputError(message, place=where, hint="Make room on the server, then run it again.")
    if state == "42501" or (state or "").startswith(("28", "3D")) or (state is None and _WRONG_LOGIN.search(words)):
        hint = "Look at [database] url, and at the roles and databases of the server."
        if "password" in words:
            hint = "Give the password in PGPASSWORD or ~/.pgpass, or look at [database] url."
        return ConfigError([Problem("database.url", words, where, suggestion=hint)])
    if state is not None and (said := _PASSING.get(state) or _PASSING.get(state[:2])):
        return TemporaryError(f"PostgreSQL: {said}", place=where, hint=_LATER)
    if lost or (state is None and isinstance(error, psycopg.OperationalError)):
        hint = "Look whether the server runs, and at [database] url."
        return TemporaryError(f"PostgreSQL cannot be reached: {words}", place=where, hint=hint)
    return None


def _first_line(text: str, url: sa.URL) -> str:
    """What the server said, after the words that lead to it; without the password, should it ever stand there."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    words = re.sub(r"^connection failed: ", "", lines[0])
    words = re.sub(r"^.*?(FATAL|ERROR): +", "", words)
    return masked(words, url)


def secret_parameters(url: sa.URL) -> dict[str, str]:
    """The parameters behind the `?` of a URL that are secrets: `password`, `sslpassword`, `oauth_client_secret`."""
    return {name: str(value) for name, value in url.query.items() if "password" in name or "secret" in name}


def masked(words: str, url: sa.URL) -> str:
    """The words with `***` for every secret of the URL."""
    for secret in filter(None, [str(url.password or ""), *secret_parameters(url).values()]):
        words = words.replace(secret, "***")
    return words
