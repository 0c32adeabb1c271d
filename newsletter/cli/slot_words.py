"""A slot of the schedule in words, and for programs."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from newsletter.schedule.model import Readiness, SlotState

if TYPE_CHECKING:
    from newsletter.schedule.model import ListedSlot, SlotRecord

#: For people, where a word alone says too little.
_READINESS = {Readiness.MISSING: "no issue file yet"}


def document(listed: ListedSlot) -> dict[str, object]:
    """For programs. `state` is how far the issue is; `record`, where there is one, what became of the slot."""
    slot, record = listed.slot, listed.record
    return {
        "newsletter": slot.newsletter,
        "date": slot.date.isoformat(),
        "edition": slot.edition,
        "local": slot.at.isoformat(),
        "utc": slot.at.astimezone(dt.UTC).isoformat(),
        "deadline": slot.deadline.isoformat(),
        "state": listed.issue.readiness.value,
        "why": listed.issue.why,
        "enabled": listed.enabled,
        "record": {"state": record.state.value, "reason": record.reason} if record else None,
    }


def line(listed: ListedSlot, *, several: bool) -> tuple[str, str, str]:
    """When, what (the newsletter where there are `several`, and the edition), and how it stands."""
    slot = listed.slot
    if listed.issue.readiness is Readiness.SKIPPED:
        when = f"{slot.date:%a %Y-%m-%d}"
    else:
        when = moment(slot.at)
        if slot.at.date() != slot.date:
            when += f" for {slot.date:%a %Y-%m-%d}"
    what = ".".join(filter(None, [slot.newsletter if several else "", slot.edition]))
    return when, what, _became(listed.record) or _stands(listed)


def moment(at: dt.datetime) -> str:
    """`Thu 2026-01-08 06:30 HKT (UTC+8)`; a zone whose name is only its offset is not named."""
    name = at.tzname() or ""
    seconds = f"{at:%S}" if at.second else ""
    clock = f"{at:%a %Y-%m-%d %H:%M}{':' if seconds else ''}{seconds}"
    return f"{clock} {name} ({_offset(at)})" if name.isalpha() else f"{clock} ({_offset(at)})"


def _offset(at: dt.datetime) -> str:
    """`UTC`, `UTC+8`, `UTC-3:30`."""
    ahead = at.utcoffset() or dt.timedelta()
    sign, minutes = "-" if ahead < dt.timedelta() else "+", abs(ahead) // dt.timedelta(minutes=1)
    hours, rest = divmod(minutes, 60)
    if not minutes:
        return "UTC"
    return f"UTC{sign}{hours}:{rest:02}" if rest else f"UTC{sign}{hours}"


def _stands(listed: ListedSlot) -> str:
    issue = listed.issue
    if issue.readiness in _READINESS:
        return _READINESS[issue.readiness]
    return f"{issue.readiness}: {issue.why}" if issue.why else issue.readiness.value


def _became(record: SlotRecord | None) -> str:
    if record is None or record.state is SlotState.SKIPPED:
        return ""
    if record.state is SlotState.MISSED:
        return f"missed: {record.reason}" if record.reason else "missed"
    return f"{record.state}: newsletter status {record.name}"
