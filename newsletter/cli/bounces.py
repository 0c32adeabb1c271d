"""`bounces poll`: the mail that came back."""

from __future__ import annotations

import datetime as dt
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter.cli.announced import group_of_commands
from newsletter.cli.console import Console, count
from newsletter.cli.context import globals_of
from newsletter.cli.exit_codes import ExitCode
from newsletter.cli.options import JsonOption
from newsletter.errors import NothingToDo

if TYPE_CHECKING:
    from newsletter.pipeline.poll_bounces import Polled

app = group_of_commands("Mail that comes back: bounces and complaints.")


@app.callback()
def bounces() -> None:
    """Mail that comes back: bounces and complaints."""


@app.command()
def poll(
    context: typer.Context,
    mailbox: Annotated[
        str | None,
        typer.Option("--mailbox", metavar="URL", help="Another mailbox than that of the settings: maildir:PATH, …"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what is there: keep nothing, and mark no message.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Read the mailbox of [bounces]: bounces, complaints, and mail to the address of unsubscribe_mailto.

    Each message is taken once: in a Maildir or on an IMAP server it is marked as seen, in an mbox file moved to the
    file's name with .read. What bounces hard, complains or leaves is suppressed.

    \b
    Examples:
      newsletter bounces poll
      newsletter bounces poll --mailbox mbox:/var/mail/bounces --dry-run
    """
    options = globals_of(context, json=json)
    from newsletter.pipeline.poll_bounces import poll_bounces  # not needed by --help, like all below
    from newsletter.wiring.bounces import bounce_tools

    console = options.console
    found = bounce_tools(options.settings(), mailbox, console.note)
    with closing(found.box):
        done = poll_bounces(found.box, found.owners, found.tools, now=lambda: dt.datetime.now(dt.UTC), dry_run=dry_run)
    if not done.messages and not done.taken.settled and not done.taken.failures:
        raise NothingToDo(f"no new mail in {found.url}")
    _say(console, done, dry_run=dry_run)
    console.data(_document(done))
    if done.taken.failures:
        raise typer.Exit(ExitCode.UNEXPECTED)


def _say(console: Console, done: Polled, *, dry_run: bool) -> None:
    from newsletter.events.model import EventKind  # see poll

    bounces = ", ".join(f"{number:,} {word}" for word, number in done.bounces.items())
    others = [
        (done.kinds[EventKind.COMPLAINED], "complaint", "complaints"),
        (done.kinds[EventKind.UNSUBSCRIBED], "unsubscribe", "unsubscribes"),
        (done.kinds[EventKind.DEFERRED], "delayed", "delayed"),
        (done.kinds[EventKind.DELIVERED], "delivered", "delivered"),
        (done.kinds[EventKind.OTHER], "other report", "other reports"),
        (done.tests, "of tests", "of tests"),
        (done.unproven, "unproven", "unproven"),
        (done.auto_replies, "automatic reply", "automatic replies"),
        (done.not_understood, "not understood", "not understood"),
        (done.unreadable, "unreadable", "unreadable"),
    ]
    rest = "".join(f", {count(number, one, many)}" for number, one, many in others if number)
    console.say(f"{count(done.messages, 'message')}: bounces {bounces}{rest}")
    for event in done.shown:
        console.say(f"  not counted, no token of ours in it: {event.key or 'nobody'}  {event.code}  {event.reason}")
    if done.unproven > len(done.shown):
        console.say(f"  and {done.unproven - len(done.shown):,} more")
    if dry_run:
        console.say("Nothing was kept, marked or suppressed.")
    else:
        taken = done.taken
        console.say(f"{done.new:,} new, {count(taken.suppressions, 'address', 'addresses')} suppressed")
    for why, number in done.failures.items():
        console.complain(f"{count(number, 'message')}: {why}", "They stay for the next time.")
    for why, number in done.taken.failures.items():
        console.complain(f"{count(number, 'event')} could not be settled: {why}", "They wait for the next time.")


def _document(done: Polled) -> dict[str, object]:
    from newsletter.events.model import EventKind  # see poll

    return {
        "messages": done.messages,
        "bounces": done.bounces,
        "complaints": done.kinds[EventKind.COMPLAINED],
        "unsubscribes": done.kinds[EventKind.UNSUBSCRIBED],
        "delayed": done.kinds[EventKind.DEFERRED],
        "delivered": done.kinds[EventKind.DELIVERED],
        "other": done.kinds[EventKind.OTHER],
        "tests": done.tests,
        "unproven": done.unproven,
        "unproven_shown": [{"key": one.key, "code": one.code, "reason": one.reason} for one in done.shown],
        "auto_replies": done.auto_replies,
        "not_understood": done.not_understood,
        "unreadable": done.unreadable,
        "new": done.new,
        "suppressed": done.taken.suppressions,
        "waiting": sum(done.taken.failures.values()),
    }
