"""One recipient's mail, complete: what the preview shows and `preview --format` prints."""

from __future__ import annotations

import contextlib
import email
import email.policy
from collections.abc import Sequence
from dataclasses import dataclass

from newsletter.audience.model import Member
from newsletter.delivery.links import LinkMaker
from newsletter.delivery.model import Recipient
from newsletter.delivery.recipients import Addressing
from newsletter.errors import AudienceError
from newsletter.pipeline.issue_audience import IssueAudience
from newsletter.pipeline.prepare import Prepared, letterhead_of, tracking_of
from newsletter.rendering.holes import fill
from newsletter.rendering.mime import MessageEncoder

#: Shows the mail where nobody gets it.
_NOBODY = Member(0, "nobody@example.com", "nobody@example.com")


@dataclass(frozen=True, slots=True)
class SampleMail:
    """The mail that `recipient` gets: both parts with their values, and the message as it leaves.

    `html` is for looking at: its links lead straight to their targets, where those of `message` may be counted.
    """

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


def addressing_of(prepared: Prepared, links: LinkMaker, *, return_tokens: bool = True) -> Addressing:
    """What makes members of the audience recipients of the issue. `return_tokens`: the provider uses them."""
    return Addressing(
        prepared.run,
        sender_domain=prepared.newsletter.sender.domain,
        links=links,
        variant_of=prepared.renderer.variant_of,
        mailto=prepared.newsletter.unsubscribe_mailto,
        tracking=tracking_of(prepared.newsletter),
        return_tokens=return_tokens,
    )


def choose_mail(prepared: Prepared, audience: IssueAudience, address: str | None, links: LinkMaker) -> SampleMail:
    """The mail of the recipient at `address`; without one, of the first recipient a message can be made for, else of a
    stand-in. Raises UsageError, with the reason, where `address` gets no mail.
    """
    addressing = addressing_of(prepared, links)
    if address is not None:
        member = audience.member_at(address)
        return _sample_mail(prepared, addressing.all([member or _NOBODY])[0])
    for recipient in addressing.each(audience.members()):
        with contextlib.suppress(AudienceError):  # the provider refuses this one, and says so
            return _sample_mail(prepared, recipient)
    return _sample_mail(prepared, addressing.all([_NOBODY])[0])


def _sample_mail(prepared: Prepared, recipient: Recipient) -> SampleMail:
    """The mail of one recipient."""
    rendered = prepared.renderer.render(prepared.issue, recipient.variant)
    message = MessageEncoder(rendered, letterhead_of(prepared)).message(
        to_address=recipient.address,
        to_name=recipient.name,
        message_id=recipient.message_id,
        unsubscribe_url=recipient.unsubscribe_url,
        values=recipient.values,
        unsubscribe_mailto=recipient.unsubscribe_mailto,
    )
    html, text = fill(rendered.direct_html, recipient.values), fill(rendered.text, recipient.values)
    return SampleMail(recipient, html, text, message)
