"""The database's engine: transactions, durability, and one clear error for whatever a disk or a server does."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
import pytest
import sqlalchemy as sa
from fresh_databases import PostgresServer, sqlite_engine

from newsletter.errors import ConfigError, GuardRefused, NewsletterError, OutputError, TemporaryError
from newsletter.store import engine as engine_module
from newsletter.store.engine import open_engine, own_connection, psycopg_arguments, reading, scrub, staging, writing
from newsletter.store.failures import shown_url
from newsletter.store.tables import mailing_list, membership, run

PASSWORD = "geheim-7f3a"


def lists(connection: sa.Connection) -> list[str]:
    return list(connection.scalars(sa.select(mailing_list.c.name).order_by("name")))


def add(connection: sa.Connection, *names: str) -> None:
    for name in names:
        connection.execute(sa.insert(mailing_list).values(name=name))


@pytest.fixture
def empty_file(tmp_path: Path) -> Iterator[sa.Engine]:
    """An SQLite database without tables."""
    engine = sqlite_engine(tmp_path)
    yield engine
    engine.dispose()


def test_a_transaction_is_kept_whole_or_not_at_all(database: sa.Engine) -> None:
    with writing(database) as connection:
        add(connection, "kept")
    with pytest.raises(sa.exc.IntegrityError), writing(database) as connection:
        add(connection, "undone", "kept")
    with reading(database) as connection:
        assert lists(connection) == ["kept"]


def test_a_reader_sees_one_state_while_others_write(database: sa.Engine) -> None:
    with reading(database) as reader:
        assert lists(reader) == []
        with writing(database) as writer:
            add(writer, "new")
        assert lists(reader) == []
    with reading(database) as reader:
        assert lists(reader) == ["new"]


def test_a_reader_can_change_nothing_and_its_connection_writes_again_later(database: sa.Engine) -> None:
    with pytest.raises((NewsletterError, sa.exc.DBAPIError)), reading(database) as connection:
        add(connection, "never")
    with writing(database) as connection:
        assert lists(connection) == []
        add(connection, "later")


def test_what_refers_to_nothing_is_not_kept_and_the_mistake_is_not_dressed_up(database: sa.Engine) -> None:
    with pytest.raises(sa.exc.IntegrityError), writing(database) as connection:
        connection.execute(sa.insert(membership).values(list_id=7, subscriber_id=7, state="pending", since=0))


def test_an_error_does_not_repeat_what_people_said(database: sa.Engine) -> None:
    """Of an error that is not ours to word, the traceback goes into logs."""
    with pytest.raises(sa.exc.IntegrityError) as raised, writing(database) as connection:
        connection.execute(sa.insert(membership).values(list_id=7, subscriber_id=7, state=PASSWORD, since=0))
    assert "INSERT INTO membership" in str(raised.value)
    assert PASSWORD not in str(raised.value)


def test_files_are_scrubbed_also_over_a_connection_that_was_last_read_from(database: sa.Engine) -> None:
    with reading(database) as connection:
        assert lists(connection) == []
    assert scrub(database)
    with writing(database) as connection:
        add(connection, "later")
    assert scrub(database)


def test_numbers_of_subscribers_are_not_given_again_after_a_deletion(database: sa.Engine) -> None:
    from newsletter.store.tables import subscriber

    person = sa.insert(subscriber).values(key="a@example.com", address="a@example.com", created_at=0)
    with writing(database) as connection:
        first = connection.scalar(person.returning(subscriber.c.id))
        connection.execute(sa.delete(subscriber))
        second = connection.scalar(person.returning(subscriber.c.id))
    assert first is not None
    assert second is not None
    assert second > first


def test_sqlite_is_set_to_survive_a_power_cut(empty_file: sa.Engine) -> None:
    with writing(empty_file) as connection:
        pragmas = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas}
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


@pytest.mark.parametrize(("of_server", "ours"), [("off", "on"), ("remote_apply", "remote_apply"), ("local", "local")])
def test_what_is_committed_on_postgresql_is_on_the_disk_whatever_the_server_does_by_default(
    postgres: sa.Engine, of_server: str, ours: str
) -> None:
    with postgres.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.exec_driver_sql(f'ALTER DATABASE "{postgres.url.database}" SET synchronous_commit = {of_server}')
    postgres.dispose()
    with reading(postgres) as connection:
        assert connection.scalar(sa.text("SHOW synchronous_commit")) == ours


def test_the_file_is_made_beside_the_configuration_for_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        engine = open_engine("sqlite:///data/of/us.db", tmp_path)
        with writing(engine) as connection:
            connection.exec_driver_sql("CREATE TABLE t (a)")
            files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data/of").iterdir()}
    finally:
        os.umask(before)
    assert files == {"us.db": 0o600, "us.db-wal": 0o600, "us.db-shm": 0o600}
    engine.dispose()


def test_an_absolute_path_stays_where_it_is(tmp_path: Path) -> None:
    open_engine(f"sqlite:///{tmp_path}/far/away.db", Path("/nowhere")).dispose()
    assert (tmp_path / "far/away.db").exists()


def test_writers_on_sqlite_wait_for_each_other_and_lose_nothing(database: sa.Engine) -> None:
    """Each reads before it writes: begun as readers, all but one would fail at their first write."""
    if database.dialect.name != "sqlite":
        return  # there a writer that depends on what it read says FOR UPDATE
    row = {"uid": "u", "newsletter": "n", "issue_date": "2026-01-07", "state": "planned", "created_at": 0}
    with writing(database) as connection:
        connection.execute(sa.insert(run).values(planned=0, batch_size=1, selection="{}", deadline=0, **row))

    def count_up(_: int) -> None:
        with writing(database) as connection:
            found = connection.scalar(sa.select(run.c.planned))
            assert found is not None
            connection.execute(sa.update(run).values(planned=found + 1))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(count_up, range(100)))
    with reading(database) as connection:
        assert connection.scalar(sa.select(run.c.planned)) == 100


_COMMITS_FOREVER = """
import sys
from pathlib import Path
from newsletter.store.engine import open_engine, writing
engine = open_engine(sys.argv[1], Path("/"))
for number in range(1_000_000):
    with writing(engine) as connection:
        connection.exec_driver_sql(f"INSERT INTO mailing_list (name) VALUES ('{number}')")
    print(number, flush=True)
