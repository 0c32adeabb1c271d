"""One recipient's mail, complete: what the preview shows and `preview --format` prints."""

from __future__ import annotations

import contextlib
import email
import email.policy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from newsletter.audience.addresses import BadAddress, parse_address
from newsletter.audience.model import Audience
from newsletter.delivery.batching import recipients
from newsletter.delivery.links import LinkMaker
from newsletter.delivery.model import Recipient
from newsletter.errors import AudienceError, UsageError
from newsletter.pipeline.prepare import Prepared, letterhead_of
from newsletter.rendering.holes import fill
from newsletter.rendering.mime import MessageEncoder


@dataclass(frozen=True, slots=True)
class SampleMail:
    """The mail that `recipient` gets: both parts with their values, and the message as it leaves."""

    recipient: Recipient
    html: str
    text: str
    message: bytes

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The message's header fields, decoded and unfolded, in their order."""
        parsed = email.message_from_bytes(self.message, policy=email.policy.default)
        return tuple((name, str(value)) for name, value in parsed.items())


def links_of(prepared: Prepared, secrets: Sequence[str]) -> LinkMaker:
    """What makes the links of the newsletter's mail; `secrets` holds the present key first."""
    return LinkMaker(prepared.publication.base_url, prepared.name, secrets)


def recipients_of(prepared: Prepared, links: LinkMaker) -> Iterator[Recipient]:
    """The members of the audience as recipients of the issue."""
    return recipients(
        prepared.audience.members,
        run=prepared.run,
        sender_domain=prepared.newsletter.sender.domain,
        links=links,
        variant_of=prepared.renderer.variant_of,
    )


def choose_mail(prepared: Prepared, members: Sequence[Recipient], address: str | None, links: LinkMaker) -> SampleMail:
    """The mail of the recipient at `address`; without one, of the first recipient a message can be made for, else of a
    stand-in. Raises UsageError, with the reason, where `address` gets no mail.
    """
    if address is not None:
        return _sample_mail(prepared, _recipient_at(address, prepared.audience, members))
    for member in members:
        with contextlib.suppress(AudienceError):  # the provider refuses this one, and says so
            return _sample_mail(prepared, member)
    return _sample_mail(prepared, _nobody(links, prepared.run.slot))


def _recipient_at(address: str, audience: Audience, members: Sequence[Recipient]) -> Recipient:
    try:
        wanted = parse_address(address).key
    except BadAddress as error:
        raise UsageError(f"{address!r} is no address: {error}", hint="--as takes the address of a recipient") from None
    found = next((member for member in members if member.address.casefold() == wanted), None)
    if found is None:
        left_out = next((one for one in audience.excluded if one.address.casefold() == wanted), None)
        why = f"{left_out.reason}: {left_out.detail} ({left_out.place})" if left_out else "is on none of its lists"
        raise UsageError(f"{address} would not get this issue: {why}", hint="--as takes the address of a recipient")
    return found


def _sample_mail(prepared: Prepared, recipient: Recipient) -> SampleMail:
    """The mail of one recipient."""
    rendered = prepared.renderer.render(prepared.issue, recipient.variant)
    message = MessageEncoder(rendered, letterhead_of(prepared)).message(
        to_address=recipient.address,
        to_name=recipient.name,
        message_id=recipient.message_id,
        unsubscribe_url=recipient.unsubscribe_url,
        values=recipient.values,
    )
    html, text = fill(rendered.html, recipient.values), fill(rendered.text, recipient.values)
    return SampleMail(recipient, html, text, message)


def _nobody(links: LinkMaker, slot: str) -> Recipient:
    """Shows the mail where nobody gets it."""
    own = links.links("nobody", slot)
    values = {"name": "", "email": "nobody@example.com", "view_url": own.view_url}
    values |= {"unsubscribe_url": own.unsubscribe_url, "preferences_url": own.preferences_url}
    return Recipient("nobody", values["email"], "", "<nobody@example.com>", own.unsubscribe_url, values)
