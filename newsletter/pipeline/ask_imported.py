"""People on a file whose consent is not recorded are asked by mail whether they want the newsletter."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from newsletter.audience.model import ConsentState, Subscriber
from newsletter.audience.people import Person
from newsletter.audience.signups import Asked, SignUpRequest, SignUpStore
from newsletter.audience.store import AudienceStore
from newsletter.pipeline.confirmation_mail import IMPORTED
from newsletter.settings.loaded import Loaded


@dataclass(slots=True)
class AskedPeople:
    """How many of the pending people are asked now, and how many were lately; the lists of those who cannot be, because
    no newsletter, or more than one, goes to them."""

    requested: int = 0
    lately: int = 0
    unclear: dict[str, int] = field(default_factory=dict)


def ask_imported(
    audience: AudienceStore,
    signups: SignUpStore,
    loaded: Loaded,
    rows: Iterable[Subscriber],
    *,
    file: str,
    newsletter: str | None,
    now: dt.datetime,
    progress: Callable[[int], None] = lambda _: None,
) -> AskedPeople:
    """Puts down a request for everybody in `rows`, which were imported from `file`, who is pending on a list of theirs.

    Their mails are due then. `newsletter` says which one is meant where several go to a list. No quota holds: it is an
    operator who asks.
    """
    asked, met = AskedPeople(), set()
    signup = loaded.settings.web.signup
    for number, row in enumerate(rows, start=1):
        progress(number)
        if row.left is not None or (row.consent_at is not None and not row.consent_unclear):
            continue
        person = audience.person(row.key)
        for name in row.lists:
            if person is None or not _may_be_asked(person, name):
                continue
            if (row.key, name) in met:  # a file may name somebody twice
                continue
            met.add((row.key, name))
            meant = _newsletter_of(loaded, name, newsletter)
            if meant is None:
                asked.unclear[name] = asked.unclear.get(name, 0) + 1
                continue
            request = _request(loaded, person, name, meant, file)
            answer = signups.ask(request, (), expires_after=signup.expires, again_after=signup.again_after, now=now)
            asked.requested += answer is Asked.DUE
            asked.lately += answer is Asked.AGAIN
    return asked


def _may_be_asked(person: Person, list_name: str) -> bool:
    pending = any(one.list == list_name and one.state is ConsentState.PENDING for one in person.memberships)
    return pending and not any(one.stands(list_name) for one in person.suppressions)


def _newsletter_of(loaded: Loaded, list_name: str, named: str | None) -> str | None:
    going = [name for name, one in loaded.settings.newsletters.items() if list_name in one.lists]
    if named in going:
        return named
    return going[0] if len(going) == 1 else None


def _request(loaded: Loaded, person: Person, list_name: str, newsletter: str, file: str) -> SignUpRequest:
    settings = loaded.settings
    return SignUpRequest(
        newsletter=newsletter,
        list=list_name,
        key=person.key,
        address=person.address,
        name=person.name,
        language=person.language or settings.newsletters[newsletter].language or settings.site.language,
        timezone=person.timezone,
        source=f"{IMPORTED}{file}",
    )
