"""The audience on a database: each method opens one transaction and hands over to the module of its subject."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import sqlalchemy as sa

from newsletter.audience.model import Excluded, Exclusion, Member, Subscriber, SubscriberColumns
from newsletter.audience.people import (
    Consent,
    Departure,
    ImportSummary,
    ImportTerms,
    LiftedBy,
    ListStats,
    Person,
    PlannedAudience,
    Preferences,
    Selection,
    Suppression,
    SuppressionReason,
)
from newsletter.store import freezing, importing, listing, people, statistics, suppressions
from newsletter.store import preferences as own_wishes
from newsletter.store.engine import reading, scrub, writing


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class SqlAudience:
    """`AudienceStore` on SQLite and PostgreSQL.

    `erasure_key` is what the addresses of erased people are hashed with; it must never change. Given as a function, it
    is asked for when it is first needed. A generator that a method returns holds its transaction until it is exhausted
    or closed. Raises what `newsletter.store.failures` says.
    """

    def __init__(self, engine: sa.Engine, erasure_key: bytes | Callable[[], bytes]) -> None:
        self._engine = engine
        self._key = erasure_key

    def import_rows(
        self,
        rows: Iterable[Subscriber | SubscriberColumns],
        terms: ImportTerms,
        *,
        now: dt.datetime,
        dry_run: bool = False,
        progress: Callable[[int], None] = lambda _: None,
    ) -> ImportSummary:
        """See `AudienceStore`."""
        return importing.import_rows(
            self._engine, rows, terms, now=now, dry_run=dry_run, progress=progress, erasure_key=self._erasure_key
        )

    def subscribe(self, row: Subscriber, list_name: str, *, consent: Consent | None, now: dt.datetime) -> bool:
        """See `AudienceStore`."""
        with writing(self._engine) as connection:
            return people.subscribe(connection, row, list_name, consent=consent, now=now, erasure_key=self._erasure_key)

    def resubscribe(self, row: Subscriber, list_name: str, *, consent: Consent, why: str, now: dt.datetime) -> int:
        """See `AudienceStore`."""
        with writing(self._engine) as connection:
            return people.resubscribe(
                connection, row, list_name, consent=consent, why=why, now=now, erasure_key=self._erasure_key
            )

    def unsubscribe(self, key: str, list_name: str | None, *, source: str, now: dt.datetime, note: str = "") -> bool:
        """See `AudienceStore`."""
        with writing(self._engine) as connection:
            return people.unsubscribe(
                connection, key, list_name, source=source, now=now, note=note, erasure_key=self._erasure_key
            )

    def suppress(
        self,
        key: str,
        reason: SuppressionReason,
        list_name: str | None,
        *,
        source: str,
        now: dt.datetime,
        note: str = "",
    ) -> bool:
        """See `AudienceStore`."""
        with writing(self._engine) as connection:
            return suppressions.suppress(
                connection, key, reason, list_name, source=source, now=now, note=note, erasure_key=self._erasure_key
            )

    def suppress_many(
        self,
        rows: Sequence[tuple[str, SuppressionReason, str]],
        list_name: str | None,
        *,
        source: str,
        now: dt.datetime,
    ) -> int:
        """See `AudienceStore`."""
        with writing(self._engine) as connection:
            return suppressions.suppress_many(
                connection, rows, list_name, source=source, now=now, erasure_key=self._erasure_key
            )

    def lift(self, key: str, list_name: str | None, *, by: LiftedBy, note: str, now: dt.datetime) -> int:
        """See `AudienceStore`."""
        with writing(self._engine) as connection:
            return suppressions.lift(
                connection, key, list_name, by=by, note=note, now=now, erasure_key=self._erasure_key
            )

    def suppressions(self, *, standing_only: bool = True, after: int = 0) -> Iterator[Suppression]:
        """See `AudienceStore`."""
        with reading(self._engine) as connection:
            yield from suppressions.suppressions(connection, standing_only=standing_only, after=after)

    def person(self, key: str) -> Person | None:
        """See `AudienceStore`."""
        with reading(self._engine) as connection:
            return people.person(connection, key, erasure_key=self._erasure_key)

    def person_of(self, subscriber_id: int) -> Person | None:
        """See `AudienceStore`."""
        with reading(self._engine) as connection:
            return own_wishes.person_of(connection, subscriber_id, erasure_key=self._erasure_key)

    def leave(self, departures: Sequence[Departure], *, now: dt.datetime) -> Sequence[bool]:
        """See `AudienceStore`."""
        with writing(self._engine) as connection:
            return own_wishes.leave(connection, departures, now=now, erasure_key=self._erasure_key)

    def confirm(
        self, row: Subscriber, list_name: str, *, consent: Consent, now: dt.datetime, known_as: int | None = None
    ) -> bool:
        """See `AudienceStore`."""
        key = self._erasure_key
        with writing(self._engine) as connection:
            return own_wishes.confirm(
                connection, row, list_name, consent=consent, now=now, known_as=known_as, erasure_key=key
            )

    def change(self, subscriber_id: int, preferences: Preferences) -> bool:
        """See `AudienceStore`."""
        with writing(self._engine) as connection:
            return own_wishes.change(connection, subscriber_id, preferences)

    def pause(self, subscriber_id: int, until: dt.datetime | None) -> bool:
        """See `AudienceStore`."""
        with writing(self._engine) as connection:
            return own_wishes.pause(connection, subscriber_id, until)

    def measure_opens(self, subscriber_id: int, given: bool, *, wording: str, ip: str, now: dt.datetime) -> bool:
        """See `AudienceStore`."""
        with writing(self._engine) as connection:
            return own_wishes.measure_opens(connection, subscriber_id, given, wording=wording, ip=ip, now=now)

    def erase(self, key: str, *, source: str, now: dt.datetime) -> bool:
        """See `AudienceStore`."""
        with writing(self._engine) as connection:
            return people.erase(connection, key, source=source, now=now, erasure_key=self._erasure_key)

    def scrub(self) -> bool:
        """See `AudienceStore`."""
        return scrub(self._engine)

    def people(self, selection: Selection, *, after: str = "", limit: int | None = None) -> Iterator[Person]:
        """See `AudienceStore`."""
        with reading(self._engine) as connection:
            yield from listing.people(connection, selection, after=after, limit=limit)

    def lists(self) -> Sequence[str]:
        """See `AudienceStore`."""
        with reading(self._engine) as connection:
            return statistics.lists(connection)

    def stats(self, *, now: dt.datetime) -> Sequence[ListStats]:
        """See `AudienceStore`."""
        with reading(self._engine) as connection:
            return statistics.stats(connection, now=now)

    def count(self, selection: Selection, *, now: dt.datetime | None = None) -> Mapping[str, int]:
        """See `AudienceStore`."""
        with reading(self._engine) as connection:
            return freezing.count(connection, selection, now=now or _now())

    def plan(self, selection: Selection, *, now: dt.datetime | None = None) -> PlannedAudience:
        """See `AudienceStore`."""
        with reading(self._engine) as connection:
            return freezing.plan(connection, selection, now=now or _now())

    def timezones(self, selection: Selection, *, now: dt.datetime | None = None) -> Sequence[str]:
        """See `AudienceStore`."""
        with reading(self._engine) as connection:
            return freezing.timezones(connection, selection, now=now or _now())

    def members(self, ids: Sequence[int]) -> Iterator[Member]:
        """See `AudienceStore`."""
        with reading(self._engine) as connection:
            yield from freezing.members(connection, ids)

    def left_out(self, reason: Exclusion, ids: Sequence[int], selection: Selection) -> Iterator[Excluded]:
        """See `AudienceStore`."""
        with reading(self._engine) as connection:
            yield from listing.left_out(connection, reason, ids, selection)

    def last_planned(self, newsletter: str) -> int | None:
        """See `AudienceStore`."""
        with reading(self._engine) as connection:
            return freezing.last_planned(connection, newsletter)

    @property
    def _erasure_key(self) -> bytes:
        return self._key if isinstance(self._key, bytes) else self._key()
