"""A live send, as `send` and `resume` do it: what an operator sees before, meanwhile and after."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from newsletter.cli.console import Console, ReaderGone, count
from newsletter.cli.context import Globals
from newsletter.errors import GuardRefused, NewsletterError, OutputError, Place

if TYPE_CHECKING:
    from newsletter.pipeline.request import IssueRequest
    from newsletter.pipeline.run_report import RunReport
    from newsletter.pipeline.send_issue import ReadyToSend
    from newsletter.wiring.sending import Watchers

_LOOKING = "Ctrl-C ends looking on, and they send on."
_WORKERS_GO_ON = "Looking on ends; the workers go on sending."


def send_live(
    options: Globals, request: IssueRequest, *, confirm: int | None, limit: int | None, metrics: Path | None
) -> None:
    """Guards, the count, and the send. Raises GuardRefused, ChecksFailed; ends the command with its exit code."""
    from newsletter.wiring import sending  # brings the libraries of log and metrics

    _start_log(options.console)
    with closing(sending.live_send(request, options.console.note)) as live:
        ready = live.ready(options.console.note)
        _show(options.console, ready, live.provider.name)
        confirmed = confirm if confirm is not None else _ask(options.console, ready)
        ready.refuse_other_count(confirmed)
        _go(
            options.console,
            str(live.prepared.run),
            lambda watchers: live.send(ready, watchers, confirmed=confirmed, limit=limit),
            limit=limit,
            metrics=metrics,
            by_workers=live.by_workers,
        )


def resume_live(
    options: Globals,
    request: IssueRequest,
    *,
    confirm: int | None = None,
    limit: int | None = None,
    metrics: Path | None = None,
) -> None:
    """Sends what is left of the run of an issue. Raises NothingToDo or GuardRefused; ends with its exit code.

    `confirm`, where it is given, must be the number of recipients that the run was planned with.
    """
    from newsletter.wiring import sending  # see send_live

    console = options.console
    _start_log(console)
    live, run = sending.resumed_send(request, console.note)
    with closing(live):
        if confirm is not None:
            live.refuse_other_count(run, confirm)
        console.note(f"  Going on with {run.name} ({run.state}) via {live.provider.name}")
        _go(
            console,
            str(run.name),
            lambda watchers: live.resume(run, watchers, limit=limit),
            limit=limit,
            metrics=metrics,
            by_workers=live.by_workers,
        )


def _start_log(console: Console) -> None:
    if console.verbose:
        from newsletter import logs  # brings structlog

        logs.configure(terminal=sys.stderr.isatty())


def _go(
    console: Console,
    run: str,
    send: Callable[[Watchers], RunReport],
    *,
    limit: int | None,
    metrics: Path | None,
    by_workers: bool,
) -> None:
    from newsletter.cli import run_words
    from newsletter.cli.draining import FIRST, SECOND, draining
    from newsletter.cli.frugality import keep_little
    from newsletter.cli.send_progress import send_progress
    from newsletter.pipeline.run_report import status_document
    from newsletter.wiring.sending import Watchers  # see send_live

    _refuse_unwritable(metrics)
    keep_little()
    watchers = Watchers()
    started = time.monotonic()
    first, second = (_WORKERS_GO_ON, _WORKERS_GO_ON) if by_workers else (FIRST, SECOND)
    try:
        with draining(watchers.stop, first=first, second=second), send_progress(console, run) as progress:
            watchers.on_balance = progress.on_balance
            watchers.observers = [progress]
            watchers.handed_over = lambda: console.note(f"  {run} was handed to workers; {_LOOKING}")
            watchers.no_worker = lambda alive: console.note(f"  {run_words.no_worker(run, alive=alive)}")
            found = send(watchers)
    finally:
        _write_metrics(console, watchers, metrics)
    code = run_words.exit_code(found, stopped_itself=progress.stopped_itself, limited=limit is not None)
    # the mail is out: whoever stopped reading must not change the exit code
    with suppress(ReaderGone):
        run_words.say_result(console, found, time.monotonic() - started)
        console.data(status_document(found))
    raise typer.Exit(code)


def _show(console: Console, ready: ReadyToSend, provider: str) -> None:
    """What an operator wants to know before typing the count."""
    from newsletter.cli.run_words import duration

    prepared, tell = ready.prepared, console.note if console.json else console.say
    zone = prepared.newsletter.schedule.timezone
    tell(f"{prepared.issue.title:<48} LIVE via {provider}")
    if prepared.rendered.subject != prepared.issue.title:
        tell(f"  Subject   {prepared.rendered.subject}")
    tell(f"  From      {prepared.newsletter.sender}")
    change = "the first run" if ready.change is None else f"last issue {ready.previous:,}, {ready.change:+.1%}"
    tell(f"  Audience  {ready.planned:,}   ({change})")
    if ready.left_out:
        tell(f"  Excluded  {', '.join(f'{number:,} {reason}' for reason, number in ready.left_out.items())}")
    in_batches = count(ready.batches, "batch", "batches")
    takes = "as fast as the provider takes it" if ready.seconds is None else f"about {duration(ready.seconds)}"
    rate = "" if ready.rate is None else f" at {ready.rate:g}/s"
    tell(f"  Duration  {takes}{rate}, {in_batches}; deadline {ready.deadline:%a %H:%M %Z}")
    if (late := ready.too_many) > 0:
        tell(f"            at this rate {late:,} would not be reached before the deadline, and expire")
    if ready.last_test is None:
        tell("  Test      none was sent")
    else:
        _, at, addresses = ready.last_test
        tell(f"  Test sent {at.astimezone(zone):%Y-%m-%d %H:%M} to {', '.join(addresses)} (same content)")


def _ask(console: Console, ready: ReadyToSend) -> int:
    """The count that the operator types. Raises GuardRefused where nobody can be asked, or it is no number."""
    if not sys.stdin.isatty():
        ready.refuse_unconfirmed()
    try:
        typed = str(typer.prompt("  This cannot be undone. Type the recipient count to send", err=True)).strip()
    except typer.Abort:  # Ctrl-C, Ctrl-D
        console.note("")  # the prompt's line is not over
        console.complain("nothing was typed: nothing was sent", "")
        raise
    digits = re.sub(r"[,._ \u00a0\u202f']", "", typed)
    if not (digits.isascii() and digits.isdigit()):
        raise GuardRefused(f"{typed!r} is not the recipient count: nothing was sent", hint=ready.command)
    return int(digits)


def _refuse_unwritable(metrics: Path | None) -> None:
    """Before any mail goes out. Raises OutputError."""
    if metrics is not None and not metrics.parent.is_dir():
        raise OutputError(
            "the metrics cannot be written: there is no such folder", place=Place(metrics.parent), hint="Make it first."
        )


def _write_metrics(console: Console, watchers: Watchers, metrics: Path | None) -> None:
    if metrics is not None:
        try:
            watchers.metrics.write(metrics)
        except NewsletterError as error:  # the mail is out, which is what the exit code speaks of
            console.complain(str(error), "")
