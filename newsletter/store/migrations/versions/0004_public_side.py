"""The public side: requests to subscribe, preferences, the archive, tracking, events that come back, API tokens."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, and two columns of `subscriber`; nothing that was there is touched."""
    _preferences()
    _signups()
    _archive()
    _tracking()
    _events()
    _tokens()


def downgrade() -> None:
    """Going back is done with a backup."""
    raise NotImplementedError


def _preferences() -> None:
    op.add_column("subscriber", _number("paused_until", nullable=True))
    op.add_column("subscriber", sa.Column("measures_opens", sa.SmallInteger(), server_default="0", nullable=False))
    paused = sa.text("paused_until IS NOT NULL")
    op.create_index(
        "ix_subscriber_paused_until", "subscriber", ["paused_until"], postgresql_where=paused, sqlite_where=paused
    )
    op.create_table(
        "tracking_consent",
        _id(),
        _number("subscriber_id"),
        sa.Column("given", sa.SmallInteger(), nullable=False),
        _number("at"),
        _optional_text("wording"),
        _optional_text("ip"),
        sa.PrimaryKeyConstraint("id", name="pk_tracking_consent"),
        sa.ForeignKeyConstraint(["subscriber_id"], ["subscriber.id"], name="fk_tracking_consent_subscriber_id"),
    )
    op.create_index("ix_tracking_consent_subscriber_id", "tracking_consent", ["subscriber_id"])


def _signups() -> None:
    op.create_table(
        "signup",
        _id(),
        _text("newsletter"),
        _text("list"),
        _text("key"),
        _text("mailbox"),
        _text("address"),
        *(_optional_text(name) for name in ("name", "language", "timezone", "source", "wording", "ip")),
        _number("asked_at"),
        _number("expires_at"),
        *(_number(name, nullable=True) for name in ("due_at", "mailed_at", "confirmed_at")),
        sa.PrimaryKeyConstraint("id", name="pk_signup"),
        sa.UniqueConstraint("key", "newsletter", name="uq_signup_key_newsletter"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_signup_due_at", "signup", ["due_at"])
    op.create_index("ix_signup_mailbox", "signup", ["mailbox"])
    op.create_table(
        "signup_count",
        _number("hour"),
        _text("scope"),
        sa.Column("bucket", sa.LargeBinary(), nullable=False),
        _small("count"),
        sa.PrimaryKeyConstraint("hour", "scope", "bucket", name="pk_signup_count"),
        sqlite_with_rowid=False,
    )


def _archive() -> None:
    columns = ("issue_date", "title", "subject", "preheader", "html", "text", "content_hash", "image_origins")
    op.create_table(
        "published_issue",
        _text("newsletter"),
        _text("slot"),
        *(_text(name) for name in columns),
        sa.PrimaryKeyConstraint("newsletter", "slot", name="pk_published_issue"),
    )


def _tracking() -> None:
    op.create_table(
        "issue_link",
        _text("newsletter"),
        _text("slot"),
        _small("number"),
        _text("url"),
        sa.PrimaryKeyConstraint("newsletter", "slot", "number", name="pk_issue_link"),
    )
    op.create_table(
        "hit",
        _text("newsletter"),
        _text("slot"),
        _text("kind"),
        _small("number"),
        _text("verdict"),
        _small("count"),
        sa.PrimaryKeyConstraint("newsletter", "slot", "kind", "number", "verdict", name="pk_hit"),
    )
    op.create_table(
        "personal_hit",
        _id(),
        _text("newsletter"),
        _text("slot"),
        _text("kind"),
        _small("number"),
        _number("subscriber_id"),
        _text("verdict"),
        _number("at"),
        sa.PrimaryKeyConstraint("id", name="pk_personal_hit"),
    )
    op.create_index("ix_personal_hit_subscriber_id", "personal_hit", ["subscriber_id"])
    op.create_index("ix_personal_hit_at", "personal_hit", ["at"])


def _events() -> None:
    op.create_table(
        "event",
        _id(),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        _text("source"),
        _text("kind"),
        _number("at"),
        _number("received_at"),
        _optional_text("run"),
        _number("subscriber_id", nullable=True),
        *(_optional_text(name) for name in ("key", "code", "reason", "reference")),
        sa.PrimaryKeyConstraint("id", name="pk_event"),
        sa.UniqueConstraint("fingerprint", name="uq_event_fingerprint"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_event_received_at", "event", ["received_at"])
    op.create_index("ix_event_key", "event", ["key"])
    op.create_index("ix_event_subscriber_id_kind_at", "event", ["subscriber_id", "kind", "at"])
    op.create_table(
        "event_waiting",
        _number("event_id"),
        sa.PrimaryKeyConstraint("event_id", name="pk_event_waiting"),
    )


def _tokens() -> None:
    op.create_table(
        "api_token",
        _id(),
        _text("name"),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        _text("scopes"),
        _number("created_at"),
        _number("revoked_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_token"),
        sa.UniqueConstraint("digest", name="uq_api_token_digest"),
    )
    op.create_index("ix_api_token_name", "api_token", ["name"])


def _id() -> sa.Column[Any]:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column("id", big, sa.Identity(always=False), nullable=False)


def _number(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, big, autoincrement=False, nullable=nullable)


def _small(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer(), autoincrement=False, nullable=False)


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=False)


def _optional_text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), server_default="", nullable=False)
