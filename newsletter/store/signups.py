"""Requests to subscribe that wait for a confirmation: `SignUpStore` on a database.

One row for each address and newsletter, whatever becomes of the request, so that asking takes the same way and time for
everybody. Somebody who must not be mailed is found out when their mail would be due.

A mailbox that was mailed lately, under whatever spelling and for whatever newsletter, gets nothing more until a button
was pressed: else every newsletter of a site, and every `anna+1@`, would be one more mail to somebody who wants none.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from newsletter.audience.people import LiftedBy, SuppressionReason, may_lift
from newsletter.audience.signups import Asked, Quota, SignUp, SignUpRequest, mailbox_of
from newsletter.store.engine import reading, writing
from newsletter.store.mailing_lists import find_list
from newsletter.store.person_rows import moment, seconds
from newsletter.store.suppressions import erased_key, hold_address, standing_of
from newsletter.store.tables import signup, signup_count
from newsletter.store.upserting import insert_into

_HOUR = 3600
#: Of the keyed hash of a bucket: enough that no two fall together, and half the room.
_BUCKET_BYTES = 16
#: What a row says of the request itself, and a later request says anew.
_SAID = ("list", "address", "name", "language", "timezone", "source", "wording", "ip")


class _OverQuota(Exception):
    """Undoes the transaction."""


class SqlSignUps:
    """`SignUpStore` on SQLite and PostgreSQL, its tables up to date. Raises what `newsletter.store.failures` says.

    `erasure_key` is that of the database (`newsletter.store.erasure_key`); buckets are hashed with it, too. Given as a
    function, it is asked for when it is first needed.
    """

    def __init__(self, engine: sa.Engine, erasure_key: bytes | Callable[[], bytes]) -> None:
        self._engine = engine
        self._key = erasure_key

    def ask(
        self,
        request: SignUpRequest,
        quotas: Sequence[Quota],
        *,
        expires_after: dt.timedelta,
        again_after: dt.timedelta,
        now: dt.datetime,
    ) -> Asked:
        """See `SignUpStore`. A request that goes over one quota is counted against none."""
        try:
            with writing(self._engine) as connection:
                hold_address(connection, request.key, mailbox_of(request.key))
                self._count(connection, quotas, now)
                return _put_down(connection, request, expires_at=now + expires_after, again_after=again_after, now=now)
        except _OverQuota:
            return Asked.OVER_QUOTA

    def due(self, *, limit: int, now: dt.datetime) -> Sequence[SignUp]:
        """See `SignUpStore`. Whom a suppression keeps out that their confirmation does not lift is passed over."""
        with reading(self._engine) as connection:
            if connection.execute(_due(now).limit(1)).first() is None:
                return []
        found: list[SignUp] = []
        with writing(self._engine) as connection:
            while rows := connection.execute(
                _due(now).limit(limit - len(found)).with_for_update(skip_locked=True)
            ).all():
                held = frozenset(self._held(connection, rows))
                _mark(connection, [row.id for row in rows if row.id in held], due_at=None)
                _mark(connection, [row.id for row in rows if row.id not in held], due_at=None, mailed_at=seconds(now))
                found += [_read(row, mailed_at=now) for row in rows if row.id not in held]
                if len(found) == limit:
                    break
        return found

    def postpone(self, signup_id: int, until: dt.datetime) -> None:
        """See `SignUpStore`. One that was confirmed or mailed again since stays as it is."""
        with writing(self._engine) as connection:
            connection.execute(
                sa.update(signup)
                .where(signup.c.id == signup_id, signup.c.due_at.is_(None), signup.c.confirmed_at.is_(None))
                .values(due_at=seconds(until), mailed_at=None)
            )

    def find(self, signup_id: int) -> SignUp | None:
        """See `SignUpStore`."""
        with reading(self._engine) as connection:
            row = connection.execute(sa.select(signup).where(signup.c.id == signup_id)).one_or_none()
        return _read(row) if row else None

    def of_person(self, key: str) -> Sequence[SignUp]:
        """See `SignUpStore`."""
        with reading(self._engine) as connection:
            rows = connection.execute(sa.select(signup).where(signup.c.key == key).order_by(signup.c.id)).all()
        return [_read(row) for row in rows]

    def confirmed(self, signup_id: int, *, now: dt.datetime) -> None:
        """See `SignUpStore`. A mail that was due yet is so no more."""
        not_yet = sa.update(signup).where(signup.c.confirmed_at.is_(None))
        held_back = sa.and_(signup.c.due_at.is_(None), signup.c.mailed_at.is_(None))
        with writing(self._engine) as connection:
            key = connection.scalar(sa.select(signup.c.key).where(signup.c.id == signup_id))
            if key is None:
                return
            hold_address(connection, key)
            done = not_yet.where(signup.c.id == signup_id).values(confirmed_at=seconds(now), due_at=None)
            if connection.execute(done).rowcount:
                connection.execute(not_yet.where(signup.c.key == key, held_back).values(due_at=seconds(now)))

    def prune(self, *, now: dt.datetime, again_after: dt.timedelta = dt.timedelta(days=1)) -> int:
        """See `SignUpStore`."""
        mailed = sa.func.coalesce(signup.c.mailed_at, 0) > seconds(now - again_after)
        with writing(self._engine) as connection:
            connection.execute(sa.delete(signup_count).where(signup_count.c.hour < _hour(now)))
            over = sa.delete(signup).where(signup.c.expires_at <= seconds(now), ~mailed)
            return connection.execute(over).rowcount

    @property
    def _erasure_key(self) -> bytes:
        return self._key if isinstance(self._key, bytes) else self._key()

    def _count(self, connection: sa.Connection, quotas: Sequence[Quota], now: dt.datetime) -> None:
        """One more in every bucket. Raises _OverQuota."""
        insert = insert_into(connection, signup_count)
        buckets = {(one.scope, self._hashed(one)): one.per_hour for one in quotas}
        for (scope, bucket), most in sorted(buckets.items()):  # in one order, so that no two wait for each other
            new = insert.values(hour=_hour(now), scope=scope, bucket=bucket, count=1)
            more = new.on_conflict_do_update(
                index_elements=["hour", "scope", "bucket"],
                set_={"count": signup_count.c.count + 1},
                where=signup_count.c.count < most,
            )
            if most < 1 or connection.execute(more.returning(signup_count.c.count)).first() is None:
                raise _OverQuota

    def _hashed(self, quota: Quota) -> bytes:
        # no address has a NUL: this is no hash of an erased person
        text = f"signup\0{quota.scope}\0{quota.bucket}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._erasure_key, text, hashlib.sha256)[:_BUCKET_BYTES]

    def _held(self, connection: sa.Connection, rows: Sequence[sa.Row[Any]]) -> Iterator[int]:
        """Those of the requests whose mail is not to go out."""
        hashes = {row.key: erased_key(self._erasure_key, row.key) for row in rows}
        standing = [
            one
            for one in standing_of(connection, *hashes, *hashes.values())
            if not may_lift(SuppressionReason(one.reason), LiftedBy.CONFIRMATION)
        ]
        lists = {name: find_list(connection, name) for name in {row.list for row in rows}} if standing else {}
        for row in rows:
            keys = {row.key, hashes[row.key]}
            if any(one.key in keys and one.holds_for(lists[row.list]) for one in standing):
                yield row.id


def _put_down(
    connection: sa.Connection,
    request: SignUpRequest,
    *,
    expires_at: dt.datetime,
    again_after: dt.timedelta,
    now: dt.datetime,
) -> Asked:
    said = {name: getattr(request, name) for name in _SAID}
    fresh = {**said, "asked_at": seconds(now), "expires_at": seconds(expires_at)}
    mailbox, after = mailbox_of(request.key), seconds(now - again_after)
    whose = {"key": request.key, "newsletter": request.newsletter}
    its_row = sa.and_(*(signup.c[name] == value for name, value in whose.items()))
    # nobody else adds it, the address is held; locked, so that `due` and `prune` are done with it or wait
    there = connection.execute(sa.select(signup).where(its_row).with_for_update()).one_or_none()
    full = _mailed_otherwise(connection, mailbox, sa.not_(its_row), now=seconds(now), after=after)
    anew: dict[str, Any] = {**fresh, "due_at": None if full else seconds(now), "mailed_at": None, "confirmed_at": None}
    if there is None:
        connection.execute(sa.insert(signup).values(**whose, mailbox=mailbox, **anew))
        return Asked.AGAIN if full else Asked.DUE
    if there.due_at is None and (there.mailed_at is None or there.mailed_at <= after):
        connection.execute(sa.update(signup).where(its_row).values(anew))
        return Asked.AGAIN if full else Asked.DUE
    # What was said first stands: the mail is about that, and whoever asks in between may be somebody else. Of one that
    # is confirmed not even the time changes, and that takes as long.
    until = there.expires_at if there.confirmed_at is not None else fresh["expires_at"]
    connection.execute(sa.update(signup).where(its_row).values(expires_at=until))
    return Asked.AGAIN


def _mailed_otherwise(
    connection: sa.Connection, mailbox: str, others: sa.ColumnElement[bool], *, now: int, after: int
) -> bool:
    """Whether another mail to this mailbox waits, or went out after `after`, and nobody pressed its button."""
    waits = sa.and_(signup.c.due_at.is_not(None), signup.c.expires_at > now)
    unanswered = sa.and_(signup.c.confirmed_at.is_(None), sa.or_(waits, signup.c.mailed_at > after))
    found = sa.select(signup.c.id).where(signup.c.mailbox == mailbox, others, unanswered)
    return connection.execute(found.limit(1)).first() is not None


def _mark(connection: sa.Connection, ids: Sequence[int], **marks: int | None) -> None:
    if ids:
        connection.execute(sa.update(signup).where(signup.c.id.in_(ids)).values(marks))


def _due(now: dt.datetime) -> sa.Select[Any]:
    at = seconds(now)
    wanted = sa.select(signup).where(signup.c.due_at <= at, signup.c.expires_at > at)
    return wanted.order_by(signup.c.due_at, signup.c.id)


def _hour(now: dt.datetime) -> int:
    return seconds(now) // _HOUR * _HOUR


def _read(row: sa.Row[Any], mailed_at: dt.datetime | None = None) -> SignUp:
    mailed = row.mailed_at if mailed_at is None else seconds(mailed_at)
    return SignUp(
        id=row.id,
        request=SignUpRequest(row.newsletter, row.list, row.key, **{name: getattr(row, name) for name in _SAID[1:]}),
        asked_at=moment(row.asked_at),
        expires_at=moment(row.expires_at),
        mailed_at=None if mailed is None else moment(mailed),
        confirmed_at=None if row.confirmed_at is None else moment(row.confirmed_at),
    )
