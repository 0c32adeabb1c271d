"""An operator's word on a run: pause, cancel, settle what is unknown, try again what was refused or came too late."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from newsletter.audience.addresses import BadAddress, parse_address
from newsletter.delivery.guards import refuse_count
from newsletter.delivery.ledger import Ledger
from newsletter.delivery.run_values import Balance, Delivery, RunRecord, Settlement
from newsletter.delivery.states import OVER, DeliveryState, RunState
from newsletter.errors import GuardRefused, NothingToDo, UsageError
from newsletter.pipeline.send_issue import next_deadline
from newsletter.settings.loaded import Loaded
from newsletter.settings.pick import pick_newsletter

#: What `pause` records, with the reason behind it where one is given: so an operator's pause is told apart.
BY_OPERATOR = "paused by an operator"


def pause_run(ledger: Ledger, run: RunRecord, reason: str, *, now: dt.datetime) -> None:
    """Stops the run; calls in flight are finished. Raises NothingToDo where it was paused, GuardRefused where over."""
    refuse_over(run, "paused")
    if not ledger.pause(run.id, f"{BY_OPERATOR}: {reason}" if reason else BY_OPERATOR, now=now):
        raise NothingToDo(f"{run.name} is {run.state} already", hint=f"To go on: newsletter resume {run.name}")


def cancel_run(ledger: Ledger, run: RunRecord, *, now: dt.datetime) -> Balance:
    """Ends the run: what did not go out does not. Its balance sheet. Raises GuardRefused where it is over."""
    refuse_over(run, "cancelled")
    return ledger.cancel(run.id, now=now)


def refuse_over(run: RunRecord, what: str) -> None:
    """Raises GuardRefused where the run is over and cannot be `what` (paused, cancelled) any more."""
    if run.state in OVER:
        raise GuardRefused(
            f"{run.name} is over ({run.state}) and cannot be {what}",
            hint=f"What became of it: newsletter status {run.name}",
        )


def unknown_members(ledger: Ledger, run: RunRecord, addresses: Sequence[str]) -> list[Delivery]:
    """The recipients of whom nobody knows whether they got it, by subscriber number; of `addresses`, if any are given.

    Raises UsageError where one of those is not unknown.
    """
    if addresses:
        chosen = {one.subscriber_id: one for one in (_unknown_at(ledger, run, address) for address in addresses)}
        return [chosen[number] for number in sorted(chosen)]
    return list(ledger.deliveries(run.id, (DeliveryState.UNKNOWN,)))


def _unknown_at(ledger: Ledger, run: RunRecord, address: str) -> Delivery:
    try:
        one = ledger.delivery(run.id, parse_address(address).key)
    except BadAddress as error:
        raise UsageError(f"{address!r} is no address: {error}", hint="Type it as name@example.com.") from None
    if one is None or one.state is not DeliveryState.UNKNOWN:
        state = "no recipient" if one is None else one.state.name.lower()
        raise UsageError(
            f"{address} is {state} in {run.name}, not unknown", hint=f"newsletter resolve {run.name} lists them"
        )
    return one


def refuse_nothing_unknown(ledger: Ledger, run: RunRecord, members: Sequence[Delivery]) -> None:
    """Raises NothingToDo where nobody is unknown; what is in flight may become so."""
    if members:
        return
    in_flight = ledger.balance(run.id).of(DeliveryState.IN_FLIGHT)
    hint = (
        f"{in_flight:,} are in flight. Where the process that sent them is gone: newsletter resume {run.name}"
        if in_flight
        else f"newsletter status {run.name} has the balance sheet"
    )
    raise NothingToDo(f"nobody's outcome is unknown in {run.name}", hint=hint)


def settle_unknown(
    ledger: Ledger,
    run: RunRecord,
    settlement: Settlement,
    members: Sequence[Delivery],
    *,
    confirmed: int,
    now: dt.datetime,
) -> int:
    """Settles the unknown outcomes of `members`, and of nobody else, by an operator's word; how many.

    `confirmed` is the number that the operator typed. Raises GuardRefused where it is another, NothingToDo where
    nothing is unknown.
    """
    refuse_nothing_unknown(ledger, run, members)
    number = len(members)
    command = f"newsletter resolve {run.name} --{settlement} --confirm {number}"
    refuse_count(confirmed, number, command, "nothing was changed")
    return ledger.settle(run.id, settlement, only=[one.subscriber_id for one in members], now=now)


def retry_deadline(loaded: Loaded, run: RunRecord, *, now: dt.datetime) -> dt.datetime:
    """The next deadline of the run's newsletter. Raises UsageError where that is not in the settings any more."""
    return next_deadline(pick_newsletter(loaded.settings, run.name.newsletter)[1].schedule, now)


def retry_run(
    ledger: Ledger, run: RunRecord, states: Sequence[DeliveryState], deadline: dt.datetime, *, now: dt.datetime
) -> int:
    """Opens rejected or expired deliveries for another try until `deadline`; the run waits for `resume`. How many.

    Raises NothingToDo where there is none, GuardRefused where the run is being sent or was cancelled.
    """
    if run.state is RunState.CANCELLED:
        raise GuardRefused(f"{run.name} was cancelled; it does not go out any more", hint="Send another edition.")
    number = ledger.retry(run.id, states, deadline, now=now)
    if not number:
        names = " or ".join(state.name.lower() for state in states)
        raise NothingToDo(
            f"nobody is {names} in {run.name}", hint=f"newsletter status {run.name} has the balance sheet"
        )
    return number
