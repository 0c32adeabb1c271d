"""Runs, their batches and all that is known of them; when they are due."""

from __future__ import annotations

import sqlalchemy as sa

from newsletter.store.tables.metadata import Id, Moment, metadata

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
