"""`db copy`: every row of every table arrives as it was, or nothing does; the source is only read."""

from __future__ import annotations

import datetime as dt
import itertools
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from audience_tables import contents
from fresh_databases import PostgresServer
from ledger_runs import NOW, ledger_of, load, plan_of, readers

from newsletter.errors import GuardRefused, NewsletterError, NothingToDo, OutputError, TemporaryError
from newsletter.store import copying, copying_rows
from newsletter.store.audience import SqlAudience
from newsletter.store.copying import Copied, copy_database
from newsletter.store.engine import open_engine, reading, writing
from newsletter.store.leadership import leadership
from newsletter.store.tables import mailing_list, metadata, run, signup, subscriber
from newsletter.store.upgrade import database_state, upgrade

#: What texts may hold: nothing, what COPY and SQL write otherwise, letters of all planes, composed and not.
TEXTS = ("", "\\N", "a\tb\r\n\\.\n'\"$$ %s :x", "é é 💌 \u202e\u200b\ufeff\U0010ffff \x01\x7f", "x" * 70_000)
BLOBS = (b"", bytes(range(256)), b"\0" * 300_000, b"\\x00")
NUMBERS = (1, 7, 2**31 - 1)
KINDS = ("sqlite", "postgresql")


@pytest.fixture
def new_database(postgres_server: PostgresServer, tmp_path: Path) -> Iterator[Any]:
    """Makes databases without tables, of a kind."""
    names, engines, numbers = [], [], itertools.count(1)

    def new(kind: str) -> sa.Engine:
        if kind == "sqlite":
            engine = open_engine(f"sqlite:///copies/{next(numbers)}.db", tmp_path)
        else:
            names.append(postgres_server.create())
            engine = open_engine(postgres_server.url(names[-1]), tmp_path)
        engines.append(engine)
        return engine

    yield new
    for engine in engines:
        engine.dispose()
    for name in names:
        postgres_server.drop(name)


@pytest.fixture
def source(database: sa.Engine) -> sa.Engine:
    """A database at the program's step, with rows in all tables."""
    with writing(database) as connection:
        for table in metadata.sorted_tables:
            connection.execute(sa.insert(table), [row_of(table, number) for number in range(3)])
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.exec_driver_sql("DELETE FROM alembic_version")
        connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{database_state(database).head}')")
    return database


@pytest.fixture
def quiet(source: sa.Engine) -> sa.Engine:
    """The same; all who sent are gone."""
    with writing(source) as connection:
        connection.execute(sa.update(metadata.tables["sender"]).values(ended_at=1))
    return source


def row_of(table: sa.Table, number: int) -> dict[str, object]:
    """A row with odd values in every column; where there may be none, in one of three there is none."""
    return {column.name: _value(column, number) for column in table.columns}


def _value(column: sa.Column[Any], number: int) -> object:
    if column.foreign_keys:
        return None if column.nullable and number == 2 else NUMBERS[number]
    if column.nullable and number == 2:
        return None
    single = column.primary_key or any(column.name in one.columns for one in _unique(column.table))
    if isinstance(column.type, sa.Text):
        return f"{TEXTS[2 + number % 2]} {number}" if single else TEXTS[(number + len(column.name)) % len(TEXTS)]
    if isinstance(column.type, sa.LargeBinary):
        return BLOBS[1] + bytes([number]) if single else BLOBS[(number + len(column.name)) % len(BLOBS)]
    if isinstance(column.type, sa.Float):
        return (0.1, -1e-300, 1_767_767_400.123456)[number]
    return NUMBERS[number] if single else (-1, 0, 2**15 - 1)[number]


def _unique(table: sa.Table) -> list[sa.UniqueConstraint]:
    return [one for one in table.constraints if isinstance(one, sa.UniqueConstraint)]


