"""Where events are kept until they are settled, and those that matter after that. `newsletter.store` implements it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Protocol

from newsletter.events.model import Event, KeptEvent


class EventInbox(Protocol):
    """Every method is one transaction: all of it is kept, or nothing."""

    def keep(self, events: Sequence[Event], *, now: dt.datetime) -> int:
        """Writes events down, durably before it returns; how many are new. Those whose fingerprint is known are left
        out, be it within `events` or from before."""
        ...

    def waiting(self, *, limit: int = 1000, after: int = 0) -> Sequence[KeptEvent]:
        """Those that are not settled yet, by number, from the one behind `after`."""
        ...

    def settled(self, ids: Sequence[int], *, gone: Sequence[int] = (), now: dt.datetime) -> None:
        """These need no more attention; those of which the ledger says all (`IN_THE_LEDGER`) go, and those in `gone`,
        which are about nobody any more. May be repeated."""
        ...

    def soft_bounces(self, subscriber_id: int, *, since: dt.datetime) -> int:
        """In how many runs the person's mail bounced softly since then; events without a run count a day each."""
        ...

    def of_person(self, subscriber_id: int, key: str) -> Sequence[Event]:
        """What is kept about one person, the oldest first."""
        ...

    def prune(self, *, before: dt.datetime, limit: int = 10_000) -> int:
        """Removes settled events that came in before then, at most so many; how many."""
        ...
