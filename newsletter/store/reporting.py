"""What a report changes in a batch: a row in memory goes in and is changed. Only later attempts are looked up.

The same report again changes nothing: an answer counts for those who still wait for one, and "accepted" counts always.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import sqlalchemy as sa

from newsletter.delivery.model import Accepted, Busy, Outcome, Refused, Unknown
from newsletter.delivery.run_values import Report
from newsletter.delivery.states import Change, DeliveryState
from newsletter.store.attempts import claimed_since
from newsletter.store.batch_rows import BatchRow

_S = DeliveryState
#: Those who wait for an answer; an unknown one may still come, from a process that was thought dead.
_AWAITING = frozenset({_S.IN_FLIGHT, _S.UNKNOWN})
#: From these an acceptance that comes late leads to ACCEPTED, as any other evidence does.
_PROVABLE = frozenset({_S.IN_FLIGHT, _S.UNKNOWN, _S.RETRY_WAIT, _S.ABANDONED})


@dataclass(slots=True)
class Applied:
    """What a report changed: how many members, whether some were accepted or are to be tried again; the words to keep
    as (code, reason) by subscriber, and the subscribers whose words no longer matter. `common` are words that hold for
    everybody in the report."""

    changed: int = 0
    accepted: set[int] = field(default_factory=set)
    again: bool = False
    notes: dict[int, tuple[str, str]] = field(default_factory=dict)
    common: str = ""


def apply_report(connection: sa.Connection, row: BatchRow, report: Report, *, cancelled: bool) -> Applied:
    """Changes the states in `row` (`cancelled`: of a run that nobody sends on). Raises ValueError for strangers."""
    newer: Collection[int] = ()
    if report.claim.attempt < row.attempts:
        later = claimed_since(connection, row.run_id, row.number, report.claim.attempt)
        newer = range(len(row.ids)) if later is None else later
    applied = Applied()
    if not newer and _all_accepted(row, report):
        applied.changed = len(report.outcomes)
        applied.accepted = set(report.outcomes)
        return applied
    for subscriber_id, outcome in report.outcomes.items():
        place = row.place(subscriber_id)
        if place is None:
            raise ValueError(f"subscriber {subscriber_id} is no member of batch {row.number}")
        _apply(row, place, outcome, report, place in newer, applied)
        if cancelled and row.state(place) is _S.RETRY_WAIT:
            row.change(place, Change.CANCEL)
    if applied.changed == len(report.outcomes):
        applied.common = _common_words(report)
    return applied


def _all_accepted(row: BatchRow, report: Report) -> bool:
    """The usual case, and most of the work of a run: everybody was in flight, and is accepted."""
    if set(map(type, report.outcomes.values())) != {Accepted}:
        return False
    places = row.all_places(list(report.outcomes))
    if places is None or not row.all_in(places, _S.IN_FLIGHT):
        return False
    row.change_all(places, Change.ACCEPT)
    return True


def _apply(row: BatchRow, place: int, outcome: Outcome, report: Report, superseded: bool, applied: Applied) -> None:
    before, subscriber_id = row.state(place), row.ids[place]
    if isinstance(outcome, Accepted):
        if before in _PROVABLE:
            awaited = before in _AWAITING and not superseded
            row.change(place, Change.ACCEPT if awaited else Change.EVIDENCE)
            applied.changed += 1
            applied.accepted.add(subscriber_id)
        return
    if superseded or before not in _AWAITING:
        return
    match outcome:
        case Refused(reason, code):
            after = row.change(place, Change.REJECT)
            applied.notes[subscriber_id] = (code, reason)
        case Busy(reason):
            after = row.change(place, Change.POSTPONE)
            if report.retry_at is None:
                row.change(place, Change.EXPIRE)
                after = _S.EXPIRED
            if not report.split:  # then it is about another one of them
                applied.notes[subscriber_id] = ("", reason)
        case Unknown(reason):
            after = row.change(place, Change.LOSE)
            applied.notes[subscriber_id] = ("", reason)
    # what was unknown before stays as it was when the answer is unknown too
    applied.changed += after is not before
    applied.again = applied.again or after is _S.RETRY_WAIT


def _common_words(report: Report) -> str:
    """The reason, where several are busy or unknown for the same one: it need not be kept for each of them. Of a single
    one it may name them, and has to go when they are erased."""
    if len(report.outcomes) == 1:
        return ""
    words = {(type(one), "" if isinstance(one, Accepted) else one.reason) for one in report.outcomes.values()}
    if len(words) != 1:
        return ""
    [(kind, reason)] = words
    return reason if kind in {Busy, Unknown} and not report.split else ""
