"""Turns an audience into recipients. Pure: the same audience gives the same recipients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

from newsletter.audience.model import Member
from newsletter.delivery.links import LinkMaker, Purpose
from newsletter.delivery.model import Recipient
from newsletter.delivery.names import RunName
from newsletter.delivery.return_paths import TOKEN_PLACE
from newsletter.rendering.letter import message_ids
from newsletter.rendering.model import Tracking, Variant

_UNTRACKED = Tracking()
#: Members whose links are made together.
_AT_ONCE = 500


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
    view_url, tracked = links.view_url(run.slot), tracking.opens or (tracking.clicks and tracking.per_person)
    branches = variant_of({}) != ()
    for member, unsubscribe_url, preferences_url in _with_links(members, links):
        number, _, address, name, *_ = member
        subscriber_id, token = str(number), return_token(number)
        values = {
            "name": name,
            "email": address,
            "unsubscribe_url": unsubscribe_url,
            "preferences_url": preferences_url,
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
            variant_of(branching_fields(member)) if branches else (),
            token,
            mailto.replace(TOKEN_PLACE, token) if token else "",
        )


def _with_links(members: Iterable[Member], links: LinkMaker) -> Iterator[tuple[Member, str, str]]:
    """Each member with the links that are theirs alone: to unsubscribe, and to their preferences."""
    left = iter(members)
    while some := list(islice(left, _AT_ONCE)):
        numbers = [member.id for member in some]
        yield from zip(
            some, links.urls(Purpose.UNSUBSCRIBE, numbers), links.urls(Purpose.PREFERENCES, numbers), strict=True
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
