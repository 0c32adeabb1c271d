"""What programs ask for over the API: somebody is added, changed or taken off. The rules are those of `people`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from newsletter.audience.addresses import Address
from newsletter.audience.model import ConsentState, Subscriber
from newsletter.audience.people import Consent, Person, Preferences, Suppression
from newsletter.audience.signups import Asked, SignUpRequest, SignUpStore
from newsletter.audience.store import AudienceStore
from newsletter.errors import GuardRefused, NothingToDo, UsageError
from newsletter.pipeline import people
from newsletter.rendering.escaping import clean_text
from newsletter.settings.loaded import Loaded

#: Longest attribute, wording and note. Longer ones are cut.
LONGEST = 2_000
#: How far a clock may be ahead of ours.
_AHEAD = dt.timedelta(minutes=5)
#: Email is no older.
_FIRST_YEAR = 1990


@dataclass(frozen=True, slots=True)
class NewSubscriber:
    """Somebody as a program describes them. With a `consent` they are subscribed, else pending; `confirm` then has them
    asked by mail, for `newsletter` ('': the one that goes to the list)."""

    email: str
    list: str
    name: str = ""
    language: str = ""
    timezone: str = ""
    tags: Sequence[str] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    consent: Consent | None = None
    confirm: bool = False
    newsletter: str = ""


@dataclass(frozen=True, slots=True)
class Subscribed:
    """What adding somebody came to. `new`: they were not on the list before; `confirmation`: what became of asking
    them, None where they were not asked."""

    address: str
    list: str
    state: ConsentState
    new: bool
    confirmation: Asked | None = None


class KeptOff(GuardRefused):
    """Somebody left, or must not be mailed, and the API brings nobody back. `suppressions` are those that stand."""

    def __init__(self, message: str, suppressions: Sequence[Suppression]) -> None:
        self.suppressions = tuple(suppressions)
        hint = "Only they themselves come back, by subscribing on the web; or an operator says why."
        super().__init__(message, hint=hint)


def add_subscriber(
    store: AudienceStore, signups: SignUpStore, loaded: Loaded, asked: NewSubscriber, *, source: str, now: dt.datetime
) -> Subscribed:
    """Puts somebody on a list, and asks them to confirm it where that is wanted.

    Raises UsageError on what makes no sense, and KeptOff where a suppression stands, or where they had left and have
    not consented since.
    """
    address = people.address_of(asked.email)
    chosen = people.known_list(loaded, store, asked.list) or asked.list
    row, consent = _row(address, asked), _consent(asked.consent, now)
    newsletter = _newsletter_of(loaded, chosen, asked.newsletter) if asked.confirm else ""
    if consent is not None and asked.confirm:
        raise UsageError("with a consent there is nothing to confirm", hint="Leave out consent, or confirm.")
    before = store.person(address.key)
    if not store.subscribe(row, chosen, consent=consent, now=now):
        raise _kept_off(store.person(address.key), address, chosen)
    state = _state_on(store.person(address.key), chosen)
    new = before is None or _state_on(before, chosen) is None
    if state is None:  # erased, or taken off, in this very moment
        raise KeptOff(f"{address.shown} was taken off {chosen} at the same moment", ())
    mail = None
    if asked.confirm and state is ConsentState.PENDING:
        signup = loaded.settings.web.signup
        mail = signups.ask(
            _request(row, chosen, newsletter, source),
            (),  # quotas are for the web, where anybody may ask
            expires_after=signup.expires,
            again_after=signup.again_after,
            now=now,
        )
    return Subscribed(address.shown, chosen, state, new, mail)


def change_subscriber(store: AudienceStore, email: str, preferences: Preferences) -> Person:
    """Changes what is kept of somebody; they as they are then. Raises UsageError, and NothingToDo for nobody."""
    address = people.address_of(email)
    person = subscriber_at(store, address)
    row = people.row_of(
        address, name="", tags=(), timezone=preferences.timezone or "", language=preferences.language or ""
    )
    wanted = Preferences(
        name=None if preferences.name is None else clean_text(preferences.name),
        language=None if preferences.language is None else row.language,
        timezone=None if preferences.timezone is None else row.timezone,
    )
    assert person.id is not None
    store.change(person.id, wanted)
    return subscriber_at(store, address)


def subscriber_at(store: AudienceStore, address: Address) -> Person:
    """The subscriber with this address. Raises NothingToDo where there is none, or suppressions alone are left."""
    person = store.person(address.key)
    if person is None or person.id is None:
        raise NothingToDo(f"nobody has the address {address.shown}")
    return person


def leave_list(
    store: AudienceStore, loaded: Loaded, email: str, list_name: str | None, *, note: str, source: str, now: dt.datetime
) -> tuple[Address, bool]:
    """Takes somebody off a list (None: all); whether they were on it before. Done again, it changes nothing.

    Raises UsageError. The address need not be known: it must not be added later, either.
    """
    address = people.address_of(email)
    chosen = people.known_list(loaded, store, list_name)
    try:
        people.remove_person(store, address.key, chosen, note=one_line(note), now=now, source=source)
    except NothingToDo:
        return address, False
    return address, True


def _row(address: Address, asked: NewSubscriber) -> Subscriber:
    row = people.row_of(
        address,
        name=clean_text(asked.name),
        tags=[tag for one in asked.tags if (tag := clean_text(one))],
        timezone=asked.timezone,
        language=asked.language,
    )
    attributes = {label: one_line(value) for name, value in asked.attributes.items() if (label := clean_text(name))}
    return replace(row, attributes=attributes)


def _consent(said: Consent | None, now: dt.datetime) -> Consent | None:
    if said is None:
        return None
    if said.at > now + _AHEAD:
        raise UsageError(f"the consent is of {said.at:%Y-%m-%d %H:%M %Z}, which is still to come")
    if said.at.year < _FIRST_YEAR:
        raise UsageError(f"the consent is of {said.at.year}, which is before there was email")
    source = clean_text(said.source)
    if not source:
        raise UsageError("the consent has no source", hint="Say where they asked for it: shop checkout, fair 2026.")
    return replace(said, source=source, wording=one_line(said.wording))


def _newsletter_of(loaded: Loaded, list_name: str, named: str) -> str:
    """The newsletter that a confirmation mail is of. Raises UsageError where it is not clear."""
    found = [name for name, one in loaded.settings.newsletters.items() if list_name in one.lists]
    if named and named not in found:
        raise UsageError(f"{named} does not go to the list {list_name}", hint=f"Those that do: {', '.join(found)}.")
    if not named and len(found) != 1:
        there = f"there are several: {', '.join(found)}" if found else "no newsletter goes to it"
        raise UsageError(f"which newsletter to confirm for the list {list_name}? {there}", hint="Name it: newsletter.")
    return named or found[0]


def _request(row: Subscriber, list_name: str, newsletter: str, source: str) -> SignUpRequest:
    return SignUpRequest(
        newsletter=newsletter,
        list=list_name,
        key=row.key,
        address=row.address,
        name=row.name,
        language=row.language,
        timezone=row.timezone,
        source=source,
    )


def _kept_off(person: Person | None, address: Address, list_name: str) -> KeptOff:
    against = people.standing(person, list_name) if person else []
    reasons = ", ".join(f"{one.reason.value.replace('_', ' ')} on {one.at:%Y-%m-%d}" for one in against)
    why = reasons or "they had left it, and no consent is recorded since"
    return KeptOff(f"{address.shown} is kept off {list_name}: {why}", against)


def _state_on(person: Person | None, list_name: str) -> ConsentState | None:
    return next((one.state for one in person.memberships if one.list == list_name), None) if person else None


def one_line(text: str) -> str:
    """What a program says in words, as it is kept."""
    return clean_text(text, LONGEST)
