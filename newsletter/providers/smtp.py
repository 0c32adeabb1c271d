"""Hands the mail to an SMTP server: a relay, a service's submission port, or one's own (RFC 5321, RFC 6409)."""

from __future__ import annotations

import random
import re
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from newsletter.delivery.model import Batch, Busy, Limits, Receipt, Recipient, Recipients
from newsletter.delivery.provider import Blame, CallRefused
from newsletter.errors import NewsletterError, TemplateError
from newsletter.providers.dkim import DkimSigner
from newsletter.providers.smtp_connection import SmtpConnection
from newsletter.providers.smtp_flows import Flow, FlowRunner, run_here
from newsletter.providers.smtp_handshake import ServerAway, SmtpServer, open_connection
from newsletter.providers.smtp_outbox import Mail, Outbox
from newsletter.providers.smtp_pool import ConnectionPool, Crowded
from newsletter.providers.smtp_wire import Lost
from newsletter.rendering.headers import ascii_addresses, mailbox_parts
from newsletter.rendering.letter import Letterhead
from newsletter.rendering.mime import HEADER_PIECES, AddressError, MessageEncoder, ascii_address
from newsletter.rendering.model import RenderedIssue, Variant

#: Messages on one connection; many servers close it after a number of their own.
MESSAGES_PER_CONNECTION = 1000

#: Encoders that are kept, of some 100 KB each.
_MOST_ENCODERS = 64
#: What may stand in the brackets of MAIL and RCPT. Quoted local parts with blanks or brackets are legal, and more
#: than many servers can read.
_ENVELOPE_ADDRESS = re.compile(r"[!-;=?-~]+")
_TOKEN = "{token}"  # noqa: S105 - a place in a pattern
#: As long as a `Recipient.return_token` is.
_SAMPLE_TOKEN = "0" * 40


