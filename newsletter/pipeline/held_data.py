"""Everything that is held about somebody, for themselves (GDPR, article 15)."""

from __future__ import annotations

from newsletter.audience.addresses import Address
from newsletter.audience.people import Person
from newsletter.audience.signups import SignUp, SignUpStore
from newsletter.audience.store import AudienceStore
from newsletter.delivery.ledger import Ledger
from newsletter.events.inbox import EventInbox
from newsletter.events.model import Event
from newsletter.events.tracking import Hit, TrackingStore
from newsletter.pipeline.people import person_document, person_of
from newsletter.pipeline.run_report import iso


def held_data(
    person: Person, *, ledger: Ledger, signups: SignUpStore, events: EventInbox, tracking: TrackingStore
) -> dict[str, object]:
    """The document: the person as `subscribers show --json` has them, and what other tables know of them."""
    number = person.id
    return {
        **person_document(person, () if number is None else ledger.deliveries_of(number)),
        "sign_ups": [_sign_up(one) for one in signups.of_person(person.key)],
        "events": [] if number is None else [_event(one) for one in events.of_person(number, person.key)],
        "clicks_and_opens": [] if number is None else [_hit(one) for one in tracking.of_person(number)],
    }


def whoever_is_held(audience: AudienceStore, signups: SignUpStore, address: Address) -> Person:
    """Everybody of whom something is held, also those who asked to subscribe and have not confirmed it.

    Raises NothingToDo where nothing is.
    """
    person = audience.person(address.key)
    if person is None and (asked := signups.of_person(address.key)):
        return Person(id=None, key=address.key, address=asked[-1].request.address)
    return person or person_of(audience, address.key)


def _sign_up(one: SignUp) -> dict[str, object]:
    asked = one.request
    return {
        "newsletter": asked.newsletter,
        "list": asked.list,
        "email": asked.address,
        "name": asked.name,
        "language": asked.language,
        "timezone": asked.timezone,
        "source": asked.source,
        "wording": asked.wording,
        "ip": asked.ip,
        "asked_at": iso(one.asked_at),
        "expires_at": iso(one.expires_at),
        "mailed_at": iso(one.mailed_at),
        "confirmed_at": iso(one.confirmed_at),
    }


def _event(one: Event) -> dict[str, object]:
    return {
        "kind": one.kind.value,
        "at": iso(one.at),
        "source": one.source,
        "run": str(one.run) if one.run else None,
        "code": one.code,
        "reason": one.reason,
        "reference": one.reference,
    }


def _hit(one: Hit) -> dict[str, object]:
    return {
        "run": str(one.run),
        "kind": one.kind.value,
        "link": one.number,
        "verdict": one.verdict.value,
        "at": iso(one.at),
    }
