"""What people change of themselves by the link in their mail: newsletters, name, language, time zone, a break."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from newsletter.audience.model import ConsentState, Subscriber
from newsletter.audience.people import Consent, Departure, Person, Preferences
from newsletter.audience.store import AudienceStore
from newsletter.pipeline.local_windows import zone_called
from newsletter.settings.model import Newsletter

#: What a record says of where it comes from.
SOURCE = "preferences"


@dataclass(frozen=True, slots=True)
class Choice:
    """A newsletter on somebody's page, and whether they get it."""

    name: str
    newsletter: Newsletter
    subscribed: bool


@dataclass(frozen=True, slots=True)
class OpensQuestion:
    """What somebody is asked to consent to: that opens of these newsletters are measured, and whether per person."""

    titles: tuple[str, ...]
    per_person: bool


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody asked for: newsletters to get and to leave, by name; `opens`: whether opens may be measured, None
    where they said nothing new."""

    join: frozenset[str] = frozenset()
    leave: frozenset[str] = frozenset()
    preferences: Preferences = field(default_factory=Preferences)
    opens: bool | None = None


@dataclass(frozen=True, slots=True)
class Saved:
    """What became of it, by title; `barred`: newsletters that a suppression keeps from them which does not yield."""

    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    barred: tuple[str, ...] = ()


def choices(newsletters: Mapping[str, Newsletter], person: Person | None) -> tuple[Choice, ...]:
    """The newsletters that are public, and those that the person gets or would get if they confirmed."""
    return tuple(
        Choice(name, newsletter, gets(person, newsletter))
        for name, newsletter in newsletters.items()
        if newsletter.public or _is_on(person, newsletter)
    )


def gets(person: Person | None, newsletter: Newsletter) -> bool:
    """Whether they are subscribed on one of its lists, with nothing that keeps mail from them."""
    return person is not None and any(
        one.list in newsletter.lists
        and one.state is ConsentState.SUBSCRIBED
        and not any(each.stands(one.list) for each in person.suppressions)
        for one in person.memberships
    )


def opens_question(newsletters: Mapping[str, Newsletter], person: Person | None) -> OpensQuestion | None:
    """What to ask about opens; None where nothing is measured of what they get. Who consented once is asked in any
    case, so that they can take it back."""
    measured = [one for one in newsletters.values() if one.tracking.opens and gets(person, one)]
    if not measured and not (person is not None and person.measures_opens):
        return None
    return OpensQuestion(tuple(one.title for one in measured), any(one.tracking.per_person for one in measured))


def save(
    store: AudienceStore,
    newsletters: Mapping[str, Newsletter],
    person: Person,
    wish: Wish,
    *,
    consent_wording: str,
    opens_wording: str,
    ip: str,
    now: dt.datetime,
) -> tuple[Saved, Person | None]:
    """Does what somebody asked for; what became of it, and the person as they are then. Each part may be repeated.

    Of `wish.join`, newsletters that are none of theirs to choose are passed over. The wordings are the sentences that
    they agreed to. What they leave goes first: a list may belong to several newsletters, and whoever leaves one of
    these has left it.
    """
    assert person.id is not None
    before = choices(newsletters, person)
    leaving = [one.newsletter for one in before if one.name in wish.leave]
    if leaving:
        lists = tuple(dict.fromkeys(name for one in leaving for name in one.lists))
        store.leave([Departure(person.id, lists, SOURCE)], now=now)
    barred = []
    for one in before:
        if one.name in wish.join:
            wording = f"{one.newsletter.title}: {consent_wording}"
            consent = Consent(one.newsletter.lists[0], now, source=SOURCE, wording=wording, ip=ip)
            row = Subscriber(key=person.key, address=person.address)
            if not store.confirm(row, consent.list, consent=consent, now=now, known_as=person.id):
                barred.append(one.newsletter.title)
    if wish.preferences != Preferences():
        store.change(person.id, wish.preferences)
    if wish.opens is not None:
        store.measure_opens(person.id, wish.opens, wording=opens_wording, ip=ip, now=now)
    there = store.person_of(person.id)
    joined = tuple(
        one.newsletter.title
        for one in before
        if not one.subscribed and gets(there, one.newsletter) and one.newsletter.title not in barred
    )
    left = tuple(one.newsletter.title for one in before if one.subscribed and not gets(there, one.newsletter))
    return Saved(joined, left, tuple(barred)), there


def zone_of(person: Person | None, newsletter: Newsletter | None) -> dt.tzinfo:
    """Whose clock a person's days are: their own, else the newsletter's."""
    own = zone_called(person.timezone) if person is not None else None
    return own or (newsletter.schedule.timezone if newsletter is not None else dt.UTC)


def start_of(day: dt.date, zone: dt.tzinfo) -> dt.datetime:
    """When the day begins there, in UTC; where midnight does not exist that day, an hour later."""
    return dt.datetime.combine(day, dt.time(), zone).astimezone(dt.UTC)


def _is_on(person: Person | None, newsletter: Newsletter) -> bool:
    return person is not None and any(
        one.list in newsletter.lists and one.state is not ConsentState.UNSUBSCRIBED for one in person.memberships
    )
