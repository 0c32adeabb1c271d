"""The steps that make the tables: what the program expects, all of it or nothing, once, and with a copy before."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from fresh_databases import PostgresServer, make_tables, sqlite_engine

from newsletter.errors import GuardRefused, OutputError
from newsletter.store import migrations
from newsletter.store import upgrade as upgrade_module
from newsletter.store.engine import open_engine, reading, writing
from newsletter.store.ledger import SqlLedger
from newsletter.store.tables import batch, mailing_list, membership, metadata, run, run_count, subscriber
from newsletter.store.upgrade import HEAD, DatabaseState, Upgraded, database_state, ensure_current, upgrade

STEPS = Path(str(migrations.__file__)).parent
_COMPARED: dict[str, Any] = {
    "compare_type": True,
    "target_metadata": metadata,
    # those of the jobs are another program's, and made from its own text
    "include_name": lambda name, kind, _: not (kind == "table" and str(name).startswith("procrastinate_")),
}


#: As it was at step 0006, as far as it has to be filled.
_RUN_BEFORE = sa.table("run", *(sa.column(one.name) for one in run.columns if one.name != "summed"))


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """A database without tables, of each kind."""
    if request.param == "postgresql":
        yield request.getfixturevalue("postgres")
        return
    engine = sqlite_engine(tmp_path)
    yield engine
    engine.dispose()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[sa.Engine]:
    """An SQLite database without tables, at var/newsletter.db."""
    engine = sqlite_engine(tmp_path)
    yield engine
    engine.dispose()


def silence(text: str) -> None:
    raise AssertionError(text)


def test_the_steps_lead_to_the_tables_as_the_program_knows_them(empty: sa.Engine) -> None:
    upgrade(empty)
    with reading(empty) as connection:
        # Alembic takes '' for another default than '' on SQLite; the test below compares them there
        defaults = empty.dialect.name == "postgresql"
        context = MigrationContext.configure(
            connection,
            opts={**_COMPARED, "compare_server_default": defaults},
        )
        assert compare_metadata(context, metadata) == []


def definitions(sql: str) -> list[str]:
    """What stands before the parentheses of a statement, the definitions within, and what stands after, each with its
    white space made one space; sorted, as a column that was added later stands behind the constraints."""
    parts, depth, quoted = [""], 0, False
    for character in sql:
        quoted ^= character == "'"
        depth += 0 if quoted else (character == "(") - (character == ")")
        edge = not quoted and ((character == "," and depth == 1) or (character, depth) in {("(", 1), (")", 0)})
        parts = [*parts, ""] if edge else [*parts[:-1], parts[-1] + character]
    assert depth == 0, sql
    return sorted(" ".join(part.split()) for part in parts)


def test_definitions_are_told_apart_whatever_stands_in_them() -> None:
    made = "CREATE TABLE one (\n\ta TEXT DEFAULT ',(' NOT NULL, \n\tCONSTRAINT u UNIQUE (a, b)\n, b INT) WITHOUT ROWID"
    expected = [
        "CREATE TABLE one",
        "CONSTRAINT u UNIQUE (a, b)",
        "WITHOUT ROWID",
        "a TEXT DEFAULT ',(' NOT NULL",
        "b INT",
    ]
    assert definitions(made) == sorted(expected)


def test_what_the_steps_made_on_sqlite_is_what_the_tables_say_to_the_letter(sqlite: sa.Engine, tmp_path: Path) -> None:
    """With AUTOINCREMENT, WITHOUT ROWID and the names of constraints, which the comparison of types leaves out."""

    def schema(engine: sa.Engine) -> dict[str, list[str]]:
        with reading(engine) as connection:
            rows = connection.exec_driver_sql(
                "SELECT name, sql FROM sqlite_master WHERE sql <> '' AND name NOT LIKE 'alembic%'"
            ).all()
        return {name: definitions(sql) for name, sql in rows}

    other = sqlite_engine(tmp_path / "other")
    make_tables(other)
    upgrade(sqlite)
    assert schema(sqlite) == schema(other)
    assert len(schema(sqlite)) >= len(metadata.tables)
    other.dispose()


def test_what_the_steps_made_on_postgresql_is_what_the_tables_say_to_the_letter(
    postgres_server: PostgresServer, postgres: sa.Engine
) -> None:
    def schema(database: str) -> str:
        command = [str(postgres_server.programs / "pg_dump"), "--schema-only", "--exclude-table=alembic_version"]
        done = subprocess.run([*command, f"--dbname={plain(database)}"], capture_output=True, text=True, check=True)
        return "\n".join(line for line in done.stdout.splitlines() if line and not line.startswith(("--", "\\")))

    def plain(database: str) -> str:
        return postgres_server.url(database).replace("+psycopg", "")

    name = postgres_server.create()
    other = open_engine(postgres_server.url(name), Path("/"))
    make_tables(other)
    upgrade(postgres)
    assert schema(str(postgres.url.database)) == schema(name)
    assert "CREATE TABLE public.subscriber" in schema(name)
    other.dispose()
    postgres_server.drop(name)


def test_the_last_step_is_the_one_that_the_program_names() -> None:
    names = sorted(path.name for path in (STEPS / "versions").glob("[0-9]*.py"))
    assert [name[:4] for name in names] == [f"{number:04}" for number in range(1, len(names) + 1)]
    assert names[-1].startswith(f"{HEAD}_")


def test_a_new_sqlite_database_gets_its_tables_without_a_word(sqlite: sa.Engine) -> None:
    ensure_current(sqlite, silence)
    assert database_state(sqlite) == DatabaseState(HEAD, empty=False, head=HEAD)
    ensure_current(sqlite, silence)
    assert [path.name for path in Path(str(sqlite.url.database)).parent.glob("*before*")] == []


def test_postgresql_waits_for_the_operator(postgres: sa.Engine) -> None:
    with pytest.raises(GuardRefused, match="the database is empty") as refused:
        ensure_current(postgres, silence)
    assert refused.value.hint == "Run `newsletter db upgrade`, which makes its tables."
    assert database_state(postgres).empty
    assert upgrade(postgres) == Upgraded(None, HEAD)
    ensure_current(postgres, silence)
    assert upgrade(postgres) == Upgraded(HEAD, HEAD)
    with writing(postgres) as connection:
        connection.exec_driver_sql("DELETE FROM alembic_version")
        connection.execute(sa.insert(mailing_list).values(name="kept"))
    with pytest.raises(GuardRefused, match="none that this program made"):
        upgrade(postgres)


def test_a_database_of_another_program_is_left_alone(empty: sa.Engine) -> None:
    with writing(empty) as connection:
        connection.exec_driver_sql("CREATE TABLE recipes (a int)")
    for act in (lambda: ensure_current(empty, silence), lambda: upgrade(empty)):
        with pytest.raises(GuardRefused, match="none that this program made") as refused:
            act()
        assert "[database] url" in refused.value.hint
    with reading(empty) as connection:
        assert sa.inspect(connection).get_table_names() == ["recipes"]


def test_a_database_of_a_newer_version_is_refused(empty: sa.Engine) -> None:
    upgrade(empty)
    with writing(empty) as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9998'")
    for act in (lambda: ensure_current(empty, silence), lambda: upgrade(empty)):
        with pytest.raises(GuardRefused, match="step 9998, which a newer version"):
            act()


_UPGRADE = """
import sys
from pathlib import Path
from newsletter.store.engine import open_engine
from newsletter.store.upgrade import upgrade
print(upgrade(open_engine(sys.argv[1], Path("/"))).before)
"""


def test_of_several_processes_that_upgrade_at_once_one_does_it(empty: sa.Engine) -> None:
    command = [sys.executable, "-c", _UPGRADE, empty.url.render_as_string(hide_password=False)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ended = [process.communicate(timeout=60) for process in running]
    assert sorted(out.strip() for out, _ in ended) == [*[HEAD] * 2, "None"], ended
    assert database_state(empty).is_current


#: A later step, as one may look: a table that others refer to is made anew with a column more.
_STEP = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{head}"


def upgrade():
    with op.batch_alter_table("subscriber", recreate="auto") as table:
        table.add_column(sa.Column("height", sa.Integer(), nullable=False, server_default="0"))
        table.alter_column("language", new_column_name="tongue")
    {more}
"""


