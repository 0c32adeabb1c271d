"""The public side: sign-ups, the archive, clicks and opens, what providers report; and tokens of the API."""

from __future__ import annotations

import sqlalchemy as sa

from newsletter.store.tables.metadata import Id, Moment, metadata

tracking_consent = sa.Table(
    "tracking_consent",
    metadata,
    # to opens being measured: given (1) or taken back (0), and in what words
    sa.Column("id", Id, sa.Identity(always=False), primary_key=True),
    sa.Column("subscriber_id", Id, sa.ForeignKey("subscriber.id"), nullable=False, index=True),
    sa.Column("given", sa.SmallInteger, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("wording", sa.Text, nullable=False, server_default=""),
    sa.Column("ip", sa.Text, nullable=False, server_default=""),
)

signup = sa.Table(
    "signup",
    metadata,
    # somebody asked for a newsletter on the web, and has to confirm it
    sa.Column("id", Id, sa.Identity(always=False), primary_key=True),
    sa.Column("newsletter", sa.Text, nullable=False),
    sa.Column("list", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    # where the mail arrives, whichever spelling of the address was typed
    sa.Column("mailbox", sa.Text, nullable=False, index=True),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False, server_default=""),
    sa.Column("language", sa.Text, nullable=False, server_default=""),
    sa.Column("timezone", sa.Text, nullable=False, server_default=""),
    sa.Column("source", sa.Text, nullable=False, server_default=""),
    sa.Column("wording", sa.Text, nullable=False, server_default=""),
    sa.Column("ip", sa.Text, nullable=False, server_default=""),
    sa.Column("asked_at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=False),
    # when its mail is to go out; NULL: it did, or is not to
    sa.Column("due_at", Moment, nullable=True, index=True),
    sa.Column("mailed_at", Moment, nullable=True),
    sa.Column("confirmed_at", Moment, nullable=True),
    sa.UniqueConstraint("key", "newsletter"),
    # a link of an old mail must not confirm another one's request
    sqlite_autoincrement=True,
)

signup_count = sa.Table(
    "signup_count",
    metadata,
    # requests in one hour: of an IP address, a domain, all. `bucket` is a keyed hash
    sa.Column("hour", Moment, primary_key=True, autoincrement=False),
    sa.Column("scope", sa.Text, primary_key=True),
    sa.Column("bucket", sa.LargeBinary, primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)

published_issue = sa.Table(
    "published_issue",
    metadata,
    sa.Column("newsletter", sa.Text, primary_key=True),
    # date, and edition where there is one
    sa.Column("slot", sa.Text, primary_key=True),
    # ISO date
    sa.Column("issue_date", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("preheader", sa.Text, nullable=False),
    sa.Column("html", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("content_hash", sa.Text, nullable=False),
    # a JSON array
    sa.Column("image_origins", sa.Text, nullable=False),
)

issue_link = sa.Table(
    "issue_link",
    metadata,
    # where the tracked links of an issue lead; a row never changes
    sa.Column("newsletter", sa.Text, primary_key=True),
    sa.Column("slot", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("url", sa.Text, nullable=False),
)

hit = sa.Table(
    "hit",
    metadata,
    # how often a tracked link (number from 1) or the image of opens (0) was requested
    sa.Column("newsletter", sa.Text, primary_key=True),
    sa.Column("slot", sa.Text, primary_key=True),
    # HitKind
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    # Verdict
    sa.Column("verdict", sa.Text, primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
)

personal_hit = sa.Table(
    "personal_hit",
    metadata,
    # who requested it; only where tracking is per person
    sa.Column("id", Id, sa.Identity(always=False), primary_key=True),
    sa.Column("newsletter", sa.Text, nullable=False),
    sa.Column("slot", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("subscriber_id", Id, nullable=False, index=True),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False, index=True),
)

event = sa.Table(
    "event",
    metadata,
    # what was told of mail that went out
    sa.Column("id", Id, sa.Identity(always=False), primary_key=True),
    # 16 bytes, the same whenever the same is told again
    sa.Column("fingerprint", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("source", sa.Text, nullable=False),
    # EventKind
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("received_at", Moment, nullable=False, index=True),
    # the run's name, or ''
    sa.Column("run", sa.Text, nullable=False, server_default=""),
    sa.Column("subscriber_id", Id, nullable=True),
    # the address key of somebody whose number is not known
    sa.Column("key", sa.Text, nullable=False, server_default="", index=True),
    sa.Column("code", sa.Text, nullable=False, server_default=""),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("reference", sa.Text, nullable=False, server_default=""),
    sa.Index("ix_event_subscriber_id_kind_at", "subscriber_id", "kind", "at"),
    # no number is given twice, also not after the latest rows went
    sqlite_autoincrement=True,
)

event_waiting = sa.Table(
    "event_waiting",
    metadata,
    # those that are not settled yet; not a column of `event`, so that finding them is quick whatever else is kept
    sa.Column("event_id", Id, primary_key=True, autoincrement=False),
)

api_token = sa.Table(
    "api_token",
    metadata,
    sa.Column("id", Id, sa.Identity(always=False), primary_key=True),
    sa.Column("name", sa.Text, nullable=False, index=True),
    # SHA-256
    sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
    # Scope, a space between
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("revoked_at", Moment, nullable=True),
)
