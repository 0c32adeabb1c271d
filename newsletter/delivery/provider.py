"""What delivery asks of a mail provider. Adapters in `newsletter.providers` implement it, one file per vendor."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

from newsletter.delivery.model import Batch, Limits, Receipt
from newsletter.rendering.model import RenderedIssue, Variant


class Blame(StrEnum):
    """What a provider that refused a whole call found fault with."""

    #: Some recipient among them; alone, each of the others would be taken.
    RECIPIENTS = "recipients"
    #: The message, its sender or its size: nobody would get it. The run stops.
    CONTENT = "content"
    #: Our account, key or login. The run stops, and somebody is told.
    ACCOUNT = "account"


class CallRefused(Exception):
    """The provider refused a whole call: certainly, nobody of it was accepted."""

    def __init__(self, blame: Blame, reason: str, code: str = "") -> None:
        super().__init__(f"{code} {reason}".strip())
        self.blame = blame
        self.reason = reason
        self.code = code


class MailProvider(Protocol):
    """A service that takes mail from us. Its methods may be called by several threads at once, `close` apart."""

    @property
    def name(self) -> str:
        """The provider's key under `[providers]`, for messages."""
        ...

    @property
    def limits(self) -> Limits:
        """What one call can carry; batches are cut to fit."""
        ...

    def submit(self, batch: Batch, rendered: Mapping[Variant, RenderedIssue]) -> Receipt:
        """Hand over one batch: one call, never repeated by the adapter or its library, and with one hard timeout.

        Returns one outcome per recipient; `rendered` holds each variant the batch needs. Raises CallRefused where the
        call as a whole was refused. Whatever else it raises counts as unknown for everybody in it.
        """
        ...

    def check(self) -> str:
        """Connect and log in, send nothing; says in one line what was found. Raises CallRefused, or OSError where the
        provider cannot be reached."""
        ...

    def close(self) -> None:
        """Let go of connections and files; may be called twice."""
        ...
