"""What the program asks of the place where the audience is kept. `newsletter.store` implements it on two databases."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

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


class AudienceStore(Protocol):
    """Subscribers, consents and suppressions. Every method is one transaction: all of it is kept, or nothing.

    `key` is an address key (`newsletter.audience.addresses`). Suppression wins over every method but `lift`.
    """

    def import_rows(
        self,
        rows: Iterable[Subscriber | SubscriberColumns],
        terms: ImportTerms,
        *,
        now: dt.datetime,
        dry_run: bool = False,
        progress: Callable[[int], None] = lambda _: None,
    ) -> ImportSummary:
        """Adds and updates subscribers; constant memory. Importing the same rows again changes nothing.

        `rows` are good rows, one by one or many at a time; `invalid` of the summary stays 0. A suppressed person is
        counted and left as they are.
        """
        ...

    def subscribe(self, row: Subscriber, list_name: str, *, consent: Consent | None, now: dt.datetime) -> bool:
        """Puts one person on a list: subscribed with a consent, else pending. False, and nothing changed, where a
        suppression stands, or where the person had left and has not consented since."""
        ...

    def resubscribe(self, row: Subscriber, list_name: str, *, consent: Consent, why: str, now: dt.datetime) -> int:
        """Ends, as an operator may, what keeps somebody off a list, and subscribes them; says how many ended.

        Raises GuardRefused, and changes nothing, where they left after this consent.
        """
        ...

    def unsubscribe(self, key: str, list_name: str | None, *, source: str, now: dt.datetime, note: str = "") -> bool:
        """Records that the person left the list (None: all). False where they had left before. Never an error."""
        ...

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
        """Adds a suppression; False where an equal one stands already. The address need not be known."""
        ...

    def suppress_many(
        self,
        rows: Sequence[tuple[str, SuppressionReason, str]],
        list_name: str | None,
        *,
        source: str,
        now: dt.datetime,
    ) -> int:
        """`suppress` for each row (key, reason, note), some hundred at a time; says how many are new."""
        ...

    def lift(self, key: str, list_name: str | None, *, by: LiftedBy, note: str, now: dt.datetime) -> int:
        """Ends the suppressions that hold for this list (None: every one of the address) and that `by` may lift.

        One for all lists stands for the others, also for those to come. Returns how many; raises GuardRefused, and ends
        none, where one stands that `by` may not lift.
        """
        ...

    def suppressions(self, *, standing_only: bool = True, after: int = 0) -> Iterator[Suppression]:
        """All suppressions, the oldest first, from the one behind the number `after`."""
        ...

    def person(self, key: str) -> Person | None:
        """Everything held about one address; None where there is nothing."""
        ...

    def person_of(self, subscriber_id: int) -> Person | None:
        """Everything held about the person of this number; None where they were erased, or never were."""
        ...

    def leave(self, departures: Sequence[Departure], *, now: dt.datetime) -> Sequence[bool]:
        """`unsubscribe` from each of the lists, for many at once; whether each of the people left a list that they had
        not left before. Nobody's number is no error, and leaves nothing."""
        ...

    def confirm(
        self, row: Subscriber, list_name: str, *, consent: Consent, now: dt.datetime, known_as: int | None = None
    ) -> bool:
        """The person's own confirmation: ends what it may end for this list (their having left, having been erased),
        and subscribes them. False, and nothing changed, where a suppression stands that it does not end, or where they
        left after this consent: it is one of the moment in which they press the button. With `known_as`, also where
        nobody of this address has that number (any more): whoever was erased meanwhile stays erased."""
        ...

    def change(self, subscriber_id: int, preferences: Preferences) -> bool:
        """Changes what a person says of themselves; False where nobody has this number."""
        ...

    def pause(self, subscriber_id: int, until: dt.datetime | None) -> bool:
        """No mail before `until` (None: at once again); False where nobody has this number."""
        ...

    def measure_opens(self, subscriber_id: int, given: bool, *, wording: str, ip: str, now: dt.datetime) -> bool:
        """Records that the person consents to opens being measured, or takes it back; False for nobody's number."""
        ...

    def erase(self, key: str, *, source: str, now: dt.datetime) -> bool:
        """Removes a person everywhere and leaves a keyed hash as suppression. False where nothing was known of them."""
        ...

    def scrub(self) -> bool:
        """Overwrites what erased people left in the database's own files. False where that was not possible now."""
        ...

    def people(self, selection: Selection, *, after: str = "", limit: int | None = None) -> Iterator[Person]:
        """The people on the lists of `selection`, by key, from the one behind `after`; constant memory."""
        ...

    def lists(self) -> Sequence[str]:
        """The names of all lists, sorted."""
        ...

    def stats(self, *, now: dt.datetime) -> Sequence[ListStats]:
        """Each list in numbers, by name."""
        ...

    def count(self, selection: Selection, *, now: dt.datetime | None = None) -> Mapping[str, int]:
        """How many a run would have that is planned at `now` (None: at this moment), and how many would be left out for
        each reason. Who pauses at `now` is left out, here and in `plan` and `timezones`."""
        ...

    def plan(self, selection: Selection, *, now: dt.datetime | None = None) -> PlannedAudience:
        """Whom a run would have and whom it would leave out, without planning one."""
        ...

    def timezones(self, selection: Selection, *, now: dt.datetime | None = None) -> Sequence[str]:
        """The time zones of those whom a run would have, each once, as they are kept: '' of those who have none."""
        ...

    def members(self, ids: Sequence[int]) -> Iterator[Member]:
        """The people of these ids as they are now, in the same order; constant memory. Those erased are missing."""
        ...

    def left_out(self, reason: Exclusion, ids: Sequence[int], selection: Selection) -> Iterator[Excluded]:
        """The people of these ids, of whom `plan` said that they are left out for `reason`, in the same order, with
        what is recorded; constant memory."""
        ...

    def last_planned(self, newsletter: str) -> int | None:
        """How many members the newsletter's latest run had; None before the first."""
        ...
