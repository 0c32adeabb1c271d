"""Suppressions: the records that an address must not be mailed, and the further records that end them.

Nothing here updates or deletes a row. A suppression stands until a row in `suppression_lift` ends it; one for all lists
may be ended for some of them, and stands for the others. Of an erased person it stands under `hmac:` and a keyed hash,
and holds for all lists.

Every function takes a connection within a transaction of the caller's. The lock of `hold_address` is kept until that
transaction ends.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from newsletter.audience.model import ConsentState
from newsletter.audience.people import Lift, LiftedBy, Suppression, SuppressionReason, may_lift
from newsletter.errors import GuardRefused
from newsletter.store.advisory_locks import AdvisoryLock, hold
from newsletter.store.mailing_lists import ensure_list, find_list
from newsletter.store.person_rows import moment, seconds
from newsletter.store.tables import mailing_list, membership, subscriber, suppression, suppression_lift

#: How the key of an erased person's suppression begins. No address key does: none holds a colon.
ERASED_PREFIX = "hmac:"
#: What a person did of their own accord; their memberships say the same.
LEAVING = frozenset({SuppressionReason.UNSUBSCRIBE, SuppressionReason.ERASED})


def erased_key(erasure_key: bytes, key: str) -> str:
    """What is kept of an erased person's address key: `hmac:` and HMAC-SHA256 (RFC 2104) in hex."""
    return ERASED_PREFIX + hmac.digest(erasure_key, key.encode(), hashlib.sha256).hex()


def standing_suppression(
    key_column: sa.ColumnElement[str], list_id_column: sa.ColumnElement[int], *reasons: SuppressionReason
) -> sa.ColumnElement[bool]:
    """The condition that a suppression of this address stands which holds for this list (for one of `reasons`).

    Erased people are not among those it finds: no row of theirs is in the database, and `erased_people` keeps it so.
    """
    one = suppression.alias()
    found = sa.exists().where(one.c.key == key_column, in_scope(one, list_id_column), ~lifted(one, list_id_column))
    return (found.where(one.c.reason.in_(reasons)) if reasons else found).correlate_except(one)


def left_since(
    key_column: sa.ColumnElement[str], list_id_column: sa.ColumnElement[int], at: sa.ColumnElement[int]
) -> sa.ColumnElement[bool]:
    """The condition that this address left this list, or all, after `at`, whether that was lifted or not.

    What is kept under the hash of an erased person is not among what it finds; see `erased_people`.
    """
    one = suppression.alias()
    left = one.c.reason == SuppressionReason.UNSUBSCRIBE
    found = sa.exists().where(one.c.key == key_column, left, in_scope(one, list_id_column), one.c.at > at)
    return found.correlate_except(one)


def in_scope(one: sa.FromClause, list_id: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """The condition that this suppression is one for this list, or for all."""
    return sa.or_(one.c.list_id.is_(None), one.c.list_id == list_id)


def lifted(one: sa.FromClause, list_id: sa.ColumnElement[int] | None) -> sa.ColumnElement[bool]:
    """The condition that this suppression was lifted for this list; None: for all that it was for."""
    ending = suppression_lift.alias()
    ends: sa.ColumnElement[bool] = ending.c.list_id.is_(None)
    if list_id is not None:
        ends = sa.or_(ends, ending.c.list_id == list_id)
    return sa.exists().where(ending.c.suppression_id == one.c.id, ends).correlate_except(ending)


@dataclass(frozen=True, slots=True)
class Erased:
    """Somebody who was erased once: whether something under their hash `stands`, and when they `left` last."""

    stands: bool
    left: int


def erased_people(connection: sa.Connection) -> dict[str, Erased]:
    """Everybody who was erased, also those who have come back, by hash (`erased_key`), for an import to look up.

    Call `hold_erasures` before, or somebody erased in the meantime comes back.
    """
    one = suppression
    stands = sa.func.max(sa.case((lifted(one, None), 0), else_=1))
    left = sa.func.max(sa.case((one.c.reason.in_(LEAVING), one.c.at)))
    rows = sa.select(one.c.key, stands, left).where(one.c.key.startswith(ERASED_PREFIX)).group_by(one.c.key)
    return {key: Erased(bool(some), at) for key, some, at in connection.execute(rows)}


def hold_erasures(connection: sa.Connection, *, exclusively: bool = False) -> None:
    """Lets nobody be erased until this transaction ends (exclusively: nobody else be added)."""
    hold(connection, AdvisoryLock.ERASURE, shared=not exclusively)


def hold_address(connection: sa.Connection, *keys: str) -> None:
    """Makes all others who change what is known of these addresses wait until this transaction ends."""
    if connection.dialect.name == "postgresql":
        numbers = sorted(
            int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), signed=True) for key in keys
        )  # everyone in the same order, so that no two wait for each other
        each = sa.func.unnest(sa.literal(numbers, sa.ARRAY(sa.BigInteger)))
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(each)))


