"""Turns an audience into recipients. Pure: the same audience gives the same recipients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from newsletter.audience.model import Member
from newsletter.delivery.links import LinkMaker, Purpose
from newsletter.delivery.model import Recipient
from newsletter.delivery.names import RunName
from newsletter.delivery.return_paths import TOKEN_PLACE
from newsletter.rendering.letter import message_id
from newsletter.rendering.model import Tracking, Variant

_UNTRACKED = Tracking()


def recipients(
    members: Iterable[Member],
    *,
    run: RunName,
    sender_domain: str,
    links: LinkMaker,
    variant_of: Callable[[Mapping[str, str]], Variant],
    mailto: str = "",
    tracking: Tracking = _UNTRACKED,
) -> Iterator[Recipient]:
    """Each member as a recipient of `run`, with the values of its holes. `mailto` is the pattern of the address to
    which a mail unsubscribes, with `{token}` in it; '' for none. A token that says whose click or open it is gets only
    who `tracking` has one for: of opens, those who consented."""
    return_token = links.return_paths.tokens(run)
    for member in members:
        subscriber_id = str(member.id)
        own = links.links(member.id, run.slot)
        token = return_token(member.id)
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
                **_tracked(member, links, run.slot, tracking),
            },
            variant=variant_of(branching_fields(member)),
            return_token=token,
            unsubscribe_mailto=mailto.replace(TOKEN_PLACE, token) if token else "",
        )


def _tracked(member: Member, links: LinkMaker, slot: str, tracking: Tracking) -> dict[str, str]:
    values = {}
    if tracking.clicks and tracking.per_person:
        values["track_token"] = links.token(Purpose.TRACK, member.id)
    if tracking.opens:
        values["open_image"] = links.open_url(member.id, slot) if member.measures_opens else ""
    return values


def branching_fields(member: Member) -> Mapping[str, str]:
    """What a template may branch on: the subscriber's attributes, language and time zone."""
    return {**member.attributes, "language": member.language, "timezone": member.timezone}
