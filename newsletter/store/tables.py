"""The tables, as SQLAlchemy Core sees them; the migrations make them, and a test holds the two together.

What people said (`consent`) and why they must not be mailed (`suppression`, `suppression_lift`) is append-only: no
statement of this program updates or deletes a row there, except that `erase` takes a person's rows away and leaves a
suppression with a keyed hash.
"""

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

sender = sa.Table(
    "sender",
    metadata,
    # a process that sends, or sent
    sa.Column("id", Id, sa.Identity(always=False), primary_key=True),
    # where it runs; two processes with the same text see the same file system
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("started_at", Moment, nullable=False),
    # on another host it counts as dead after this, unless it renews it
    sa.Column("lease_until", Moment, nullable=False),
    sa.Column("ended_at", Moment, nullable=True),
)

run = sa.Table(
    "run",
    metadata,
    sa.Column("id", Id, sa.Identity(always=False), primary_key=True),
    # names this run in the journal, where numbers of a restored database would be given again
    sa.Column("uid", sa.Text, nullable=False, unique=True),
    sa.Column("newsletter", sa.Text, nullable=False),
    # ISO date
    sa.Column("issue_date", sa.Text, nullable=False),
    sa.Column("edition", sa.Text, nullable=False, server_default=""),
    # RunState
    sa.Column("state", sa.Text, nullable=False),
    # why it is paused
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("content_hash", sa.Text, nullable=False, server_default=""),
    sa.Column("subject", sa.Text, nullable=False, server_default=""),
    sa.Column("provider", sa.Text, nullable=False, server_default=""),
    sa.Column("batch_size", sa.Integer, nullable=False),
    # a JSON object: the Selection whose members are frozen, and which a claim looks at again
    sa.Column("selection", sa.Text, nullable=False),
    sa.Column("planned", sa.Integer, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("deadline", Moment, nullable=False),
    sa.Column("started_at", Moment, nullable=True),
    sa.Column("ended_at", Moment, nullable=True),
    # the process that has it in hand
    sa.Column("sender_id", Id, sa.ForeignKey("sender.id"), nullable=True),
    # 1: workers send it, and each batch is in the hands of one of them; then no process has the run
    sa.Column("shared", sa.Integer, nullable=False, server_default="0"),
    # of a run that workers send: how many may be claimed yet; NULL: all
    sa.Column("allowance", sa.Integer, nullable=True),
    # by what it was planned, which a worker compares with itself: the program's version, a hash of its settings
    sa.Column("program", sa.Text, nullable=False, server_default=""),
    sa.Column("setup", sa.Text, nullable=False, server_default=""),
    # 1: it is over, and run_count has the sums of all its members
    sa.Column("summed", sa.Integer, nullable=False, server_default="0"),
    # the guard against sending twice
    sa.UniqueConstraint("newsletter", "issue_date", "edition"),
    # no number is given twice, also not after a run was withdrawn: who still has the old one must not send the new one
    sqlite_autoincrement=True,
)

run_exclusion = sa.Table(
    "run_exclusion",
    metadata,
    sa.Column("run_id", Id, sa.ForeignKey("run.id"), primary_key=True),
    # Exclusion
    sa.Column("reason", sa.Text, primary_key=True),
    sa.Column("count", sa.Integer, nullable=False),
)

run_count = sa.Table(
    "run_count",
    metadata,
    # of a run that is summed: how many of its members have each byte; of another: of those members whose batches were
    # taken away because their time was over
    sa.Column("run_id", Id, sa.ForeignKey("run.id"), primary_key=True),
    # of state and marks, see batch.states
    sa.Column("byte", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("count", sa.Integer, nullable=False),
)

run_tally = sa.Table(
    "run_tally",
    metadata,
    # what the calls of all workers of a run came to since it was taken up; see newsletter.delivery.breakers
    sa.Column("run_id", Id, sa.ForeignKey("run.id"), primary_key=True),
    sa.Column("unknown_in_a_row", sa.Integer, nullable=False),
    sa.Column("refused", sa.Integer, nullable=False),
    sa.Column("decided", sa.Integer, nullable=False),
)

pace = sa.Table(
    "pace",
    metadata,
    # how fast all workers together may use a provider's account; moments are seconds by the database's clock
    sa.Column("account", sa.Text, primary_key=True),
    # a recipient domain, '' for all together
    sa.Column("domain", sa.Text, primary_key=True),
    # how many messages may go at the moment `at`; less than 0: so many are promised already
    sa.Column("tokens", sa.Double, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    # no call before then; 0: never held
    sa.Column("held_until", sa.Double, nullable=False),
)

batch = sa.Table(
    "batch",
    metadata,
    sa.Column("run_id", Id, sa.ForeignKey("run.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    # subscriber ids in ascending order, packed by newsletter.store.packing; frozen
    sa.Column("members", sa.LargeBinary, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    # the smallest and the largest of them: one person's batch is found without unpacking all
    sa.Column("first_id", Id, nullable=False),
    sa.Column("last_id", Id, nullable=False),
    # one byte a member (newsletter.delivery.states), or one for all where they are alike
    sa.Column("states", sa.LargeBinary, nullable=False),
    # how many attempts were made, and when the first one began
    sa.Column("attempts", sa.Integer, nullable=False),
    # how many claims of its members were granted: the journal names each
    sa.Column("claims", sa.Integer, nullable=False),
    sa.Column("first_at", Moment, nullable=True),
    # how many a call over it may carry, after one was refused because of somebody in it; NULL: all
    sa.Column("call_size", sa.Integer, nullable=True),
    # when something in it may be claimed; NULL: a process has it, or nothing is left
    sa.Column("due_at", Moment, nullable=True),
    # the process that has it
    sa.Column("sender_id", Id, sa.ForeignKey("sender.id"), nullable=True),
    # not a partial index: SQLite does not use those here
    sa.Index("ix_batch_run_id_due_at_number", "run_id", "due_at", "number"),
    sa.Index("ix_batch_run_id_first_id", "run_id", "first_id"),
    sqlite_with_rowid=False,
)
# few are in hands: they are found without a look at all others
_in_hands = batch.c.sender_id.is_not(None)
sa.Index(
    "ix_batch_run_id_sender_id",
    batch.c.run_id,
    batch.c.sender_id,
    postgresql_where=_in_hands,
    sqlite_where=_in_hands,
)

attempt = sa.Table(
    "attempt",
    metadata,
    # only ever added to, and closed once
    sa.Column("run_id", Id, sa.ForeignKey("run.id"), primary_key=True),
    sa.Column("batch", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sender_id", Id, sa.ForeignKey("sender.id"), nullable=False),
    sa.Column("at", Moment, nullable=False),
    # which of the batch's members, a bit each from the lowest of the first byte; empty: all
    sa.Column("members", sa.LargeBinary, nullable=False),
    sa.Column("ended_at", Moment, nullable=True),
    # the provider's own id of the call; of several calls all of them, a space between
    sa.Column("reference", sa.Text, nullable=False, server_default=""),
    # words that hold for all of its members who have none of their own
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sqlite_with_rowid=False,
)

delivery_note = sa.Table(
    "delivery_note",
    metadata,
    # words on a delivery, for those few that need any: refused, busy, unknown, settled by an operator
    sa.Column("run_id", Id, sa.ForeignKey("run.id"), primary_key=True),
    sa.Column("subscriber_id", Id, primary_key=True, autoincrement=False),
    sa.Column("code", sa.Text, nullable=False, server_default=""),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("at", Moment, nullable=False),
    sa.Index("ix_delivery_note_subscriber_id", "subscriber_id"),
    sqlite_with_rowid=False,
)

test_send = sa.Table(
    "test_send",
    metadata,
    sa.Column("id", Id, sa.Identity(always=False), primary_key=True),
    sa.Column("newsletter", sa.Text, nullable=False),
    # date, and edition where there is one
    sa.Column("slot", sa.Text, nullable=False),
    sa.Column("content_hash", sa.Text, nullable=False),
    # a JSON array
    sa.Column("addresses", sa.Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Index("ix_test_send_newsletter_slot", "newsletter", "slot"),
)

approval = sa.Table(
    "approval",
    metadata,
    sa.Column("newsletter", sa.Text, primary_key=True),
    # date, and edition where there is one
    sa.Column("slot", sa.Text, primary_key=True),
    sa.Column("content_hash", sa.Text, nullable=False),
    sa.Column("approved_by", sa.Text, nullable=False, server_default=""),
    sa.Column("at", Moment, nullable=False),
)

run_window = sa.Table(
    "run_window",
    metadata,
    # of a run whose recipients get it at their own local time: one row for each moment, none for other runs
    sa.Column("run_id", Id, sa.ForeignKey("run.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    # its batches, whose members' numbers ascend within a window and not beyond
    sa.Column("first_batch", sa.Integer, nullable=False),
    sa.Column("last_batch", sa.Integer, nullable=False),
    sa.Column("opens_at", Moment, nullable=False),
    sa.Column("deadline", Moment, nullable=False),
)

schedule_slot = sa.Table(
    "schedule_slot",
    metadata,
    sa.Column("newsletter", sa.Text, primary_key=True),
    # date, and edition where there is one
    sa.Column("slot", sa.Text, primary_key=True),
    sa.Column("at", Moment, nullable=False),
    # SlotState
    sa.Column("state", sa.Text, nullable=False),
    # why it was missed or skipped
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("changed_at", Moment, nullable=False),
    sa.Index("ix_schedule_slot_state", "state"),
)

schedule_mark = sa.Table(
    "schedule_mark",
    metadata,
    sa.Column("newsletter", sa.Text, primary_key=True),
    # every slot up to here was dealt with; never goes back, whatever the clock does
    sa.Column("until", Moment, nullable=False),
)

schedule_skip = sa.Table(
    "schedule_skip",
    metadata,
    sa.Column("newsletter", sa.Text, primary_key=True),
    # ISO date
    sa.Column("date", sa.Text, primary_key=True),
    # "*": whatever the edition
    sa.Column("edition", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
    sa.Column("at", Moment, nullable=False),
)

notice = sa.Table(
    "notice",
    metadata,
    # the cause of an alert that was told
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("at", Moment, nullable=False),
)

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
