"""`webhooks replay`: what a provider posted, taken in again."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from newsletter.cli.announced import group_of_commands
from newsletter.cli.console import count
from newsletter.cli.context import globals_of
from newsletter.cli.exit_codes import ExitCode
from newsletter.cli.options import JsonOption

app = group_of_commands("What providers post about mail that went out.")


@app.callback()
def webhooks() -> None:
    """What providers post about mail that went out."""


@app.command()
def replay(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of posts: one JSON array, or one post a line.")],
    provider: Annotated[
        str | None,
        typer.Option("--provider", metavar="NAME", help="The SendGrid account that posted them, to be checked."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Take a file of SendGrid's posts in again: deduplicated, in any order, and without a signature.

    For what could not be delivered while the web part was away. Doing it again changes nothing.

    \b
    Examples:
      newsletter webhooks replay posts.ndjson
      newsletter webhooks replay post.json --provider sendgrid --json
    """
    options = globals_of(context, json=json)
    from newsletter.pipeline.replay_events import replay_events  # not needed by --help, like all below
    from newsletter.wiring.events import event_taking, refuse_other_provider

    loaded = options.settings()
    if provider is not None:
        refuse_other_provider(loaded, provider)
    tools = event_taking(loaded, options.console.note)
    done = replay_events(file, tools, now=lambda: dt.datetime.now(dt.UTC))
    taken = done.taken
    console = options.console
    others = [
        f"{number:,} {word}"
        for number, word in ((done.passed_over, "passed over"), (done.unusable, "unusable"))
        if number
    ]
    console.say(f"{count(done.rows, 'event')}: " + ", ".join([f"{done.new:,} new", f"{done.known:,} known", *others]))
    console.say(f"{taken.settled:,} settled, {count(taken.suppressions, 'address', 'addresses')} suppressed")
    for why, number in taken.failures.items():
        console.complain(f"{count(number, 'event')} could not be settled: {why}", "They wait for the next time.")
    console.data(
        {
            "rows": done.rows,
            "new": done.new,
            "known": done.known,
            "passed_over": done.passed_over,
            "unusable": done.unusable,
            "settled": taken.settled,
            "suppressed": taken.suppressions,
            "waiting": sum(taken.failures.values()),
        }
    )
    if taken.failures:
        raise typer.Exit(ExitCode.UNEXPECTED)
