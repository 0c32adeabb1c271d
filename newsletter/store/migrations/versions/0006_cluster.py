"""Runs that workers send: what a run was planned with, and on PostgreSQL the tables of the jobs (Procrastinate's)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from newsletter.store.job_schema import make_job_tables

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add four columns to `run`, and make the tables of jobs; nothing that was there is touched."""
    op.add_column("run", sa.Column("shared", sa.Integer(), server_default="0", nullable=False))
    op.add_column("run", sa.Column("allowance", sa.Integer(), nullable=True))
    op.add_column("run", sa.Column("program", sa.Text(), server_default="", nullable=False))
    op.add_column("run", sa.Column("setup", sa.Text(), server_default="", nullable=False))
    make_job_tables(op.get_bind())


def downgrade() -> None:
    """Going back is done with a backup."""
    raise NotImplementedError
