"""Calls to the SMTP test server, and what must be true after each of them, whatever went wrong."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from newsletter.delivery.model import Accepted, Batch, Outcome, Unknown
from newsletter.providers.dkim import DkimSigner
from newsletter.providers.smtp import SmtpProvider
from newsletter.providers.smtp_handshake import SmtpServer as Address
from newsletter.rendering.model import RenderedIssue
from servers.letters import batch, issue
from servers.smtp_server import SmtpServer

Answer = TypeVar("Answer")

ISSUE = issue()
#: Where no TLS is spoken: each provider would read this machine's certificates, which takes longer than most calls.
_UNUSED_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _address_of(server: SmtpServer) -> Address:
    return Address("127.0.0.1", server.port, timeout=5.0, final_timeout=5.0)


def provider_to(
    server: SmtpServer,
    *,
    signer: DkimSigner | None = None,
    tls: ssl.SSLContext | None = None,
    messages_per_connection: int = 1000,
    envelope_from: str = "",
    **settings: object,
) -> SmtpProvider:
    """A provider that is wired to `server`; `settings` are those of its address."""
    address = replace(_address_of(server), **settings)  # type: ignore[arg-type]
    return SmtpProvider(
        "smtp",
        address,
        signer=signer,
        tls=tls or (_UNUSED_TLS if address.security == "none" else None),
        messages_per_connection=messages_per_connection,
        envelope_from=envelope_from,
    )


def outcomes_by_address(provider: SmtpProvider, mail: Batch, rendered: RenderedIssue = ISSUE) -> dict[str, Outcome]:
    """One call; the outcomes by the recipients' addresses."""
    outcomes = submit(provider, mail, rendered)
    return dict(zip([recipient.address for recipient in mail.recipients], outcomes, strict=True))


def submit(provider: SmtpProvider, mail: Batch | int = 3, rendered: RenderedIssue = ISSUE) -> list[Outcome]:
    """One call; the outcomes in the order of the recipients."""
    mail = batch(mail) if isinstance(mail, int) else mail
    receipt = provider.submit(mail, {(): rendered})
    assert receipt.outcomes.keys() == {recipient.id for recipient in mail.recipients}
    return [receipt.outcomes[recipient.id] for recipient in mail.recipients]


def from_a_thread(work: Callable[[], Answer]) -> Answer:
    """What `work` returns, or raises, in a thread of its own: as the send loop calls a provider."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


def kinds(outcomes: list[Outcome]) -> str:
    """`ARBU`: a letter for each outcome."""
    return "".join(type(outcome).__name__[0] for outcome in outcomes)


def books_balance(server: SmtpServer, outcomes: Mapping[str, Outcome]) -> None:
    """Nobody whom the server accepted is called anything but accepted or unknown, nobody is called accepted whom it did
    not accept, and nobody got two. `outcomes` by address; the server must be closed."""
    taken = Counter(server.addresses())
    for address, outcome in outcomes.items():
        copies = taken.pop(address, 0)
        assert copies <= 1, f"{address} got {copies}"
        if isinstance(outcome, Accepted):
            assert copies == 1, f"{address} is called accepted and got nothing"
        elif not isinstance(outcome, Unknown):
            assert copies == 0, f"{address} got a message and is called {outcome}"
    assert not taken
