"""Attempts: the rows that say which members of a batch a call may have been made for, by whom and when."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from newsletter.store.person_rows import moment, seconds
from newsletter.store.tables import attempt

_LONGEST_REFERENCE = 1_000


@dataclass(frozen=True, slots=True)
class NewAttempt:
    """An attempt that begins: over which of the batch's members, by their places."""

    batch: int
    number: int
    places: Sequence[int]
    size: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt as it is kept. `places` None: all members."""

    number: int
    places: frozenset[int] | None
    at: dt.datetime
    reason: str

    def covers(self, place: int) -> bool:
        """Whether the member at this place was among them."""
        return self.places is None or place in self.places


def begin_attempts(
    connection: sa.Connection, run_id: int, sender_id: int, new: Iterable[NewAttempt], now: dt.datetime
) -> None:
    """Adds the rows."""
    rows = [
        {
            "run_id": run_id,
            "batch": one.batch,
            "number": one.number,
            "sender_id": sender_id,
            "at": seconds(now),
            "members": _bits(one.places, one.size),
        }
        for one in new
    ]
    if rows:
        connection.execute(sa.insert(attempt), rows)


def close_attempts(connection: sa.Connection, run_id: int, which: Iterable[tuple[int, int]], now: dt.datetime) -> None:
    """Closes these (batch, number), those that are open."""
    rows = [{"of_batch": batch, "of_number": number, "of_run": run_id, "now": seconds(now)} for batch, number in which]
    if rows:
        connection.execute(_CLOSE, rows)


def close_attempts_of(connection: sa.Connection, run_id: int, sender_id: int, now: dt.datetime) -> None:
    """Closes all that this sender left open."""
    connection.execute(
        sa.update(attempt)
        .where(attempt.c.run_id == run_id, attempt.c.sender_id == sender_id, attempt.c.ended_at.is_(None))
        .values(ended_at=seconds(now))
    )


def add_reference(connection: sa.Connection, run_id: int, batch: int, number: int, reference: str) -> None:
    """Adds the provider's own id of a call; one that is there already is not added again."""
    mine = (attempt.c.run_id == run_id, attempt.c.batch == batch, attempt.c.number == number)
    kept = connection.scalar(sa.select(attempt.c.reference).where(*mine)) or ""
    if reference not in kept.split():
        both = f"{kept} {reference}".strip()[:_LONGEST_REFERENCE]
        connection.execute(sa.update(attempt).where(*mine).values(reference=both))


def give_reason(connection: sa.Connection, run_id: int, batch: int, number: int, reason: str) -> None:
    """Words that hold for everybody in the attempt who has none of their own."""
    connection.execute(
        sa.update(attempt)
        .where(attempt.c.run_id == run_id, attempt.c.batch == batch, attempt.c.number == number)
        .values(reason=reason)
    )


def attempts_over(connection: sa.Connection, run_id: int, batch: int) -> list[Attempt]:
    """All over one batch, the first one first."""
    rows = connection.execute(
        sa.select(attempt).where(attempt.c.run_id == run_id, attempt.c.batch == batch).order_by(attempt.c.number)
    )
    return list(map(_attempt, rows))


def claimed_since(connection: sa.Connection, run_id: int, batch: int, number: int) -> Collection[int] | None:
    """The places that a later attempt than this one was made for; None: all of them."""
    rows = connection.execute(
        sa.select(attempt).where(attempt.c.run_id == run_id, attempt.c.batch == batch, attempt.c.number > number)
    )
    places: set[int] = set()
    for later in map(_attempt, rows):
        if later.places is None:
            return None
        places |= later.places
    return places


def _attempt(row: sa.Row[Any]) -> Attempt:
    return Attempt(row.number, _places(row.members), moment(row.ended_at or row.at), row.reason)


def _bits(places: Sequence[int], size: int) -> bytes:
    """A bit for each member, from the lowest of the first byte; no bytes: all of them."""
    if len(places) == size:
        return b""
    bits = bytearray(-(-size // 8))
    for place in places:
        bits[place >> 3] |= 1 << (place & 7)
    return bytes(bits)


def _places(bits: bytes) -> frozenset[int] | None:
    if not bits:
        return None
    return frozenset(place for place in range(8 * len(bits)) if bits[place >> 3] >> (place & 7) & 1)


_CLOSE = (
    sa.update(attempt)
    .where(
        attempt.c.run_id == sa.bindparam("of_run"),
        attempt.c.batch == sa.bindparam("of_batch"),
        attempt.c.number == sa.bindparam("of_number"),
        attempt.c.ended_at.is_(None),
    )
    .values(ended_at=sa.bindparam("now"))
)
