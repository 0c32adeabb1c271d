"""A copy of the database as it was at one instant, while the program goes on writing."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from newsletter.errors import OutputError, Place, TemporaryError
from newsletter.store.engine import LOCK_WAIT, sqlite_path
from newsletter.store.failures import failures, masked, secret_parameters, shown_url

#: PostgreSQL's own program for it.
PG_DUMP = "pg_dump"
#: What stands in its messages, and what to do then; in this order.
_PG_DUMP_HINTS = (
    ("server version mismatch", "Install PostgreSQL's client programs of the server's version, or of a later one."),
    ("permission denied for", "Let the role of [database] url read all tables and sequences: GRANT pg_read_all_data."),
    ("No space left", "Make room on the disk of the backup, or name a file on another one."),
)
_PG_DUMP_HINT = "Run pg_dump yourself with the same [database] url to look further; the server's log may say more."
#: Lines of its messages that are shown.
_LINES_SHOWN = 4


class NameTaken(OutputError):
    """There is a file of this name already."""


def backup(engine: sa.Engine, target: Path) -> None:
    """Writes a whole copy to `target`, mode 0600: an SQLite database, or what pg_restore reads.

    `target` is there when it is complete and on the disk, or not at all. Raises OutputError where it exists, where it
    cannot be written or where pg_dump is missing; TemporaryError where the database cannot be reached.
    """
    if os.path.lexists(target):
        raise _exists(target)
    with _own_errors(target), _complete_or_absent(target) as partial:
        if path := sqlite_path(engine):
            with failures(engine.url):
                _copy_sqlite(path, partial)
        else:
            _dump_postgresql(engine.url, partial)


def backup_into(engine: sa.Engine, folder: Path, now: dt.datetime) -> Path:
    """`backup` into `folder` under the first free of the names that `backup_name` gives; the file."""
    with _own_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        target = folder / backup_name(engine, now, number)
        try:
            backup(engine, target)
        except NameTaken:
            number += 1
        else:
            return target


def backup_name(engine: sa.Engine, now: dt.datetime, number: int = 1) -> str:
    """A file name that sorts by time (UTC): `newsletter-20260107T063000Z.db`, or `.dump` for pg_restore.

    The second of one second is `newsletter-20260107T063000Z_2.db`, which sorts behind the first.
    """
    ending = "dump" if sqlite_path(engine) is None else "db"
    further = f"_{number}" if number > 1 else ""
    return f"newsletter-{now.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}{further}.{ending}"


def _copy_sqlite(path: Path, partial: Path) -> None:
    """SQLite's online backup (https://www.sqlite.org/backup.html).

    All pages in one step: that holds one state of the database, which in WAL mode hinders no writer, while a copy in
    several steps begins anew whenever somebody writes.
    """
    with (
        contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=LOCK_WAIT)) as live,
        contextlib.closing(sqlite3.connect(partial, isolation_level=None)) as copy,
    ):
        try:
            live.backup(copy)
        except sqlite3.OperationalError as error:
            # only the copy is written to
            if error.sqlite_errorcode in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE}:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
            raise
        # one file without companions, which may be moved about
        copy.execute("PRAGMA journal_mode = DELETE")
        [said] = copy.execute("PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        raise OutputError(
            f"the database is damaged, so no backup was made: {said}",
            place=Place(path),
            hint="Keep the file as it is, and go back to an earlier backup.",
        )


def _dump_postgresql(url: sa.URL, partial: Path) -> None:
    """pg_dump reads one snapshot, which hinders no writer.

    Secrets go by the environment or a file: other users of the machine can read arguments.
    """
    program = shutil.which(PG_DUMP)
    if program is None:
        raise OutputError(
            f"{PG_DUMP} is not on the PATH; a backup of PostgreSQL is made with it",
            hint="Install PostgreSQL's client programs, of the server's version or a later one.",
        )
    with _secrets_aside(url) as (bare, aside):
        done = subprocess.run(  # noqa: S603 - the program is PostgreSQL's, the arguments are the operator's settings
            [program, "--format=custom", "--no-password", "--file", str(partial), "--dbname", bare.render_as_string()],
            env={**os.environ, **aside},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    if done.returncode == 0:
        return
    words = masked(_said(done.stderr), url)
    unreachable = "connection to server" in words
    hint = next((hint for part, hint in _PG_DUMP_HINTS if part in words), _PG_DUMP_HINT)
    raise (TemporaryError if unreachable else OutputError)(
        f"no backup was made: {words}",
        place=Place(shown_url(url)),
        hint="Look whether the server runs, and at [database] url." if unreachable else hint,
    )


@contextlib.contextmanager
def _secrets_aside(url: sa.URL) -> Iterator[tuple[sa.URL, dict[str, str]]]:
    """The URL without its secrets, and the environment that brings them to libpq.

    libpq has a variable for the password alone; for others it has a file of services
    (https://www.postgresql.org/docs/current/libpq-pgservice.html), here one that only its owner can read.
    """
    secrets = secret_parameters(url)
    password = url.password or secrets.pop("password", "")
    secrets.pop("password", None)
    query = {name: value for name, value in url.query.items() if name != "password" and name not in secrets}
    environment = {"PGPASSWORD": str(password)} if password else {}
    with contextlib.ExitStack() as stack:
        if secrets:
            if "service" in query:
                raise OutputError(
                    f"no backup was made: [database] url names a service and {', '.join(secrets)}",
                    place=Place(shown_url(url)),
                    hint="Move what stands in the URL into the service's own section of pg_service.conf.",
                )
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))  # mode 0700
            lines = ["[newsletter]", *(f"{name}={value}" for name, value in secrets.items())]
            (folder / "services").write_text("\n".join(lines) + "\n", encoding="utf-8")
            query["service"] = "newsletter"
            environment["PGSERVICEFILE"] = str(folder / "services")
        yield sa.URL.create("postgresql", url.username, None, url.host, url.port, url.database, query), environment


def _said(stderr: str) -> str:
    """What pg_dump complains of, on one line: `aborting because of …; detail: server version: 17; …`."""
    lines = [line.strip().removeprefix("pg_dump: ").removeprefix("error: ") for line in stderr.splitlines()]
    return "; ".join(list(filter(None, lines))[:_LINES_SHOWN]) or f"{PG_DUMP} ended without a reason"


@contextlib.contextmanager
def _complete_or_absent(target: Path) -> Iterator[Path]:
    """A file of mode 0600 beside `target`, which takes its name when the block has ended well, unless that is taken."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        _to_disk(partial)
        _take_name(partial, target)
        _to_disk(target.parent)
    finally:
        # with what SQLite leaves beside a copy that was interrupted
        for ending in ("", "-journal", "-wal", "-shm"):
            partial.with_name(partial.name + ending).unlink(missing_ok=True)


def _take_name(partial: Path, target: Path) -> None:
    try:
        # unlike a rename it fails where the name has been taken meanwhile
        os.link(partial, target)
    except FileExistsError:
        raise _exists(target) from None
    except OSError:
        # a file system without hard links, such as a memory stick's
        if os.path.lexists(target):
            raise _exists(target) from None
        partial.rename(target)


@contextlib.contextmanager
def _own_errors(target: Path) -> Iterator[None]:
    """What the copy's own disk says, which is not the database's."""
    try:
        yield
    except OSError as error:
        hint = "Name another file."
        if not target.parent.exists():
            hint = f"There is no folder {target.parent}: make it, or name another file."
        elif error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            hint = "Make room on the disk of the backup, or name a file on another one."
        elif error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            hint = "Look at the owner and mode of its folder, or name a file in another one."
        raise OutputError(f"the backup cannot be written: {error.strerror}", place=Place(target), hint=hint) from None


def _exists(target: Path) -> OutputError:
    return NameTaken(
        "there is a file already, and backups are never overwritten", place=Place(target), hint="Name another file."
    )


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
