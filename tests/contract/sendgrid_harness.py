"""SendGrid's side of the contract suite: the test server in a thread."""

from __future__ import annotations

from collections.abc import Sequence
from email.header import decode_header, make_header
from pathlib import Path

from provider_harness import Answer, Arrived
from servers.sendgrid_server import SAYINGS, Manner, Say, SendgridServer, accepted, error

from newsletter.delivery.provider import MailProvider
from newsletter.providers.sendgrid import SendgridProvider

KEY = "SG.canary-0123456789abcdef.only-for-tests"


class SendgridHarness:
    """A server that takes only `KEY`."""

    answers = frozenset(Answer)

    def __init__(self, _folder: Path) -> None:
        self.server = SendgridServer(key=KEY).start()

    def provider(self) -> MailProvider:
        return SendgridProvider("sendgrid", KEY, host=self.server.url, timeout=1.0)

    def answer_next(self, answer: Answer) -> None:
        if answer is Answer.DOWN:
            self.server.close()
        else:
            self.server.answer_next(self._saying(answer))

    def refuse(self, address: str) -> None:
        self.server.refused.add(address.lower())

    def arrived(self) -> Sequence[Arrived]:
        return [
            Arrived(
                address=message.address,
                name=message.name,
                subject=message.subject,
                html=message.html,
                text=message.text,
                headers={name: str(make_header(decode_header(value))) for name, value in message.headers.items()},
            )
            for message in self.server.messages
        ]

    def close(self) -> None:
        self.server.close()

    def _saying(self, answer: Answer) -> Say:
        match answer:
            case Answer.CONTENT_REFUSED:
                return SAYINGS["400-from"]()
            case Answer.ACCOUNT_REFUSED:
                return SAYINGS["401"]()
            case Answer.BUSY:
                return error(429, "too many requests", None, {"Retry-After": "7"})
            case Answer.LOST:
                return accepted(Manner.RESET)
            case _:
                return accepted(Manner.HANG)