def copied(source: sa.Engine, target: sa.Engine, folder: Path) -> Copied:
    return copy_database(source, target, locks=folder / "locks", now=NOW)


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_of_every_table_arrives_as_it_was(
    quiet: sa.Engine, new_database: Any, tmp_path: Path, kind: str
) -> None:
    target, before = new_database(kind), contents(quiet)
    steps: list[tuple[int, int]] = []
    done = copy_database(
        quiet, target, locks=tmp_path / "locks", now=NOW, on_progress=lambda now, total: steps.append((now, total))
    )
    assert contents(target) == before == contents(quiet)
    assert {one.name: one.rows for one in done.tables} == {name: len(rows) for name, rows in before.items()}
    assert done.rows == 3 * len(before)
    assert steps[-1] == (2 * done.rows, 2 * done.rows)
    assert database_state(target).is_current


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_go_on_behind_the_last_that_was_given(
    quiet: sa.Engine, new_database: Any, tmp_path: Path, kind: str
) -> None:
    """Also where its row is gone, for links and Message-IDs are made from them."""
    with writing(quiet) as connection:
        gone = connection.scalar(
            sa.insert(subscriber)
            .values(id=2**31 + 5, key="gone", address="gone", created_at=0)
            .returning(subscriber.c.id)
        )
        if quiet.dialect.name == "postgresql":  # a number that is given by hand does not count there
            connection.exec_driver_sql(f"SELECT setval(pg_get_serial_sequence('subscriber', 'id'), {gone})")
        connection.execute(sa.delete(subscriber).where(subscriber.c.id == gone))
    target = new_database(kind)
    copied(quiet, target, tmp_path)
    with writing(target) as connection:
        added = sa.insert(subscriber).values(key="new", address="new", created_at=0).returning(subscriber.c.id)
        assert connection.scalar(added) == gone + 1
        for table in (mailing_list, signup, run):
            row = row_of(table, 2) | {
                column.name: f"new {column.name}" for column in table.columns if isinstance(column.type, sa.Text)
            }
            del row["id"]
            assert connection.scalar(sa.insert(table).values(row).returning(table.c.id)) > max(NUMBERS)


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_database_with_tables_will_do_and_one_with_a_row_will_not(
    quiet: sa.Engine, new_database: Any, tmp_path: Path, kind: str
) -> None:
    target = new_database(kind)
    upgrade(target)
    copied(quiet, target, tmp_path)
    before = contents(target)
    with pytest.raises(GuardRefused, match="not empty: there are rows in the table") as refused:
        copied(quiet, target, tmp_path)
    assert "createdb" in refused.value.hint
    assert contents(target) == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_target_at_another_step_or_of_another_program_is_refused(
    quiet: sa.Engine, new_database: Any, tmp_path: Path, kind: str
) -> None:
    other, foreign = new_database(kind), new_database(kind)
    upgrade(other)
    with writing(other) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001'")
    with writing(foreign) as connection:
        connection.exec_driver_sql("CREATE TABLE minutes (number INTEGER)")
    with pytest.raises(GuardRefused, match="at step 0001, and this program needs"):
        copied(quiet, other, tmp_path)
    with pytest.raises(GuardRefused, match="none that this program made"):
        copied(quiet, foreign, tmp_path)


def test_a_source_at_another_step_is_refused_and_not_upgraded(
    quiet: sa.Engine, new_database: Any, tmp_path: Path
) -> None:
    with writing(quiet) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0003'")
    with pytest.raises(GuardRefused, match="at step 0003") as refused:
        copied(quiet, new_database("sqlite"), tmp_path)
    assert "db upgrade" in refused.value.hint
    assert database_state(quiet).current == "0003"
    with pytest.raises(NothingToDo, match="nothing to copy"):
        copied(new_database("sqlite"), new_database("sqlite"), tmp_path)


def test_the_same_database_is_refused_by_whichever_name(quiet: sa.Engine, tmp_path: Path) -> None:
    if quiet.dialect.name == "sqlite":
        path = Path(str(quiet.url.database))
        (tmp_path / "link.db").symlink_to(path)
        again = open_engine("sqlite:///link.db", tmp_path)
    else:
        again = open_engine(str(quiet.url) + "&application_name=other", tmp_path)
    with pytest.raises(GuardRefused, match="this is the database that would be copied"):
        copied(quiet, again, tmp_path)
    again.dispose()