def suppress(
    connection: sa.Connection,
    key: str,
    reason: SuppressionReason,
    list_name: str | None,
    *,
    source: str,
    now: dt.datetime,
    note: str = "",
    erasure_key: bytes,
) -> bool:
    """Adds a suppression; False where an equal one stands already (same reason and scope).

    Of an erased person it is kept under the hash, without its note, and holds for all lists: there is no telling on
    which they were.
    """
    return bool(
        suppress_many(connection, [(key, reason, note)], list_name, source=source, now=now, erasure_key=erasure_key)
    )


def suppress_many(
    connection: sa.Connection,
    rows: Sequence[tuple[str, SuppressionReason, str]],
    list_name: str | None,
    *,
    source: str,
    now: dt.datetime,
    erasure_key: bytes,
) -> int:
    """`suppress` for each row (key, reason, note); how many are new. Some hundred at a time: all are held together."""
    if any(reason is SuppressionReason.ERASED for _, reason, _ in rows):
        raise ValueError("a suppression for this reason is what erasing leaves")
    hashes = {key: erased_key(erasure_key, key) for key, _, _ in rows}
    hold_address(connection, *hashes)
    standing = standing_of(connection, *hashes, *hashes.values())
    erased = {one.key for one in standing}
    # one that was lifted for some lists is none for all
    stands = {(one.key, one.reason, one.list_id) for one in standing if not one.lifted_for}
    list_id: int | None = None
    if list_name is not None and any(hashed not in erased for hashed in hashes.values()):
        list_id = ensure_list(connection, list_name)
    new: dict[tuple[str, str, int | None], str] = {}
    for key, reason, note in rows:
        one = (hashes[key], reason.value, None) if hashes[key] in erased else (key, reason.value, list_id)
        if one not in stands:
            # words about an erased person may name them
            new.setdefault(one, "" if one[0] == hashes[key] else note)
    if new:
        same = {"at": seconds(now), "source": source}
        connection.execute(
            sa.insert(suppression),
            [{"key": key, "reason": why, "list_id": of, "note": note, **same} for (key, why, of), note in new.items()],
        )
    left = [key for key, why, _ in new if why == SuppressionReason.UNSUBSCRIBE]
    if left:
        _leave(connection, left, list_id, at=seconds(now))
    return len(new)


def lift(
    connection: sa.Connection,
    key: str,
    list_name: str | None,
    *,
    by: LiftedBy,
    note: str,
    now: dt.datetime,
    erasure_key: bytes,
) -> int:
    """Ends the suppressions that hold for this list (None: every one of the address); says how many.

    One that holds for all lists goes on holding for every other list, also for those to come; what stood under the
    hash of an erased person does so under their address, as they are known again. Nobody is subscribed by it: a person
    who had left stays off the list until they consent again. Raises GuardRefused, and ends none, where one stands that
    `by` may not lift.
    """
    hold_address(connection, key)
    list_id = find_list(connection, list_name) if list_name is not None else None
    standing = standing_of(connection, key, erased_key(erasure_key, key))
    held = [one for one in standing if list_name is None or one.holds_for(list_id)]
    if barred := sorted({one.reason for one in held if not may_lift(SuppressionReason(one.reason), by)}):
        hint = 'An operator can lift it: newsletter suppress remove ADDRESS --why "…"'
        raise GuardRefused(
            f"suppressed ({', '.join(barred)}): the person's own confirmation does not lift it", hint=hint
        )
    if list_name is not None and any(one.list_id is None for one in held):
        list_id = ensure_list(connection, list_name)
    said = {"at": seconds(now), "by": by.value, "note": note}
    for one in held:
        whole = list_name is None or one.list_id is not None or one.key != key
        _end(connection, one.id, None if whole else list_id, said)
        if one.key != key and list_id is not None:
            reason = SuppressionReason(one.reason)
            kept = SuppressionReason.UNSUBSCRIBE if reason is SuppressionReason.ERASED else reason
            _end(connection, record(connection, key, kept, None, at=one.at, source=one.source), list_id, said)
        if one.reason in LEAVING:
            # an import that read before the person left may have written after it
            of = list_id if list_name is not None else one.list_id
            _leave(connection, [key], of, at=one.at, without=one.lifted_for)
    return len(held)


def _end(connection: sa.Connection, suppression_id: int, list_id: int | None, said: Mapping[str, object]) -> None:
    connection.execute(sa.insert(suppression_lift).values(suppression_id=suppression_id, list_id=list_id, **said))


