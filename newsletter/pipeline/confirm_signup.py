"""The second half of double opt-in: the person presses the button, and is subscribed."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum

from newsletter.audience.model import Subscriber
from newsletter.audience.people import Consent
from newsletter.audience.signups import SignUp, SignUpStore
from newsletter.audience.store import AudienceStore


class Stand(StrEnum):
    """How it stands with a request, or what confirming it came to."""

    #: It can be confirmed.
    OPEN = "open"
    #: It was, just now.
    CONFIRMED = "confirmed"
    #: It was before; whatever happened since, nothing is changed.
    ALREADY = "already"
    #: It is too old, or was pruned, or the person was erased.
    EXPIRED = "expired"
    #: A suppression stands that the person's own confirmation does not end.
    BARRED = "barred"


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A request and how it stands with it. `signup` is None where nothing is left of it, `subscriber_id` where nobody
    was subscribed just now."""

    stand: Stand
    signup: SignUp | None = None
    subscriber_id: int | None = None


def look_up(signups: SignUpStore, number: int, newsletter: str, *, now: dt.datetime) -> Confirmation:
    """How it stands with the request of this number. Changes nothing."""
    signup = signups.find(number)
    if signup is None or signup.request.newsletter != newsletter:
        return Confirmation(Stand.EXPIRED)
    if signup.confirmed_at is not None:
        return Confirmation(Stand.ALREADY, signup)
    return Confirmation(Stand.OPEN if now < signup.expires_at else Stand.EXPIRED, signup)


def confirm_signup(
    signups: SignUpStore,
    audience: AudienceStore,
    number: int,
    newsletter: str,
    *,
    wording: str,
    ip: str,
    now: dt.datetime,
) -> Confirmation:
    """Subscribes the person whose request has this number, once; `wording` is what stood beside the button that they
    pressed, which counts where they asked for it in no words of ours, and `ip` where they pressed it.

    The consent says where and when they asked, in what words, and when they confirmed.
    """
    found = look_up(signups, number, newsletter, now=now)
    if found.stand is not Stand.OPEN or found.signup is None:
        return found
    request = found.signup.request
    row = Subscriber(
        key=request.key,
        address=request.address,
        name=request.name,
        lists=(request.list,),
        language=request.language,
        timezone=request.timezone,
    )
    if not audience.confirm(row, request.list, consent=_consent(found.signup, wording, ip, now), now=now):
        return Confirmation(Stand.BARRED, found.signup)
    signups.confirmed(found.signup.id, now=now)
    person = audience.person(request.key)
    return Confirmation(Stand.CONFIRMED, found.signup, person.id if person else None)


def _consent(signup: SignUp, wording: str, ip: str, now: dt.datetime) -> Consent:
    asked = f"{signup.request.source}, asked for on {signup.asked_at:%Y-%m-%d %H:%M} UTC"
    if signup.request.ip:
        asked += f" from {signup.request.ip}"
    return Consent(
        signup.request.list, now, source=f"{asked}, confirmed by mail", wording=signup.request.wording or wording, ip=ip
    )
