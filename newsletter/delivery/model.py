"""Values of delivery: recipients, batches, and what a provider answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, NamedTuple, overload

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


@dataclass(frozen=True, slots=True, eq=False)
class Recipients(Sequence[Recipient]):
    """The recipients of a call, a column for each field of `Recipient`, all of one length. One of its own is made of
    whoever is asked for: an adapter that writes a thousand into one request asks for the columns.

    `values` has the column of each hole's name.
    """

    ids: Sequence[str]
    addresses: Sequence[str]
    names: Sequence[str]
    message_ids: Sequence[str]
    unsubscribe_urls: Sequence[str]
    values: Mapping[str, Sequence[str]]
    variants: Sequence[Variant]
    return_tokens: Sequence[str]
    unsubscribe_mailtos: Sequence[str]

    @classmethod
    def of(cls, recipients: Sequence[Recipient]) -> Recipients:
        """These; of their values, those that everybody has."""
        if isinstance(recipients, Recipients):
            return recipients
        ids, addresses, names, message_ids, urls, values, variants, tokens, mailtos = (
            zip(*recipients, strict=True) if recipients else ((),) * len(Recipient._fields)
        )
        common = [name for name in next(iter(values), {}) if all(name in one for one in values)]
        columns = {name: [one[name] for one in values] for name in common}
        return cls(ids, addresses, names, message_ids, urls, columns, variants, tokens, mailtos)

    def at(self, places: Sequence[int]) -> Recipients:
        """Those at these places, in this order."""
        return self._of_each(lambda column: [column[place] for place in places])

    def _of_each(self, some: Callable[[Sequence[Any]], Sequence[Any]]) -> Recipients:
        return Recipients(
            some(self.ids),
            some(self.addresses),
            some(self.names),
            some(self.message_ids),
            some(self.unsubscribe_urls),
            {name: some(column) for name, column in self.values.items()},
            some(self.variants),
            some(self.return_tokens),
            some(self.unsubscribe_mailtos),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Recipient]:
        names = tuple(self.values)
        rows = zip(*self.values.values(), strict=True) if names else repeat(())
        values = (dict(zip(names, row, strict=True)) for row in rows)
        yield from map(
            Recipient,
            self.ids,
            self.addresses,
            self.names,
            self.message_ids,
            self.unsubscribe_urls,
            values,
            self.variants,
            self.return_tokens,
            self.unsubscribe_mailtos,
        )

    @overload
    def __getitem__(self, place: int) -> Recipient: ...
    @overload
    def __getitem__(self, place: slice) -> Recipients: ...
    def __getitem__(self, place: int | slice) -> Recipient | Recipients:
        if isinstance(place, slice):
            return self._of_each(lambda column: column[place])
        return next(iter(self.at([range(len(self))[place]])))


@dataclass(frozen=True, slots=True)
class Batch:
    """The recipients of one provider call. `run` and `number` are the run's and its batch's (from 1); `call_id` is the
    same when the same call is made again, and never otherwise."""

    run: str
    number: int
    letterhead: Letterhead
    recipients: Sequence[Recipient]
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
    """Certainly not accepted, and worth another try; `retry_after` in seconds, where the provider said. `away`: nobody
    was there to try it with, so it says nothing of those in the call; with 0.0 seconds, just for this one."""

    reason: str
    retry_after: float | None = None
    away: bool = False


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
