"""The schedule: what became of slots, what operators want left out, approvals, alerts told, and windows of runs."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; nothing that was there is touched."""
    _approvals()
    _windows()
    _slots()
    _notices()


def downgrade() -> None:
    """Going back is done with a backup."""
    raise NotImplementedError


def _approvals() -> None:
    op.create_table(
        "approval",
        _text("newsletter"),
        _text("slot"),
        _text("content_hash"),
        _optional_text("approved_by"),
        _number("at"),
        sa.PrimaryKeyConstraint("newsletter", "slot", name="pk_approval"),
    )


def _windows() -> None:
    op.create_table(
        "run_window",
        _number("run_id"),
        _small("number"),
        _small("first_batch"),
        _small("last_batch"),
        _number("opens_at"),
        _number("deadline"),
        sa.PrimaryKeyConstraint("run_id", "number", name="pk_run_window"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_run_window_run_id"),
    )


def _slots() -> None:
    op.create_table(
        "schedule_slot",
        _text("newsletter"),
        _text("slot"),
        _number("at"),
        _text("state"),
        _optional_text("reason"),
        _number("changed_at"),
        sa.PrimaryKeyConstraint("newsletter", "slot", name="pk_schedule_slot"),
    )
    op.create_index("ix_schedule_slot_state", "schedule_slot", ["state"])
    op.create_table(
        "schedule_mark",
        _text("newsletter"),
        _number("until"),
        sa.PrimaryKeyConstraint("newsletter", name="pk_schedule_mark"),
    )
    op.create_table(
        "schedule_skip",
        _text("newsletter"),
        _text("date"),
        _text("edition"),
        _optional_text("reason"),
        _number("at"),
        sa.PrimaryKeyConstraint("newsletter", "date", "edition", name="pk_schedule_skip"),
    )


def _notices() -> None:
    op.create_table(
        "notice",
        _text("key"),
        _number("at"),
        sa.PrimaryKeyConstraint("key", name="pk_notice"),
    )


def _number(name: str) -> sa.Column[Any]:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, big, autoincrement=False, nullable=False)


def _small(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), autoincrement=False, nullable=False)


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=False)


def _optional_text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), server_default="", nullable=False)
