"""`providers list` and `providers test`: the services that take the mail."""

from __future__ import annotations

from typing import Annotated

import typer

from newsletter.cli.announced import group_of_commands
from newsletter.cli.context import globals_of
from newsletter.cli.exit_codes import ExitCode
from newsletter.cli.options import JsonOption

app = group_of_commands("The services that take the mail.")


@app.command("list")
def list_(context: typer.Context, json: JsonOption = False) -> None:
    """List the providers of the settings, with the newsletters that go out through each.

    Examples: newsletter providers list, newsletter providers list --json
    """
    options = globals_of(context, json=json)
    from newsletter.pipeline.providers import provider_rows  # not needed by --help

    rows = provider_rows(options.settings())
    for row in rows:
        used = f"used by {', '.join(row.newsletters)}" if row.newsletters else "not used"
        rate = f", {row.rate}" if row.rate else ""
        options.console.say(f"{row.name:<16}{row.kind:<12}{row.where}{rate}  ({used})")
    options.console.data([row.document() for row in rows])


@app.command("test")
def check_account(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A key under [providers]; without it the newsletter's.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Connect to a provider and log in, and send nothing. Ends with 5 where it refuses us, 75 where it is away.

    Examples: newsletter providers test, newsletter providers test smtp --json
    """
    options = globals_of(context, json=json)
    from newsletter.pipeline.providers import provider_name, tried
    from newsletter.wiring.mail_providers import mail_provider  # not needed by --help

    loaded = options.settings()
    chosen = provider_name(loaded, options.newsletter, name)
    found = tried(chosen, lambda: mail_provider(loaded, chosen))
    options.console.say(f"✓ {chosen}: {found}")
    options.console.data({"provider": chosen, "ok": True, "found": found})
    raise typer.Exit(ExitCode.OK)
