"""`send`: hand an issue to its audience, or with --dry-run to the disk."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter.cli.checking import counted
from newsletter.cli.console import Console, count, kilobytes
from newsletter.cli.context import Globals, globals_of
from newsletter.cli.exit_codes import ExitCode
from newsletter.cli.options import DateArgument, JsonOption
from newsletter.errors import UsageError, shown

if TYPE_CHECKING:
    from newsletter.pipeline.dry_run import DryRun
    from newsletter.pipeline.prepare import Prepared


LimitOption = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", min=1, help="Send to the first N, then pause: the rest waits for resume."),
]
MetricsOption = Annotated[
    Path | None,
    typer.Option("--metrics", metavar="FILE", help="Write counters for Prometheus (node_exporter's textfile) there."),
]


def send(
    context: typer.Context,
    date: DateArgument = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write everything to disk; nothing is sent and nothing is recorded.")
    ] = False,
    eml: Annotated[
        str | None, typer.Option("--eml", metavar="N|all", help="How many complete messages a dry run keeps (100).")
    ] = None,
    confirm: Annotated[
        int | None,
        typer.Option(
            "--confirm", metavar="COUNT", min=0, help="The recipient count, for scripts; else it is asked for."
        ),
    ] = None,
    limit: LimitOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run of this issue that was interrupted or paused.")
    ] = False,
    metrics: MetricsOption = None,
    json: JsonOption = False,
) -> None:
    """Send an issue to its audience, once. Asks for the recipient count first; --confirm gives it.

    Ctrl-C finishes the calls that are out and stops; a second one leaves at once. Nobody is lost or doubled by either.

    \b
    Examples:
      newsletter send 2026-01-07 --dry-run
      newsletter send 2026-01-07 --confirm 12481
      newsletter send 2026-01-07 --resume
    """
    options = globals_of(context, json=json)
    if dry_run:
        if confirm is not None or limit is not None or resume or metrics is not None:
            raise UsageError(
                "--confirm, --limit, --resume and --metrics are for a live send", hint="newsletter send --dry-run"
            )
        _dry_run(options, date, "100" if eml is None else eml)
        return
    if eml is not None:
        raise UsageError("--eml is for a dry run: a live send keeps no messages", hint="newsletter send --dry-run")
    from newsletter.cli.live_sending import resume_live, send_live  # not needed by --help

    request = options.request(date)
    if resume:
        resume_live(options, request, confirm=confirm, limit=limit, metrics=metrics)
    else:
        send_live(options, request, confirm=confirm, limit=limit, metrics=metrics)


def _dry_run(options: Globals, date: str | None, eml: str) -> None:
    keep = _eml(eml)
    request = options.request(date)
    from newsletter import wiring
    from newsletter.pipeline.dry_run import summary  # not needed by --help

    started = time.monotonic()
    console = options.console
    with console.progress("writing") as progress:
        prepared, done = wiring.dry_run_issue(request, eml=keep, progress=progress, say=console.note)
    _print(console, prepared, done, time.monotonic() - started)
    errors = prepared.failing()
    console.data(summary(prepared, done))
    if not done.tally.planned:
        console.note("Nobody would get this mail: see who is left out, and why, in the page and in excluded.csv")
    if errors:
        what = "; ".join(f"{one.id}: {one.message}" for one in errors[:3])
        console.complain(
            f"{count(len(errors), 'check')} failed: {what}",
            f"a live send would be refused. Mend the issue, then: newsletter check {request.ref}",
        )
        raise typer.Exit(ExitCode.CHECKS)
    if done.tally.accepted < done.tally.planned:
        raise typer.Exit(ExitCode.INCOMPLETE)


def _eml(text: str) -> int | None:
    """`all` → None, `N` → N. Raises UsageError."""
    if text == "all":
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    raise UsageError(f"--eml takes a number or `all`, not {text!r}", hint="newsletter send --dry-run --eml all")


def _print(console: Console, prepared: Prepared, done: DryRun, seconds: float) -> None:
    from newsletter.preflight.model import GMAIL_CLIPS_KB

    issue, audience = prepared.issue, done.audience
    sections, stories = (
        count(len(issue.sections), "section"),
        count(sum(1 for _ in issue.stories()), "story", "stories"),
    )
    words = f"{count(issue.word_count, 'word')} ({issue.reading_minutes} min read)"
    excluded = ", ".join(f"{number:,} {reason}" for reason, number in audience.left_out.items())
    console.say(f"{issue.title:<48} DRY RUN – nothing is sent")
    console.say(f"  parsed    {sections}, {stories}, {words}")
    console.say(
        f"  rendered  HTML {kilobytes(done.html_bytes)} (Gmail clips at {GMAIL_CLIPS_KB}), "
        f"text {kilobytes(done.text_bytes)}"
    )
    console.say(f"  checks    {prepared.checks_passed} passed, {counted(prepared.findings)}")
    for one in prepared.findings:
        if one.level != "info":
            line = f" (line {one.line})" if one.line else ""
            console.say(f"            {one.level:<5} {one.id}  {one.message}{line}")
    console.say(f"  audience  {audience.planned:,} of {audience.everyone:,}" + (f" ({excluded})" if excluded else ""))
    if done.refusal:
        console.say(f"            warn  a live send would be refused: {done.refusal}")
    written, in_batches = count(done.tally.accepted, "message"), count(done.tally.batches, "batch", "batches")
    kept = sum(1 for _ in (done.folder / "messages").iterdir())
    only = "" if kept == done.tally.accepted else f", the first {kept:,} kept (--eml all keeps every one)"
    console.say(f"  written   {written} in {in_batches}, {seconds:.1f} s{only}")
    for reason, number in done.tally.reasons.items():
        console.say(f"            refused {number:,}: {reason}")
    folder = shown(done.folder)
    console.say(f"  Open   {folder}/index.html")
    if (done.folder / "messages" / "0001.eml").exists():
        console.say(f"  Mail   {folder}/messages/0001.eml   (opens in any mail client)")
    console.say(f"  Next   newsletter preview {prepared.request.ref} --serve")
