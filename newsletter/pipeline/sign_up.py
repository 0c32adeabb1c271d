"""Somebody asks for a newsletter: what they typed is looked at, counted, and put down until they confirm it.

Nothing here looks whether the address is known. Whoever asks learns nothing of anybody, and it takes the same time.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from newsletter.audience.addresses import BadAddress, parse_address
from newsletter.audience.signups import Asked, Quota, SignUpRequest, SignUpStore
from newsletter.rendering.escaping import clean_text
from newsletter.settings.loaded import Loaded
from newsletter.settings.model import SignUps

#: A network of one subscriber (RFC 6177): who has one address of it has them all.
_IPV6_BITS = 64


@dataclass(frozen=True, slots=True)
class Typed:
    """What somebody typed into a form, and where. `source` is the page; `wording` the sentence that stood beside the
    button; `ip` is '' where it is not known."""

    email: str
    name: str = ""
    source: str = ""
    wording: str = ""
    ip: str = ""


class SignUpResult(StrEnum):
    """What a request came to, as far as whoever asked may know."""

    #: A mail is on its way, or it is not: that is nobody's business.
    TAKEN = "taken"
    #: No address was typed.
    MISSING = "missing"
    #: It is none that mail can be sent to.
    INVALID = "invalid"
    #: A quota is used up.
    TOO_MANY = "too_many"


def sign_up(store: SignUpStore, loaded: Loaded, newsletter: str, typed: Typed, *, now: dt.datetime) -> SignUpResult:
    """Puts a request for `newsletter`, which is in the settings, down."""
    if not typed.email.strip():
        return SignUpResult.MISSING
    try:
        address = parse_address(typed.email)
    except BadAddress:
        return SignUpResult.INVALID
    settings, signup = loaded.settings.newsletters[newsletter], loaded.settings.web.signup
    request = SignUpRequest(
        newsletter=newsletter,
        list=settings.lists[0],
        key=address.key,
        address=address.address,
        name=clean_text(typed.name),
        language=settings.language or loaded.settings.site.language,
        source=clean_text(typed.source, limit=None),
        wording=clean_text(typed.wording, limit=None),
        ip=typed.ip,
    )
    asked = store.ask(
        request,
        tuple(quotas(request, signup)),
        expires_after=signup.expires,
        again_after=signup.again_after,
        now=now,
    )
    return SignUpResult.TOO_MANY if asked is Asked.OVER_QUOTA else SignUpResult.TAKEN


def quotas(request: SignUpRequest, signup: SignUps) -> Iterator[Quota]:
    """The quotas that a request on the web counts against."""
    yield Quota("ip", network_of(request.ip), signup.per_ip)  # all whose address is not known count as one
    yield Quota("domain", request.key.rpartition("@")[2], signup.per_domain)
    yield Quota("all", "", signup.in_total)


def network_of(ip: str) -> str:
    """Whom an address counts for: itself, or its /64 where it is IPv6. What is no address counts as it is written."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ip
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.IPv6Network((int(address), _IPV6_BITS), strict=False))
    return str(address)
