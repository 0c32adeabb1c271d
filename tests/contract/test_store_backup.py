"""Backups: whole and of one instant while the program goes on writing; there when complete, or not at all."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from fresh_databases import PostgresServer

from newsletter.errors import OutputError, TemporaryError
from newsletter.store.backup import backup, backup_into, backup_name
from newsletter.store.engine import open_engine, reading, writing
from newsletter.store.tables import mailing_list, run

#: What the two runs of the database hold together, whatever is moved between them.
TOTAL = 1_000


@pytest.fixture
def tools(postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """PostgreSQL's programs, on the PATH."""
    monkeypatch.setenv("PATH", f"{postgres_server.programs}{os.pathsep}{os.environ['PATH']}")
    return postgres_server.programs


@pytest.fixture
def balanced(database: sa.Engine, tools: Path) -> sa.Engine:
    """A database of some megabytes in which two rows add up to TOTAL."""
    row = {"newsletter": "n", "state": "planned", "created_at": 0, "deadline": 0, "batch_size": 1, "selection": "{}"}
    with writing(database) as connection:
        connection.execute(sa.insert(run).values(uid="a", issue_date="2026-01-07", planned=TOTAL, **row))
        connection.execute(sa.insert(run).values(uid="b", issue_date="2026-01-08", planned=0, **row))
        connection.execute(sa.insert(mailing_list), [{"name": os.urandom(500).hex()} for _ in range(3_000)])
    return database


def move_one(engine: sa.Engine, number: int) -> None:
    with writing(engine) as connection:
        for day, amount in (("2026-01-07", -1), ("2026-01-08", 1)):
            connection.execute(sa.update(run).where(run.c.issue_date == day).values(planned=run.c.planned + amount))
        connection.execute(sa.insert(mailing_list).values(name=f"moved {number}"))


@contextlib.contextmanager
def writing_all_the_time(engine: sa.Engine) -> Iterator[list[int]]:
    """The list grows with each transaction that another thread has committed."""
    moved: list[int] = []
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            move_one(engine, len(moved))
            moved.append(len(moved))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield moved
    finally:
        ended.set()
        thread.join()


def restored(copy: Path, engine: sa.Engine, server: PostgresServer) -> tuple[int, int, int]:
    """What a copy holds: the sum of the two rows, how much was moved, and how many lists say so."""
    questions = (
        "SELECT sum(planned) FROM run",
        "SELECT planned FROM run WHERE issue_date = '2026-01-08'",
        "SELECT count(*) FROM mailing_list WHERE name LIKE 'moved %'",
    )
    if engine.dialect.name == "sqlite":
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
            first, second, third = (int(connection.execute(one).fetchone()[0]) for one in questions)
        return first, second, third
    name = server.create()
    target = server.url(name).replace("+psycopg", "")
    subprocess.run([server.programs / "pg_restore", "--exit-on-error", f"--dbname={target}", copy], check=True)
    other = open_engine(server.url(name), Path("/"))
    with reading(other) as reader:
        first, second, third = (int(reader.exec_driver_sql(one.replace("%", "%%")).scalar_one()) for one in questions)
    other.dispose()
    server.drop(name)
    return first, second, third


