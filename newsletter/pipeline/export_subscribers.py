"""`subscribers export`: the people on the lists as CSV, which `subscribers import` takes back."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Callable, Iterator

from newsletter.audience.addresses import displayed
from newsletter.audience.csv_columns import COLUMNS as READ
from newsletter.audience.model import ConsentState
from newsletter.audience.people import Membership, Person, Selection, Suppression, SuppressionReason
from newsletter.audience.spreadsheets import guarded
from newsletter.audience.store import AudienceStore

#: One row for each list that somebody is on. `state` is pending, subscribed, unsubscribed, or the reason of another
#: suppression; `since` is when that began, `scope` whether it keeps them off `all` lists or this `list`; `attributes`
#: is a JSON object. The others mean what they mean in any file.
_EMAIL_NAME_LIST, _OTHERS = READ[:3], READ[3:]
COLUMNS = (*_EMAIL_NAME_LIST, "state", "since", "scope", *_OTHERS, "attributes")
#: How an export begins, also one of another version.
HEADS = ("email,name,list,state,since",)
#: Rows that are written with one call.
_CHUNK = 500


def export_subscribers(
    store: AudienceStore,
    selection: Selection,
    write: Callable[[bytes], object],
    *,
    raw: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Writes the people of `selection`, whatever their state, by address, as CSV in UTF-8; returns how many rows.

    Cells that a spreadsheet would run as formulas are guarded by an apostrophe, unless `raw`; an import takes it away
    again. Memory is constant. `progress` hears how many rows so far.
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    count = 0
    for count, cells in enumerate(_rows(store.people(selection), frozenset(selection.lists)), start=1):
        rows.writerow(cells if raw else [guarded(cell) for cell in cells])
        if count % _CHUNK == 0:
            write(_taken(text))
            progress(count)
    write(_taken(text))
    progress(count)
    return count


def _rows(people: Iterator[Person], lists: frozenset[str]) -> Iterator[tuple[str, ...]]:
    for person in people:
        attributes = (
            json.dumps(dict(person.attributes), ensure_ascii=False, sort_keys=True) if person.attributes else ""
        )
        for member in person.memberships:
            if member.list in lists:
                state, since, scope = _state(person, member)
                yield (
                    displayed(person.address),
                    person.name,
                    member.list,
                    state,
                    written(since),
                    scope,
                    ";".join(person.tags),
                    person.timezone,
                    person.language,
                    *_consent(person, member),
                    attributes,
                )


def _state(person: Person, member: Membership) -> tuple[str, dt.datetime, str]:
    """What keeps somebody off a list goes before their membership, and what only an operator lifts before all.

    What holds for all lists but some is told of each of the others alone: elsewhere it must leave those be.
    """
    standing = [one for one in person.suppressions if one.stands(member.list)]
    if not standing:
        return member.state.value, member.since, ""
    first: Suppression = min(standing, key=lambda one: (one.reason is SuppressionReason.UNSUBSCRIBE, one.id))
    scope = "list" if first.list or first.lifted_for else "all"
    if first.reason is SuppressionReason.UNSUBSCRIBE:
        return ConsentState.UNSUBSCRIBED.value, first.at, scope
    return first.reason.value, first.at, scope


def _consent(person: Person, member: Membership) -> tuple[str, str, str, str]:
    """The latest consent, of those who are subscribed; an older one must not bring anybody back elsewhere."""
    said = [one for one in person.consents if one.list == member.list]
    if member.state is not ConsentState.SUBSCRIBED or not said:
        return "", "", "", ""
    latest = max(said, key=lambda one: one.at)
    return written(latest.at), latest.source, latest.wording, latest.ip


def written(moment: dt.datetime) -> str:
    """A time as files have it: `2026-01-07T06:30:00Z`."""
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _taken(text: io.StringIO) -> bytes:
    """What was written so far, once."""
    data = text.getvalue().encode("utf-8")
    text.seek(0)
    text.truncate()
    return data
