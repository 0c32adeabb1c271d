"""The states of a delivery and of a run, and every way from one to another. Pure: a table, and functions that read it.

A member's state in a run is one byte: the state in its low half, and beside it, as bits of the high half, what the
provider reported later.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, IntFlag, StrEnum, auto


class DeliveryState(IntEnum):
    """What became of one recipient of a run so far. The values stand in the database; they never change."""

    #: Nothing was tried yet.
    PLANNED = 0
    #: A call is being made, or was when the process died.
    IN_FLIGHT = 1
    #: The provider took the message and answers for it; bounces come beside it, never in place of it.
    ACCEPTED = 2
    #: The provider refused this recipient for good.
    REJECTED = 3
    #: Certainly not accepted, and to be tried again.
    RETRY_WAIT = 4
    #: The call was made and its answer never came. Settled by evidence, by policy or by an operator.
    UNKNOWN = 5
    #: Suppressed, or off the list, after the audience was frozen and before the claim.
    SUPPRESSED = 6
    #: The deadline came, or `retry_for` was used up.
    EXPIRED = 7
    #: An operator cancelled the run first.
    CANCELLED = 8
    #: Unknown, and an operator gave it up.
    ABANDONED = 9


class Mark(IntFlag):
    """What the provider reported later, beside the state."""

    DELIVERED = 0x10
    BOUNCED = 0x20
    COMPLAINED = 0x40


STATE_BITS = 0x0F


class Change(StrEnum):
    """Why a delivery changes its state."""

    #: A call is about to be made.
    CLAIM = auto()
    #: The claim found them suppressed or off the list.
    SUPPRESS = auto()
    #: The deadline passed, or `retry_for` is used up.
    EXPIRE = auto()
    #: An operator cancelled the run.
    CANCEL = auto()
    #: The provider took it.
    ACCEPT = auto()
    #: The provider refused it for good.
    REJECT = auto()
    #: The provider certainly did not take it, and may later.
    POSTPONE = auto()
    #: No answer came, or the process died in the call.
    LOSE = auto()
    #: An event of the provider proves that it took it.
    EVIDENCE = auto()
    #: An operator's word: it was taken.
    ASSUME = auto()
    #: Policy (`on_unknown = "resend"`) or an operator's word: send it again, at the risk of a second copy.
    RESEND = auto()
    #: An operator's word: leave it.
    ABANDON = auto()
    #: An operator's word: try what was rejected or has expired once more.
    RETRY = auto()


_S = DeliveryState

#: (state, change) → the next state. What is not here is refused. A late answer of a process that was given up for dead
#: settles an unknown: taken is taken, and everything else proves that the message is not there.
TRANSITIONS: Mapping[tuple[DeliveryState, Change], DeliveryState] = {
    (_S.PLANNED, Change.CLAIM): _S.IN_FLIGHT,
    (_S.PLANNED, Change.SUPPRESS): _S.SUPPRESSED,
    (_S.PLANNED, Change.EXPIRE): _S.EXPIRED,
    (_S.PLANNED, Change.CANCEL): _S.CANCELLED,
    (_S.IN_FLIGHT, Change.ACCEPT): _S.ACCEPTED,
    (_S.IN_FLIGHT, Change.REJECT): _S.REJECTED,
    (_S.IN_FLIGHT, Change.POSTPONE): _S.RETRY_WAIT,
    (_S.IN_FLIGHT, Change.LOSE): _S.UNKNOWN,
    (_S.IN_FLIGHT, Change.EVIDENCE): _S.ACCEPTED,
    (_S.RETRY_WAIT, Change.CLAIM): _S.IN_FLIGHT,
    (_S.RETRY_WAIT, Change.SUPPRESS): _S.SUPPRESSED,
    (_S.RETRY_WAIT, Change.EXPIRE): _S.EXPIRED,
    (_S.RETRY_WAIT, Change.CANCEL): _S.CANCELLED,
    # it was taken after all: a call that was thought lost, and was about to be repeated
    (_S.RETRY_WAIT, Change.EVIDENCE): _S.ACCEPTED,
    (_S.UNKNOWN, Change.ACCEPT): _S.ACCEPTED,
    (_S.UNKNOWN, Change.REJECT): _S.RETRY_WAIT,
    (_S.UNKNOWN, Change.POSTPONE): _S.RETRY_WAIT,
    (_S.UNKNOWN, Change.LOSE): _S.UNKNOWN,
    (_S.UNKNOWN, Change.EVIDENCE): _S.ACCEPTED,
    (_S.UNKNOWN, Change.ASSUME): _S.ACCEPTED,
    (_S.UNKNOWN, Change.RESEND): _S.RETRY_WAIT,
    (_S.UNKNOWN, Change.ABANDON): _S.ABANDONED,
    # the answer of an attempt that was recorded already: the same again changes nothing
    (_S.ACCEPTED, Change.ACCEPT): _S.ACCEPTED,
    (_S.ACCEPTED, Change.EVIDENCE): _S.ACCEPTED,
    # evidence wins over what an operator gave up
    (_S.ABANDONED, Change.EVIDENCE): _S.ACCEPTED,
    (_S.REJECTED, Change.RETRY): _S.RETRY_WAIT,
    (_S.EXPIRED, Change.RETRY): _S.RETRY_WAIT,
}

#: States from which a member may be claimed.
CLAIMABLE = frozenset({_S.PLANNED, _S.RETRY_WAIT})


class ForbiddenChange(Exception):
    """A mistake of this program: there is no such way between two states."""


def after(state: DeliveryState, change: Change) -> DeliveryState:
    """The state after `change`. Raises ForbiddenChange."""
    try:
        return TRANSITIONS[state, change]
    except KeyError:
        raise ForbiddenChange(f"no delivery goes from {state.name} by {change.name}") from None


def state_of(byte: int) -> DeliveryState:
    """The state within a member's byte."""
    return DeliveryState(byte & STATE_BITS)


def changed(byte: int, change: Change) -> int:
    """A member's byte after `change`; its marks stay. Raises ForbiddenChange."""
    return byte & ~STATE_BITS | after(state_of(byte), change)


class RunState(StrEnum):
    """How far a run is. The values stand in the database and in `status --json`."""

    #: Its audience is frozen; nothing was tried.
    PLANNED = "planned"
    #: A process sends it; or did, and was interrupted: then no process has it, and any may go on.
    SENDING = "sending"
    #: A breaker or an operator stopped it; an operator's word lets it go on.
    PAUSED = "paused"
    #: Only unknowns are left to settle.
    HELD = "held"
    #: Everybody is settled, and the sum balances.
    FINISHED = "finished"
    #: An operator cancelled it; what had not gone out does not.
    CANCELLED = "cancelled"
    #: Everybody is settled, and for some the deadline came first.
    EXPIRED = "expired"


#: States in which a run is over.
OVER = frozenset({RunState.FINISHED, RunState.CANCELLED, RunState.EXPIRED})


def settled_state(counts: Mapping[DeliveryState, int]) -> RunState:
    """The state of a run with nothing left to send: held while an unknown or a call in flight is left, else over."""
    if counts.get(_S.UNKNOWN, 0) or counts.get(_S.IN_FLIGHT, 0):
        return RunState.HELD
    if counts.get(_S.CANCELLED, 0):
        return RunState.CANCELLED
    return RunState.EXPIRED if counts.get(_S.EXPIRED, 0) else RunState.FINISHED
