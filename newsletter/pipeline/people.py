"""One person at a time: added, taken off, shown and erased, as an operator asks for it."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass

from newsletter.audience.addresses import Address, BadAddress, displayed, parse_address
from newsletter.audience.csv_cells import timezones
from newsletter.audience.csv_file import clean_cell
from newsletter.audience.model import ConsentState, Subscriber
from newsletter.audience.people import Consent, Lift, Person, Suppression
from newsletter.audience.store import AudienceStore
from newsletter.delivery.run_values import Delivery
from newsletter.errors import GuardRefused, NothingToDo, UsageError
from newsletter.pipeline.run_report import delivery_document
from newsletter.settings.loaded import Loaded
from newsletter.settings.pick import pick_newsletter
from newsletter.settings.suggest import did_you_mean

_LANGUAGE = re.compile(r"(?=.{2,35}$)[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
#: What a record says of where it comes from.
SOURCE = "cli"


def address_of(typed: str) -> Address:
    """The address that a user typed. Raises UsageError."""
    try:
        return parse_address(typed)
    except BadAddress as error:
        raise UsageError(f"{typed!r} cannot be mailed: {error}", hint="Type it as name@example.com.") from None


def shown_address(person: Person) -> str:
    """Their address for people to read: an IDN in its own script."""
    return displayed(person.address)


def list_of(loaded: Loaded, newsletter: str | None, named: str | None) -> str:
    """The list that somebody is put on: the one named, else the newsletter's, where it has one. Raises UsageError."""
    if named:
        return named
    name, found = pick_newsletter(loaded.settings, newsletter)
    lists = found.lists or (name,)
    if len(lists) > 1:
        raise UsageError(f"{name} goes to several lists", hint=f"Name one with --list: {', '.join(lists)}.")
    return lists[0]


def all_lists(loaded: Loaded, store: AudienceStore) -> set[str]:
    """Every list that anybody is on, or a newsletter goes to."""
    lists = set(store.lists())
    for name, newsletter in loaded.settings.newsletters.items():
        lists.update(newsletter.lists or (name,))
    return lists


def known_list(loaded: Loaded, store: AudienceStore, named: str | None) -> str | None:
    """The list named, if anybody is on it or a newsletter goes to it; None is all. Raises UsageError on a typo."""
    if named is None:
        return None
    lists = all_lists(loaded, store)
    if named not in lists:
        meant = did_you_mean(named, lists)
        hint = f"{meant} The lists are: {', '.join(sorted(lists))}. An import into a list makes it.".lstrip()
        raise UsageError(f"there is no list {named!r}", hint=hint)
    return named


def row_of(address: Address, *, name: str, tags: Sequence[str], timezone: str, language: str) -> Subscriber:
    """What a user typed about somebody, as a file would say it. Raises UsageError: no time zone, no language."""
    if timezone and timezone not in timezones():
        hint = "Give a name of the IANA database, such as Europe/Warsaw."
        raise UsageError(f"{timezone!r} is no time zone", hint=hint)
    if language and not _LANGUAGE.fullmatch(language):
        raise UsageError(f"{language!r} is no language tag", hint="Give one such as pl or pt-BR (RFC 5646).")
    return Subscriber(
        key=address.key,
        address=address.address,
        name=clean_cell(name),
        tags=tuple(clean_cell(one) for one in tags),
        timezone=timezone,
        language=clean_cell(language),
    )


@dataclass(frozen=True, slots=True)
class Added:
    """What putting somebody on a list came to; `lifted`: how many suppressions it ended."""

    state: ConsentState
    lifted: int = 0


def add_person(
    store: AudienceStore,
    row: Subscriber,
    list_name: str,
    *,
    consent: Consent | None,
    reconsent: str,
    now: dt.datetime,
) -> Added:
    """Puts somebody on a list. `reconsent`, the operator's reason, first lifts what stands against it.

    Raises GuardRefused where a suppression stands, or where they had left and there is no consent since.
    """
    lifted = 0
    if reconsent:
        said = consent or Consent(list_name, now, source=SOURCE, wording=reconsent)
        lifted = store.resubscribe(row, list_name, consent=said, why=reconsent, now=now)
    elif not store.subscribe(row, list_name, consent=consent, now=now):
        raise GuardRefused(
            f"{row.address} is kept off {list_name}: {_why_not(store.person(row.key), list_name)}",
            hint='Only if they asked to come back: the same command with --reconsent "why".',
        )
    person = store.person(row.key)
    states = [one.state for one in person.memberships if one.list == list_name] if person else []
    return Added(states[0], lifted)


