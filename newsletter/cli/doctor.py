"""`doctor`: is all in place for a newsletter to go out?"""

from __future__ import annotations

from typing import Annotated

import typer

from newsletter.cli.console import Console, count
from newsletter.cli.context import globals_of
from newsletter.cli.exit_codes import ExitCode
from newsletter.cli.options import JsonOption
from newsletter.doctor.model import NotChecked, Result, Status
from newsletter.errors import ConfigError, shown

_SIGNS = {Status.PASS: "✓", Status.WARN: "!", Status.FAIL: "✗"}


def doctor(
    context: typer.Context,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no name server, no provider and no web server.")
    ] = False,
    name_server: Annotated[
        str,
        typer.Option("--nameserver", metavar="IP[:PORT]", help="The name server to ask; else this machine's own."),
    ] = "",
    json: JsonOption = False,
) -> None:
    """Look whether all is in place for a newsletter to go out, and say what to do where it is not. Changes nothing.

    Configuration, database, templates, clock, provider, DNS, public address, keys, disk and alerts. Ends with 3 where
    a check failed.

    \b
    Examples:
      newsletter doctor
      newsletter doctor --offline --json
    """
    options = globals_of(context, json=json)
    from newsletter.doctor import examine  # loads every room, as the next does; `--help` needs none
    from newsletter.wiring.doctor import surroundings

    console = options.console
    try:
        loaded = options.settings()
    except ConfigError as error:
        results = examine.of_broken_configuration(error)
        for result in results:
            _say(console, result)
    else:
        around = surroundings(loaded, online=not offline, name_server=name_server)
        results = [examine.of_configuration(shown(loaded.path), len(loaded.settings.newsletters))]
        _say(console, results[0])
        results += examine.examined(around, lambda result: _say(console, result))
    tally = examine.tally(results)
    failed = tally[Status.FAIL]
    console.say(f"{tally[Status.PASS]} passed, {count(tally[Status.WARN], 'warning')}, {failed} failed")
    console.data(examine.document(results))
    raise typer.Exit(ExitCode.CHECKS if failed else ExitCode.OK)


def _say(console: Console, result: Result) -> None:
    about = f"{result.about}: " if result.about else ""
    if isinstance(result, NotChecked):
        console.say(f"· {result.check:<11}{about}not checked: {result.why}")
        return
    console.say(f"{_SIGNS[result.status]} {result.check:<11}{about}{result.message}")
    if result.status is not Status.PASS and result.do:
        console.say(f"  {'':<11}→ {result.do}")
