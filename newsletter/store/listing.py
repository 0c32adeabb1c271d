"""People in rows: all that is held about them, page after page, or why an audience leaves them out.

Each page asks once per table, however many people are on it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from newsletter.audience.model import ConsentState, Excluded, Exclusion
from newsletter.audience.people import Consent, Membership, OpensConsent, Person, Selection, Suppression
from newsletter.store.person_rows import moment, unpacked_attributes, unpacked_tags
from newsletter.store.selecting import fits, list_ids
from newsletter.store.suppressions import suppressions_of
from newsletter.store.tables import consent, mailing_list, membership, subscriber, tracking_consent

#: The first page is small, so that the first people are shown at once.
_FIRST_PAGE, _PAGE = 50, 1_000
#: Lists with fewer people than this are read as a whole: one whose people stand far apart among all others would
#: otherwise be searched for among all of them.
_FEW = 2_000


def people(
    connection: sa.Connection, selection: Selection, *, after: str = "", limit: int | None = None
) -> Iterator[Person]:
    """The people on the selected lists, whatever their state, by key; see AudienceStore."""
    lists = list_ids(connection, selection)
    chosen = sa.select(subscriber).where(_on(connection, lists), *fits(selection)).order_by(subscriber.c.key)
    size = _FIRST_PAGE
    left = limit
    while left is None or left > 0:
        size = size if left is None else min(size, left)
        rows = connection.execute(chosen.where(subscriber.c.key > after).limit(size)).all()
        yield from persons(connection, rows)
        if len(rows) < size:
            return
        after = rows[-1].key
        left = None if left is None else left - len(rows)
        size = _PAGE


def left_out(
    connection: sa.Connection, reason: Exclusion, ids: Sequence[int], selection: Selection
) -> Iterator[Excluded]:
    """The people of these ids with what keeps them out; see AudienceStore."""
    lists = list_ids(connection, selection)
    for start in range(0, len(ids), _PAGE):
        some = list(ids[start : start + _PAGE])
        rows = connection.execute(
            sa.select(subscriber.c.id, subscriber.c.key, subscriber.c.address, subscriber.c.paused_until).where(
                subscriber.c.id.in_(some)
            )
        )
        found = {row.id: row for row in rows}
        on = _memberships(connection, some, lists)
        standing = _standing(connection, [row.key for row in found.values()] if reason is Exclusion.SUPPRESSED else [])
        for one in some:
            if one in found:
                names = tuple(sorted(member.list for member in on[one]))
                detail = {
                    Exclusion.PENDING: "no consent is recorded",
                    Exclusion.PAUSED: f"paused until {moment(found[one].paused_until or 0):%Y-%m-%d}",
                }.get(reason)
                if detail is None:
                    detail = _words([each for each in standing[found[one].key] if any(map(each.stands, names))])
                where = f"list {', '.join(names)}" if len(names) < 2 else f"lists {', '.join(names)}"
                yield Excluded(found[one].address, reason, detail, where, names)


def _on(connection: sa.Connection, lists: Sequence[int]) -> sa.ColumnElement[bool]:
    """The condition that somebody is on one of the lists, in the form that is quick for lists of this size."""
    on = sa.select(membership.c.subscriber_id).where(membership.c.list_id.in_(lists))
    few = on.limit(_FEW).subquery()
    if (connection.scalar(sa.select(sa.func.count()).select_from(few)) or 0) < _FEW:
        return subscriber.c.id.in_(on)
    return on.where(membership.c.subscriber_id == subscriber.c.id).exists()


def persons(connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> Iterator[Person]:
    """Everything held about the people of these rows of `subscriber`, but what is kept under a hash."""
    ids = [row.id for row in rows]
    on = _memberships(connection, ids)
    said = _consents(connection, ids)
    of_opens = _opens_consents(connection, ids)
    suppressed: defaultdict[str, list[Suppression]] = defaultdict(list)
    for one in suppressions_of(connection, [row.key for row in rows]) if rows else ():
        suppressed[one.key].append(one)
    for row in rows:
        yield Person(
            id=row.id,
            key=row.key,
            address=row.address,
            name=row.name,
            language=row.language,
            timezone=row.timezone,
            tags=unpacked_tags(row.tags),
            attributes=unpacked_attributes(row.attributes),
            created_at=moment(row.created_at),
            paused_until=None if row.paused_until is None else moment(row.paused_until),
            measures_opens=bool(row.measures_opens),
            memberships=tuple(on[row.id]),
            consents=tuple(said[row.id]),
            suppressions=tuple(suppressed[row.key]),
            opens_consents=tuple(of_opens[row.id]),
        )


def _memberships(
    connection: sa.Connection, ids: Sequence[int], lists: Sequence[int] | None = None
) -> defaultdict[int, list[Membership]]:
    """By subscriber; in the order of the lists' names. `lists`: of these alone."""
    wanted = (
        sa.select(membership.c.subscriber_id, mailing_list.c.name, membership.c.state, membership.c.since)
        .join(mailing_list, mailing_list.c.id == membership.c.list_id)
        .where(membership.c.subscriber_id.in_(ids))
        .order_by(mailing_list.c.name)
    )
    if lists is not None:
        wanted = wanted.where(membership.c.list_id.in_(lists))
    found: defaultdict[int, list[Membership]] = defaultdict(list)
    for person, name, state, since in connection.execute(wanted):
        found[person].append(Membership(name, ConsentState(state), moment(since)))
    return found


def _consents(connection: sa.Connection, ids: Sequence[int]) -> defaultdict[int, list[Consent]]:
    """By subscriber, the oldest record first."""
    wanted = (
        sa.select(consent, mailing_list.c.name.label("list"))
        .join(mailing_list, mailing_list.c.id == consent.c.list_id)
        .where(consent.c.subscriber_id.in_(ids))
        .order_by(consent.c.id)
    )
    found: defaultdict[int, list[Consent]] = defaultdict(list)
    for row in connection.execute(wanted):
        found[row.subscriber_id].append(
            Consent(row.list, moment(row.at), row.source, row.wording, row.ip, moment(row.recorded_at))
        )
    return found


def _opens_consents(connection: sa.Connection, ids: Sequence[int]) -> defaultdict[int, list[OpensConsent]]:
    """By subscriber, the oldest record first."""
    of_them = tracking_consent.c.subscriber_id.in_(ids)
    found: defaultdict[int, list[OpensConsent]] = defaultdict(list)
    for row in connection.execute(sa.select(tracking_consent).where(of_them).order_by(tracking_consent.c.id)):
        found[row.subscriber_id].append(OpensConsent(bool(row.given), moment(row.at), row.wording, row.ip))
    return found


def _standing(connection: sa.Connection, keys: Sequence[str]) -> defaultdict[str, list[Suppression]]:
    """The suppressions that stand, by key, the oldest first."""
    found: defaultdict[str, list[Suppression]] = defaultdict(list)
    for one in suppressions_of(connection, keys) if keys else ():
        if one.stands():
            found[one.key].append(one)
    return found


def _words(because: Sequence[Suppression]) -> str:
    """`complaint on 2026-01-03 (sendgrid)`, of the oldest one."""
    if not because:
        return "left the list"
    one = because[0]
    source = f" ({one.source})" if one.source else ""
    return f"{one.reason.replace('_', ' ')} on {one.at:%Y-%m-%d}{source}"
