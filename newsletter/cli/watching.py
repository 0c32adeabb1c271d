"""`status`, `watch` and `history`: how runs stand."""

from __future__ import annotations

import datetime as dt
import sys
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter.cli import run_words
from newsletter.cli.context import Globals, globals_of
from newsletter.cli.options import JsonOption
from newsletter.delivery.states import DeliveryState, RunState

if TYPE_CHECKING:
    from newsletter.delivery.ledger import Ledger
    from newsletter.delivery.run_values import RunRecord
    from newsletter.pipeline.run_report import RunReport

#: Seconds to wait for a sender of a run that is planned.
_WAITS_FOR_A_SENDER = 10.0

OptionalRun = Annotated[
    str | None,
    typer.Argument(metavar="RUN", help="NEWSLETTER/DATE; without it the run being sent, else one that waits for you."),
]


class Standing(StrEnum):
    """The states of recipients, in the words of the balance sheet."""

    WAITING = "waiting"
    IN_FLIGHT = "in_flight"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    RETRY_WAIT = "retry_wait"
    UNKNOWN = "unknown"
    SUPPRESSED = "suppressed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    ABANDONED = "abandoned"

    @classmethod
    def of(cls, state: DeliveryState) -> Standing:
        """The whole run is `planned` on the sheet; who is in that state are those whose turn is still to come."""
        return cls.WAITING if state is DeliveryState.PLANNED else cls(state.name.lower())


