"""Clicks and opens: counted raw, with a verdict beside them, and per person only where the settings say so."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from newsletter.delivery.names import RunName


class HitKind(StrEnum):
    """What was requested."""

    CLICK = "click"
    OPEN = "open"


class Verdict(StrEnum):
    """Who, as far as the request shows, made it."""

    #: Nothing speaks against a reader.
    HUMAN = "human"
    #: A scanner, a prefetch, a mail proxy that loads every image.
    MACHINE = "machine"
    #: It cannot be told.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Hit:
    """One request for a tracked link (`number` from 1) or for the image of opens (`number` 0). `subscriber_id` is None
    where tracking is not per person."""

    run: RunName
    kind: HitKind
    number: int
    verdict: Verdict
    at: dt.datetime
    subscriber_id: int | None = None


@dataclass(frozen=True, slots=True)
class HitCount:
    """How often one link (or the image, `number` 0) was requested, by verdict; `url` is '' for the image."""

    kind: HitKind
    number: int
    url: str
    counts: Mapping[Verdict, int]

    @property
    def raw(self) -> int:
        """All requests."""
        return sum(self.counts.values())


class TrackingStore(Protocol):
    """Every method is one transaction."""

    def keep_links(self, run: RunName, urls: Sequence[str]) -> None:
        """Stores the targets of an issue's links, numbered from 1 in this order. The same again changes nothing. Raises
        GuardRefused, and changes nothing, where others are stored: links that were mailed keep their target."""
        ...

    def target(self, run: RunName, number: int) -> str | None:
        """Where a link leads; None where the issue has no such link."""
        ...

    def record(self, hits: Sequence[Hit]) -> None:
        """Counts requests, and keeps those with a `subscriber_id` by themselves, too."""
        ...

    def of_person(self, subscriber_id: int) -> Sequence[Hit]:
        """What is kept of one person's clicks and opens, the oldest first."""
        ...

    def prune(self, *, before: dt.datetime, limit: int = 10_000) -> int:
        """Removes whose clicks and opens from before then are kept, at most so many; how many. The counts stay."""
        ...

    def counts(self, run: RunName) -> Sequence[HitCount]:
        """The issue's links and opens, in numbers."""
        ...