def remove_person(
    store: AudienceStore, key: str, list_name: str | None, *, note: str, now: dt.datetime, source: str = SOURCE
) -> None:
    """Records that somebody left a list (None: all). Raises NothingToDo where they had left before."""
    if not store.unsubscribe(key, list_name, source=source, note=note, now=now):
        hint = f"newsletter subscribers show {key} shows since when"
        raise NothingToDo(f"{key} had left {list_name or 'all lists'} before", hint=hint)


def erase_person(store: AudienceStore, key: str, *, now: dt.datetime, source: str = SOURCE) -> tuple[bool, bool]:
    """Removes somebody everywhere: whether anything was known of them, and whether the database's files are clean.

    Done again, it cleans them again.
    """
    known = store.erase(key, source=source, now=now)
    return known, store.scrub()


def person_of(store: AudienceStore, key: str) -> Person:
    """Everything held about somebody. Raises NothingToDo where that is nothing."""
    person = store.person(key)
    if person is None:
        raise NothingToDo(f"nothing is held about {key}", hint="newsletter subscribers list shows who there is")
    return person


def state_of(person: Person) -> ConsentState:
    """What somebody has said, over all lists: subscribed to any, else pending on any, else unsubscribed.

    A bounce or a complaint says nothing about it: see the suppressions.
    """
    states = {one.state for one in person.memberships}
    return next(
        (state for state in (ConsentState.SUBSCRIBED, ConsentState.PENDING) if state in states),
        ConsentState.UNSUBSCRIBED,
    )


def standing(person: Person, list_name: str | None = None) -> list[Suppression]:
    """The suppressions that stand against somebody (on this list, if one is named)."""
    return [one for one in person.suppressions if one.stands(list_name)]


def person_document(person: Person, deliveries: Sequence[Delivery] | None = None) -> dict[str, object]:
    """Everything held about somebody, as an access request wants it (GDPR, article 15).

    `deliveries` are those in all runs, the latest first; None: they were not looked up, and are left out.
    """
    looked_up = {} if deliveries is None else {"deliveries": [delivery_document(one) for one in deliveries]}
    return {
        "email": shown_address(person),
        "state": state_of(person).value,
        "lists": [one.list for one in person.memberships],
        "name": person.name,
        "language": person.language,
        "timezone": person.timezone,
        "tags": list(person.tags),
        "attributes": dict(person.attributes),
        "created_at": _iso(person.created_at),
        "paused_until": _iso(person.paused_until),
        "measures_opens": person.measures_opens,
        "memberships": [
            {"list": one.list, "state": one.state.value, "since": _iso(one.since)} for one in person.memberships
        ],
        "suppressions": [suppression_document(one) for one in person.suppressions],
        "consents": [
            {
                "list": one.list,
                "at": _iso(one.at),
                "source": one.source,
                "wording": one.wording,
                "ip": one.ip,
                "recorded_at": _iso(one.recorded_at),
            }
            for one in person.consents
        ],
        "opens_consents": [
            {"given": one.given, "at": _iso(one.at), "wording": one.wording, "ip": one.ip}
            for one in person.opens_consents
        ],
        **looked_up,
    }


def suppression_document(one: Suppression) -> dict[str, object]:
    """A suppression for programs; `key` of an erased person begins with `hmac:`."""
    return {
        "key": one.key,
        "reason": one.reason.value,
        "list": one.list,
        "at": _iso(one.at),
        "source": one.source,
        "note": one.note,
        "lift": _lift_document(one.lift) if one.lift else None,
        "lifted_for": [{"list": lift.list, **_lift_document(lift)} for lift in one.lifted_for],
    }


def _lift_document(lift: Lift) -> dict[str, object]:
    return {"at": _iso(lift.at), "by": lift.by.value, "note": lift.note}


def _why_not(person: Person | None, list_name: str) -> str:
    against: Sequence[Suppression] = standing(person, list_name) if person else ()
    if not against:
        return "they had left it, and no consent is recorded since"
    return ", ".join(f"{one.reason.value.replace('_', ' ')} on {one.at:%Y-%m-%d}" for one in against)


def _iso(moment: dt.datetime | None) -> str | None:
    return moment.isoformat() if moment else None
