"""Delivery: runs with their states, batches, attempts, senders, and words on single deliveries.

The tables of runs are made anew: before this step nothing could be sent, so there is nothing in them to keep.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the tables of runs away, and make them and those of delivery, those first that others refer to."""
    for name in ("batch", "run_exclusion", "run"):
        op.drop_table(name)
    _senders()
    _runs()
    _batches()
    _attempts()
    _tests()


def downgrade() -> None:
    """Going back is done with a backup."""
    raise NotImplementedError


def _senders() -> None:
    op.create_table(
        "sender",
        _id(),
        _text("host"),
        sa.Column("pid", sa.Integer(), nullable=False),
        _number("started_at"),
        _number("lease_until"),
        _number("ended_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_sender"),
    )


def _runs() -> None:
    op.create_table(
        "run",
        _id(),
        _text("uid"),
        _text("newsletter"),
        _text("issue_date"),
        _optional_text("edition"),
        _text("state"),
        _optional_text("reason"),
        _optional_text("content_hash"),
        _optional_text("subject"),
        _optional_text("provider"),
        sa.Column("batch_size", sa.Integer(), nullable=False),
        _text("selection"),
        sa.Column("planned", sa.Integer(), nullable=False),
        _number("created_at"),
        _number("deadline"),
        _number("started_at", nullable=True),
        _number("ended_at", nullable=True),
        _number("sender_id", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_run"),
        sa.UniqueConstraint("uid", name="uq_run_uid"),
        sa.UniqueConstraint("newsletter", "issue_date", "edition", name="uq_run_newsletter_issue_date_edition"),
        sa.ForeignKeyConstraint(["sender_id"], ["sender.id"], name="fk_run_sender_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "run_exclusion",
        _number("run_id"),
        _text("reason"),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "reason", name="pk_run_exclusion"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_run_exclusion_run_id"),
    )


def _batches() -> None:
    op.create_table(
        "batch",
        _number("run_id"),
        _small("number"),
        sa.Column("members", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        _number("first_id"),
        _number("last_id"),
        sa.Column("states", sa.LargeBinary(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("claims", sa.Integer(), nullable=False),
        _number("first_at", nullable=True),
        sa.Column("call_size", sa.Integer(), nullable=True),
        _number("due_at", nullable=True),
        _number("sender_id", nullable=True),
        sa.PrimaryKeyConstraint("run_id", "number", name="pk_batch"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_batch_run_id"),
        sa.ForeignKeyConstraint(["sender_id"], ["sender.id"], name="fk_batch_sender_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_batch_run_id_due_at_number", "batch", ["run_id", "due_at", "number"])
    op.create_index("ix_batch_run_id_first_id", "batch", ["run_id", "first_id"])


def _attempts() -> None:
    op.create_table(
        "attempt",
        _number("run_id"),
        _small("batch"),
        _small("number"),
        _number("sender_id"),
        _number("at"),
        sa.Column("members", sa.LargeBinary(), nullable=False),
        _number("ended_at", nullable=True),
        _optional_text("reference"),
        _optional_text("reason"),
        sa.PrimaryKeyConstraint("run_id", "batch", "number", name="pk_attempt"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_attempt_run_id"),
        sa.ForeignKeyConstraint(["sender_id"], ["sender.id"], name="fk_attempt_sender_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "delivery_note",
        _number("run_id"),
        _number("subscriber_id"),
        _optional_text("code"),
        _optional_text("reason"),
        _number("at"),
        sa.PrimaryKeyConstraint("run_id", "subscriber_id", name="pk_delivery_note"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_delivery_note_run_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_delivery_note_subscriber_id", "delivery_note", ["subscriber_id"])


def _tests() -> None:
    op.create_table(
        "test_send",
        _id(),
        _text("newsletter"),
        _text("slot"),
        _text("content_hash"),
        _text("addresses"),
        _number("at"),
        sa.PrimaryKeyConstraint("id", name="pk_test_send"),
    )
    op.create_index("ix_test_send_newsletter_slot", "test_send", ["newsletter", "slot"])


def _id() -> sa.Column[Any]:
    return sa.Column("id", _big(), sa.Identity(always=False), nullable=False)


def _number(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, _big(), autoincrement=False, nullable=nullable)


def _small(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), autoincrement=False, nullable=False)


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=False)


def _optional_text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), server_default="", nullable=False)
