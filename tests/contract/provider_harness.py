"""What the contract suite of mail providers asks of the server side of each of them.

A harness owns a real server (or folder) and makes providers that are wired to it. One class per provider, in
`tests/contract/<provider>_harness.py`, made with a folder of the test's own; `HARNESSES` in test_provider_contract.py
lists them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Protocol

from newsletter.delivery.provider import MailProvider


@dataclass(frozen=True, slots=True)
class Arrived:
    """One message as its recipient gets it: what a mail client reads, decoded and unfolded.

    `headers` has names in lower case, and none of those that stand in the other fields. Line ends are `\\n`.
    """

    address: str
    name: str
    subject: str
    html: str
    text: str
    headers: Mapping[str, str]


class Answer(StrEnum):
    """What the server can be told to do with a call, or a message of it where each is answered by itself."""

    #: It refuses the message: its content or its sender. Nobody is accepted.
    CONTENT_REFUSED = auto()
    #: It refuses our key or login. Nobody is accepted.
    ACCOUNT_REFUSED = auto()
    #: It is too busy, says so, and accepts nobody.
    BUSY = auto()
    #: It accepts everybody, and the connection dies before the answer.
    LOST = auto()
    #: It accepts everybody, and never answers.
    HANGS = auto()
    #: Nobody listens any more.
    DOWN = auto()
    #: It refuses the addresses told to `refuse`, for good; not for `answer_next`.
    ADDRESS_REFUSED = auto()


class Harness(Protocol):
    """A provider's server side."""

    @property
    def answers(self) -> frozenset[Answer]:
        """What its server can be told to do; tests about the others do not apply to this provider."""
        ...

    def provider(self) -> MailProvider:
        """A new provider that is wired to the server, with a timeout of about a second. The suite closes it."""
        ...

    def answer_next(self, answer: Answer) -> None:
        """Answers the next call so, and those after it as usual (`DOWN`: all that follow)."""
        ...

    def refuse(self, address: str) -> None:
        """Refuses this address from now on."""
        ...

    def arrived(self) -> Sequence[Arrived]:
        """Every message the server accepted so far, in that order; all that it accepted before a call ended is in."""
        ...

    def close(self) -> None:
        """Stops the server."""
        ...
