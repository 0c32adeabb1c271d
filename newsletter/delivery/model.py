"""Values of delivery: recipients, batches, and what a provider answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from newsletter.rendering.letter import Letterhead
from newsletter.rendering.model import Variant


class Recipient(NamedTuple):
    """One member of a batch, with everything that differs from one recipient to the next.

    `id` is opaque and stable for (run, subscriber); `values` fill the holes and are raw. `return_token` names the
    delivery in the envelope sender (`delivery.return_paths`), '' where nothing is to come back; `unsubscribe_mailto` is
    the address to which a mail unsubscribes, '' for none.
    """

    id: str
    address: str
    name: str
    message_id: str
    unsubscribe_url: str
    values: Mapping[str, str]
    variant: Variant = ()
    return_token: str = ""
    unsubscribe_mailto: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """The recipients of one provider call. `run` and `number` are the run's and its batch's (from 1); `call_id` is the
    same when the same call is made again, and never otherwise."""

    run: str
    number: int
    letterhead: Letterhead
    recipients: tuple[Recipient, ...]
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the message and is responsible for it. `reference` is its own id, where it gives one."""

    reference: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider refused, for good; sending the same again would be refused again."""

    reason: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Busy:
    """Certainly not accepted, and worth another try; `retry_after` in seconds, where the provider said."""

    reason: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """The call was made and its answer is not known: never retried silently, never dropped."""

    reason: str


Outcome = Accepted | Refused | Busy | Unknown


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of each recipient of one call, by `Recipient.id`. Every member of the batch has one outcome."""

    outcomes: Mapping[str, Outcome]

    @property
    def accepted(self) -> int:
        """How many the provider took."""
        return sum(isinstance(outcome, Accepted) for outcome in self.outcomes.values())


@dataclass(frozen=True, slots=True)
class Limits:
    """What one provider call can carry.

    `idempotency_key`: a call repeated with the same key is carried out once. `per_recipient_status`: the answer
    tells the recipients of a call apart (a 2xx can hold refusals).
    """

    recipients_per_call: int
    idempotency_key: bool = False
    per_recipient_status: bool = True
    #: A call is many messages, each accepted or refused by itself (SMTP): the claim covers a window of them.
    one_message_at_a_time: bool = False
    #: `Recipient.return_token` is put into the envelope sender; without it nobody need make one.
    return_tokens: bool = True
    #: Bytes of one call's body; None: no limit is known.
    bytes_per_call: int | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """How far a run has come."""

    planned: int
    accepted: int = 0
    rejected: int = 0
    busy: int = 0
    unknown: int = 0
    batches: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
