"""A selection as SQL: who is meant, and who of them may be mailed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
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


class _Unindexed(FunctionElement[Any]):
    """A column of which SQLite uses no index here: without statistics it would begin a join with the largest table."""

    inherit_cache = True


@compiles(_Unindexed)
def _unindexed(element: _Unindexed, compiler: Any, **options: Any) -> str:
    return f"+{compiler.process(element.clauses, **options)}"


@compiles(_Unindexed, "postgresql")
def _unindexed_on_postgresql(element: _Unindexed, compiler: Any, **options: Any) -> str:
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
        .join(subscriber, subscriber.c.key == _Unindexed(suppression.c.key))
        .join(membership, membership.c.subscriber_id == _Unindexed(subscriber.c.id))
        .where(
            in_scope(suppression, membership.c.list_id),
            ~lifted(suppression, membership.c.list_id),
            membership.c.state != ConsentState.UNSUBSCRIBED,
        )
        .group_by(membership.c.list_id, membership.c.subscriber_id, membership.c.state)
    )
    if lists is not None:
        kept = kept.where(_Unindexed(membership.c.list_id).in_(lists))
    return kept.subquery("kept_out")


def standing_members(dialect: str, selection: Selection) -> sa.Select[*tuple[Any, ...]]:
    """(what a `Member` has, and standing) of those of the people `ids` who are selected; a row for each of their lists.

    The law of `standings.everyone`, but asked of some hundred people who are named, on each claim: nothing is read but
    their own rows, however many others there are. For `read_standings`.
    """
    standing = sa.case(
        (membership.c.state == ConsentState.UNSUBSCRIBED, SUPPRESSED),
        (standing_suppression(subscriber.c.key, membership.c.list_id), SUPPRESSED),
        (membership.c.state != ConsentState.SUBSCRIBED, PENDING),
        (subscriber.c.paused_until > sa.bindparam("now", type_=sa.BigInteger), PAUSED),
        else_=ELIGIBLE,
    )
    named = sa.select(mailing_list.c.id).where(mailing_list.c.name.in_(selection.lists))
    person = (subscriber.c.id, subscriber.c.key, subscriber.c.address, subscriber.c.name, subscriber.c.language)
    columns = (*person, subscriber.c.timezone, subscriber.c.attributes, subscriber.c.measures_opens, standing)
    if dialect == "sqlite":
        # As one value: with each row that Python's driver fetches it may lose the interpreter to the threads that send.
        chosen = sa.select(sa.func.json_group_array(sa.func.json_array(*columns)))
    else:
        chosen = sa.select(*columns)
    return (
        chosen.select_from(membership)
        .join(subscriber, subscriber.c.id == membership.c.subscriber_id)
        .where(
            _one_of(dialect, membership.c.subscriber_id),
            _Unindexed(membership.c.list_id).in_(named),
            *fits(selection),
        )
    )


def read_standings(
    connection: sa.Connection, statement: sa.Select[*tuple[Any, ...]], ids: Sequence[int], now: int
) -> Iterable[Sequence[Any]]:
    """The rows of `standing_members` at `now`, in seconds. The ids are one value, so that the statement is the same for
    any number of people."""
    if connection.dialect.name == "postgresql":
        return connection.execute(statement, {"ids": list(ids), "now": now}).all()
    found: list[Sequence[Any]] = json.loads(
        connection.scalar(statement, {"ids": f"[{','.join(map(str, ids))}]", "now": now})
    )
    return found


def _one_of(dialect: str, column: sa.Column[int]) -> sa.ColumnElement[bool]:
    if dialect == "postgresql":
        return column == sa.any_(sa.bindparam("ids", type_=sa.ARRAY(sa.BigInteger)))
    return column.in_(sa.select(sa.func.json_each(sa.bindparam("ids")).table_valued("value").c.value))
