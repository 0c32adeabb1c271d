"""`check`: read an issue and say what is wrong with it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter.cli.console import Console, count
from newsletter.cli.context import globals_of
from newsletter.cli.exit_codes import ExitCode
from newsletter.cli.options import DateArgument, JsonOption

if TYPE_CHECKING:
    from newsletter.pipeline.prepare import Prepared
    from newsletter.preflight.model import Finding


class FailLevel(StrEnum):
    """From which level on findings make the command fail."""

    INFO = "info"
    WARN = "warn"
    ERROR = "error"


def check(
    context: typer.Context,
    date: DateArgument = None,
    fail_level: Annotated[
        FailLevel, typer.Option("--fail-level", help="Exit with 3 on findings of this level or worse.")
    ] = FailLevel.ERROR,
    links: Annotated[bool, typer.Option("--links", help="Request each link of the issue, too.")] = False,
    json: JsonOption = False,
) -> None:
    """Read an issue, render it, and list what is wrong with it.

    \b
    Examples:
      newsletter check tomorrow
      newsletter check issues/2026-01-07.txt --fail-level warn
    """
    options = globals_of(context, json=json)
    request = options.request(date)
    from newsletter import wiring
    from newsletter.pipeline.check_issue import check_document  # not needed by --help
    from newsletter.preflight.model import Level

    with options.console.progress("requesting links") as progress:
        prepared = wiring.prepared(request, request_links=links, progress=progress)
    _print(options.console, prepared)
    options.console.data(check_document(prepared))
    if prepared.failing(Level(fail_level)):
        raise typer.Exit(ExitCode.CHECKS)


def _print(console: Console, prepared: Prepared) -> None:
    from newsletter.preflight.model import GMAIL_CLIPS_KB, KB

    issue, findings = prepared.issue, prepared.findings
    for one in findings:
        if one.level == "info" and not console.verbose:
            continue
        where = f"{issue.source}:{one.line}" if one.line else issue.source
        console.say(f"  {where}  {one.level:<5}  {one.id}  {one.message}")
        if one.hint:
            console.say(f"  {'':{len(where)}}         {one.hint}")
    size = prepared.html_bytes / KB
    console.say(
        f"  Gmail clip {size:.0f} of {GMAIL_CLIPS_KB} KB · subject {len(issue.subject)} characters · "
        f"{counted(findings)}"
    )
    if any(one.level == "info" for one in findings) and not console.verbose:
        console.note("  Remarks are shown with -v.")


def counted(findings: tuple[Finding, ...]) -> str:
    """`1 error, 2 warnings`, or `no findings`."""
    words = {"error": "error", "warn": "warning", "info": "remark"}
    counts = {word: sum(one.level == level for one in findings) for level, word in words.items()}
    return ", ".join(count(number, word) for word, number in counts.items() if number) or "no findings"
