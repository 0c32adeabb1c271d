"""One person: put on a list, taken off it, shown, erased.

Every function takes a connection within a transaction of the caller's, and holds the address until it ends.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Collection
from dataclasses import replace

import sqlalchemy as sa

from newsletter.audience.model import ConsentState, Subscriber
from newsletter.audience.people import Consent, LiftedBy, Person, SuppressionReason, may_lift
from newsletter.errors import GuardRefused
from newsletter.store.listing import persons
from newsletter.store.mailing_lists import ensure_list, find_list, insert_new
from newsletter.store.person_rows import packed_attributes, packed_tags, seconds, unpacked_attributes, unpacked_tags
from newsletter.store.suppressions import (
    LEAVING,
    erased_key,
    hold_address,
    hold_erasures,
    lift,
    record,
    standing_of,
    suppress,
    suppressions_of,
)
from newsletter.store.tables import consent as consent_table
from newsletter.store.tables import (
    delivery_note,
    event,
    event_waiting,
    membership,
    personal_hit,
    signup,
    subscriber,
    suppression,
    suppression_lift,
    test_send,
    tracking_consent,
)


def subscribe(
    connection: sa.Connection,
    row: Subscriber,
    list_name: str,
    *,
    consent: Consent | None,
    now: dt.datetime,
    erasure_key: bytes,
) -> bool:
    """Puts one person on a list: subscribed with a consent, else pending. False, and nothing changed, where a
    suppression stands, or where the person had left (and it was lifted) and has not consented since.

    Whoever is subscribed stays so without a new consent. What `row` says fills in the name, language, timezone, tags
    and attributes; it empties nothing, and takes no tag away.
    """
    hold_address(connection, row.key)
    list_id = find_list(connection, list_name)
    hashed = erased_key(erasure_key, row.key)
    if any(one.holds_for(list_id) for one in standing_of(connection, row.key, hashed)):
        return False
    left = _last_left(connection, list_id, row.key, hashed)
    state = next_state(_state(connection, list_id, row.key), consent, left)
    if state is ConsentState.UNSUBSCRIBED:
        return False
    list_id = ensure_list(connection, list_name)  # before any row that an import may be waiting for
    person_id = _keep_subscriber(connection, row, now)
    _join(connection, list_id, person_id, state, now)
    if consent is not None:
        _keep_consent(connection, list_id, person_id, consent, now)
    return True


def resubscribe(
    connection: sa.Connection,
    row: Subscriber,
    list_name: str,
    *,
    consent: Consent,
    why: str,
    now: dt.datetime,
    erasure_key: bytes,
) -> int:
    """Ends, as an operator may, what keeps the person off the list, and subscribes them; how many ended.

    Raises GuardRefused where they left after this consent.
    """
    ended = lift(connection, row.key, list_name, by=LiftedBy.OPERATOR, note=why, now=now, erasure_key=erasure_key)
    if not subscribe(connection, row, list_name, consent=consent, now=now, erasure_key=erasure_key):
        raise GuardRefused(
            f"{row.address} left {list_name} after {consent.at:%Y-%m-%d}, when they asked for it",
            hint="Record when they asked to come back.",
        )
    return ended


def next_state(there: ConsentState | None, consent: Consent | None, left: int | None) -> ConsentState:
    """The state on a list of somebody who is put on it (again), where no suppression stands: `there` is the one they
    are in, `left` when they left it last (seconds).

    A consent from before they left says nothing about now, and without one nobody comes back.
    """
    if there is ConsentState.SUBSCRIBED:
        return there
    if left is not None and (consent is None or seconds(consent.at) < left):
        return ConsentState.UNSUBSCRIBED
    if consent is not None:
        return ConsentState.SUBSCRIBED
    return there or ConsentState.PENDING


def unsubscribe(
    connection: sa.Connection,
    key: str,
    list_name: str | None,
    *,
    source: str,
    now: dt.datetime,
    note: str = "",
    erasure_key: bytes,
) -> bool:
    """Records that the person left the list (None: all). False where they had left it before, or were erased."""
    hold_address(connection, key)
    list_id = find_list(connection, list_name) if list_name is not None else None
    for one in standing_of(connection, key, erased_key(erasure_key, key)):
        left_all = one.list_id is None and not one.lifted_for
        if one.reason in LEAVING and (left_all if list_name is None else one.holds_for(list_id)):
            return False
    reason = SuppressionReason.UNSUBSCRIBE
    return suppress(connection, key, reason, list_name, source=source, now=now, note=note, erasure_key=erasure_key)


def person(connection: sa.Connection, key: str, *, erasure_key: bytes) -> Person | None:
    """Everything held about one address, what is left of an erased person with it; None where there is nothing."""
    suppressions = suppressions_of(connection, (key, erased_key(erasure_key, key)))
    rows = connection.execute(sa.select(subscriber).where(subscriber.c.key == key)).all()
    for found in persons(connection, rows):
        return replace(found, suppressions=suppressions)
    return Person(None, key, key, suppressions=suppressions) if suppressions else None


def erase(connection: sa.Connection, key: str, *, source: str, now: dt.datetime, erasure_key: bytes) -> bool:
    """Removes a person everywhere and leaves a keyed hash as suppression. False where nothing was known of them.

    The hash is left in any case, so that no file brings the address back. A reason that the person's confirmation
    does not lift (complaint, hard bounce, manual) is left beside it, under the same hash: being erased is no way
    around it.
    """
    hold_erasures(connection, exclusively=True)
    hold_address(connection, key)
    hashed = erased_key(erasure_key, key)
    standing = standing_of(connection, key, hashed)
    lasting = {
        reason for one in standing if not may_lift(reason := SuppressionReason(one.reason), LiftedBy.CONFIRMATION)
    }
    there = {one.reason for one in standing if one.key == hashed}
    for reason in sorted((lasting | {SuppressionReason.ERASED}) - there):
        record(connection, hashed, reason, None, at=seconds(now), source=source)
    return _delete(connection, key)


def _keep_subscriber(connection: sa.Connection, row: Subscriber, now: dt.datetime) -> int:
    """The number of the person: a new one, or the one there is, with what the row adds to it."""
    new = {
        "key": row.key,
        "address": row.address,
        "name": row.name,
        "language": row.language,
        "timezone": row.timezone,
        "tags": packed_tags(row.tags),
        "attributes": packed_attributes(row.attributes),
        "created_at": seconds(now),
    }
    connection.execute(insert_new(connection, subscriber).values(new))
    # locked, so that an import at the same moment adds its tags to these
    there = connection.execute(sa.select(subscriber).where(subscriber.c.key == row.key).with_for_update()).one()
    said = {name: new[name] for name in ("name", "language", "timezone") if new[name]}
    said["tags"] = packed_tags({*unpacked_tags(there.tags), *row.tags})
    said["attributes"] = packed_attributes(unpacked_attributes(there.attributes) | dict(row.attributes))
    if any(said[name] != there._mapping[name] for name in said):
        connection.execute(sa.update(subscriber).where(subscriber.c.id == there.id).values(said))
    return int(there.id)


def _state(connection: sa.Connection, list_id: int | None, key: str) -> ConsentState | None:
    state = connection.scalar(
        sa.select(membership.c.state)
        .join(subscriber, subscriber.c.id == membership.c.subscriber_id)
        .where(subscriber.c.key == key, membership.c.list_id == list_id)
    )
    return ConsentState(state) if state else None


def _last_left(connection: sa.Connection, list_id: int | None, *keys: str) -> int | None:
    """When they left this list (None: one that nobody was ever on) or all lists last, be it lifted or not."""
    of_all = suppression.c.list_id.is_(None)
    last: int | None = connection.scalar(
        sa.select(sa.func.max(suppression.c.at)).where(
            suppression.c.key.in_(keys),
            suppression.c.reason.in_(LEAVING),
            of_all if list_id is None else sa.or_(of_all, suppression.c.list_id == list_id),
        )
    )
    return last


def _join(connection: sa.Connection, list_id: int, person_id: int, state: ConsentState, now: dt.datetime) -> None:
    """The membership gets this state, except that nobody who is subscribed (by an import just now) goes back."""
    began = {"state": state.value, "since": seconds(now)}
    new = insert_new(connection, membership)
    connection.execute(new.values(list_id=list_id, subscriber_id=person_id, **began))
    connection.execute(
        sa.update(membership)
        .where(membership.c.list_id == list_id, membership.c.subscriber_id == person_id)
        .where(membership.c.state.not_in([state, ConsentState.SUBSCRIBED]))
        .values(began)
    )


def _keep_consent(connection: sa.Connection, list_id: int, person_id: int, consent: Consent, now: dt.datetime) -> None:
    """Adds the record; the same one is not added twice."""
    said = {
        "subscriber_id": person_id,
        "list_id": list_id,
        "at": seconds(consent.at),
        "source": consent.source,
        "wording": consent.wording,
        "ip": consent.ip,
    }
    same = sa.and_(*(consent_table.c[name] == value for name, value in said.items()))
    if connection.execute(sa.select(consent_table.c.id).where(same).limit(1)).first() is None:
        connection.execute(sa.insert(consent_table).values(**said, recorded_at=seconds(now)))


def _delete(connection: sa.Connection, key: str) -> bool:
    """Takes away every row of the address; True where there was one. Nothing else deletes what people said."""
    people = connection.execute(sa.select(subscriber.c.id, subscriber.c.address).where(subscriber.c.key == key)).all()
    ids = [row.id for row in people]
    records = sa.select(suppression.c.id).where(suppression.c.key == key)
    told = sa.or_(event.c.key == key, event.c.subscriber_id.in_(ids))
    known = [
        connection.execute(sa.delete(table).where(condition)).rowcount > 0
        for table, condition in (
            (signup, signup.c.key == key),
            (event_waiting, event_waiting.c.event_id.in_(sa.select(event.c.id).where(told))),
            (event, told),
            (personal_hit, personal_hit.c.subscriber_id.in_(ids)),
            (tracking_consent, tracking_consent.c.subscriber_id.in_(ids)),
            (delivery_note, delivery_note.c.subscriber_id.in_(ids)),
            (suppression_lift, suppression_lift.c.suppression_id.in_(records)),
            (suppression, suppression.c.key == key),
            (consent_table, consent_table.c.subscriber_id.in_(ids)),
            (membership, membership.c.subscriber_id.in_(ids)),
            (subscriber, subscriber.c.key == key),
        )
    ]
    return _forget_tests(connection, {key, *(row.address for row in people)}) or any(known)


def _forget_tests(connection: sa.Connection, spellings: Collection[str]) -> bool:
    """Takes the address out of what is kept of tests of issues; whether it was in any. There are few of them."""
    theirs = {one.casefold() for one in spellings}
    found = False
    for number, kept in connection.execute(sa.select(test_send.c.id, test_send.c.addresses)).all():
        addresses = json.loads(kept)
        others = [one for one in addresses if one.casefold() not in theirs]
        if len(others) < len(addresses):
            values = {"addresses": json.dumps(others, ensure_ascii=False)}
            connection.execute(sa.update(test_send).where(test_send.c.id == number).values(values))
            found = True
    return found