def test_a_database_that_somebody_sends_or_leads_on_is_refused(
    database: sa.Engine, new_database: Any, tmp_path: Path
) -> None:
    with writing(database) as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.exec_driver_sql("DELETE FROM alembic_version")
        connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{database_state(database).head}')")
    load(SqlAudience(database, b"key"), readers(4))
    ledger = ledger_of(database, tmp_path)
    held = ledger.take(ledger.plan(plan_of(), now=NOW).run_id, now=NOW)
    target = new_database("postgresql")
    with pytest.raises(GuardRefused, match=r"mail is being sent by .* pid \d+") as refused:
        copied(database, target, tmp_path)
    assert "`newsletter run`, `newsletter worker`" in refused.value.hint
    file = new_database("sqlite")
    with pytest.raises(GuardRefused, match="mail is being sent"):
        copied(database, file, tmp_path)
    assert not list(Path(str(file.url.database)).parent.glob("*.db*")), "an empty file would be taken for a copy"
    held.close(now=NOW)
    lead = leadership(database, locks=tmp_path / "locks")
    assert lead.lead()
    with pytest.raises(GuardRefused, match=r"a daemon runs on this database: .* pid \d+"):
        copied(database, target, tmp_path)
    lead.close()
    assert database_state(target).empty
    copied(database, target, tmp_path)