def suppressions(connection: sa.Connection, *, standing_only: bool = True, after: int = 0) -> Iterator[Suppression]:
    """All suppressions, the oldest first, from the one behind `after`; constant memory."""
    chosen = _with_lists_and_lifts().where(suppression.c.id > after)
    if standing_only:
        chosen = chosen.where(~lifted(suppression, None))
    # whoever reads may stop before the end
    with connection.execute(chosen, execution_options={"yield_per": 1000}) as rows:
        yield from _read(rows)


def suppressions_of(connection: sa.Connection, keys: Collection[str]) -> tuple[Suppression, ...]:
    """All suppressions of these keys, lifted ones too, the oldest first."""
    return tuple(_read(connection.execute(_with_lists_and_lifts().where(suppression.c.key.in_(keys)))))


@dataclass(frozen=True, slots=True)
class Standing:
    """A row of `suppression` that stands, with the lists for which it was lifted all the same."""

    id: int
    key: str
    reason: str
    list_id: int | None
    at: int
    source: str
    lifted_for: frozenset[int]

    def holds_for(self, list_id: int | None) -> bool:
        """Whether it holds for this list; None: for one that nobody was ever on."""
        return list_id not in self.lifted_for if self.list_id is None else self.list_id == list_id


#: Built once: to build it takes longer than to run it, and everybody who leaves does.
_STANDING_OF = (
    sa.select(
        suppression.c.id,
        suppression.c.key,
        suppression.c.reason,
        suppression.c.list_id,
        suppression.c.at,
        suppression.c.source,
        suppression_lift.c.list_id,
    )
    .outerjoin(suppression_lift, suppression_lift.c.suppression_id == suppression.c.id)
    .where(suppression.c.key.in_(sa.bindparam("keys", expanding=True)), ~lifted(suppression, None))
    .order_by(suppression.c.id)
)


def standing_of(connection: sa.Connection, *keys: str) -> Sequence[Standing]:
    """The suppressions that stand under these keys, the oldest first. An erased person's hash is a key of its own."""
    rows = connection.execute(_STANDING_OF, {"keys": keys})
    found = []
    for (number, key, reason, list_id, at, source), several in groupby(rows, lambda row: row[:-1]):
        lists = frozenset(row[-1] for row in several if row[-1] is not None)
        found.append(Standing(number, key, reason, list_id, at, source, lists))
    return found


def record(
    connection: sa.Connection,
    key: str,
    reason: SuppressionReason,
    list_id: int | None,
    *,
    at: int,
    source: str,
    note: str = "",
) -> int:
    """One more suppression, as it is given; its number."""
    values = {"key": key, "reason": reason.value, "list_id": list_id, "at": at, "source": source, "note": note}
    return int(connection.scalars(sa.insert(suppression).values(values).returning(suppression.c.id)).one())


def _leave(
    connection: sa.Connection, keys: Sequence[str], list_id: int | None, *, at: int, without: Collection[int] = ()
) -> None:
    """The people's memberships of this list (None: of all but some) say that they left."""
    left = sa.update(membership).where(
        membership.c.subscriber_id.in_(sa.select(subscriber.c.id).where(subscriber.c.key.in_(keys))),
        membership.c.state != ConsentState.UNSUBSCRIBED,
    )
    left = left.where(membership.c.list_id == list_id if list_id is not None else membership.c.list_id.not_in(without))
    connection.execute(left.values(state=ConsentState.UNSUBSCRIBED.value, since=at))


def _with_lists_and_lifts() -> sa.Select[Any]:
    """A row for each suppression and lift, by suppression; read by `_read`."""
    of_lift = mailing_list.alias()
    lifting = (
        suppression_lift.c.at.label("lifted_at"),
        suppression_lift.c.by,
        suppression_lift.c.note.label("lift_note"),
        of_lift.c.name.label("lifted_for"),
    )
    return (
        sa.select(suppression, mailing_list.c.name.label("list"), *lifting)
        .outerjoin(mailing_list, mailing_list.c.id == suppression.c.list_id)
        .outerjoin(suppression_lift, suppression_lift.c.suppression_id == suppression.c.id)
        .outerjoin(of_lift, of_lift.c.id == suppression_lift.c.list_id)
        .order_by(suppression.c.id, suppression_lift.c.id)
    )


def _read(rows: Iterable[sa.Row[Any]]) -> Iterator[Suppression]:
    for _, several in groupby(rows, key=lambda each: each.id):
        of_one = list(several)
        row = of_one[0]
        lifts = [
            Lift(moment(one.lifted_at), LiftedBy(one.by), one.lift_note, one.lifted_for)
            for one in of_one
            if one.lifted_at is not None
        ]
        whole = next((one for one in lifts if one.list is None), None)
        reason = SuppressionReason(row.reason)
        some = tuple(one for one in lifts if one.list is not None)
        yield Suppression(row.id, row.key, reason, row.list, moment(row.at), row.source, row.note, whole, some)
