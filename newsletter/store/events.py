"""Events on a database: kept before they are answered for, settled later, removed when their time is over."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from newsletter.delivery.names import RunName
from newsletter.events.model import IN_THE_LEDGER, Event, EventKind, KeptEvent
from newsletter.store.delivery_notes import clean
from newsletter.store.engine import reading, writing
from newsletter.store.mailing_lists import insert_new
from newsletter.store.packing import LARGEST_ID
from newsletter.store.person_rows import moment, seconds
from newsletter.store.tables import event, event_waiting, subscriber

#: Rows of one statement: databases limit its parameters, and SQLAlchemy keeps it to use it again.
_ROWS = 500
#: Characters that are kept of each text. A reason is a server's words, which may be anything.
_LONGEST = {"source": 20, "run": 200, "key": 320, "code": 50, "reason": 500, "reference": 200}
_A_DAY = 86_400

_Item = TypeVar("_Item")


class SqlEvents:
    """`EventInbox` on SQLite and PostgreSQL. Raises what `newsletter.store.failures` says."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def keep(self, events: Sequence[Event], *, now: dt.datetime) -> int:
        """See `EventInbox`. Texts are cut, and cleaned of what no database keeps."""
        once: dict[bytes, Event] = {}
        for one in events:
            once.setdefault(one.fingerprint, one)
        rows = [_row(one, now) for one in once.values()]
        if not rows:
            return 0
        new = 0
        with writing(self._engine) as connection:
            adding = insert_new(connection, event).returning(event.c.id)
            for some in _in_parts(rows):
                ids = sorted(connection.scalars(adding, some))
                if ids:
                    connection.execute(sa.insert(event_waiting), [{"event_id": one} for one in ids])
                new += len(ids)
        return new

    def waiting(self, *, limit: int = 1000, after: int = 0) -> Sequence[KeptEvent]:
        """See `EventInbox`."""
        wanted = (
            sa.select(event)
            .join(event_waiting, event_waiting.c.event_id == event.c.id)
            .where(event_waiting.c.event_id > after)
            .order_by(event_waiting.c.event_id)
            .limit(limit)
        )
        with reading(self._engine) as connection:
            return [KeptEvent(row.id, _event(row)) for row in connection.execute(wanted)]

    def settled(self, ids: Sequence[int], *, gone: Sequence[int] = (), now: dt.datetime) -> None:  # noqa: ARG002 - the Protocol's; it is not kept
        """See `EventInbox`."""
        if not ids:
            return
        forgotten = frozenset(gone)
        with writing(self._engine) as connection:
            for some in _in_parts(sorted(ids)):
                connection.execute(sa.delete(event_waiting).where(event_waiting.c.event_id.in_(some)))
                over = sa.or_(event.c.kind.in_(sorted(IN_THE_LEDGER)), event.c.id.in_(forgotten.intersection(some)))
                connection.execute(sa.delete(event).where(event.c.id.in_(some), over))

    def soft_bounces(self, subscriber_id: int, *, since: dt.datetime) -> int:
        """See `EventInbox`. Those that name the person's address are theirs, too."""
        one = event.c
        theirs = sa.select(subscriber.c.key).where(subscriber.c.id == subscriber_id).scalar_subquery()
        of_run = sa.select(one.run.label("which")).where(one.run != "")
        of_day = sa.select((one.at // _A_DAY).cast(sa.Text)).where(one.run == "")
        soft = (one.kind == EventKind.SOFT_BOUNCE, one.at >= seconds(since))
        parts = [
            which.where(whose, *soft)
            for which in (of_run, of_day)
            for whose in (one.subscriber_id == subscriber_id, one.key == theirs)
        ]
        with reading(self._engine) as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(sa.union(*parts).subquery())) or 0

    def of_person(self, subscriber_id: int, key: str) -> Sequence[Event]:
        """See `EventInbox`."""
        whose = event.c.subscriber_id == subscriber_id
        if key:
            whose = sa.or_(whose, event.c.key == key)
        with reading(self._engine) as connection:
            return [_event(row) for row in connection.execute(sa.select(event).where(whose).order_by(event.c.id))]

    def prune(self, *, before: dt.datetime, limit: int = 10_000) -> int:
        """See `EventInbox`."""
        waits = sa.exists().where(event_waiting.c.event_id == event.c.id)
        old = sa.select(event.c.id).where(event.c.received_at < seconds(before), ~waits).limit(limit)
        with writing(self._engine) as connection:
            return connection.execute(sa.delete(event).where(event.c.id.in_(old))).rowcount


def _row(one: Event, now: dt.datetime) -> dict[str, Any]:
    known = one.subscriber_id is not None and 0 <= one.subscriber_id <= LARGEST_ID
    texts = {"run": str(one.run or ""), "source": one.source, "key": one.key, "code": one.code}
    texts |= {"reason": one.reason, "reference": one.reference}
    return {
        "fingerprint": one.fingerprint,
        "kind": one.kind.value,
        "at": seconds(one.at),
        "received_at": seconds(now),
        "subscriber_id": one.subscriber_id if known else None,
        **{name: clean(text, _LONGEST[name]) if text else "" for name, text in texts.items()},
    }


def _event(row: sa.Row[Any]) -> Event:
    return Event(
        kind=EventKind(row.kind),
        at=moment(row.at),
        source=row.source,
        fingerprint=bytes(row.fingerprint),
        run=_run(row.run),
        subscriber_id=row.subscriber_id,
        key=row.key,
        code=row.code,
        reason=row.reason,
        reference=row.reference,
    )


def _run(kept: str) -> RunName | None:
    newsletter, slash, slot = kept.partition("/")
    return RunName(newsletter, slot) if slash else None


def _in_parts(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), _ROWS):
        yield items[start : start + _ROWS]
