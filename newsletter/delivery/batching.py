"""Turns an audience into recipients and cuts them into batches. Pure: the same audience gives the same batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from newsletter.audience.model import Member
from newsletter.delivery.links import LinkMaker
from newsletter.delivery.model import Batch, Limits, Recipient
from newsletter.rendering.letter import Letterhead, message_id
from newsletter.rendering.model import Variant


@dataclass(frozen=True, slots=True)
class RunName:
    """Names one run: `daily-buzz/2026-01-07`, or `daily-buzz/2026-01-07.evening`."""

    newsletter: str
    slot: str

    def __str__(self) -> str:
        return f"{self.newsletter}/{self.slot}"


def recipients(
    members: Iterable[Member],
    *,
    run: RunName,
    sender_domain: str,
    links: LinkMaker,
    variant_of: Callable[[Mapping[str, str]], Variant],
) -> Iterator[Recipient]:
    """Each member as a recipient of `run`, with the values of its holes."""
    for member in members:
        subscriber_id = str(member.id)
        own = links.links(member.id, run.slot)
        yield Recipient(
            id=subscriber_id,
            address=member.address,
            name=member.name,
            message_id=message_id(str(run), subscriber_id, sender_domain),
            unsubscribe_url=own.unsubscribe_url,
            values={
                "name": member.name,
                "email": member.address,
                "unsubscribe_url": own.unsubscribe_url,
                "preferences_url": own.preferences_url,
                "view_url": own.view_url,
            },
            variant=variant_of(branching_fields(member)),
        )


def branching_fields(member: Member) -> Mapping[str, str]:
    """What a template may branch on: the subscriber's attributes, language and time zone."""
    return {**member.attributes, "language": member.language, "timezone": member.timezone}


def batches(
    run: RunName, letterhead: Letterhead, members: Iterable[Recipient], batch_size: int, limits: Limits
) -> Iterator[Batch]:
    """`members` in batches of `batch_size`, or of what one call of the provider can carry, if that is less."""
    size = min(batch_size, limits.recipients_per_call)
    source = iter(members)
    number = 0
    while chunk := tuple(islice(source, size)):
        number += 1
        yield Batch(str(run), number, letterhead, chunk)
