"""`pause`, `resume`, `cancel`, `resolve` and `retry`: an operator's word on a run."""

from __future__ import annotations

import datetime as dt
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter.cli import run_words
from newsletter.cli.console import count
from newsletter.cli.context import Globals, globals_of
from newsletter.cli.options import JsonOption, RunArgument
from newsletter.cli.sending import LimitOption, MetricsOption
from newsletter.errors import GuardRefused, UsageError

if TYPE_CHECKING:
    from newsletter.delivery.ledger import Ledger
    from newsletter.delivery.run_values import Balance, Delivery, RunRecord


def pause(
    context: typer.Context,
    run: RunArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept and shown by status.")] = "",
    json: JsonOption = False,
) -> None:
    """Stop a run, whoever sends it. Calls that are out are finished; resume goes on.

    Examples: newsletter pause daily-buzz/2026-01-07, newsletter pause 2026-01-07 --reason "wrong headline"
    """
    options = globals_of(context, json=json)
    from newsletter.pipeline.steer_run import pause_run  # not needed by --help

    ledger, found = _run(options, run)
    pause_run(ledger, found, reason, now=_now())
    options.console.say(f"{found.name} is paused. To go on: newsletter resume {found.name}")
    _data(options, ledger, found)


def resume(
    context: typer.Context,
    run: RunArgument,
    limit: LimitOption = None,
    metrics: MetricsOption = None,
    json: JsonOption = False,
) -> None:
    """Send what is left of a run that was interrupted or paused, or a daemon planned. The issue must be the same.

    Examples: newsletter resume daily-buzz/2026-01-07, newsletter resume 2026-01-07 --limit 100
    """
    options = globals_of(context, json=json)
    from newsletter import wiring
    from newsletter.cli.live_sending import resume_live
    from newsletter.pipeline.run_report import run_name  # not needed by --help

    loaded = options.settings()
    name = run_name(loaded, options.newsletter, run, _now())
    resume_live(options, wiring.request(loaded, name.newsletter, name.slot), limit=limit, metrics=metrics)


def cancel(
    context: typer.Context,
    run: RunArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask. Off a terminal nobody is asked anyway.")] = False,
    json: JsonOption = False,
) -> None:
    """End a run: what did not go out does not, ever. Calls that are out still count. A terminal is asked first.

    Examples: newsletter cancel daily-buzz/2026-01-07, newsletter cancel 2026-01-07 --yes --json
    """
    options = globals_of(context, json=json)
    from newsletter.pipeline.steer_run import cancel_run, refuse_over  # not needed by --help

    ledger, found = _run(options, run)
    refuse_over(found, "cancelled")
    if not yes and sys.stdin.isatty():  # a script's call is its word
        _ask_to_cancel(found, ledger.balance(found.id))
    balance = cancel_run(ledger, found, now=_now())
    options.console.say(f"{found.name} is cancelled: {run_words.counts(balance)}")
    _data(options, ledger, found)


