"""Events from what a returned message says, and from whose mail it is about. Pure but for the look into the ledger."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import replace

from newsletter.audience.addresses import BadAddress, parse_address
from newsletter.events.bounce_message import Finding, ReturnedMessage, Sort
from newsletter.events.model import Event, EventKind
from newsletter.pipeline.whose_mail import Owner, Owners

SOURCE = "bounces"
#: How the reason of an event begins that names somebody and proves nothing.
UNPROVEN = "unproven"
#: A message that claims to be older than this, and does not say which issue it is about, counts as of now.
_OLD = dt.timedelta(days=30)
#: From the mildest on: where a mail was forwarded to several addresses, it reached the person if it reached one.
_MILDEST = (
    EventKind.DELIVERED,
    EventKind.DEFERRED,
    EventKind.SOFT_BOUNCE,
    EventKind.BLOCKED,
    EventKind.OTHER,
    EventKind.HARD_BOUNCE,
    EventKind.UNSUBSCRIBED,
    EventKind.COMPLAINED,
)


def events_of(message: ReturnedMessage, data: bytes, owners: Owners, now: dt.datetime) -> Sequence[Event]:
    """What the message means: one event of the person whose mail it is proven to be about; else one without
    consequence for each address it names; none where it says nothing."""
    if not message.findings:
        return _leaving(message, data, owners, now)
    owner = owners.of_addresses((*message.addressed, message.sender_told)) or owners.of_quoted(message.quoted)
    if owner is None:
        return [_unproven(finding, message, data, number, now) for number, finding in enumerate(message.findings)]
    finding = min(message.findings, key=lambda one: _MILDEST.index(one.kind))
    event = _event(finding, message, data, 0, owner, now)
    if owner.subscriber_id == 0:  # a test of an issue: it shows that the address of some operator does not work
        return [replace(event, kind=EventKind.OTHER, key=_key(finding.address), run=None)]
    return [replace(event, run=owner.run, subscriber_id=owner.subscriber_id)]


def _leaving(message: ReturnedMessage, data: bytes, owners: Owners, now: dt.datetime) -> Sequence[Event]:
    """Whoever writes to the address of List-Unsubscribe leaves, whatever they write. An answering machine does not."""
    if message.sort not in (Sort.LETTER, Sort.GENERATED):
        return ()
    owner = owners.leaving(message.addressed)
    if owner is None or owner.subscriber_id == 0:
        return ()
    finding = Finding(EventKind.UNSUBSCRIBED, reason="by mail")
    event = _event(finding, message, data, 0, owner, now)
    return [replace(event, run=owner.run, subscriber_id=owner.subscriber_id)]


def _unproven(finding: Finding, message: ReturnedMessage, data: bytes, number: int, now: dt.datetime) -> Event:
    event = _event(finding, message, data, number, None, now)
    words = f"{UNPROVEN} {finding.kind.replace('_', ' ')}: {finding.reason}".rstrip(": ")
    return replace(event, kind=EventKind.OTHER, key=_key(finding.address), reason=words)


def _event(
    finding: Finding, message: ReturnedMessage, data: bytes, number: int, owner: Owner | None, now: dt.datetime
) -> Event:
    # of the same bytes the same, however often they are read
    fingerprint = hashlib.sha256(hashlib.sha256(data).digest() + f"{number} {finding.kind}".encode()).digest()[:16]
    return Event(
        kind=finding.kind,
        at=_at(message, owner, now),
        source=SOURCE,
        fingerprint=fingerprint,
        code=finding.code,
        reason=finding.reason,
        reference=message.message_id,
    )


def _at(message: ReturnedMessage, owner: Owner | None, now: dt.datetime) -> dt.datetime:
    """When it was written, as far as that can be: not before the issue, and not later than now."""
    earliest = now - _OLD
    if owner is not None and owner.date is not None:
        # a day earlier somewhere in the world
        earliest = dt.datetime.combine(owner.date, dt.time(), dt.UTC) - dt.timedelta(days=1)
    return message.at if message.at is not None and earliest <= message.at <= now else now


def _key(address: str) -> str:
    try:
        return parse_address(address).key
    except BadAddress:
        return ""