def test_what_is_written_meanwhile_undoes_the_copy(
    quiet: sa.Engine, new_database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who left during the copy would get mail again out of it."""
    compared = copying_rows.compare

    def compare(table: sa.Table, *rest: Any) -> Any:
        if table.name == "suppression":
            with writing(quiet) as connection:
                connection.execute(sa.insert(table).values(id=99, key="left", reason="left", at=1))
        return compared(table, *rest)

    monkeypatch.setattr(copying, "compare", compare)
    target = new_database("postgresql")
    with pytest.raises(GuardRefused, match="somebody wrote to the table suppression while it was copied"):
        copied(quiet, target, tmp_path)
    assert database_state(target).empty


def test_a_row_that_does_not_arrive_as_it_was_is_named_and_nothing_is_kept(
    quiet: sa.Engine, new_database: Any, tmp_path: Path
) -> None:
    target = new_database("postgresql")
    upgrade(target)
    with writing(target) as connection:  # as an installation of its own ideas would
        connection.exec_driver_sql(
            "CREATE FUNCTION trimmed() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN NEW.reason := trim(NEW.reason) || '.'; RETURN NEW; END $$"
        )
        connection.exec_driver_sql(
            "CREATE TRIGGER trims BEFORE INSERT ON delivery_note FOR EACH ROW WHEN (NEW.run_id = 7) "
            "EXECUTE FUNCTION trimmed()"
        )
    with pytest.raises(OutputError, match="in the table delivery_note: run_id 7, subscriber_id 7") as told:
        copied(quiet, target, tmp_path)
    assert "Nothing was kept of it" in told.value.hint
    assert not any(contents(target).values())


def test_a_row_that_is_missing_or_too_many_is_named(quiet: sa.Engine, new_database: Any, tmp_path: Path) -> None:
    target = new_database("sqlite")
    copied(quiet, target, tmp_path)
    table = metadata.tables["hit"]
    first = contents(target)["hit"][0]
    with writing(target) as connection:
        connection.execute(sa.delete(table).where(table.c.number == first[3]))
    with reading(quiet) as ours, reading(target) as theirs:
        assert copying_rows.compare(table, ours, theirs, lambda _: None) == first
        assert copying_rows.compare(table, theirs, ours, lambda _: None) == first
        assert copying_rows.compare(mailing_list, theirs, ours, lambda _: None) is None


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("name", "'a' || char(0) || 'b'", "name of id 7 holds a NUL character"),
        ("created_at", "'yesterday'", "created_at of id 7 is no whole number"),
        ("measures_opens", "70000", "measures_opens of id 7 is too large a number"),
        ("name", "x'ff'", "not what was copied, in the table subscriber: id 7"),
        ("name", "CAST(x'ff' AS TEXT)", "a text of the table subscriber is not UTF-8, among its first rows"),
    ],
)
def test_what_postgresql_cannot_keep_is_told_with_table_and_key(
    new_database: Any, tmp_path: Path, column: str, value: str, said: str
) -> None:
    source, target = new_database("sqlite"), new_database("postgresql")
    upgrade(source)
    with writing(source) as connection:
        connection.execute(sa.insert(subscriber), [row_of(subscriber, number) for number in range(3)])
        connection.exec_driver_sql(f"UPDATE subscriber SET {column} = {value} WHERE id = 7")
    with pytest.raises(OutputError, match=said) as told:
        copied(source, target, tmp_path)
    assert "othing was " in told.value.hint
    assert database_state(target).empty


@pytest.mark.parametrize("when", ["writing", "comparing"])
def test_a_connection_that_is_lost_midway_leaves_nothing(
    quiet: sa.Engine, new_database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    target = new_database("postgresql")
    name, real = ("write_rows", copying_rows.write_rows) if when == "writing" else ("compare", copying_rows.compare)

    def cut(first: Any, second: Any, *rest: Any) -> Any:
        table = second if when == "writing" else first
        if table.name == "batch":
            with target.connect() as other:
                other.exec_driver_sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE pid <> pg_backend_pid() AND datname = current_database()"
                )
        return real(first, second, *rest)

    monkeypatch.setattr(copying, name, cut)
    with pytest.raises(TemporaryError, match="PostgreSQL"):
        copied(quiet, target, tmp_path)
    monkeypatch.undo()
    assert database_state(target).empty
    assert copied(quiet, target, tmp_path).rows == 3 * len(metadata.tables)


_COPIES = """
import datetime as dt, sys, time
from pathlib import Path
from newsletter.store.copying import copy_database
from newsletter.store.engine import open_engine
def slowly(done, total):
    if done > total // 3:
        print("midway", flush=True)
        time.sleep(60)
one, other = (open_engine(url, Path("/")) for url in sys.argv[1:3])
copy_database(one, other, locks=Path(sys.argv[3]), now=dt.datetime(2026, 1, 7, tzinfo=dt.UTC), on_progress=slowly)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_that_is_killed_midway_leaves_nothing(
    quiet: sa.Engine, new_database: Any, tmp_path: Path, kind: str
) -> None:
    target = new_database(kind)
    urls = [engine.url.render_as_string(hide_password=False) for engine in (quiet, target)]
    command = [sys.executable, "-c", _COPIES, *urls, str(tmp_path / "locks")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "midway\n"
        process.kill()
    end = time.monotonic() + 10
    while not database_state(target).empty and time.monotonic() < end:
        time.sleep(0.05)  # the server notices a little later
    assert database_state(target).empty
    assert copied(quiet, target, tmp_path).rows == 3 * len(metadata.tables)


def test_rows_are_read_and_written_a_few_at_a_time(
    new_database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = new_database("sqlite"), new_database("postgresql")
    upgrade(source)
    monkeypatch.setattr(copying_rows, "_ROWS", 10)
    with writing(source) as connection:
        connection.execute(sa.insert(mailing_list), [{"name": f"list {number}"} for number in range(95)])
    sizes: list[int] = []
    real = copying_rows.write_rows

    def write(at: sa.Connection, table: sa.Table, rows: Sequence[copying_rows.Row]) -> None:
        sizes.append(len(rows))
        real(at, table, rows)

    monkeypatch.setattr(copying, "write_rows", write)
    copied(source, target, tmp_path)
    assert sizes == [10] * 9 + [5]
    assert contents(target) == contents(source)


def test_a_server_that_is_not_there_is_told(quiet: sa.Engine, tmp_path: Path) -> None:
    target = open_engine("postgresql://buzz:geheim-7f3a@127.0.0.1:1/news", tmp_path)
    with pytest.raises(NewsletterError, match="cannot be reached") as told:
        copy_database(quiet, target, locks=tmp_path / "locks", now=dt.datetime.now(dt.UTC))
    assert "geheim" not in str(told.value) + told.value.hint
