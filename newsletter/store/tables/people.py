"""People, the lists they are on, what they said, and why some must not be mailed.

What people said (`consent`) and why they must not be mailed (`suppression`, `suppression_lift`) is append-only: no
statement of this program updates or deletes a row there, except that `erase` takes a person's rows away and leaves a
suppression with a keyed hash.
"""

from __future__ import annotations

import sqlalchemy as sa

from newsletter.store.tables.metadata import Id, Moment, metadata

subscriber = sa.Table(
    "subscriber",
    metadata,
    # never given twice, also not after a deletion: links and Message-IDs are made from it
    sa.Column("id", Id, sa.Identity(always=False), primary_key=True),
    sa.Column("key", sa.Text, nullable=False, unique=True),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False, server_default=""),
    sa.Column("language", sa.Text, nullable=False, server_default=""),
    sa.Column("timezone", sa.Text, nullable=False, server_default=""),
    # a JSON object of texts, keys sorted, or '' for none
    sa.Column("attributes", sa.Text, nullable=False, server_default=""),
    # tags, sorted, each between spaces: ' press vip ', or '' for none
    sa.Column("tags", sa.Text, nullable=False, server_default=""),
    sa.Column("created_at", Moment, nullable=False),
    # no mail before then, by their own wish
    sa.Column("paused_until", Moment, nullable=True),
    # 1: they consented to opens being measured (tracking_consent has the records)
    sa.Column("measures_opens", sa.SmallInteger, nullable=False, server_default="0"),
    sqlite_autoincrement=True,
)
# few pause: they are found without a look at everybody else
_paused = subscriber.c.paused_until.is_not(None)
sa.Index("ix_subscriber_paused_until", subscriber.c.paused_until, postgresql_where=_paused, sqlite_where=_paused)

mailing_list = sa.Table(
    "mailing_list",
    metadata,
    sa.Column("id", Id, sa.Identity(always=False), primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
)

membership = sa.Table(
    "membership",
    metadata,
    sa.Column("list_id", Id, sa.ForeignKey("mailing_list.id"), primary_key=True),
    sa.Column("subscriber_id", Id, sa.ForeignKey("subscriber.id"), primary_key=True),
    # ConsentState: pending, subscribed, unsubscribed
    sa.Column("state", sa.Text, nullable=False),
    # when the state began
    sa.Column("since", Moment, nullable=False),
    sa.Index("ix_membership_subscriber_id", "subscriber_id"),
    sqlite_with_rowid=False,
)

consent = sa.Table(
    "consent",
    metadata,
    sa.Column("id", Id, sa.Identity(always=False), primary_key=True),
    sa.Column("subscriber_id", Id, sa.ForeignKey("subscriber.id"), nullable=False, index=True),
    sa.Column("list_id", Id, sa.ForeignKey("mailing_list.id"), nullable=False),
    # when they said so, where, in what words, from which address (where it was kept)
    sa.Column("at", Moment, nullable=False),
    sa.Column("source", sa.Text, nullable=False, server_default=""),
    sa.Column("wording", sa.Text, nullable=False, server_default=""),
    sa.Column("ip", sa.Text, nullable=False, server_default=""),
    sa.Column("recorded_at", Moment, nullable=False),
)

suppression = sa.Table(
    "suppression",
    metadata,
    sa.Column("id", Id, sa.Identity(always=False), primary_key=True),
    # the address key; or, of an erased person, `hmac:` and a keyed hash of it
    sa.Column("key", sa.Text, nullable=False, index=True),
    # SuppressionReason
    sa.Column("reason", sa.Text, nullable=False),
    # the list it holds for; NULL: all
    sa.Column("list_id", Id, sa.ForeignKey("mailing_list.id"), nullable=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("source", sa.Text, nullable=False, server_default=""),
    sa.Column("note", sa.Text, nullable=False, server_default=""),
)

suppression_lift = sa.Table(
    "suppression_lift",
    metadata,
    sa.Column("id", Id, sa.Identity(always=False), primary_key=True),
    sa.Column("suppression_id", Id, sa.ForeignKey("suppression.id"), nullable=False, index=True),
    # NULL: it ends the suppression. Else it is one for all lists, and stands for all but the lists of its lifts
    sa.Column("list_id", Id, sa.ForeignKey("mailing_list.id"), nullable=True),
    sa.Column("at", Moment, nullable=False),
    # confirmation (the person's own), or operator
    sa.Column("by", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False, server_default=""),
)

setting = sa.Table(
    "setting",
    metadata,
    # what belongs to the database and must travel with it; a row is written once and never changed: erasure_key
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