def resolve(
    context: typer.Context,
    run: RunArgument,
    assume_accepted: Annotated[
        bool, typer.Option("--assume-accepted", help="They got it: count them as accepted.")
    ] = False,
    resend: Annotated[
        bool, typer.Option("--resend", help="Send it again; some may get it twice. Then: resume.")
    ] = False,
    abandon: Annotated[bool, typer.Option("--abandon", help="Leave it: nobody knows, and nobody will.")] = False,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="EMAIL", help="Settle this recipient alone; may be given several times."),
    ] = None,
    confirm: Annotated[
        int | None, typer.Option("--confirm", metavar="N", min=0, help="How many, for scripts; else it is asked for.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="However many they are, do not ask.")] = False,
    json: JsonOption = False,
) -> None:
    """List the recipients of whom nobody knows whether they got the issue, and settle them by your word.

    With --json one object a line, their number last; where they are settled one object alone.

    Examples: newsletter resolve daily-buzz/2026-01-07,
    newsletter resolve daily-buzz/2026-01-07 --assume-accepted --confirm 3,
    newsletter resolve daily-buzz/2026-01-07 --resend --only anna@example.com
    """
    options = globals_of(context, json=json)
    from newsletter.delivery.run_values import Settlement
    from newsletter.pipeline import steer_run  # not needed by --help

    asked = {Settlement.ACCEPTED: assume_accepted, Settlement.RESEND: resend, Settlement.ABANDON: abandon}
    chosen = [settlement for settlement, is_asked in asked.items() if is_asked]
    if len(chosen) > 1:
        raise UsageError("--assume-accepted, --resend and --abandon exclude each other", hint="Give one of them.")
    ledger, found = _run(options, run)
    members = steer_run.unknown_members(ledger, found, only or ())
    console = options.console
    if not chosen:
        _list_unknown(options, ledger, found, members)
        return
    if confirm is None:
        confirm = len(members) if yes else _ask(options, found, chosen[0], members)
    settled = steer_run.settle_unknown(ledger, found, chosen[0], members, confirmed=confirm, now=_now())
    after = ledger.run(found.name) or found
    console.say(f"{count(settled, 'recipient')} settled ({chosen[0].value}); {found.name} is {after.state}")
    if chosen[0] is Settlement.RESEND:
        console.say(f"  To send it to them: newsletter resume {found.name}")
    _data(options, ledger, found, settled=settled)


def retry(
    context: typer.Context,
    run: RunArgument,
    rejected: Annotated[bool, typer.Option("--rejected", help="Those whom the provider refused.")] = False,
    expired: Annotated[bool, typer.Option("--expired", help="Those whom the deadline or retry_for cut off.")] = False,
    json: JsonOption = False,
) -> None:
    """Open a run again for recipients who did not get it, until the next deadline; resume then sends to them.

    Examples: newsletter retry daily-buzz/2026-01-07 --expired, newsletter retry 2026-01-07 --rejected --expired
    """
    options = globals_of(context, json=json)
    from newsletter.delivery.states import DeliveryState
    from newsletter.pipeline.steer_run import retry_deadline, retry_run  # not needed by --help

    states = [DeliveryState.REJECTED] * rejected + [DeliveryState.EXPIRED] * expired
    if not states:
        raise UsageError("whom to try again?", hint="Give --rejected, --expired, or both.")
    ledger, found = _run(options, run)
    deadline = retry_deadline(options.settings(), found, now=_now())
    number = retry_run(ledger, found, states, deadline, now=_now())
    options.console.say(
        f"{count(number, 'recipient')} of {found.name} can be tried again until {deadline:%a %H:%M %Z}.\n"
        f"  To send it to them: newsletter resume {found.name}"
    )
    _data(options, ledger, found, opened=number)


def _run(options: Globals, named: str) -> tuple[Ledger, RunRecord]:
    """The ledger and the run of this name. Raises UsageError or NothingToDo."""
    from newsletter import wiring
    from newsletter.pipeline.run_report import run_called, run_name  # not needed by --help

    loaded = options.settings()
    name = run_name(loaded, options.newsletter, named, _now())
    ledger = wiring.ledger(loaded, options.console.note)
    return ledger, run_called(ledger, name)


def _data(options: Globals, ledger: Ledger, run: RunRecord, **more: object) -> None:
    """The run as it is now, for programs."""
    from newsletter.pipeline.run_report import report, status_document  # not needed by --help

    if options.console.json:
        options.console.data({**status_document(report(ledger, ledger.run(run.name) or run)), **more})


def _list_unknown(options: Globals, ledger: Ledger, run: RunRecord, members: list[Delivery]) -> None:
    from newsletter.pipeline.run_report import delivery_document
    from newsletter.pipeline.steer_run import refuse_nothing_unknown  # not needed by --help

    refuse_nothing_unknown(ledger, run, members)
    console = options.console
    for one in members:
        said = f"  {one.words}" if one.words else ""
        console.say(f"{one.address}  batch {one.batch}, {count(one.attempts, 'attempt')}{said}")
        console.data(delivery_document(one))
    console.note(
        f"{count(len(members), 'recipient')} of {run.name} may have got it, or not. Where the provider's own log says "
        "that it did: --assume-accepted; that it did not: --resend; where nobody knows: --abandon"
    )
    console.data({"count": len(members)})


def _ask_to_cancel(run: RunRecord, balance: Balance) -> None:
    left = f"{count(balance.remaining, 'recipient')} of {run.name} would never get it"
    if not typer.confirm(f"{left}. End the run?", err=True):
        raise GuardRefused(f"{run.name} was not cancelled", hint=f"What becomes of it: newsletter status {run.name}")


def _ask(options: Globals, run: RunRecord, settlement: object, members: list[Delivery]) -> int:
    for one in members:
        options.console.note(f"  {one.address}")
    if not sys.stdin.isatty():
        return _answer(sys.stdin.readline().strip(), run, settlement, len(members))
    typed = str(typer.prompt(f"Type how many are to be settled as --{settlement}", err=True)).strip()
    if not (typed.isascii() and typed.isdigit()):
        raise GuardRefused(f"{typed!r} is not their number: nothing was changed", hint="Type the number alone.")
    return int(typed)


def _answer(said: str, run: RunRecord, settlement: object, members: int) -> int:
    """What a script wrote on standard input: their number, or yes."""
    if said.lower() in {"y", "yes"}:
        return members
    if said.isascii() and said.isdigit():
        return int(said)
    raise GuardRefused(
        f"{count(members, 'recipient')} would be settled, and there is no terminal to ask at",
        hint=f"newsletter resolve {run.name} --{settlement} --confirm {members}",
    )


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
