"""A selection as SQL: who is meant, and who of them may be mailed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from newsletter.audience.model import ConsentState
from newsletter.audience.people import Selection
from newsletter.store.person_rows import packed_tags
from newsletter.store.suppressions import in_scope, lifted, standing_suppression
from newsletter.store.tables import mailing_list, membership, subscriber, suppression

#: The standings of a person on the selected lists; of several lists' the largest counts. Who pauses would be eligible.
PENDING, SUPPRESSED, ELIGIBLE, PAUSED = 1, 2, 3, 4


class _Position(FunctionElement[int]):
    """Where the second text begins within the first, counted from 1, by exact characters; 0 where it does not."""

    type = sa.Integer()
    inherit_cache = True


class _AttributeValue(FunctionElement[str]):
    """The value of the attribute named by the second argument in the column that is the first; else NULL."""

    type = sa.Text()
    inherit_cache = True


class Unindexed(FunctionElement[Any]):
    """A column of which SQLite uses no index here: without statistics it would begin a join with the largest table."""

    inherit_cache = True


@compiles(Unindexed)
def _unindexed(element: Unindexed, compiler: Any, **options: Any) -> str:
    return f"+{compiler.process(element.clauses, **options)}"


@compiles(Unindexed, "postgresql")
def _unindexed_on_postgresql(element: Unindexed, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@compiles(_Position)
def _position(element: _Position, compiler: Any, **options: Any) -> str:
    return f"instr({compiler.process(element.clauses, **options)})"


@compiles(_Position, "postgresql")
def _position_on_postgresql(element: _Position, compiler: Any, **options: Any) -> str:
    return f"strpos({compiler.process(element.clauses, **options)})"


@compiles(_AttributeValue)
def _attribute_value(element: _AttributeValue, compiler: Any, **options: Any) -> str:
    column, name = (compiler.process(one, **options) for one in element.clauses)
    # not json_extract: in a path a name would need quoting
    return f"(SELECT value FROM json_each(nullif({column}, '')) WHERE key = {name})"  # noqa: S608 - what is put in are bound parameters


@compiles(_AttributeValue, "postgresql")
def _attribute_value_on_postgresql(element: _AttributeValue, compiler: Any, **options: Any) -> str:
    column, name = (compiler.process(one, **options) for one in element.clauses)
    return f"(nullif({column}, '')::json ->> CAST({name} AS text))"


def list_ids(connection: sa.Connection, selection: Selection) -> Sequence[int]:
    """The numbers of the selected lists; a list that nobody was ever on has none."""
    wanted = sa.select(mailing_list.c.id).where(mailing_list.c.name.in_(selection.lists))
    return connection.scalars(wanted.order_by(mailing_list.c.id)).all()


def fits(selection: Selection) -> list[sa.ColumnElement[bool]]:
    """The conditions of tags and attributes on a row of `subscriber`."""
    tags, attributes = subscriber.c.tags, subscriber.c.attributes
    return [
        *(_Position(tags, sa.literal(packed_tags([tag]))) > 0 for tag in selection.with_tags),
        *(_Position(tags, sa.literal(packed_tags([tag]))) == 0 for tag in selection.without_tags),
        *(
            _AttributeValue(attributes, sa.literal(name)) == sa.literal(value)
            for name, value in selection.attributes.items()
        ),
    ]


def kept_out(lists: Sequence[int] | None = None) -> sa.Subquery:
    """(list_id, subscriber_id, state, first) of everyone whom a suppression keeps from one of these lists (None: from
    any) without their having left it; `first` is when the oldest of them began.

    The condition is `standing_suppression`, but from the suppressions to the people: those are far fewer, and a
    million questions whether there is one would take PostgreSQL three seconds.
    """
    kept = (
        sa.select(
            membership.c.list_id,
            membership.c.subscriber_id,
            membership.c.state,
            sa.func.min(suppression.c.at).label("first"),
        )
        .select_from(suppression)
        .join(subscriber, subscriber.c.key == Unindexed(suppression.c.key))
        .join(membership, membership.c.subscriber_id == Unindexed(subscriber.c.id))
        .where(
            in_scope(suppression, membership.c.list_id),
            ~lifted(suppression, membership.c.list_id),
            membership.c.state != ConsentState.UNSUBSCRIBED,
        )
        .group_by(membership.c.list_id, membership.c.subscriber_id, membership.c.state)
    )
    if lists is not None:
        kept = kept.where(Unindexed(membership.c.list_id).in_(lists))
    return kept.subquery("kept_out")


def standing() -> sa.ColumnElement[int]:
    """The standing of a row of `membership` joined with `subscriber`, at `now` (a parameter, in seconds)."""
    return sa.case(
        (membership.c.state == ConsentState.UNSUBSCRIBED, SUPPRESSED),
        (standing_suppression(subscriber.c.key, membership.c.list_id), SUPPRESSED),
        (membership.c.state != ConsentState.SUBSCRIBED, PENDING),
        (subscriber.c.paused_until > sa.bindparam("now", type_=sa.BigInteger), PAUSED),
        else_=ELIGIBLE,
    )
