"""The audience, and the frozen members of runs."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables, those first that others refer to."""
    _people()
    _consents()
    _suppressions()
    _runs()


def downgrade() -> None:
    """Going back is done with a backup."""
    raise NotImplementedError


def _people() -> None:
    op.create_table(
        "mailing_list",
        _id(),
        _text("name"),
        sa.PrimaryKeyConstraint("id", name="pk_mailing_list"),
        sa.UniqueConstraint("name", name="uq_mailing_list_name"),
    )
    op.create_table(
        "subscriber",
        _id(),
        _text("key"),
        _text("address"),
        _optional_text("name"),
        _optional_text("language"),
        _optional_text("timezone"),
        _optional_text("attributes"),
        _optional_text("tags"),
        _number("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_subscriber"),
        sa.UniqueConstraint("key", name="uq_subscriber_key"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "membership",
        _number("list_id"),
        _number("subscriber_id"),
        _text("state"),
        _number("since"),
        sa.PrimaryKeyConstraint("list_id", "subscriber_id", name="pk_membership"),
        sa.ForeignKeyConstraint(["list_id"], ["mailing_list.id"], name="fk_membership_list_id"),
        sa.ForeignKeyConstraint(["subscriber_id"], ["subscriber.id"], name="fk_membership_subscriber_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_membership_subscriber_id", "membership", ["subscriber_id"])


def _consents() -> None:
    op.create_table(
        "consent",
        _id(),
        _number("subscriber_id"),
        _number("list_id"),
        _number("at"),
        _optional_text("source"),
        _optional_text("wording"),
        _optional_text("ip"),
        _number("recorded_at"),
        sa.PrimaryKeyConstraint("id", name="pk_consent"),
        sa.ForeignKeyConstraint(["subscriber_id"], ["subscriber.id"], name="fk_consent_subscriber_id"),
        sa.ForeignKeyConstraint(["list_id"], ["mailing_list.id"], name="fk_consent_list_id"),
    )
    op.create_index("ix_consent_subscriber_id", "consent", ["subscriber_id"])


def _suppressions() -> None:
    op.create_table(
        "suppression",
        _id(),
        _text("key"),
        _text("reason"),
        _number("list_id", nullable=True),
        _number("at"),
        _optional_text("source"),
        _optional_text("note"),
        sa.PrimaryKeyConstraint("id", name="pk_suppression"),
        sa.ForeignKeyConstraint(["list_id"], ["mailing_list.id"], name="fk_suppression_list_id"),
    )
    op.create_index("ix_suppression_key", "suppression", ["key"])
    op.create_table(
        "suppression_lift",
        _id(),
        _number("suppression_id"),
        _number("list_id", nullable=True),
        _number("at"),
        _text("by"),
        _optional_text("note"),
        sa.PrimaryKeyConstraint("id", name="pk_suppression_lift"),
        sa.ForeignKeyConstraint(["suppression_id"], ["suppression.id"], name="fk_suppression_lift_suppression_id"),
        sa.ForeignKeyConstraint(["list_id"], ["mailing_list.id"], name="fk_suppression_lift_list_id"),
    )
    op.create_index("ix_suppression_lift_suppression_id", "suppression_lift", ["suppression_id"])
    op.create_table("setting", _text("name"), _text("value"), sa.PrimaryKeyConstraint("name", name="pk_setting"))


def _runs() -> None:
    op.create_table(
        "run",
        _id(),
        _text("newsletter"),
        _text("issue_date"),
        _optional_text("edition"),
        _text("state"),
        _optional_text("content_hash"),
        sa.Column("planned", sa.Integer(), nullable=False),
        _number("created_at"),
        sa.PrimaryKeyConstraint("id", name="pk_run"),
        sa.UniqueConstraint("newsletter", "issue_date", "edition", name="uq_run_newsletter_issue_date_edition"),
    )
    op.create_table(
        "run_exclusion",
        _number("run_id"),
        _text("reason"),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "reason", name="pk_run_exclusion"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_run_exclusion_run_id"),
    )
    op.create_table(
        "batch",
        _number("run_id"),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("members", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "number", name="pk_batch"),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="fk_batch_run_id"),
    )


def _id() -> sa.Column[Any]:
    return sa.Column("id", _big(), sa.Identity(always=False), nullable=False)


def _number(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, _big(), autoincrement=False, nullable=nullable)


def _big() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=False)


def _optional_text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), server_default="", nullable=False)
