"""`test`: a real send of an issue to a few addresses."""

from __future__ import annotations

from typing import Annotated

import typer

from newsletter.cli.console import count
from newsletter.cli.context import globals_of
from newsletter.cli.exit_codes import ExitCode
from newsletter.cli.options import DateArgument, JsonOption


def send_test(
    context: typer.Context,
    date: DateArgument = None,
    more: Annotated[
        list[str] | None, typer.Argument(metavar="ADDR", help="Further addresses, as after --to.", show_default=False)
    ] = None,
    to: Annotated[
        list[str] | None, typer.Option("--to", metavar="ADDR", help="Whom to send it to; may be given several times.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Send an issue to a few addresses, to be looked at: through the real provider, its subject marked [TEST].

    A live send then wants the same content. Links in a test are nobody's: trying them changes nothing.

    Examples: newsletter test 2026-01-07 --to editor@example.com,
    newsletter test tomorrow --to editor@example.com --to chief@example.com
    """
    options = globals_of(context, json=json)
    from newsletter.pipeline.send_test import sent_test_document
    from newsletter.wiring import sending  # not needed by --help

    console, further = options.console, list(more or ())
    if date is not None and "@" in date:  # `test --to a@example.com b@example.com`: no DATE among them
        further, date = [date, *further], None
    prepared, sent = sending.send_as_test(options.request(date), [*(to or ()), *further], console.note)
    console.say(f"{sent_test_document(prepared, sent)['subject']}")
    for one in sent:
        console.say(
            f"  {'✓' if one.accepted else '✗'} {one.address}  {one.word}{f': {one.reason}' if one.reason else ''}"
        )
    if failed := prepared.failing():
        console.note(f"  {count(len(failed), 'check')} failed; a live send would be refused: newsletter check "
                     f"{prepared.request.ref}")  # fmt: skip
    if sent and not any(one.accepted for one in sent):
        console.note("  Nothing is recorded as tested. To look at the provider: newsletter providers test "
                     f"{prepared.newsletter.delivery.provider}")  # fmt: skip
    console.data(sent_test_document(prepared, sent))
    if not all(one.accepted for one in sent):
        raise typer.Exit(ExitCode.INCOMPLETE)
