"""Turns an audience into recipients. Pure: the same audience gives the same recipients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from newsletter.audience.model import Member
from newsletter.delivery.links import LinkMaker, Purpose
from newsletter.delivery.model import Recipient
from newsletter.delivery.names import RunName
from newsletter.delivery.return_paths import TOKEN_PLACE
from newsletter.rendering.letter import message_ids
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
    return_tokens: bool = True,
) -> Iterator[Recipient]:
    """Each member as a recipient of `run`, with the values of its holes. `mailto` is the pattern of the address to
    which a mail unsubscribes, with `{token}` in it; '' for none. A token that says whose click or open it is gets only
    who `tracking` has one for: of opens, those who consented. `return_tokens`: the provider uses them."""
    return_token = links.return_paths.tokens(run) if return_tokens or mailto else _no_token
    message_id = message_ids(str(run), sender_domain)
    unsubscribe, preferences = links.maker(Purpose.UNSUBSCRIBE), links.maker(Purpose.PREFERENCES)
    view_url, tracked = links.view_url(run.slot), tracking.opens or (tracking.clicks and tracking.per_person)
    for member in members:
        number, name, address = member.id, member.name, member.address
        subscriber_id, unsubscribe_url, token = str(number), unsubscribe(number), return_token(number)
        values = {
            "name": name,
            "email": address,
            "unsubscribe_url": unsubscribe_url,
            "preferences_url": preferences(number),
            "view_url": view_url,
        }
        if tracked:
            values |= _tracked(member, links, run.slot, tracking)
        yield Recipient(
            subscriber_id,
            address,
            name,
            message_id(subscriber_id),
            unsubscribe_url,
            values,
            variant_of(branching_fields(member)),
            token,
            mailto.replace(TOKEN_PLACE, token) if token else "",
        )


def _no_token(_number: int) -> str:
    return ""


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
