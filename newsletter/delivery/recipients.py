"""Turns an audience into recipients. Pure: the same audience gives the same recipients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from newsletter.audience.model import Member
from newsletter.delivery.links import LinkMaker
from newsletter.delivery.model import Recipient
from newsletter.delivery.names import RunName
from newsletter.rendering.letter import message_id
from newsletter.rendering.model import Variant


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