class SmtpProvider:
    """A mail provider that is an SMTP server.

    Every recipient gets a transaction of their own, in the batch's order, over connections that stay open between
    calls. `envelope_from` is an address, with `{token}` in it for the delivery's `return_token` (VERP), or the left
    part of the Message-ID where it has none; '' takes the From address. `signer` signs with DKIM; `tls` is for servers
    whose certificate this machine does not trust by itself. Raises ValueError where `envelope_from` is no address.
    """

    def __init__(
        self,
        name: str,
        server: SmtpServer,
        *,
        envelope_from: str = "",
        signer: DkimSigner | None = None,
        tls: ssl.SSLContext | None = None,
        messages_per_connection: int = MESSAGES_PER_CONNECTION,
    ) -> None:
        self._name = name
        self._server = server
        self._envelope_from = _checked_pattern(envelope_from)
        self._signer = signer
        context = tls or ssl.create_default_context()
        self._connect = partial(open_connection, server, context, messages=messages_per_connection)
        self._pool = ConnectionPool(self._connect)
        self._flows = FlowRunner()
        # Signatures and encryption let go of the interpreter: the threads that call do them side by side.
        by_itself = signer is not None or server.security != "none"
        self._run: Callable[[Flow[None], socket.socket], None] = run_here if by_itself else self._flows.run
        self._encoders = _Encoders()

    @property
    def name(self) -> str:
        """The provider's key under `[providers]`."""
        return self._name

    @property
    def limits(self) -> Limits:
        """A call is a window of messages, each accepted or refused by itself."""
        return Limits(
            recipients_per_call=1_000_000, one_message_at_a_time=True, return_tokens=_TOKEN in self._envelope_from
        )

    def submit(self, batch: Batch, rendered: Mapping[Variant, RenderedIssue]) -> Receipt:
        """Sends the batch, one message after the other on one connection.

        Where that is lost, or closed by the server, the messages not begun follow on a new one. They are Busy where two
        in a row end before anything was decided, where the answer to a message does not come in time or two answers
        running are lost, and where the call has taken as long as the answer to one message may. Nothing is made before
        a connection stands: where none can be had everybody is Busy, also whom no message can be made for.
        """
        how = (self._sender(batch.letterhead), batch.letterhead, rendered)
        outbox = Outbox(
            batch,
            partial(self._mail, *how),
            make_all=partial(self._mails, *how),
            seconds=max(self._server.timeout, self._server.final_timeout),
        )
        fruitless = 0
        while outbox.more:
            before = outbox.decided
            try:
                connection = self._pool.take(fresh=fruitless > 0)
            except ServerAway as away:
                outbox.stop(Busy(str(away), away=True))
                break
            except Crowded as crowded:
                outbox.stop(Busy(f"{self._server}: {crowded}", 0.0, away=True))
                break
            except CallRefused as refused:
                outbox.stop(refused)
                break
            self._deliver(connection, outbox)
            fruitless = fruitless + 1 if outbox.decided == before else 0
            if fruitless == 2 and outbox.more:
                outbox.stop(Busy(f"{self._server}: {connection.reason}"))
        return outbox.receipt()

    def check(self) -> str:
        """Connects, logs in, says NOOP and QUIT. Raises CallRefused or OSError."""
        connection = self._connect()
        try:
            connection.command(b"NOOP")
        except Lost as lost:
            connection.abort()
            raise ServerAway(f"{self._server}: {lost}") from lost
        connection.say_goodbye()
        connection.close()
        offers = connection.offers
        size = "no limit of size is told" if not offers.size else f"messages up to {offers.size:,} bytes"
        login = f"login by {offers.login}" if offers.login else "no login"
        if offers.login and not offers.tls:
            login += ", the password not encrypted"
        pipelining = "PIPELINING" if offers.pipelining else "no PIPELINING"
        return f"{self._server}: {offers.tls or 'no TLS'}, {login}, {pipelining}, {size}"

    def close(self) -> None:
        """Takes leave of the server on every connection."""
        self._pool.close()
        self._flows.close()

    def _deliver(self, connection: SmtpConnection, outbox: Outbox) -> None:
        try:
            self._run(connection.deliver(outbox), connection.socket)
        except BaseException:
            connection.abort()
            raise
        finally:
            self._pool.give_back(connection)

    def _sender(self, letterhead: Letterhead) -> str:
        if self._envelope_from:
            return self._envelope_from
        try:
            # read as the From field is: `email.utils.parseaddr` takes `Buzz, Inc. <a@b.example>` for the address `Buzz`
            return _envelope_address(mailbox_parts("From", letterhead.sender)[1])
        except (AddressError, TemplateError) as error:
            raise CallRefused(Blame.CONTENT, f"the sender {letterhead.sender!r} has no address: {error}") from error

    def _mail(
        self, sender: str, letterhead: Letterhead, rendered: Mapping[Variant, RenderedIssue], recipient: Recipient
    ) -> Mail:
        """One message as it goes over the wire. No line of it begins with a dot: see `_Encoders`."""
        address = _envelope_address(recipient.address)
        pieces = self._encoders.encoder(letterhead, rendered[recipient.variant]).pieces(
            to_address=recipient.address,
            to_name=recipient.name,
            message_id=recipient.message_id,
            unsubscribe_url=recipient.unsubscribe_url,
            values=recipient.values,
            unsubscribe_mailto=recipient.unsubscribe_mailto,
        )
        envelope_from = _envelope_from(sender, recipient.return_token, recipient.message_id)
        return self._signed(recipient.id, envelope_from, address.encode("ascii"), pieces)

    def _mails(
        self, sender: str, letterhead: Letterhead, rendered: Mapping[Variant, RenderedIssue], some: Recipients
    ) -> Sequence[Mail] | None:
        """The same of several recipients at once; None where something of theirs is not as it is of nearly all."""
        variant = some.variants[0]
        if some.variants.count(variant) < len(some):
            return self._mails_of_variants(sender, letterhead, rendered, some)
        try:
            return self._mails_of_one_variant(sender, letterhead, rendered[variant], some)
        except Exception:  # noqa: BLE001 - made one by one, it is known whose
            return None

    def _mails_of_one_variant(
        self, sender: str, letterhead: Letterhead, rendered: RenderedIssue, some: Recipients
    ) -> Sequence[Mail]:
        addresses = _envelope_addresses(some.addresses)
        messages = self._encoders.encoder(letterhead, rendered).many(
            to_addresses=addresses,
            to_names=some.names,
            message_ids=some.message_ids,
            unsubscribe_urls=some.unsubscribe_urls,
            values=some.values,
            unsubscribe_mailtos=some.unsubscribe_mailtos,
            joined=self._signer is None,
        )
        if _TOKEN in sender:
            senders = list(map(partial(_envelope_from, sender), some.return_tokens, some.message_ids))
        else:
            senders = [sender.encode("ascii")] * len(some)
        recipients = [address.encode("ascii") for address in addresses]
        return list(map(self._signed, some.ids, senders, recipients, messages))

    def _mails_of_variants(
        self, sender: str, letterhead: Letterhead, rendered: Mapping[Variant, RenderedIssue], some: Recipients
    ) -> Sequence[Mail] | None:
        made: dict[int, Mail] = {}
        for variant in dict.fromkeys(some.variants):
            places = [place for place, one in enumerate(some.variants) if one == variant]
            mails = self._mails(sender, letterhead, rendered, some.at(places))
            if mails is None:
                return None
            made.update(zip(places, mails, strict=True))
        return [made[place] for place in range(len(some))]

    def _signed(self, recipient_id: str, sender: bytes, address: bytes, pieces: Sequence[bytes]) -> Mail:
        if self._signer is not None:
            header = b"".join(pieces[:HEADER_PIECES])
            pieces = [self._signer.sign(header, pieces[HEADER_PIECES:]), *pieces]
        return Mail(recipient_id, sender, address, pieces, sum(map(len, pieces)))