def test_a_copy_made_while_others_write_is_whole_and_of_one_instant(
    balanced: sa.Engine, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    (tmp_path / "copies").mkdir()
    copies = [tmp_path / f"copies/{number}" for number in range(3)]
    with writing_all_the_time(balanced) as moved:
        before: list[int] = []
        for copy in copies:
            while len(moved) <= (before[-1] if before else 0):
                pass
            before.append(len(moved))
            backup(balanced, copy)
    for copy, at_least in zip(copies, before, strict=True):
        total, planned, lists = restored(copy, balanced, postgres_server)
        assert total == TOTAL
        assert at_least <= planned == lists <= len(moved)
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert sorted((tmp_path / "copies").iterdir()) == copies


def test_a_file_that_is_there_is_never_overwritten(balanced: sa.Engine, tmp_path: Path) -> None:
    (tmp_path / "copy").write_text("of last year")
    with pytest.raises(OutputError, match="never overwritten"):
        backup(balanced, tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "of last year"
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="never overwritten"):
        backup(balanced, tmp_path / "link")


def test_a_place_that_cannot_be_written_is_told(balanced: sa.Engine, tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("")
    with pytest.raises(OutputError, match="the backup cannot be written") as told:
        backup(balanced, tmp_path / "occupied/copy")
    assert told.value.hint == "Name another file."


_BACKUP_WITHOUT_ROOM = """
import resource, sys
from pathlib import Path
from newsletter.errors import OutputError
from newsletter.store.backup import backup
from newsletter.store.engine import open_engine
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    backup(open_engine(sys.argv[1], Path("/")), Path(sys.argv[2]))
except OutputError as error:
    print(error)
"""


def test_a_copy_that_finds_no_room_leaves_nothing_behind(balanced: sa.Engine, tmp_path: Path) -> None:
    balanced.dispose()
    (tmp_path / "copies").mkdir()
    url = balanced.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", _BACKUP_WITHOUT_ROOM, url, str(tmp_path / "copies/one")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert str(tmp_path / "copies/one") in done.stdout or "no backup was made" in done.stdout, done
    assert list((tmp_path / "copies").iterdir()) == []


def test_a_damaged_database_makes_no_backup(balanced: sa.Engine, tmp_path: Path) -> None:
    if balanced.dialect.name != "sqlite":
        return  # nobody damages a server's files from here
    path = Path(str(balanced.url.database))
    balanced.dispose()
    with contextlib.closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path.read_bytes())
    data[200_000:400_000] = os.urandom(200_000)
    path.write_bytes(data)
    (tmp_path / "copies").mkdir()
    with pytest.raises(OutputError, match="damaged"):
        backup(balanced, tmp_path / "copies/one")
    assert list((tmp_path / "copies").iterdir()) == []


def test_without_pg_dump_the_error_names_it(
    postgres: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OutputError, match="pg_dump is not on the PATH") as told:
        backup(postgres, tmp_path / "copy")
    assert "client programs" in told.value.hint


def test_a_server_that_is_not_there_is_a_temporary_error_without_the_password(tools: Path, tmp_path: Path) -> None:
    engine = open_engine("postgresql://buzz:geheim-7f3a@127.0.0.1:1/news", tmp_path)
    with pytest.raises(TemporaryError, match="no backup was made") as told:
        backup(engine, tmp_path / "copy")
    assert "geheim" not in str(told.value) + told.value.hint
    assert list(tmp_path.iterdir()) == []


def test_the_password_reaches_pg_dump_but_not_its_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "pg_dump"
    program.write_text(f'#!/bin/sh\necho "$PGPASSWORD" "$@" > {tmp_path}/said\n')
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    backup(open_engine("postgresql://buzz:geheim%2F7@db/news?sslmode=require", tmp_path), tmp_path / "copy")
    password, *arguments = (tmp_path / "said").read_text().split()
    assert password == "geheim/7"
    assert arguments[-1] == "postgresql://buzz@db/news?sslmode=require"
    assert "geheim" not in " ".join(arguments)


def test_no_secret_of_the_url_is_among_the_arguments_of_pg_dump(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "pg_dump"
    program.write_text(f'#!/bin/sh\n(echo "$PGPASSWORD" "$@"; cat "$PGSERVICEFILE") > {tmp_path}/said\n')
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    query = "password=geheim&sslpassword=also%20geheim&sslmode=require"
    backup(open_engine(f"postgresql://buzz@db/news?{query}", tmp_path), tmp_path / "copy")
    arguments, *services = (tmp_path / "said").read_text().splitlines()
    assert arguments.split()[0] == "geheim"
    assert arguments.split()[-1] == "postgresql://buzz@db/news?service=newsletter&sslmode=require"
    assert services == ["[newsletter]", "sslpassword=also geheim"]
    with pytest.raises(OutputError, match="names a service and sslpassword") as told:
        backup(open_engine(f"postgresql://buzz@db/news?{query}&service=ours", tmp_path), tmp_path / "copy 2")
    assert "pg_service.conf" in told.value.hint


def test_a_file_of_services_reaches_the_server(postgres: sa.Engine, tools: Path, tmp_path: Path) -> None:
    """libpq takes what stands in it: here the password of a key for TLS, of which there is none."""
    engine = open_engine(
        postgres.url.update_query_dict({"sslpassword": "x"}).render_as_string(hide_password=False), tmp_path
    )
    backup(engine, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes()[:5] == b"PGDMP"
    engine.dispose()


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        (
            "pg_dump: error: aborting because of server version mismatch\n"
            "pg_dump: detail: server version: 17.2; pg_dump version: 14.1",
            "server version: 17.2",
            "client programs of the server's version",
        ),
        ("pg_dump: error: query failed: ERROR:  permission denied for table consent", "consent", "pg_read_all_data"),
        ("pg_dump: error: could not write to file: No space left on device", "No space", "Make room"),
        ("pg_dump: error: something\n" * 9 + "pg_dump: hint: secret geheim", "something", "Run pg_dump yourself"),
    ],
)
def test_what_pg_dump_complains_of_is_told_whole_and_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, message: str, hint: str
) -> None:
    program = tmp_path / "pg_dump"
    program.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{said}\nEND\nexit 1\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(OutputError, match="no backup was made") as told:
        backup(open_engine("postgresql://buzz:geheim@db/news", tmp_path), tmp_path / "copy")
    assert message in told.value.message
    assert hint in told.value.hint
    assert "geheim" not in str(told.value)


def test_a_full_disk_wants_room_and_not_another_name(
    balanced: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("newsletter.store.backup._to_disk", full)
    with pytest.raises(OutputError, match="No space left") as told:
        backup(balanced, tmp_path / "copy")
    assert told.value.hint.startswith("Make room on the disk of the backup")


def test_two_backups_of_one_second_have_a_name_each(balanced: sa.Engine, tmp_path: Path) -> None:
    moment = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
    made = [backup_into(balanced, tmp_path / "copies", moment) for _ in range(3)]
    later = tmp_path / "copies" / backup_name(balanced, moment + dt.timedelta(seconds=1))
    backup(balanced, later)
    assert sorted((tmp_path / "copies").iterdir()) == [*made, later]


def test_names_of_backups_sort_by_time(database: sa.Engine) -> None:
    moment = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.timezone(dt.timedelta(hours=8)))
    ending = "db" if database.dialect.name == "sqlite" else "dump"
    assert backup_name(database, moment) == f"newsletter-20260106T223000Z.{ending}"
