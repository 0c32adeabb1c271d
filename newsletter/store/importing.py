"""An import: all rows of a file into the database, in one transaction and a dozen statements.

The rows are staged before it begins, then compared with what is kept, and written set by set. Importing them again
changes nothing, so an import that was interrupted is simply run again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from newsletter.audience.model import ConsentState, Subscriber, SubscriberColumns
from newsletter.audience.people import ImportSummary, ImportTerms, LiftedBy, SuppressionReason
from newsletter.errors import GuardRefused
from newsletter.store.advisory_locks import AdvisoryLock, hold
from newsletter.store.engine import own_connection, reading, staging
from newsletter.store.import_comparing import KEPT, Barred, compare, compared, in_several_rows, is_recorded
from newsletter.store.import_merging import changed, merge_people
from newsletter.store.import_packing import Claim, Staged
from newsletter.store.import_staging import (
    make_lists,
    stage,
    stage_erased,
    stage_lists,
    staged,
    staged_list,
)
from newsletter.store.mailing_lists import insert_new
from newsletter.store.person_rows import seconds
from newsletter.store.suppressions import (
    Erased,
    erased_people,
    hold_address,
    hold_erasures,
    in_scope,
    lift,
    standing_suppression,
)
from newsletter.store.tables import consent, mailing_list, membership, subscriber, suppression, suppression_lift

#: Lifting takes a lock for each address, and a whole list of people who left is a mistake.
_MOST_LIFTED = 5_000


def import_rows(
    engine: sa.Engine,
    rows: Iterable[Subscriber | SubscriberColumns],
    terms: ImportTerms,
    *,
    now: dt.datetime,
    dry_run: bool = False,
    progress: Callable[[int], None] = lambda _: None,
    erasure_key: bytes,
) -> ImportSummary:
    """Adds and updates people; memory is constant. With `dry_run` everything is done and then undone.

    New people are pending unless the row has a consent, or the terms an operator's claim; the state of somebody known
    only moves from pending to subscribed. A file replaces a name, language or time zone where it says another, and
    adds tags, attributes and consents. Whoever is suppressed is counted and left as they are. Rows that say that
    somebody left (`Subscriber.left`) record a suppression, once. `progress` hears how many rows were read.

    While the rows are read, which takes as long as it takes, nobody else waits.
    """
    with reading(engine) as connection:
        erased = erased_people(connection)
    with own_connection(engine) as connection:
        with staging(connection):
            done = stage(connection, rows, terms, now=now, erased=erased, erasure_key=erasure_key, progress=progress)
        with connection.begin() as transaction:
            _settle(connection, done, erased, terms, erasure_key)
            summary = _write(connection, done, terms, now, erasure_key)
            if dry_run:
                transaction.rollback()
    return summary


def _settle(
    connection: sa.Connection, done: Staged, erased: Mapping[str, Erased], terms: ImportTerms, erasure_key: bytes
) -> None:
    """Brings what was staged up to date and makes those wait who would change it. Imports compare and write one after
    the other, or each would count the same people as new.

    Locks are taken in the order of all others: erasures, addresses (all at once), lists.
    """
    hold_erasures(connection)
    hold(connection, AdvisoryLock.IMPORT)
    if connection.dialect.name == "postgresql":
        # the few sorts and joins that follow are of all the rows; the default of 4 MB sends them to disk
        connection.exec_driver_sql("SET LOCAL work_mem = '64MB'")
    current = erased_people(connection)
    done.apart |= stage_erased(connection, erased, current, erasure_key)
    stage_lists(connection, done.lists)
    if done.departures or terms.reconsent:
        hold_address(connection, *_in_doubt(connection, terms))
        done.apart |= stage_erased(connection, current, erased_people(connection), erasure_key)
    make_lists(connection, done.lists)


def _in_doubt(connection: sa.Connection, terms: ImportTerms) -> Sequence[str]:
    """Whose suppressions the import may lift, or records under their hash.

    Raises GuardRefused where it would lift those of more people than an operator can mean.
    """
    held = sa.or_(staged.c.erased == 1, standing_suppression(staged.c.key, staged_list.c.list_id))
    returning = sa.and_(staged.c.left_reason == "", held)
    people = (
        sa.select(staged.c.key)
        .distinct()
        # a list that is to be made has no number yet, and what holds for all holds for it
        .join_from(staged, staged_list, staged_list.c.list_ref == staged.c.list_ref, isouter=True)
    )
    keys = list(connection.scalars(people.where(staged.c.left_reason != "", staged.c.erased == 1)))
    if terms.reconsent:
        lifted = connection.scalars(people.where(returning).limit(_MOST_LIFTED + 1)).all()
        if len(lifted) > _MOST_LIFTED:
            raise GuardRefused(
                f"--reconsent would end the suppressions of more than {_MOST_LIFTED:,} people",
                hint="give it a file of those who asked for it again, and nobody else",
            )
        keys += lifted
    return keys


def _write(
    connection: sa.Connection, done: Staged, terms: ImportTerms, now: dt.datetime, erasure_key: bytes
) -> ImportSummary:
    if done.departures:
        _record_departures(connection, terms, seconds(now))
    if terms.reconsent:
        _lift_suppressions(connection, terms.reconsent, now, erasure_key)
    compare(connection, done)
    _add_people(connection, seconds(now))
    merge_people(connection)
    met = _add_memberships(connection, seconds(now))
    _subscribe_pending(connection, seconds(now), met=met)
    _record_consents(connection, terms, seconds(now))
    if connection.dialect.name == "postgresql":
        _unsubscribe_who_left_meanwhile(connection, seconds(now))
    return _summary(connection, done)


def _record_departures(connection: sa.Connection, terms: ImportTerms, now: int) -> None:
    """Suppressions for the rows that say so, except what is known: see docs/reference/suppression.md.

    Of an erased person it is kept under the hash and holds for all lists, as `suppress` has it.
    """
    left = SuppressionReason.UNSUBSCRIBE
    erased = staged.c.erased == 1
    key = sa.case((erased, staged.c.hashed), else_=staged.c.key)
    everywhere = staged.c.left_everywhere == 1
    scope = sa.case((sa.not_(sa.or_(everywhere, erased)), staged_list.c.list_id))
    source = f"import of {terms.source}"
    same_file = source if terms.named else None
    rows = (
        sa.select(
            key.label("key"),
            staged.c.left_reason,
            scope.label("list_id"),
            sa.func.max(sa.func.coalesce(staged.c.left_at, now)),
            sa.literal(source),
        )
        .join_from(staged, staged_list, staged_list.c.list_ref == staged.c.list_ref)
        .where(staged.c.left_reason != "")
        .where(sa.not_(_is_known(key, scope, same_file)))
        # while they were erased, and they have come back since
        .where(sa.or_(erased, sa.not_(_is_known(staged.c.hashed, sa.null(), same_file))))
        .group_by(key, staged.c.left_reason, scope)
    )
    connection.execute(sa.insert(suppression).from_select(["key", "reason", "list_id", "at", "source"], rows))
    gone = (
        sa.select(membership.c.list_id, membership.c.subscriber_id)
        .join_from(staged, staged_list, staged_list.c.list_ref == staged.c.list_ref)
        .join(subscriber, subscriber.c.key == staged.c.key)
        .join(membership, membership.c.subscriber_id == subscriber.c.id)
        .where(staged.c.left_reason == left, sa.or_(everywhere, membership.c.list_id == staged_list.c.list_id))
        .where(standing_suppression(staged.c.key, membership.c.list_id, left))
    )
    _unsubscribe(connection, gone, now)


def _is_known(
    key: sa.ColumnElement[str], scope: sa.ColumnElement[Any], same_file: str | None
) -> sa.ColumnElement[bool]:
    """The condition that what a row of `staged` says is recorded under this key and stands, or was lifted since.

    `scope` is the list it is for (NULL: all), `same_file` what the record of a file of the same name has as source.
    """
    one, ending = suppression.alias(), suppression_lift.alias()
    of_scope = sa.or_(ending.c.list_id.is_(None), scope.is_(None), ending.c.list_id == scope)
    lift = sa.exists().where(ending.c.suppression_id == one.c.id, of_scope)
    lifted, lifted_since = (
        condition.correlate_except(ending) for condition in (lift, lift.where(ending.c.at >= staged.c.left_at))
    )
    undated = staged.c.left_at.is_(None)
    known = [
        sa.and_(sa.not_(lifted), sa.or_(undated, one.c.at >= staged.c.left_at)),
        lifted_since,
    ]
    if same_file is not None:
        known.append(sa.and_(undated, one.c.source == same_file, lifted))
    found = sa.exists().where(one.c.key == key, one.c.reason == staged.c.left_reason, in_scope(one, scope))
    return found.where(sa.or_(*known)).correlate_except(one)


def _unsubscribe(connection: sa.Connection, members: sa.Select[int, int], now: int) -> None:
    """The memberships (list, subscriber) say that they left."""
    connection.execute(
        sa.update(membership)
        .where(sa.tuple_(membership.c.list_id, membership.c.subscriber_id).in_(members))
        .where(membership.c.state != ConsentState.UNSUBSCRIBED)
        .values(state=ConsentState.UNSUBSCRIBED.value, since=now)
    )


def _lift_suppressions(connection: sa.Connection, why: str, now: dt.datetime, erasure_key: bytes) -> None:
    """Ends what keeps the people of the rows off their lists, by the rules of `lift`."""
    held = sa.or_(staged.c.erased == 1, standing_suppression(staged.c.key, staged_list.c.list_id))
    people = (
        sa.select(staged.c.key, mailing_list.c.name)
        .distinct()
        .join_from(staged, staged_list, staged_list.c.list_ref == staged.c.list_ref)
        .join(mailing_list, mailing_list.c.id == staged_list.c.list_id)
        .where(staged.c.left_reason == "", held)
        .order_by(staged.c.key, mailing_list.c.name)
    )
    for key, list_name in connection.execute(people).all():
        lift(connection, key, list_name, by=LiftedBy.OPERATOR, note=why, now=now, erasure_key=erasure_key)
    other = staged.alias()
    known_again = sa.select(other.c.key).where(other.c.erased == 1, other.c.left_reason == "")
    # also their rows that say that they left
    connection.execute(sa.update(staged).where(staged.c.key.in_(known_again)).values(erased=0))


def _add_people(connection: sa.Connection, now: int) -> None:
    """Everyone who is not known, from the first of their rows; `merge_people` adds what their other rows say."""
    address = sa.func.coalesce(compared.c.address, compared.c.key)
    said = [compared.c[name] for name in KEPT]
    rows = sa.select(compared.c.key, address, *said, sa.literal(now)).where(
        compared.c.subscriber_id.is_(None), compared.c.barred == 0
    )
    names = ["key", "address", *KEPT, "created_at"]
    _add(connection, subscriber, names, rows.where(compared.c.several == 0))
    first_wins = rows.where(in_several_rows(compared)).order_by(compared.c.key, compared.c.n)
    connection.execute(insert_new(connection, subscriber).from_select(names, first_wins))


def _add(connection: sa.Connection, table: sa.Table, names: list[str], rows: sa.Select[Any]) -> bool:
    """Adds rows of which none was there when they were compared; those that somebody else has added since are left:
    then it says True.

    An INSERT that looks out for those takes PostgreSQL twice as long, and hardly ever meets one.
    """
    try:
        with connection.begin_nested():
            connection.execute(sa.insert(table).from_select(names, rows))
    except sa.exc.IntegrityError:
        connection.execute(insert_new(connection, table).from_select(names, rows))
        return True
    return False


def _people() -> sa.Join:
    """The compared rows with whom they are about; everyone is known by now."""
    return compared.join(subscriber, subscriber.c.key == compared.c.key)


def _add_memberships(connection: sa.Connection, now: int) -> bool:
    """Whoever is not on their list; True where somebody got there first."""
    agreed = compared.c.agreed == 1
    rows = (
        sa.select(
            compared.c.list_id,
            subscriber.c.id,
            sa.case((agreed, ConsentState.SUBSCRIBED.value), else_=ConsentState.PENDING.value),
            sa.literal(now),
        )
        .select_from(_people())
        .where(compared.c.was.is_(None), compared.c.barred == 0, compared.c.repeated == 0)
    )
    return _add(connection, membership, ["list_id", "subscriber_id", "state", "since"], rows)


def _subscribe_pending(connection: sa.Connection, now: int, *, met: bool) -> None:
    """Those on the list whose consent, or a claim of it, came with this file.

    `met`: some have come to be on it since they were compared, perhaps without a consent.
    """
    from_states = [ConsentState.PENDING.value, ConsentState.UNSUBSCRIBED.value]
    connection.execute(
        sa.update(membership)
        .where(
            membership.c.list_id == compared.c.list_id,
            membership.c.subscriber_id == compared.c.subscriber_id,
            # not changed by somebody else since it was compared
            membership.c.state == compared.c.was,
            compared.c.was.in_(from_states),
            compared.c.barred == 0,
            compared.c.agreed == 1,
        )
        .values(state=ConsentState.SUBSCRIBED.value, since=now)
    )
    if met:
        theirs = (
            sa.select(compared.c.list_id, subscriber.c.id)
            .select_from(_people())
            .where(compared.c.was.is_(None), compared.c.barred == 0, compared.c.agreed == 1)
        )
        connection.execute(
            sa.update(membership)
            .where(sa.tuple_(membership.c.list_id, membership.c.subscriber_id).in_(theirs))
            .where(membership.c.state == ConsentState.PENDING)
            .values(state=ConsentState.SUBSCRIBED.value, since=now)
        )


def _unsubscribe_who_left_meanwhile(connection: sa.Connection, now: int) -> None:
    """Whoever left since they were compared, and had it lifted: then nothing but this keeps them off the list.

    By now the consents are recorded; none of them is younger than that.
    """
    latest = sa.select(sa.func.max(consent.c.at)).where(
        consent.c.subscriber_id == subscriber.c.id, consent.c.list_id == compared.c.list_id
    )
    gone = (
        sa.select(compared.c.list_id, subscriber.c.id)
        .select_from(_people().join(suppression, suppression.c.key == compared.c.key))
        .where(suppression.c.reason == SuppressionReason.UNSUBSCRIBE, in_scope(suppression, compared.c.list_id))
        .where(sa.or_(compared.c.was.is_(None), compared.c.was != ConsentState.SUBSCRIBED), compared.c.barred == 0)
        .where(suppression.c.at > sa.func.coalesce(latest.correlate(subscriber, compared).scalar_subquery(), -1))
    )
    _unsubscribe(connection, gone, now)


def _record_consents(connection: sa.Connection, terms: ImportTerms, now: int) -> None:
    """The consents of the rows that are not recorded yet; and an operator's claims, for whom they subscribed."""
    names = ["subscriber_id", "list_id", "at", "source", "wording", "ip", "recorded_at"]
    own = [compared.c[name] for name in ("consent_at", "consent_source", "consent_wording", "consent_ip")]
    fresh = (
        sa.select(subscriber.c.id, compared.c.list_id, *own, sa.literal(now))
        .select_from(_people())
        .where(compared.c.fresh == 1, compared.c.barred == 0)
    )
    connection.execute(sa.insert(consent).from_select(names, fresh.where(compared.c.repeated == 0)))
    more = fresh.where(in_several_rows(compared), compared.c.repeated == 1, sa.not_(is_recorded(compared))).distinct()
    connection.execute(sa.insert(consent).from_select(names, more))
    for claim, words in ((Claim.CONFIRMED, terms.confirmed_by), (Claim.RECONSENT, terms.reconsent)):
        if words:
            claimed = (
                sa.select(
                    subscriber.c.id,
                    compared.c.list_id,
                    sa.literal(now),
                    sa.literal(f"operator: {words}"),
                    sa.literal(f"import of {terms.source}"),
                    sa.literal(""),
                    sa.literal(now),
                )
                .select_from(_people())
                .where(compared.c.claim == claim, compared.c.barred == 0, compared.c.repeated == 0)
                .where(sa.or_(compared.c.was.is_(None), compared.c.was != ConsentState.SUBSCRIBED))
            )
            connection.execute(sa.insert(consent).from_select(names, claimed))


