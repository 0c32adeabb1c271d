"""The tables of Procrastinate, which our own steps make: with the ledger's, in the ledger's database.

`migrations/procrastinate_3_4.sql` is the schema that they have. A Procrastinate that wants another one is refused by
name until a step of ours brings the tables there.
"""

from __future__ import annotations

from importlib import metadata, resources
from typing import Any

import sqlalchemy as sa

from newsletter.errors import GuardRefused

#: What the tables are made from: the schema of Procrastinate 3.4 to 3.10, and of later ones that did not change it.
_FILE = "procrastinate_3_4.sql"
_BEGINS = "-- Procrastinate Schema"


def make_job_tables(connection: sa.Connection) -> None:
    """Makes the tables, types, functions and triggers of the jobs, on PostgreSQL; SQLite has no use for them."""
    if connection.dialect.name != "postgresql":
        return
    driver: Any = connection.connection.driver_connection
    # past SQLAlchemy: many statements in one text, with signs in them that it would take for parameters
    driver.execute(_schema_we_make())


def refuse_other_schema() -> None:
    """Raises GuardRefused where the Procrastinate that is installed wants other tables than our steps make."""
    wanted = (resources.files("procrastinate") / "sql" / "schema.sql").read_text(encoding="utf-8")
    if _statements(wanted) != _statements(_schema_we_make()):
        version = metadata.version("procrastinate")
        raise GuardRefused(
            f"Procrastinate {version} needs other tables than this program's `db upgrade` makes",
            hint='Install the one that fits: pip install --upgrade "newsletter[cluster]" "procrastinate>=3.4,<3.11"',
        )


def _schema_we_make() -> str:
    return (resources.files("newsletter.store") / "migrations" / _FILE).read_text(encoding="utf-8")


def _statements(text: str) -> list[str]:
    """The lines from the schema's title on, without comments and white space at their ends."""
    _, _, schema = text.partition(_BEGINS)
    lines = (line.partition("--")[0].rstrip() for line in schema.splitlines())
    return [line for line in lines if line]