class _Encoders:
    """The encoders of the issues being sent, one for each variant. May be shared between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[Letterhead, Variant], tuple[RenderedIssue, MessageEncoder]] = {}

    def encoder(self, letterhead: Letterhead, rendered: RenderedIssue) -> MessageEncoder:
        """The encoder for this issue. Raises TemplateError."""
        key = (letterhead, rendered.variant)
        kept = self._kept.get(key)
        if kept is None or (kept[0] is not rendered and kept[0] != rendered):
            kept = (rendered, MessageEncoder(rendered, letterhead))
            _refuse_leading_dots(kept[1])
            with self._lock:
                self._kept.pop(key, None)
                if len(self._kept) >= _MOST_ENCODERS:
                    # any: they are asked for in turns, and the oldest is the next
                    del self._kept[random.choice(list(self._kept))]  # noqa: S311 - nothing secret
                self._kept[key] = kept
        return kept[1]


def _refuse_leading_dots(encoder: MessageEncoder) -> None:
    """Raises ValueError unless dots at the start of lines are encoded, in the issue and in values that begin with one:
    a line that begins with one ends the message, or is changed on its way (RFC 5321, section 4.5.2).

    Looked at once: what differs from one message to the next is encoded in the same way.
    """
    message = encoder.message(
        to_address="a@example.com",
        to_name=".",
        message_id="<0@example.com>",
        unsubscribe_url="https://example.com",
        values=dict.fromkeys(encoder.names, "."),
    )
    if message.startswith(b".") or b"\n." in message or not message.endswith(b"\r\n"):
        raise ValueError("a line of the message begins with a dot, or its last one has no end")


def _envelope_address(address: str) -> str:
    spec = ascii_address(address)
    if not _ENVELOPE_ADDRESS.fullmatch(spec):
        raise AddressError(f"{address!r} cannot stand in an SMTP envelope", hint="correct or remove it")
    return spec


def _envelope_addresses(addresses: Sequence[str]) -> Sequence[str]:
    specs = ascii_addresses(addresses)
    if specs is not addresses:  # what is plain can stand there
        for spec in specs:
            _envelope_address(spec)
    return specs


def _envelope_from(pattern: str, return_token: str, message_id: str) -> bytes:
    return pattern.replace(_TOKEN, return_token or message_id[1:].partition("@")[0]).encode("ascii")


def _checked_pattern(pattern: str) -> str:
    """The pattern, its domain as A-labels. Raises ValueError."""
    if not pattern:
        return ""
    try:
        _envelope_address(pattern.replace(_TOKEN, _SAMPLE_TOKEN))
        checked = _envelope_address(pattern.replace(_TOKEN, "token"))
    except NewsletterError as error:
        raise ValueError(f"envelope_from: {error.message}") from error
    if {"{", "}"} & set(pattern.replace(_TOKEN, "")):
        raise ValueError(f"envelope_from = {pattern!r}: only {_TOKEN} can stand in braces")
    local, _, _ = pattern.rpartition("@")
    return f"{local}@{checked.rpartition('@')[2]}"