#: How a row ended, in the order in which one of several lists decides for the row.
_OUTCOMES = ("duplicate", "suppressed", "unchanged", "updated", "new")


def _summary(connection: sa.Connection, done: Staged) -> ImportSummary:
    moved = sa.and_(compared.c.agreed == 1, compared.c.was != ConsentState.SUBSCRIBED)
    differs = sa.exists().where(changed.c.id == compared.c.subscriber_id)
    outcome = sa.case(
        (compared.c.repeated == 1, 0),
        (compared.c.barred == Barred.OUTDATED, 2),
        (compared.c.barred != 0, 1),
        (compared.c.was.is_(None), 4),
        (sa.or_(compared.c.fresh == 1, moved, differs), 3),
        else_=2,
    )
    new = sa.and_(compared.c.was.is_(None), compared.c.barred == 0, compared.c.repeated == 0)
    pending = sa.case((sa.and_(new, compared.c.agreed == 0), 1), else_=0)
    each_row = sa.select(compared.c.n, outcome.label("outcome"), pending.label("pending"))
    # with an offset, SQLite decides of each row once, and not for each of the sums
    parts: sa.FromClause = each_row.offset(0).subquery()
    if done.several_lists:
        highest = [sa.func.max(parts.c[name]).label(name) for name in ("outcome", "pending")]
        parts = sa.select(parts.c.n, *highest).group_by(parts.c.n).subquery()
    each = [sa.func.sum(sa.case((parts.c.outcome == number, 1), else_=0)) for number in range(len(_OUTCOMES))]
    *counts, waiting = connection.execute(sa.select(*each, sa.func.sum(parts.c.pending))).one()
    found = {name: int(count or 0) for name, count in zip(_OUTCOMES, counts, strict=True)}
    # and those that were not even compared in full
    found["unchanged"] += done.rows - sum(found.values())
    return ImportSummary(rows=done.rows, pending=int(waiting or 0), **found)
