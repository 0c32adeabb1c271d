"""What delivery asks of a mail provider. Adapters in `newsletter.providers` implement it, one file per vendor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from newsletter.delivery.model import Batch, Limits, Receipt
from newsletter.rendering.model import RenderedIssue, Variant


class MailProvider(Protocol):
    """A service that takes mail from us."""

    @property
    def name(self) -> str:
        """The provider's key under `[providers]`, for messages."""
        ...

    @property
    def limits(self) -> Limits:
        """What one call can carry; batches are cut to fit."""
        ...

    def submit(self, batch: Batch, rendered: Mapping[Variant, RenderedIssue]) -> Receipt:
        """Hand over one batch. Returns one outcome per recipient; `rendered` holds each variant the batch needs."""
        ...

    def close(self) -> None:
        """Let go of connections and files; may be called twice."""
        ...
