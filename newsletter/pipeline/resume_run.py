"""`resume RUN` and `send --resume`: what is left of a run goes out, with the same content."""

from __future__ import annotations

import datetime as dt

from newsletter.delivery import guards
from newsletter.delivery.ledger import Ledger
from newsletter.delivery.run_values import Balance, RunRecord
from newsletter.delivery.states import OVER, DeliveryState, RunState
from newsletter.errors import GuardRefused, NothingToDo, TemporaryError
from newsletter.pipeline.prepare import Prepared
from newsletter.pipeline.run_report import RunReport, run_called
from newsletter.pipeline.send_issue import SendTools, refuse_unapproved, send_planned


def run_to_resume(prepared: Prepared, ledger: Ledger, now: dt.datetime) -> RunRecord:
    """The issue's run, with something left to send.

    Raises NothingToDo where there is no such run, or nothing is left of it; GuardRefused where another process has it
    in hand, or the issue is another one by now; TemporaryError where it is paused, and calls of it are still out.
    """
    run = run_called(ledger, prepared.run)
    balance = ledger.balance(run.id)
    _refuse_done(run, balance, now)
    if run.sender and run.state is RunState.PAUSED:
        raise TemporaryError(
            f"{run.name} is paused, and calls of it are still out, in the hands of {run.sender}",
            hint="Run the same command again in a moment; in half a minute where whoever has them is gone.",
        )
    if run.sender or run.with_workers:  # `take` says so too, should another begin meanwhile
        raise GuardRefused(
            f"{run.name} is being sent by {run.sender or 'workers'}",
            hint=f"To look on: newsletter watch {run.name}; to stop it: newsletter pause {run.name}",
        )
    guards.refuse_other_content(run, prepared.rendered.content_hash)
    refuse_unapproved(prepared, ledger)
    guards.refuse_insecure_links(prepared.publication.base_url)
    return run


def resume_run(prepared: Prepared, run: RunRecord, tools: SendTools, *, limit: int | None = None) -> RunReport:
    """Sends what is left of the run until its own deadline; `limit` sends to so many and then pauses.

    Where the deadline is over, what is left expires. Raises GuardRefused where a living process has it; else what
    `send_run` raises.
    """
    return send_planned(prepared, run.id, run.deadline, tools, limit=limit)


def _refuse_done(run: RunRecord, balance: Balance, now: dt.datetime) -> None:
    unknown, accepted = balance.of(DeliveryState.UNKNOWN), balance.of(DeliveryState.ACCEPTED)
    if run.state not in OVER and (balance.remaining or run.state is not RunState.HELD):
        return
    sent = guards.clock(run.started_at or run.planned_at, now)
    hint = f"What became of it: newsletter status {run.name}"
    if unknown:
        hint = f"To settle the {unknown:,} whose outcome is unknown: newsletter resolve {run.name}"
    elif balance.of(DeliveryState.EXPIRED):
        hint = f"To send to those whom the deadline cut off: newsletter retry {run.name} --expired"
    raise NothingToDo(
        f"nothing is left to send of {run.name}: {run.state}, begun at {sent}, {accepted:,} accepted", hint=hint
    )
