"""The send loop: hands batches to a provider and keeps count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from newsletter.delivery.model import Accepted, Batch, Busy, Receipt, Refused, Tally, Unknown
from newsletter.delivery.provider import MailProvider
from newsletter.rendering.model import RenderedIssue, Variant


class UnbalancedReceipt(Exception):
    """A provider adapter did not say what became of every recipient. A mistake in the adapter, never in the mail."""


def send_batches(
    batches: Iterable[Batch],
    *,
    planned: int,
    rendered: Callable[[Variant], RenderedIssue],
    provider: MailProvider,
    progress: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Submits each batch once, in order, and adds up what became of its recipients.

    `rendered` gives the issue for a variant; `progress` is told after each batch. Raises UnbalancedReceipt.
    """
    counts: Counter[type] = Counter()
    reasons: Counter[str] = Counter()
    tally = Tally(planned)
    for batch in batches:
        variants = {recipient.variant for recipient in batch.recipients}
        receipt = provider.submit(batch, {variant: rendered(variant) for variant in variants})
        check_receipt(batch, receipt)
        for outcome in receipt.outcomes.values():
            counts[type(outcome)] += 1
            if not isinstance(outcome, Accepted):
                reasons[outcome.reason] += 1
        tally = Tally(
            planned=planned,
            accepted=counts[Accepted],
            rejected=counts[Refused],
            busy=counts[Busy],
            unknown=counts[Unknown],
            batches=batch.number,
            reasons=dict(reasons),
        )
        progress(tally)
    return tally


def check_receipt(batch: Batch, receipt: Receipt) -> None:
    """Raises UnbalancedReceipt unless `receipt` holds one outcome for each member of `batch`, and no others."""
    members = {recipient.id for recipient in batch.recipients}
    if members != receipt.outcomes.keys():
        missing = len(members - receipt.outcomes.keys())
        strange = len(receipt.outcomes.keys() - members)
        raise UnbalancedReceipt(
            f"batch {batch.number} of {batch.run}: {missing} recipients without an outcome, {strange} strangers"
        )
