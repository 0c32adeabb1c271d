"""`run`: the daemon that sends newsletters by themselves; with --once what is due now."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter.cli.console import Console
from newsletter.cli.context import Globals, globals_of
from newsletter.cli.exit_codes import ExitCode, exit_code_of_class
from newsletter.cli.options import JsonOption
from newsletter.errors import TemporaryError, UsageError

if TYPE_CHECKING:
    from newsletter.wiring.daemons import Database, Result, RunningSchedule

_FIRST = "Ending after the calls that are out. Once more leaves at once."
_SECOND = "Left at once: what was out is unknown until the run goes on."
#: From bad to good: what several things come to together is the first of these.
_WORST_FIRST = (
    ExitCode.UNEXPECTED,
    ExitCode.CHECKS,
    ExitCode.REFUSED,
    ExitCode.INCOMPLETE,
    ExitCode.USAGE,
    ExitCode.TEMPORARY,
    ExitCode.INTERRUPTED,
)
#: Seconds between two tries to reach a database at the start: the first, doubled up to the last.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
#: How soon a signal is noticed meanwhile. Seconds.
_GLANCE = 0.1


def run(
    context: typer.Context,
    once: Annotated[
        bool, typer.Option("--once", help="Do what is due now, wait for it, and end: for cron and systemd timers.")
    ] = False,
    with_web: Annotated[bool, typer.Option("--with-web", help="Serve the web part, too.")] = False,
    json: JsonOption = False,
) -> None:
    """Send newsletters by themselves, at their times, until it is told to end. What operators leave running.

    SIGTERM or Ctrl-C finishes the calls that are out and ends; SIGHUP reads the settings again. Several on one database
    stand by for each other.

    \b
    Examples:
      newsletter run
      newsletter run --with-web
      newsletter run --once
    """
    options = globals_of(context, json=json)
    _refuse_nonsense(options, once=once, with_web=with_web)
    from newsletter import logs  # not needed by --help, like all below
    from newsletter.cli.draining import draining
    from newsletter.cli.frugality import keep_little
    from newsletter.wiring.daemons import (
        RunningSchedule,
        open_database,
        refuse_nothing_scheduled,
        refuse_unsendable,
    )

    loaded = options.settings()
    refuse_nothing_scheduled(loaded)
    refuse_unsendable(loaded)
    terminal = sys.stderr.isatty()
    logs.configure(terminal=terminal, plain=not options.console.verbose)
    keep_little()
    schedule = RunningSchedule(loaded, lambda text: logs.write("info", "note", title=text), options.settings)
    with draining(schedule.stop, first=_FIRST, second=_SECOND), _hearing_hangup(schedule.read_again):
        if once:
            results = schedule.once(open_database(loaded, schedule.say))
            options.console.data(_document(results))
            raise typer.Exit(worst([code_of(result) for result in results]))
        with ExitStack() as beside:
            if with_web:
                _serve(schedule, beside, options.console)
            database = _opened(schedule)
            if database is not None:
                schedule.run(database)
    raise typer.Exit(ExitCode.OK)


def code_of(result: Result) -> ExitCode:
    """What one act comes to, for `--once`."""
    from newsletter.cli.run_words import exit_code
    from newsletter.delivery.states import RunState

    if result.report is not None:
        return exit_code(result.report, stopped_itself=result.report.run.state is RunState.PAUSED)
    if result.missed:
        return ExitCode.INCOMPLETE
    return exit_code_of_class(result.error) if result.error is not None else ExitCode.OK


def worst(codes: Sequence[ExitCode]) -> ExitCode:
    """What all of them come to together."""
    return next((code for code in _WORST_FIRST if code in codes), ExitCode.OK)


def _refuse_nonsense(options: Globals, *, once: bool, with_web: bool) -> None:
    if options.newsletter is not None:
        raise UsageError(
            "run is for all newsletters that go out by themselves",
            hint="Leave out -n; to send one now: newsletter send",
        )
    if once and with_web:
        raise UsageError("--once ends when all is done, and --with-web does not", hint="Give one of them.")


@contextmanager
def _hearing_hangup(read_again: threading.Event) -> Iterator[None]:
    """SIGHUP sets `read_again`, also under nohup: that the terminal was closed does no harm then."""
    number = getattr(signal, "SIGHUP", None)
    if number is None:
        yield
        return
    before = signal.signal(number, lambda *_: read_again.set())
    try:
        yield
    finally:
        signal.signal(number, before)


def _opened(schedule: RunningSchedule) -> Database | None:
    """The database, waited for where it is away, as after a machine's start. None: it was told to end."""
    from newsletter import logs
    from newsletter.wiring.daemons import open_database

    pause = _FIRST_PAUSE
    while True:
        try:
            return open_database(schedule.loaded, schedule.say)
        except TemporaryError as error:
            logs.write("error", "database_trouble", error=str(error), next_try_seconds=pause)
        until = time.monotonic() + pause
        while time.monotonic() < until and not schedule.stop.is_set():
            time.sleep(_GLANCE)
        if schedule.stop.is_set():
            return None
        pause = min(_LONGEST_PAUSE, pause * 2)


def _serve(schedule: RunningSchedule, beside: ExitStack, console: Console) -> None:
    from newsletter.web.health import LastLook
    from newsletter.web.serving import keep_what_is_there, web_server

    last_look = LastLook()
    schedule.on_look = last_look.note
    server = beside.enter_context(web_server(schedule.loaded, schedule.metrics, last_look, say=console.note))
    keep_what_is_there()
    console.note(f"Serving {server.url}")


def _document(results: Sequence[Result]) -> dict[str, object]:
    """What `run --once --json` prints."""
    from newsletter.pipeline.run_report import status_document

    return {
        "runs": [status_document(one.report) for one in results if one.report is not None],
        "missed": [str(one.name) for one in results if one.missed],
        "failed": [{"run": str(one.name), "error": one.error.__name__} for one in results if one.error is not None],
    }
