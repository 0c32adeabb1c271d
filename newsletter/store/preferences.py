"""What people do by themselves: leave, confirm, say how they are called, pause, consent to opens being measured.

Every function takes a connection within a transaction of the caller's.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import asdict

import sqlalchemy as sa

from newsletter.audience.model import ConsentState, Subscriber
from newsletter.audience.people import (
    Consent,
    Departure,
    LiftedBy,
    Person,
    Preferences,
    SuppressionReason,
    may_lift,
)
from newsletter.store.mailing_lists import ensure_list, find_list
from newsletter.store.people import person, subscribe
from newsletter.store.person_rows import seconds
from newsletter.store.suppressions import LEAVING, Standing, erased_key, hold_address, lift, standing_of
from newsletter.store.tables import mailing_list, membership, subscriber, suppression, tracking_consent

#: Why their suppressions end.
_CONFIRMED = "confirmed by themselves"
#: Ids or keys in one statement.
_SOME = 1_000

# Statements of `leave`, built once: to build them takes longer than to run them.
_KEYS_OF = sa.select(subscriber.c.id, subscriber.c.key).where(subscriber.c.id.in_(sa.bindparam("ids", expanding=True)))
_LISTS_OF = sa.select(mailing_list.c.name, mailing_list.c.id).where(
    mailing_list.c.name.in_(sa.bindparam("names", expanding=True))
)
_SUPPRESSED = sa.insert(suppression)
_LEFT = (
    sa.update(membership)
    .where(membership.c.list_id == sa.bindparam("of"))
    .where(membership.c.subscriber_id.in_(sa.bindparam("ids", expanding=True)))
    .where(membership.c.state != ConsentState.UNSUBSCRIBED)
    .values(state=ConsentState.UNSUBSCRIBED.value, since=sa.bindparam("at"))
)


def person_of(connection: sa.Connection, subscriber_id: int, *, erasure_key: bytes) -> Person | None:
    """Everything held about the person of this number; None where there is none."""
    key = connection.scalar(sa.select(subscriber.c.key).where(subscriber.c.id == subscriber_id))
    return None if key is None else person(connection, key, erasure_key=erasure_key)


def leave(
    connection: sa.Connection, departures: Sequence[Departure], *, now: dt.datetime, erasure_key: bytes
) -> list[bool]:
    """`people.unsubscribe` from each of the lists, for many people with few statements; whose departure was news."""
    keys = _keys(connection, {one.subscriber_id for one in departures})
    hashes = {key: erased_key(erasure_key, key) for key in keys.values()}
    if hashes:
        hold_address(connection, *hashes)
    standing = _standing(connection, [*hashes, *hashes.values()])
    lists = _lists(connection, {name for one in departures for name in one.lists})
    new: dict[tuple[str, int | None], tuple[int, str]] = {}
    news = []
    for one in departures:
        before = len(new)
        for name in one.lists if one.subscriber_id in keys else ():
            key = keys[one.subscriber_id]
            hashed = hashes[key]
            there = (*standing.get(key, ()), *standing.get(hashed, ()))
            if any(each.reason in LEAVING and each.holds_for(lists.get(name)) for each in there):
                continue
            if hashed in standing:  # erased just now: there is no telling from which lists
                new.setdefault((hashed, None), (one.subscriber_id, one.source))
                continue
            if name not in lists:
                lists[name] = ensure_list(connection, name)
            new.setdefault((key, lists[name]), (one.subscriber_id, one.source))
        news.append(len(new) > before)
    if new:
        _record(connection, new, at=seconds(now))
    return news


def confirm(
    connection: sa.Connection,
    row: Subscriber,
    list_name: str,
    *,
    consent: Consent,
    now: dt.datetime,
    erasure_key: bytes,
    known_as: int | None = None,
) -> bool:
    """Ends what the person may end for this list, and subscribes them; see `AudienceStore`. False, and nothing changed,
    also where they left after this consent."""
    hold_address(connection, row.key)  # from here on nobody erases them
    if known_as is not None and _keys(connection, [known_as]).get(known_as) != row.key:
        return False
    list_id = find_list(connection, list_name)
    standing = standing_of(connection, row.key, erased_key(erasure_key, row.key))
    held = [SuppressionReason(one.reason) for one in standing if one.holds_for(list_id)]
    by = LiftedBy.CONFIRMATION
    if not all(may_lift(reason, by) for reason in held):
        return False
    with connection.begin_nested() as step:
        if held:
            lift(connection, row.key, list_name, by=by, note=_CONFIRMED, now=now, erasure_key=erasure_key)
        done = subscribe(connection, row, list_name, consent=consent, now=now, erasure_key=erasure_key)
        if not done:
            step.rollback()
    return done


def change(connection: sa.Connection, subscriber_id: int, preferences: Preferences) -> bool:
    """Changes what a person says of themselves; False where nobody has this number."""
    said = {name: value for name, value in asdict(preferences).items() if value is not None}
    if not said:
        return bool(_keys(connection, [subscriber_id]))
    return _change(connection, subscriber_id, said)


def pause(connection: sa.Connection, subscriber_id: int, until: dt.datetime | None) -> bool:
    """No mail before `until` (None: at once again); False where nobody has this number."""
    return _change(connection, subscriber_id, {"paused_until": None if until is None else seconds(until)})


def measure_opens(
    connection: sa.Connection, subscriber_id: int, given: bool, *, wording: str, ip: str, now: dt.datetime
) -> bool:
    """Records a consent to opens being measured, or that it was taken back; the same once more is no new record."""
    hold_address(connection, *_keys(connection, [subscriber_id]).values())  # whoever erases them waits
    if not _change(connection, subscriber_id, {"measures_opens": int(given)}):
        return False
    table = tracking_consent.c
    last = connection.execute(
        sa.select(table.given, table.wording)
        .where(table.subscriber_id == subscriber_id)
        .order_by(table.id.desc())
        .limit(1)
    ).one_or_none()
    if last is None and not given:
        return True
    if last is None or (last.given, last.wording) != (int(given), wording):
        said = {"given": int(given), "at": seconds(now), "wording": wording, "ip": ip}
        connection.execute(sa.insert(tracking_consent).values(subscriber_id=subscriber_id, **said))
    return True


def _change(connection: sa.Connection, subscriber_id: int, values: dict[str, object]) -> bool:
    changed = sa.update(subscriber).where(subscriber.c.id == subscriber_id).values(values)
    return connection.execute(changed).rowcount > 0


def _keys(connection: sa.Connection, ids: Collection[int]) -> dict[int, str]:
    """The address keys of those of these people who are known."""
    found: dict[int, str] = {}
    wanted = list(ids)
    for at in range(0, len(wanted), _SOME):
        for number, key in connection.execute(_KEYS_OF, {"ids": wanted[at : at + _SOME]}):
            found[number] = key
    return found


def _standing(connection: sa.Connection, keys: Sequence[str]) -> dict[str, list[Standing]]:
    found: defaultdict[str, list[Standing]] = defaultdict(list)
    for at in range(0, len(keys), _SOME):
        for one in standing_of(connection, *keys[at : at + _SOME]):
            found[one.key].append(one)
    return found


def _lists(connection: sa.Connection, names: Collection[str]) -> dict[str, int]:
    """The numbers of those of these lists that there are."""
    return {row.name: row.id for row in connection.execute(_LISTS_OF, {"names": list(names)})}


def _record(connection: sa.Connection, new: dict[tuple[str, int | None], tuple[int, str]], *, at: int) -> None:
    """(key, list) → (person, source): the suppressions, and their memberships say the same."""
    said = {"reason": SuppressionReason.UNSUBSCRIBE.value, "at": at, "note": ""}
    rows = [{"key": key, "list_id": of, "source": source, **said} for (key, of), (_, source) in new.items()]
    connection.execute(_SUPPRESSED, rows)
    people: defaultdict[int, list[int]] = defaultdict(list)
    for (_, of), (person_id, _) in new.items():
        if of is not None:
            people[of].append(person_id)
    for of, ids in people.items():
        for start in range(0, len(ids), _SOME):
            connection.execute(_LEFT, {"of": of, "ids": ids[start : start + _SOME], "at": at})