def later_program(folder: Path, monkeypatch: pytest.MonkeyPatch, more: str = "") -> None:
    """From here on the program knows a step more, which ends with `more`."""
    shutil.copytree(STEPS, folder / "steps", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "steps/versions/9999_height.py").write_text(_STEP.format(more=more, head=HEAD))
    monkeypatch.setattr(upgrade_module, "_STEPS", str(folder / "steps"))
    monkeypatch.setattr(upgrade_module, "HEAD", "9999")


def fill(engine: sa.Engine) -> None:
    with writing(engine) as connection:
        connection.execute(sa.insert(mailing_list).values(name="daily"))
        connection.execute(sa.insert(subscriber).values(key="a@b.c", address="a@b.c", language="fr", created_at=5))
        connection.execute(sa.insert(membership).values(list_id=1, subscriber_id=1, state="pending", since=5))


@pytest.fixture
def filled(empty: sa.Engine) -> sa.Engine:
    """A database at the last step with somebody in it."""
    upgrade(empty)
    fill(empty)
    return empty


def test_an_upgrade_keeps_every_row_and_what_refers_to_it(
    filled: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later_program(tmp_path, monkeypatch)
    done = upgrade(filled)
    assert (done.before, done.after, database_state(filled).current) == (HEAD, "9999", "9999")
    with writing(filled) as connection:
        assert connection.exec_driver_sql("SELECT id, address, tongue, height FROM subscriber").all() == [
            (1, "a@b.c", "fr", 0)
        ]
        assert connection.execute(sa.select(membership)).all() == [(1, 1, "pending", 5)]
    with pytest.raises(sa.exc.IntegrityError), writing(filled) as connection:
        connection.execute(sa.insert(membership).values(list_id=1, subscriber_id=2, state="pending", since=5))


def test_what_the_first_version_held_of_people_is_there_after_delivery_came(
    empty: sa.Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        shutil.copytree(STEPS, tmp_path / "first", ignore=shutil.ignore_patterns("__pycache__", "000[2-9]*"))
        patch.setattr(upgrade_module, "_STEPS", str(tmp_path / "first"))
        patch.setattr(upgrade_module, "HEAD", "0001")
        upgrade(empty)
        fill(empty)
    done = upgrade(empty)
    assert (done.before, done.after) == ("0001", HEAD)
    assert (done.copy is not None) is (empty.dialect.name == "sqlite")
    with reading(empty) as connection:
        assert connection.execute(sa.select(subscriber.c.address, subscriber.c.language)).all() == [("a@b.c", "fr")]
        assert connection.execute(sa.select(membership)).all() == [(1, 1, "pending", 5)]
        context = MigrationContext.configure(connection, opts=_COMPARED)
        assert compare_metadata(context, metadata) == []


def test_runs_from_before_get_their_sums_also_where_some_was_pruned(
    empty: sa.Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        shutil.copytree(STEPS, tmp_path / "before", ignore=shutil.ignore_patterns("__pycache__", "000[7-9]*"))
        patch.setattr(upgrade_module, "_STEPS", str(tmp_path / "before"))
        patch.setattr(upgrade_module, "HEAD", "0006")
        upgrade(empty)
    with writing(empty) as connection:
        for number, state, ended, count in ((1, "finished", 5, 18), (2, "paused", None, 3)):
            row = {"id": number, "uid": str(number), "newsletter": "buzz", "issue_date": f"2026-01-0{number}"}
            row |= {"state": state, "batch_size": 4, "selection": "{}", "planned": count, "created_at": 1}
            connection.execute(sa.insert(_RUN_BEFORE), row | {"deadline": 9, "ended_at": ended})
        for run_id, number, kept, size in ((1, 2, b"\2", 4), (1, 3, b"\2\2\3\42", 4), (2, 1, b"\0", 3)):
            row = {"run_id": run_id, "number": number, "members": b"", "size": size, "first_id": 1, "last_id": 9}
            connection.execute(sa.insert(batch).values(**row, states=kept, attempts=1, claims=1))
        pruned = [{"run_id": 1, "byte": 2, "count": 6}, {"run_id": 1, "byte": 0x22, "count": 4}]
        connection.execute(sa.insert(run_count), pruned)
    upgrade(empty)
    with reading(empty) as connection:
        runs = connection.execute(sa.select(run.c.id, run.c.summed).order_by(run.c.id)).all()
        sums = connection.execute(sa.select(run_count).order_by(run_count.c.byte)).all()
    assert (runs, sums) == ([(1, 1), (2, 0)], [(1, 2, 12), (1, 3, 1), (1, 0x22, 5)])
    ledger = SqlLedger(empty, locks=tmp_path / "locks", journal=tmp_path / "journal")
    assert [sum(ledger.balance(number).counts.values()) for number in (1, 2)] == [18, 3]


def test_an_upgrade_that_fails_leaves_everything_as_it_was(
    filled: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later_program(tmp_path, monkeypatch, more="raise ZeroDivisionError")
    with pytest.raises(ZeroDivisionError):
        upgrade(filled)
    with reading(filled) as connection:
        columns = {column["name"] for column in sa.inspect(connection).get_columns("subscriber")}
        assert connection.execute(sa.select(subscriber.c.language)).scalars().all() == ["fr"]
        assert connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == HEAD
    assert columns == {column.name for column in subscriber.columns}


def test_an_sqlite_upgrade_that_breaks_references_is_undone(
    sqlite: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(sqlite)
    fill(sqlite)
    later_program(tmp_path, monkeypatch, more='op.execute("DELETE FROM mailing_list")')
    with pytest.raises(OutputError, match="a row of membership refers to a row of mailing_list"):
        upgrade(sqlite)
    with reading(sqlite) as connection:
        assert connection.execute(sa.select(mailing_list.c.name)).scalars().all() == ["daily"]


def test_sqlite_is_upgraded_by_itself_after_a_copy_which_is_named_to_the_user(
    sqlite: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(sqlite)
    fill(sqlite)
    later_program(tmp_path, monkeypatch)
    (tmp_path / "var/newsletter.db.before-9999").write_text("of an upgrade that failed")
    said: list[str] = []
    ensure_current(sqlite, said.append)
    copy = tmp_path / "var/newsletter.db.before-9999.2"
    assert said == [f"The database was upgraded from step {HEAD} to 9999. A copy from before: {copy}"]
    with sqlite3.connect(copy) as before:
        assert before.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]
        assert before.execute("SELECT address, language FROM subscriber").fetchall() == [("a@b.c", "fr")]
    before.close()
    assert copy.stat().st_mode & 0o777 == 0o600


def test_postgresql_that_is_behind_is_refused_with_both_steps(
    postgres: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(postgres)
    later_program(tmp_path, monkeypatch)
    with pytest.raises(GuardRefused, match=f"is at step {HEAD}, and this program needs step 9999") as refused:
        ensure_current(postgres, silence)
    assert re.search(r"newsletter db backup.*newsletter db upgrade", refused.value.hint)
