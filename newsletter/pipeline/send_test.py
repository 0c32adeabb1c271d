"""`test`: the issue, really sent, to a few given addresses, to be looked at in real mailboxes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

from newsletter.audience.addresses import Address, BadAddress, parse_address
from newsletter.audience.model import Member
from newsletter.audience.people import Person, SuppressionReason
from newsletter.audience.store import AudienceStore
from newsletter.delivery.ledger import Ledger
from newsletter.delivery.model import Accepted, Batch, Outcome, Recipient, Unknown
from newsletter.delivery.model import Refused as RefusedOutcome
from newsletter.delivery.provider import CallRefused, MailProvider
from newsletter.delivery.recipients import Addressing
from newsletter.errors import GuardRefused, NewsletterError, UsageError
from newsletter.pipeline.prepare import Prepared, letterhead_of
from newsletter.pipeline.sample_mail import links_of
from newsletter.rendering.letter import message_id

#: Marks the subject; it is not part of the content that is compared with a live send's.
MARK = "[TEST] "
#: More readers than this are an audience.
MOST = 20
#: Suppressions that an address on the command line does not outweigh.
_KEPT_OUT = frozenset(SuppressionReason) - {SuppressionReason.UNSUBSCRIBE}


@dataclass(frozen=True, slots=True)
class SentTest:
    """What became of the mail to one address."""

    address: str
    message_id: str
    outcome: Outcome

    @property
    def accepted(self) -> bool:
        """Whether the provider took it."""
        return isinstance(self.outcome, Accepted)

    @property
    def word(self) -> str:
        """`accepted`, `refused`, `busy` or `unknown`."""
        return type(self.outcome).__name__.lower()

    @property
    def reason(self) -> str:
        """Why it was not accepted, in the provider's words; '' where it was."""
        return "" if isinstance(self.outcome, Accepted) else self.outcome.reason


def addresses_typed(typed: Sequence[str]) -> tuple[Address, ...]:
    """The addresses of `--to`, each once. Raises UsageError."""
    found: dict[str, Address] = {}
    for text in typed:
        for one in filter(None, (part.strip() for part in text.split(","))):
            try:
                address = parse_address(one)
            except BadAddress as error:
                raise UsageError(f"{one!r} cannot be mailed: {error}", hint="Type it as name@example.com.") from None
            found.setdefault(address.key, address)
    if not found:
        raise UsageError("a test needs an address", hint="newsletter test 2026-01-07 --to you@example.com")
    if len(found) > MOST:
        raise UsageError(
            f"a test goes to {MOST} addresses at most, not {len(found)}",
            hint="Make a list of its own for more readers.",
        )
    return tuple(found.values())


def send_test(
    prepared: Prepared,
    addresses: Sequence[Address],
    *,
    store: AudienceStore,
    ledger: Ledger,
    provider: MailProvider,
    secrets: Sequence[str],
    now: dt.datetime,
) -> tuple[SentTest, ...]:
    """Sends the issue to `addresses`, one call each, and records that this content was tested by those accepted.

    A subscriber gets the mail with their own values, but with links that are nobody's: a reader who tries the
    unsubscribe link of a test stays subscribed. Its other links lead straight to their targets, and are not counted:
    those who look at a test are no readers. `secrets` sign the links. Raises GuardRefused, before any call, where
    somebody complained, bounced or is kept out by an operator.
    """
    people = [store.person(address.key) for address in addresses]
    for address, person in zip(addresses, people, strict=True):
        _refuse_suppressed(address, person)
    members = [_member(address, person) for address, person in zip(addresses, people, strict=True)]
    sent = tuple(
        _send(prepared, recipient, number, provider, now)
        for number, recipient in enumerate(_recipients(prepared, members, secrets, now), start=1)
    )
    if reached := [one.address for one in sent if one.accepted]:
        ledger.record_test(prepared.run, prepared.rendered.content_hash, reached, now=now)
    return sent


def sent_test_document(prepared: Prepared, sent: Sequence[SentTest]) -> dict[str, object]:
    """What `test --json` prints."""
    return {
        "run": str(prepared.run),
        "content_hash": prepared.rendered.content_hash,
        "subject": MARK + prepared.rendered.subject,
        "accepted": sum(one.accepted for one in sent),
        "recipients": [
            {"email": one.address, "outcome": one.word, "reason": one.reason, "message_id": one.message_id}
            for one in sent
        ],
    }


def _refuse_suppressed(address: Address, person: Person | None) -> None:
    for one in person.suppressions if person else ():
        if one.lift is None and one.reason in _KEPT_OUT:
            raise GuardRefused(
                f"{address.address} must not be mailed: {one.reason.replace('_', ' ')} on {one.at:%Y-%m-%d}",
                hint=f"newsletter subscribers show {address.address} has all of it",
            )


def _member(address: Address, person: Person | None) -> Member:
    """The reader as a member of an audience. 0 is nobody's number: links made for it change nothing."""
    if person is None:
        return Member(0, address.key, address.address)
    return Member(0, address.key, address.address, person.name, person.language, person.timezone, person.attributes)


def _recipients(
    prepared: Prepared, members: Sequence[Member], secrets: Sequence[str], now: dt.datetime
) -> Sequence[Recipient]:
    made = Addressing(
        prepared.run,
        sender_domain=prepared.newsletter.sender.domain,
        links=links_of(prepared, secrets),
        variant_of=prepared.renderer.variant_of,
        mailto=prepared.newsletter.unsubscribe_mailto,
    ).all(members)
    # never that of a live mail, and another one with every test: mailboxes drop what they have seen
    test = f"test of {prepared.run} at {now.isoformat()}"
    domain = prepared.newsletter.sender.domain
    return [
        one._replace(id=str(number), message_id=message_id(test, one.address, domain))
        for number, one in enumerate(made, start=1)
    ]


def _send(prepared: Prepared, recipient: Recipient, number: int, provider: MailProvider, now: dt.datetime) -> SentTest:
    rendered = prepared.renderer.render(prepared.issue, recipient.variant)
    rendered = replace(rendered, subject=MARK + rendered.subject, html=rendered.direct_html)
    name = f"test of {prepared.run}"
    letterhead = replace(letterhead_of(prepared), date=now.astimezone(prepared.newsletter.schedule.timezone))
    batch = Batch(name, number, letterhead, (recipient,), call_id=recipient.message_id)
    outcome: Outcome
    try:
        outcome = provider.submit(batch, {recipient.variant: rendered}).outcomes[recipient.id]
    except CallRefused as refused:
        outcome = RefusedOutcome(refused.reason, refused.code)
    except NewsletterError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a provider raises: nobody knows whether it took the mail
        outcome = Unknown(f"{type(error).__name__}: {error}")
    return SentTest(recipient.address, recipient.message_id, outcome)
