"""Clicks and opens that were requested become counts, as far as the settings and the reader's consent allow."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from newsletter.audience.store import AudienceStore
from newsletter.delivery.ledger import Ledger
from newsletter.delivery.names import RunName
from newsletter.events.tracking import Hit, HitKind, TrackingStore, Verdict


@dataclass(frozen=True, slots=True)
class Requested:
    """One request for a counted link (`number` from 1) or the image of opens (0).

    `reader` is whose token it had, None where it had none; `per_person` whether the settings let that be kept.
    """

    run: RunName
    kind: HitKind
    number: int
    verdict: Verdict
    at: dt.datetime
    reader: int | None = None
    per_person: bool = False


def count_hits(
    requested: Sequence[Requested], *, tracking: TrackingStore, people: AudienceStore, ledger: Ledger
) -> int:
    """Counts them in one transaction; how many.

    An open counts only where its reader consents to that at this moment, and the issue has a run: the image's address
    proves a consent of the past. Nothing is kept of the person of somebody who was erased.
    """
    hits = list(_hits(requested, people, ledger))
    tracking.record(hits)
    return len(hits)


def prune_hits(tracking: TrackingStore, *, keep: dt.timedelta, now: dt.datetime) -> int:
    """Removes what is kept of single people's clicks and opens that are older than `keep`; how many."""
    removed = 0
    while number := tracking.prune(before=now - keep):
        removed += number
    return removed


def _hits(requested: Sequence[Requested], people: AudienceStore, ledger: Ledger) -> Iterator[Hit]:
    asked = sorted({one.reader for one in requested if one.reader is not None})
    readers = {member.id: member for member in people.members(asked)} if asked else {}
    runs = {one.run for one in requested if one.kind is HitKind.OPEN}
    there = {run for run in runs if ledger.run(run) is not None}
    for one in requested:
        member = readers.get(one.reader) if one.reader is not None else None
        if one.kind is HitKind.OPEN and (member is None or not member.measures_opens or one.run not in there):
            continue
        whose = member.id if member is not None and one.per_person else None
        yield Hit(one.run, one.kind, one.number, one.verdict, one.at, whose)
