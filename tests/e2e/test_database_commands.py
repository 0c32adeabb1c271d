"""`db upgrade` and `db backup`, run as a user runs them."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest
from fresh_databases import PostgresServer
from projects import Project

from newsletter.store.upgrade import HEAD


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


def test_a_new_database_gets_its_tables_once(project: Project) -> None:
    first, second = project.run("db", "upgrade", "--json"), project.call("db", "upgrade")
    assert (first.code, first.json) == (0, {"before": None, "after": HEAD, "copy": None})
    assert (second.code, second.out, second.err) == (0, f"The database is up to date (step {HEAD}).\n", "")
    assert stat.S_IMODE((project.folder / "var/newsletter.db").stat().st_mode) == 0o600


def test_a_backup_goes_to_var_or_where_it_is_told_and_overwrites_nothing(project: Project) -> None:
    project.call("db", "upgrade")
    (project.folder / "kept").mkdir()
    default, second, named, again = (
        project.call("db", "backup", "--json"),
        project.call("db", "backup", "--json"),  # within the same second, mostly
        project.call("db", "backup", "kept/monday.db"),
        project.call("db", "backup", "kept/monday.db"),
    )
    assert (default.code, second.code) == (0, 0)
    assert default.json["file"] < second.json["file"]
    assert Path(default.json["file"]).parent == project.folder / "var"
    assert default.json["bytes"] == Path(default.json["file"]).stat().st_size
    assert named.out.startswith("kept/monday.db (")
    assert (again.code, again.out) == (3, "")
    assert "never overwritten" in again.err
    with sqlite3.connect(project.folder / "kept/monday.db") as copy:
        assert copy.execute("SELECT version_num FROM alembic_version").fetchall() == [(HEAD,)]
    copy.close()


def test_an_empty_database_has_nothing_to_back_up(project: Project) -> None:
    ended = project.call("db", "backup")
    assert (ended.code, ended.err) == (4, "✗ the database is empty: there is nothing to back up\n")


def test_postgresql_is_upgraded_and_backed_up_with_its_own_program(
    project: Project, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = postgres_server.create()
    url = {"NEWSLETTER__DATABASE__URL": postgres_server.url(name)}
    made = project.call("db", "upgrade", **url)
    assert (made.code, made.out, made.err) == (0, f"The tables were made (step {HEAD}).\n", "")
    without = project.call("db", "backup", "one.dump", PATH="/nowhere", **url)
    assert (without.code, without.err.splitlines()[0]) == (
        3,
        "✗ pg_dump is not on the PATH; a backup of PostgreSQL is made with it",
    )
    done = project.call("db", "backup", "one.dump", PATH=str(postgres_server.programs), **url)
    assert done.code == 0, done
    assert (project.folder / "one.dump").read_bytes()[:5] == b"PGDMP"
    postgres_server.drop(name)


def test_a_server_that_is_down_is_a_temporary_error_that_tells_no_password(project: Project) -> None:
    ended = project.call(
        "-v", "db", "upgrade", NEWSLETTER__DATABASE__URL="postgresql+psycopg://buzz:geheim-7f3a@127.0.0.1:1/news"
    )
    assert ended.code == 75
    assert "✗ postgresql://127.0.0.1:1/news: PostgreSQL cannot be reached: " in ended.err
    assert "geheim" not in ended.err + ended.out


def test_a_file_that_is_no_database_is_named(project: Project) -> None:
    (project.folder / "var").mkdir()
    (project.folder / "var/newsletter.db").write_text("minutes of the meeting\n" * 100)
    ended = project.call("db", "upgrade")
    assert ended.code == 3
    assert "var/newsletter.db: this file is no SQLite database" in ended.err
