"""What many years and many machines need: the sums of runs whose recipients were forgotten, and one pace for all.

`pace` and `run_tally` are used on PostgreSQL alone, where workers on several machines send; SQLite has them empty.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; nothing that was there is touched."""
    op.create_table(
        "run_count",
        _number("run_id"),
        _small("byte"),
        _small("count"),
        sa.PrimaryKeyConstraint("run_id", "byte", name="pk_run_count"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_run_count_run_id"),
    )
    op.create_table(
        "pace",
        _text("account"),
        _text("domain"),
        _float("tokens"),
        _float("at"),
        _float("held_until"),
        sa.PrimaryKeyConstraint("account", "domain", name="pk_pace"),
    )
    op.create_table(
        "run_tally",
        _number("run_id"),
        _small("unknown_in_a_row"),
        _small("refused"),
        _small("decided"),
        sa.PrimaryKeyConstraint("run_id", name="pk_run_tally"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_run_tally_run_id"),
    )


def downgrade() -> None:
    """Going back is done with a backup."""
    raise NotImplementedError


def _number(name: str) -> sa.Column[Any]:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, big, autoincrement=False, nullable=False)


def _small(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), autoincrement=False, nullable=False)


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=False)


def _float(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Double(), nullable=False)
