"""SMTP's side of the contract suite: the test server in a thread."""

from __future__ import annotations

from collections.abc import Sequence

from disk_harness import arrived
from provider_harness import Answer, Arrived
from servers.smtp_server import Moment, Reaction, Script, SmtpServer

from newsletter.delivery.provider import MailProvider
from newsletter.providers.smtp import SmtpProvider
from newsletter.providers.smtp_handshake import SmtpServer as Address

_LOGIN = ("user", "only for tests")


class SmtpHarness:
    """A server that wants a login and takes every address it was not told to refuse."""

    answers = frozenset(Answer)

    def __init__(self) -> None:
        self._next: Answer | None = None
        self.server = SmtpServer(Script(logins=dict([_LOGIN]), react=self._react))

    def provider(self) -> MailProvider:
        user, password = _LOGIN
        server = Address(
            "127.0.0.1", self.server.port, username=user, password=password, timeout=1.0, final_timeout=1.0
        )
        return SmtpProvider("smtp", server)

    def answer_next(self, answer: Answer) -> None:
        if answer is Answer.DOWN:
            self.server.close()
        elif answer is not Answer.ADDRESS_REFUSED:
            self._next = answer

    def refuse(self, address: str) -> None:
        self.server.script.rcpt[address] = b"550 5.1.1 no such user here\r\n"

    def arrived(self) -> Sequence[Arrived]:
        return [arrived(taken.message) for taken in list(self.server.taken)]

    def close(self) -> None:
        self.server.close()

    def _react(self, moment: Moment) -> Reaction | None:
        match self._next, moment.step:
            case Answer.CONTENT_REFUSED, "MAIL":
                reaction = Reaction(b"553 5.7.1 this sender is not yours\r\n")
            case Answer.ACCOUNT_REFUSED, "MAIL":
                reaction = Reaction(b"530 5.7.0 your account was closed\r\n")
            case Answer.BUSY, "MAIL":
                reaction = Reaction(b"451 4.3.2 not now\r\n")
            case Answer.LOST, "content":
                reaction = Reaction(accept=True, reset=True)
            case Answer.HANGS, "content":
                reaction = Reaction(accept=True, hang=True)
            case _:
                return None
        self._next = None
        return reaction
