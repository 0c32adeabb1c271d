"""Plain values to and from the ledger: runs as they are planned and as they stand, claims, reports, outcomes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from newsletter.audience.model import Member
from newsletter.audience.people import Selection
from newsletter.delivery.model import Outcome
from newsletter.delivery.names import RunName
from newsletter.delivery.states import DeliveryState, Mark, RunState

#: Why workers paused a run that was to go to so many (`Sharing.limit`).
LIMIT_REACHED = "the limit is reached"


@dataclass(frozen=True, slots=True)
class Window:
    """When some recipients of a run may be mailed: from `opens_at` on, and no more from `deadline` on."""

    opens_at: dt.datetime
    deadline: dt.datetime


@dataclass(frozen=True, slots=True)
class Sharing:
    """How workers are to send a run. `program` and `setup` are what they compare with themselves (`RunRecord`);
    `resend_unknown` tries again whatever is unknown; `limit`: so many are claimed, then the run pauses."""

    program: str
    setup: str
    resend_unknown: bool = False
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class RunPlan:
    """All that a run is planned with. `deadline` is when nothing more is sent; `expected`, where it is given, is the
    number of recipients that an operator confirmed. `program` and `setup` are what it is planned by (`RunRecord`).

    `shared`, where it is given, hands the run to workers in the same transaction; it is not `planned` then, but
    `sending` (see `Ledger.share`).

    `window_of`, where it is given, says for a subscriber's time zone (as it is kept; '' and nonsense included) when
    they may be mailed: pure, and asked once for each zone. No window ends after `deadline`.
    """

    name: RunName
    issue_date: dt.date
    edition: str
    selection: Selection
    content_hash: str
    subject: str
    provider: str
    batch_size: int
    deadline: dt.datetime
    expected: int | None = None
    window_of: Callable[[str], Window] | None = None
    program: str = ""
    setup: str = ""
    shared: Sharing | None = None


@dataclass(frozen=True, slots=True)
class Balance:
    """A run's balance sheet: how many recipients are in which state, and how many the provider reported on later."""

    planned: int
    counts: Mapping[DeliveryState, int]
    marks: Mapping[Mark, int] = field(default_factory=dict)

    def of(self, state: DeliveryState) -> int:
        """How many are in `state`."""
        return self.counts.get(state, 0)

    @property
    def remaining(self) -> int:
        """Not yet decided, unknowns apart."""
        return sum(map(self.of, (DeliveryState.PLANNED, DeliveryState.IN_FLIGHT, DeliveryState.RETRY_WAIT)))

    @property
    def balances(self) -> bool:
        """Whether every planned recipient is in exactly one state."""
        return self.planned == sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run as the ledger has it. `reason` says why it is paused; `sender` who has it in hand (host and process
    number), '' where nobody has.

    `shared`: workers send it, a batch each. `uid` names it also where its number is given again, in a restored
    database. `program` (a version) and `setup` (hashes of the settings that its mail depends on) are those of the
    process that planned it or handed it to workers.
    """

    id: int
    name: RunName
    issue_date: dt.date
    edition: str
    state: RunState
    content_hash: str
    subject: str
    provider: str
    batch_size: int
    selection: Selection
    planned_at: dt.datetime
    deadline: dt.datetime
    started_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None
    reason: str = ""
    sender: str = ""
    shared: bool = False
    uid: str = ""
    program: str = ""
    setup: str = ""

    @property
    def with_workers(self) -> bool:
        """Whether workers send it, or will: at this moment there may be none."""
        return self.shared and self.state is RunState.SENDING


@dataclass(frozen=True, slots=True)
class Claim:
    """Members whose state is `in_flight`, durably: for these, and only these, one call may be made.

    `attempt` counts the batch's attempts from 1. `first_at` is when the first of those was tried who wait for another
    try; these, where nobody does. `call_id` is the same for the same attempt over the same members, and never for
    another: a provider's idempotency key. `deadline`: when these members' own time is over, where it is not the run's.
    """

    batch: int
    attempt: int
    members: tuple[Member, ...]
    call_id: str
    first_at: dt.datetime
    deadline: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a claim: one outcome for each member, by `Member.id`.

    `retry_at` is when those that are Busy may be tried again; None: never, they expire. `split`: nobody was taken
    because of some recipient among them; the next calls over this batch are of half the size, until it is found alone.
    `reference` is the provider's own id of the call.
    """

    claim: Claim
    outcomes: Mapping[int, Outcome]
    retry_at: dt.datetime | None = None
    split: bool = False
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """A call that a thread would make: for at most `size` members.

    `admit` is asked, within the claiming transaction, how many of the members that stand first may be taken now, and
    when the others may be; it decides by the limits of recipient domains and must be quick.
    """

    size: int
    admit: Callable[[Sequence[Member]], Admission] | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """Which of the members asked about may be called for now, by their place; the others not before `others_at`."""

    places: Sequence[int]
    others_at: dt.datetime


class Halt(StrEnum):
    """Why the ledger gives no more claims, whoever asks."""

    #: Somebody paused the run.
    PAUSED = "paused"
    #: Somebody cancelled it.
    CANCELLED = "cancelled"
    #: The deadline is over.
    DEADLINE = "deadline"
    #: Nothing is left to claim, now or later.
    DONE = "done"
    #: Of a batch in a worker's hands: nothing for a while, and another job goes on then.
    LATER = "later"


@dataclass(frozen=True, slots=True)
class Exchange:
    """The ledger's answer: a claim (or None) for each wish, in order; `halt` where there will be no more; else, where
    a wish got None, `next_due` says when it is worth asking again (None: when a call in flight is reported)."""

    claims: tuple[Claim | None, ...]
    halt: Halt | None = None
    next_due: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class NotTaken:
    """A batch that was not given to a worker, and why; `again_at` is when another job asks for it (None: none does)."""

    why: str
    again_at: dt.datetime | None = None


def with_code(code: str, reason: str) -> str:
    """A provider's words, behind its code unless that is in them."""
    return reason if code in reason else f"{code} {reason}".strip()


@dataclass(frozen=True, slots=True)
class Delivery:
    """One recipient in one run: state, marks, the batch, attempts made so far, and the words kept of them."""

    run: RunName
    subscriber_id: int
    address: str
    state: DeliveryState
    batch: int
    attempts: int
    marks: Mark = field(default_factory=lambda: Mark(0))
    code: str = ""
    reason: str = ""
    at: dt.datetime | None = None

    @property
    def words(self) -> str:
        """The reason, behind the provider's code."""
        return with_code(self.code, self.reason)


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """A process that sent, or sends, batches of a run: `host pid 123`; whether it lives, unless more is known; how many
    attempts it made, and how many batches and recipients are in its hands or in flight."""

    name: str
    living: bool
    attempts: int
    batches: int
    in_flight: int


class Settlement(StrEnum):
    """An operator's word on unknown outcomes."""

    ACCEPTED = "assume-accepted"
    RESEND = "resend"
    ABANDON = "abandon"