"""


def test_what_was_committed_is_there_after_a_kill(database: sa.Engine) -> None:
    url = database.url.render_as_string(hide_password=False)
    with subprocess.Popen([sys.executable, "-c", _COMMITS_FOREVER, url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline().strip() for _ in range(20)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read().split()
    with reading(database) as connection:
        found = {int(name) for name in lists(connection)}
    assert len(said) >= 20
    # whole numbers, told after their commit; perhaps one more that it had no time to tell
    assert {int(number) for number in said if number} <= found <= set(range(len(said) + 1))


LOCAL = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph"])
def test_a_network_file_system_is_refused_and_the_hint_names_what_helps(tmp_path: Path, kind: str) -> None:
    place = str(tmp_path).replace(" ", r"\040")
    mounts = f"{LOCAL}23 22 0:9 / {place} rw,relatime shared:2 - {kind} server:/share rw\n"
    with pytest.raises(GuardRefused, match="network file system") as refused:
        open_engine("sqlite:///var/newsletter.db", tmp_path, mounts=mounts)
    assert "PostgreSQL" in refused.value.hint
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize(
    "mounts",
    [
        LOCAL,
        "",
        "no mountinfo at all\n",
        LOCAL + "23 22 0:9 / {parent}/other rw - nfs4 server:/share rw\n",
        LOCAL + "23 22 0:9 / {folder}x rw - nfs4 server:/share rw\n",
        # mounted over: the last one counts
        LOCAL + "23 22 0:9 / {folder} rw - nfs4 server:/share rw\n24 23 8:2 / {folder} rw - xfs /dev/sdb1 rw\n",
        LOCAL + "23 22 0:9 / {parent} rw - nfs4 server:/share rw\n24 23 8:2 / {folder} rw - ext4 /dev/sdb1 rw\n",
    ],
)
def test_a_local_disk_is_taken_whatever_else_is_mounted(tmp_path: Path, mounts: str) -> None:
    text = mounts.format(parent=tmp_path.parent, folder=tmp_path)
    open_engine("sqlite:///newsletter.db", tmp_path, mounts=text).dispose()
    assert (tmp_path / "newsletter.db").exists()


def test_a_mount_point_with_a_blank_in_its_name_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "our share"
    place = str(folder).replace(" ", r"\040")
    with pytest.raises(GuardRefused):
        open_engine("sqlite:///n.db", folder, mounts=f"{LOCAL}23 22 0:9 / {place} rw - cifs //server/share rw\n")


def test_a_file_that_is_no_database_is_named_and_kept(tmp_path: Path) -> None:
    (tmp_path / "n.db").write_text("a letter to a friend, long enough to have a header\n" * 40)
    engine = open_engine("sqlite:///n.db", tmp_path)
    with pytest.raises(OutputError, match=r"n\.db: this file is no SQLite database"), reading(engine):
        pass
    assert (tmp_path / "n.db").read_text().startswith("a letter")


def test_a_damaged_database_is_told_with_what_to_do(database: sa.Engine) -> None:
    if database.dialect.name != "sqlite":
        return  # nobody damages a server's files from here
    path = Path(str(database.url.database))
    with writing(database) as connection:
        for number in range(500):
            add(connection, f"list {number} " + "x" * 200)
    database.dispose()
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(OutputError, match="damaged") as told, reading(database) as connection:
        lists(connection)
    assert "backup" in told.value.hint
    database.dispose()


@pytest.mark.parametrize("path", ["occupied/n.db", "folder"])
def test_a_place_that_cannot_be_written_is_told_when_the_database_is_opened(tmp_path: Path, path: str) -> None:
    (tmp_path / "occupied").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="cannot be written") as told:
        open_engine(f"sqlite:///{path}", tmp_path)
    assert "[database] url" in told.value.hint


def test_opening_a_database_once_more_leaves_the_locks_of_this_process_alone(tmp_path: Path) -> None:
    """Else another process that closes it takes the log away, and commits of this one go into a file without a name."""
    first = sqlite_engine(tmp_path)
    path = Path(str(first.url.database))
    with first.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE word (text)")
        connection.commit()
        second = open_engine(f"sqlite:///{path.name}", path.parent)
        other = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM word'); c.close()"
        subprocess.run([sys.executable, "-c", other, str(path)], check=True)
        assert path.with_name(f"{path.name}-wal").exists()
        connection.exec_driver_sql("INSERT INTO word VALUES ('kept')")
        connection.commit()
    second.dispose()
    with sqlite3.connect(path) as seen:
        assert seen.execute("SELECT text FROM word").fetchall() == [("kept",)]
    seen.close()
    first.dispose()


def test_a_full_disk_undoes_the_transaction_and_says_so(empty_file: sa.Engine) -> None:
    with writing(empty_file) as connection:
        connection.exec_driver_sql("CREATE TABLE t (a)")
        # holds for the connection, which the pool hands out again
        connection.exec_driver_sql("PRAGMA max_page_count = 20")
    with pytest.raises(OutputError, match="disk is full; nothing was changed"), writing(empty_file) as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (zeroblob(500000))")
    with reading(empty_file) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM t").scalar() == 0


def test_a_database_that_is_locked_for_too_long_is_a_temporary_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "LOCK_WAIT", 0.05)
    engine = sqlite_engine(tmp_path)
    with writing(engine), pytest.raises(TemporaryError, match="locked by another process"), writing(engine):
        pass
    engine.dispose()


def test_a_lock_that_postgresql_does_not_give_is_a_temporary_error(postgres: sa.Engine) -> None:
    with writing(postgres) as connection:
        connection.exec_driver_sql("CREATE TABLE t (a int)")
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "30s"
    with writing(postgres) as one:
        one.exec_driver_sql("LOCK TABLE t")
        with pytest.raises(TemporaryError, match="holds a lock"), writing(postgres) as other:
            # one call, one statement after the other
            other.exec_driver_sql("SET LOCAL lock_timeout = '50ms'; SELECT * FROM t")


@pytest.fixture
def impatient(postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[sa.Engine]:
    """A PostgreSQL database that undoes what is silent for a moment."""
    monkeypatch.setattr(engine_module, "SILENCE", 0.2)
    name = postgres_server.create()
    engine = open_engine(postgres_server.url(name), Path("/"))
    yield engine
    engine.dispose()
    postgres_server.drop(name)


def test_a_transaction_that_changes_something_is_undone_when_its_process_falls_silent(impatient: sa.Engine) -> None:
    def fall_silent() -> None:
        with writing(impatient) as connection:
            connection.exec_driver_sql("CREATE TABLE there (one integer)")
            time.sleep(0.5)
            connection.exec_driver_sql("INSERT INTO there VALUES (1)")

    with pytest.raises(TemporaryError):
        fall_silent()


def test_reading_and_staging_may_be_silent_for_as_long_as_they_like(impatient: sa.Engine) -> None:
    with reading(impatient) as connection:
        connection.exec_driver_sql("SELECT 1")
        time.sleep(0.5)
        connection.exec_driver_sql("SELECT 1")
    with own_connection(impatient) as connection:
        with staging(connection):  # rows from a slow pipe
            connection.exec_driver_sql("CREATE TEMPORARY TABLE staged (one integer)")
            time.sleep(0.5)
            connection.exec_driver_sql("INSERT INTO staged VALUES (1)")
        with connection.begin():
            assert connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar() == "200ms"
            assert connection.exec_driver_sql("SELECT count(*) FROM staged").scalar() == 1


def end_from_the_server(connection: sa.Connection, engine: sa.Engine) -> None:
    number = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
    with engine.connect() as other:
        assert other.exec_driver_sql(f"SELECT pg_terminate_backend({number}, 5000)").scalar() is True


def test_a_connection_that_the_server_ends_is_a_temporary_error_and_the_next_one_works(postgres: sa.Engine) -> None:
    def work(connection: sa.Connection) -> None:
        end_from_the_server(connection, postgres)
        connection.exec_driver_sql("SELECT 1")

    with pytest.raises(TemporaryError), writing(postgres) as connection:
        work(connection)
    with reading(postgres) as connection:
        assert connection.exec_driver_sql("SELECT 1").scalar() == 1


@pytest.mark.parametrize("lay_still", [True, False])
def test_a_connection_that_lay_still_is_asked_whether_it_lives_and_no_other(
    postgres: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lay_still: bool
) -> None:
    monkeypatch.setattr(engine_module, "_ASK_AFTER", 0 if lay_still else 60)
    asked = mock.Mock(wraps=postgres.dialect.do_ping)
    monkeypatch.setattr(postgres.dialect, "do_ping", asked)
    with reading(postgres) as connection:
        number = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
    with reading(postgres) as connection:
        assert connection.exec_driver_sql("SELECT pg_backend_pid()").scalar() == number
    assert asked.call_count == lay_still
    other = open_engine(postgres.url.render_as_string(hide_password=False), tmp_path)
    with other.connect() as connection:  # as a restart does
        assert connection.exec_driver_sql(f"SELECT pg_terminate_backend({number}, 5000)").scalar() is True
    other.dispose()
    if not lay_still:
        with pytest.raises(TemporaryError), reading(postgres) as connection:
            connection.exec_driver_sql("SELECT 1")
    with reading(postgres) as connection:
        assert connection.exec_driver_sql("SELECT pg_backend_pid()").scalar() != number


def test_errors_of_calls_that_go_past_sqlalchemy_are_told_as_well(postgres: sa.Engine) -> None:
    """COPY is such a call."""

    def copy(connection: sa.Connection) -> None:
        raw = connection.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        end_from_the_server(connection, postgres)
        raw.execute("COPY pg_class TO STDOUT")

    with pytest.raises(TemporaryError), writing(postgres) as connection:
        copy(connection)


def told(url: str, kind: type[NewsletterError]) -> NewsletterError:
    """The error of a first connection; with its traceback it must not tell the password."""
    engine = open_engine(url, Path("/"))
    with pytest.raises(kind) as raised, reading(engine):
        pass
    whole = "".join(traceback.format_exception(raised.value)) + raised.value.hint + shown_url(engine.url)
    assert PASSWORD not in whole
    return raised.value


def test_a_server_that_is_not_there_is_a_temporary_error_without_the_password(tmp_path: Path) -> None:
    error = told(f"postgresql+psycopg://buzz:{PASSWORD}@127.0.0.1:1/news?connect_timeout=5", TemporaryError)
    assert str(error).startswith("postgresql://127.0.0.1:1/news: PostgreSQL cannot be reached: ")
    assert "refused" in str(error)


def test_connections_beside_the_engines_own_notice_a_silent_line_too(tmp_path: Path) -> None:
    url = "postgresql://me:secret@db.example:6543/news"
    plain = psycopg_arguments(open_engine(url, tmp_path))
    assert {"host": "db.example", "port": 6543, "dbname": "news", "user": "me", "password": "secret"}.items() <= (
        plain.items()
    )
    assert (plain["connect_timeout"], plain["tcp_user_timeout"], plain["keepalives_idle"]) == (10, 20_000, 5)
    asked = psycopg_arguments(open_engine(f"{url}?keepalives_idle=60&sslmode=require", tmp_path))
    assert (asked["keepalives_idle"], asked["sslmode"], asked["keepalives_count"]) == ("60", "require", 3)


@pytest.mark.parametrize("transaction", [reading, writing, own_connection])
def test_whoever_gets_no_connection_of_the_process_is_told_to_try_again(
    postgres: sa.Engine, monkeypatch: pytest.MonkeyPatch, transaction: Callable[..., Any]
) -> None:
    monkeypatch.setattr(engine_module, "_MOST_CONNECTIONS", 1)
    engine = open_engine(postgres.url.render_as_string(hide_password=False), Path("/"))
    monkeypatch.setattr(engine.pool, "_timeout", 0.1)
    with writing(engine):
        for _ in range(2):
            with pytest.raises(TemporaryError, match="all connections to the database are in use"):
                transaction(engine).__enter__()
    with writing(engine):
        pass
    engine.dispose()


def test_a_plain_postgresql_url_is_taken_too() -> None:
    assert open_engine("postgresql://buzz@db.example.com/news", Path("/")).driver == "psycopg"


@pytest.mark.parametrize("what", ["database", "role"])
def test_a_database_or_role_that_does_not_exist_is_a_mistake_of_the_configuration(
    postgres_server: PostgresServer, what: str
) -> None:
    url = sa.make_url(postgres_server.url("nowhere" if what == "database" else "postgres"))
    url = url.set(username="nobody") if what == "role" else url
    error = told(url.set(password=PASSWORD).render_as_string(hide_password=False), ConfigError)
    assert f'{what} "' in str(error)
    assert "does not exist" in str(error)


@pytest.mark.parametrize(
    ("option", "says"), [("no_such=1", "invalid connection option"), ("sslmode=maybe", "invalid sslmode value")]
)
def test_an_option_that_postgresql_does_not_know_is_a_mistake_of_the_configuration(
    tmp_path: Path, option: str, says: str
) -> None:
    engine = open_engine(f"postgresql+psycopg://u:hunter2@localhost:1/db?{option}", tmp_path)
    with pytest.raises(ConfigError, match=says) as caught, reading(engine):
        pass
    assert "hunter2" not in f"{caught.value} {caught.value.problems}"


def test_a_wrong_password_is_a_mistake_of_the_configuration_and_is_not_repeated(
    postgres_server: PostgresServer,
) -> None:
    with postgres_server.asks_for_passwords("guarded"):
        error = told(
            sa.make_url(postgres_server.url("postgres"))
            .set(username="guarded", password=PASSWORD)
            .render_as_string(hide_password=False),
            ConfigError,
        )
    assert "password authentication failed" in str(error)
    assert isinstance(error, ConfigError)
    assert "PGPASSWORD or ~/.pgpass" in error.problems[0].suggestion
