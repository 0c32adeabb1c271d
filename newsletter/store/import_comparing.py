"""The staged rows beside what is kept: who is known, who is suppressed, which consents are new.

`compared` is sorted by key, so everything that follows meets the tables in the order of their indexes.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import sqlalchemy as sa

from newsletter.audience.model import ConsentState
from newsletter.store.import_packing import Claim, Staged
from newsletter.store.import_staging import new_temporary, staged, staged_list, temporary
from newsletter.store.suppressions import left_since, standing_suppression
from newsletter.store.tables import Id, consent, membership, subscriber, suppression

#: Yes is 1, no is 0: the databases have no truth values in common.
_Flag = sa.SmallInteger

#: Keys that stand in more than one row; most files have few or none.
_several = temporary("several", sa.Column("key", sa.Text, primary_key=True))

#: What is kept about a person, of what a row says; see `merged`.
KEPT = ("name", "language", "timezone", "tags", "attributes")
_CONSENT = ("consent_at", "consent_source", "consent_wording", "consent_ip")
_COPIED = ("n", "key", "address", *KEPT, *_CONSENT, "claim")
_APART = ("left_reason", "erased", "erased_left")

compared = temporary(
    "compared",
    *(sa.Column(name, staged.c[name].type) for name in _COPIED),
    sa.Column("list_id", Id, nullable=False),
    # the row says that they left
    sa.Column("leaves", _Flag, nullable=False),
    # the address stands in several rows
    sa.Column("several", _Flag, nullable=False),
    # an earlier row names the same address for the same list (never where the row says that they left)
    sa.Column("repeated", _Flag, nullable=False, server_default="0"),
    # who they are in the database, and their state on the list; NULL: nobody, and not on it
    sa.Column("subscriber_id", Id),
    sa.Column("was", sa.Text),
    # the consent of the row is not recorded yet
    sa.Column("fresh", _Flag, nullable=False),
    # Barred
    sa.Column("barred", _Flag, nullable=False),
    # there is a consent, or an operator's word for one
    sa.Column("agreed", _Flag, nullable=False),
)


class Barred(IntEnum):
    """Why a row changes nothing."""

    #: It may change something.
    NO = 0
    #: Suppressed or erased, perhaps by this very row.
    HELD = 1
    #: They left once, which was lifted, and the row has no consent since.
    UNASKED = 2
    #: The row says that they left, and they have come back since.
    OUTDATED = 3


def compare(connection: sa.Connection, done: Staged) -> None:
    """Fills `compared` with the rows of `staged` that may change something."""
    new_temporary(connection, compared, _several)
    # few rows are in it, and they are looked for again and again
    connection.exec_driver_sql("CREATE INDEX compared_several ON compared (key, list_id) WHERE several = 1")
    keys = sa.select(staged.c.key).group_by(staged.c.key).having(sa.func.count() > 1)
    connection.execute(sa.insert(_several).from_select(["key"], keys))
    postgresql = connection.dialect.name == "postgresql"
    rows = _rows(connection, done)
    names = [column.name for column in compared.columns if column.name != "repeated"]
    connection.execute(sa.insert(compared).from_select(names, _comparison(rows, done)))
    if postgresql:
        # tables of one's own are never analysed by themselves, and without it every join is a guess
        connection.exec_driver_sql('ANALYZE "compared"')
    _find_repeated(connection)
    _share_consent(connection)


def in_several_rows(row: sa.FromClause) -> sa.ColumnElement[bool]:
    """The condition that the address of this compared row stands in several; in the words of the index for them."""
    return row.c.several == sa.literal_column("1")


def _find_repeated(connection: sa.Connection) -> None:
    """Rows that say that somebody left are not among them: they are no rows for a list."""
    one = compared.alias()
    nth = sa.func.row_number().over(partition_by=[one.c.key, one.c.list_id], order_by=one.c.n)
    rows = sa.select(one.c.n, one.c.list_id, nth.label("nth")).where(in_several_rows(one), one.c.leaves == 0).subquery()
    further = sa.select(rows.c.n, rows.c.list_id).where(rows.c.nth > 1)
    theirs = sa.tuple_(compared.c.n, compared.c.list_id).in_(further)
    connection.execute(sa.update(compared).where(in_several_rows(compared), theirs).values(repeated=1))


def _flag(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.case((condition, 1), else_=0)


def _comparison(row: sa.Subquery, done: Staged) -> sa.Select[Any]:
    is_several = sa.exists().where(_several.c.key == row.c.key)
    fresh = sa.and_(row.c.consent_at.is_not(None), sa.not_(is_recorded(row)))
    rows = sa.select(
        *(row.c[name] for name in (*_COPIED, "list_id")),
        _flag(row.c.left_reason != "") if done.apart else sa.literal(0),
        _flag(is_several),
        subscriber.c.id,
        membership.c.state,
        _flag(fresh),
        _barred(row, apart=done.apart),
        _flag(sa.or_(row.c.consent_at.is_not(None), row.c.claim > 0)),
    ).select_from(
        row.outerjoin(subscriber, subscriber.c.key == row.c.key).outerjoin(
            membership,
            sa.and_(membership.c.list_id == row.c.list_id, membership.c.subscriber_id == subscriber.c.id),
        )
    )
    if done.several_lists:
        return rows  # what counts is what becomes of all lists of a row
    # the others are on the list as the file has them: nothing that follows looks at them
    return rows.where(
        sa.or_(
            subscriber.c.id.is_(None),
            membership.c.state.is_(None),
            membership.c.state != ConsentState.SUBSCRIBED,
            says_more(row),
            is_several,
            fresh,
            _was_suppressed(row),
            *([row.c.left_reason != "", row.c.erased_left.is_not(None)] if done.apart else []),
        )
    )


def _barred(row: sa.Subquery, *, apart: bool) -> sa.ColumnElement[int]:
    """`Barred` of a row. Where nothing is `apart` (Staged), no row says that somebody left, and nobody was erased."""
    # a consent from before they left says nothing about now, and no claim but `reconsent` is made of now
    said = sa.func.coalesce(row.c.consent_at, -1)
    nothing = sa.not_(_was_suppressed(row))
    held = standing_suppression(row.c.key, row.c.list_id)
    left = left_since(row.c.key, row.c.list_id, said)
    if apart:
        nothing = sa.and_(row.c.left_reason == "", row.c.erased_left.is_(None), nothing)
        held = sa.or_(row.c.erased == 1, held)
        left = sa.or_(sa.func.coalesce(row.c.erased_left, -1) > said, left)
    subscribed = sa.func.coalesce(membership.c.state, "") == ConsentState.SUBSCRIBED
    return sa.case(
        (nothing, Barred.NO.value),  # most rows: one look settles it
        (held, Barred.HELD.value),
        *([(row.c.left_reason != "", Barred.OUTDATED.value)] if apart else []),
        (sa.and_(row.c.claim != Claim.RECONSENT, sa.not_(subscribed), left), Barred.UNASKED.value),
        else_=Barred.NO.value,
    )


def says_more(row: sa.FromClause) -> sa.ColumnElement[bool]:
    """The condition that this row says something of this subscriber that is not kept."""
    return sa.or_(*(sa.and_(row.c[name] != "", row.c[name] != subscriber.c[name]) for name in KEPT))


def _was_suppressed(row: sa.FromClause) -> sa.ColumnElement[bool]:
    """The condition that there is any suppression of the address, be it lifted or not."""
    return sa.exists().where(suppression.c.key == row.c.key)


def is_recorded(row: sa.FromClause) -> sa.ColumnElement[bool]:
    """The condition that the consent of this row is kept of this subscriber."""
    return sa.exists().where(
        consent.c.subscriber_id == subscriber.c.id,
        consent.c.list_id == row.c.list_id,
        consent.c.at == row.c.consent_at,
        consent.c.source == row.c.consent_source,
        consent.c.wording == row.c.consent_wording,
        consent.c.ip == row.c.consent_ip,
    )


def _rows(connection: sa.Connection, done: Staged) -> sa.Subquery:
    """The staged rows by key, so that the indexes they are looked up in are read from one end to the other.

    Only columns in which anything is said are sorted.
    """
    wanted = (*_COPIED, *_APART)
    said = [staged.c[name] for name in wanted if name in done.columns or (done.apart and name in _APART)]
    rows = sa.select(*said, staged_list.c.list_id).join_from(
        staged, staged_list, staged_list.c.list_ref == staged.c.list_ref
    )
    if connection.dialect.name == "postgresql":
        # by default it would sort by the rules of a language; that takes long and means nothing here
        by_key = rows.order_by(sa.collate(staged.c.key, "C")).subquery("by_key")
    else:
        # with a limit, SQLite sorts the rows before it joins them; it would drop the order of any other subquery
        by_key = rows.order_by(staged.c.key).limit(-1).subquery("by_key")
    columns = [by_key.c[name] if name in by_key.c else _unsaid(name) for name in wanted]
    return sa.select(*columns, by_key.c.list_id).subquery("sorted_row")


def _unsaid(name: str) -> sa.Label[Any]:
    """What a column of `staged` has where nothing was said in it."""
    column = staged.c[name]
    value: Any = None if column.nullable else 0 if isinstance(column.type, sa.Integer) else ""
    return sa.cast(sa.literal(value, column.type), column.type).label(name)


def _share_consent(connection: sa.Connection) -> None:
    """Consent in any row is consent: of several rows for one address and list, the first carries it."""
    other = compared.alias()
    agreeing = sa.select(other.c.key, other.c.list_id).where(
        in_several_rows(other), other.c.agreed == 1, other.c.barred == Barred.NO
    )
    theirs = sa.update(compared).where(sa.tuple_(compared.c.key, compared.c.list_id).in_(agreeing))
    theirs = theirs.where(in_several_rows(compared))
    connection.execute(theirs.where(compared.c.barred == Barred.UNASKED).values(barred=Barred.NO.value))
    connection.execute(theirs.where(compared.c.repeated == 0, compared.c.agreed == 0).values(agreed=1))
