"""What all tables have in common."""

from __future__ import annotations

import sqlalchemy as sa

#: Names of constraints, so that migrations can name them on both databases.
metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: SQLite gives a row its number only in a column of type INTEGER.
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
#: Seconds since 1970-01-01T00:00:00Z. A number compares and sorts alike on both databases, and takes 4 bytes.
Moment = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