def status(
    context: typer.Context,
    run: OptionalRun = None,
    who: Annotated[
        list[Standing] | None,
        typer.Option(
            "--who", metavar="STATE", help="List those in this state by address, in place of the sheet; repeatable."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show a run's balance sheet: what became of everybody in it, and what to do next.

    With --who and --json one object a line, their number last.

    Examples: newsletter status, newsletter status daily-buzz/2026-01-07 --json,
    newsletter status 2026-01-07 --who rejected --who expired
    """
    options = globals_of(context, json=json)
    from newsletter.pipeline.run_report import report  # not needed by --help

    ledger, found = _run(options, run)
    if who:
        _list(options, ledger, found, who)
    else:
        _print(options, report(ledger, found))


def watch(
    context: typer.Context,
    run: OptionalRun = None,
    every: Annotated[float, typer.Option("--every", metavar="SECONDS", min=0.1, help="How often to look.")] = 1.0,
    json: JsonOption = False,
) -> None:
    """Look on while a run goes out, from any terminal; ends when nobody sends it any more. Ctrl-C stops looking only.

    With --json one object a line whenever something changed, the last one as status prints it.

    Examples: newsletter watch, newsletter watch daily-buzz/2026-01-07 --json
    """
    options = globals_of(context, json=json)
    from newsletter.cli.send_progress import send_progress
    from newsletter.pipeline.run_report import report, run_called  # not needed by --help
    from newsletter.pipeline.share_run import NO_WORKER_AFTER

    ledger, found = _run(options, run)

    began, asked = time.monotonic(), False

    def goes_on(run: RunRecord) -> bool:
        # paused or cancelled, it may have calls out yet; planned, it is about to be sent, or its process has died
        if run.sender or run.with_workers:
            return True
        return run.state is RunState.PLANNED and time.monotonic() - began < _WAITS_FOR_A_SENDER

    before, piped = None, not options.console.json and not sys.stderr.isatty()
    with send_progress(options.console, str(found.name)) as progress:
        # looked at twice: between a run's row and its sender's lock there is a moment
        while goes_on(found) or goes_on(found := run_called(ledger, found.name)):
            balance = ledger.balance(found.id)
            if balance != before:
                progress.on_balance(balance)
                if piped:
                    options.console.note(f"{found.name}  {found.state}  {run_words.counts(balance)}")
            before = balance
            if found.with_workers and not asked and time.monotonic() - began >= NO_WORKER_AFTER:
                asked = True
                alive = ledger.any_worker()
                if not alive or not ledger.workers(found.id):
                    options.console.note(run_words.no_worker(found.name, alive=alive))
            time.sleep(every)
            found = run_called(ledger, found.name)
    _print(options, report(ledger, found))


def history(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="How many at most.")] = 20,
    json: JsonOption = False,
) -> None:
    """List the runs with their balance sheets, the latest first; with --json one object a line, their number last.

    Examples: newsletter history, newsletter -n daily-buzz history --limit 5 --json
    """
    options = globals_of(context, json=json)
    from newsletter import wiring
    from newsletter.pipeline.run_report import counts_document, newsletter_named
    from newsletter.pipeline.run_report import history as runs  # not needed by --help

    loaded = options.settings()
    chosen = newsletter_named(loaded, options.newsletter)
    ledger, number = wiring.ledger(loaded, options.console.note), 0
    for run, balance in runs(ledger, chosen, limit):
        number += 1
        began = run_words.moment(run.started_at or run.planned_at, run_words.zone_of(loaded, run))
        options.console.say(f"{run.name}  {run.state:<9}  {began}  {run_words.counts(balance)}")
        options.console.data(counts_document(run, balance))
    if not number:
        options.console.note("no run is recorded yet")
    options.console.data({"count": number})


def _run(options: Globals, named: str | None) -> tuple[Ledger, RunRecord]:
    from newsletter import wiring
    from newsletter.pipeline.run_report import latest_run, newsletter_named, run_called, run_name  # see status

    loaded = options.settings()
    name = None if named is None else run_name(loaded, options.newsletter, named, dt.datetime.now(dt.UTC))
    chosen = newsletter_named(loaded, options.newsletter)
    ledger = wiring.ledger(loaded, options.console.note)
    return ledger, latest_run(ledger, chosen) if name is None else run_called(ledger, name)


def _list(options: Globals, ledger: Ledger, run: RunRecord, who: list[Standing]) -> None:
    from newsletter.pipeline.listing_parts import every_delivery
    from newsletter.pipeline.run_report import delivery_document  # see status

    states, console, number = [state for state in DeliveryState if Standing.of(state) in who], options.console, 0
    balance = ledger.balance(run.id)
    for one in every_delivery(ledger, run, states):
        number += 1
        said = f"  {one.words}" if one.words else ""
        console.say(f"{one.address or '(erased)'}  {Standing.of(one.state)}{run_words.marks_after(one)}{said}")
        console.data(delivery_document(one))
    gone = sum(map(balance.of, states)) - number if run.ended_at else 0
    if gone > 0:
        console.note(f"Who the {'others' if number else 'people'} were, {gone:,}, is no longer kept (retention.runs)")
    elif not number:
        console.note(f"nobody in {run.name} is {' or '.join(who)}")
    console.data({"count": number})


def _print(options: Globals, found: RunReport) -> None:
    from newsletter import wiring
    from newsletter.pipeline.run_report import status_document  # see status
    from newsletter.pipeline.tracking_report import tracking_document, tracking_report

    newsletter = options.settings().settings.newsletters.get(found.run.name.newsletter)
    counts = wiring.tracking_store(options.settings()).counts(found.run.name)
    measured = tracking_report(counts, newsletter.tracking if newsletter else None)
    if options.console.json:
        options.console.data({**status_document(found), **tracking_document(measured)})
        return
    run, balance, console = found.run, found.balance, options.console
    zone = run_words.zone_of(options.settings(), run)
    by = f" by {run.sender}" if run.sender else ""
    console.say(f"{run.name}  {run.state}{by}   {run.subject}")
    console.say(f"  provider    {run.provider}")
    console.say(
        f"  begun       {run_words.moment(run.started_at, zone)}, deadline {run_words.moment(run.deadline, zone)}"
    )
    if run.ended_at:
        took = f", after {run_words.duration(found.seconds)}" if found.seconds is not None else ""
        console.say(f"  ended       {run_words.moment(run.ended_at, zone)}{took}")
    console.say(f"  planned     {balance.planned:,}" + ("" if balance.balances else "  (the sheet does not balance!)"))
    for state, number in sorted(balance.counts.items()):
        if number:
            at = found.next_try if state is DeliveryState.RETRY_WAIT else None
            due = f", the next try at {run_words.moment(at, zone)}" if at and at > dt.datetime.now(dt.UTC) else ""
            console.say(f"  {Standing.of(state):<11} {number:,}{due}")
    for mark, number in sorted(balance.marks.items()):
        if number:
            console.say(f"  {str(mark.name).lower():<11} {number:,}")
    for word, hits in (("clicks", measured.clicks), ("opens", measured.opens)):
        if hits is not None:
            console.say(f"  {word:<11} {hits.human:,} by readers, {hits.raw:,} in all")
    if found.excluded:
        left_out = ", ".join(f"{number:,} {reason}" for reason, number in found.excluded.items())
        console.say(f"  left out    {left_out}")
    for worker in found.workers:
        console.say(f"  worker      {run_words.worker(worker)}")
    for line in run_words.grouped_words(found):
        console.say(f"    {line}")
    due = run_words.due_moment(options.settings(), run, dt.datetime.now(dt.UTC))
    for line in run_words.next_steps(found, due):
        console.say(f"  {line}")
