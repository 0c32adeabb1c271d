"""`approve`: an issue may go out as it is now."""

from __future__ import annotations

import contextlib
import getpass
from typing import Annotated

import typer

from newsletter.cli.context import globals_of
from newsletter.cli.options import DateArgument, JsonOption
from newsletter.cli.spoken_options import in_words


def approve(
    context: typer.Context,
    date: DateArgument = None,
    by: Annotated[
        str, typer.Option("--by", callback=in_words, help="Who approves; without it, the user of this machine.")
    ] = "",
    json: JsonOption = False,
) -> None:
    """Approve an issue as it is now. With require_approval = true nothing else goes out, by itself or by `send`.

    What changes afterwards, be it the file, the template or the settings, needs a new approval.

    \b
    Examples:
      newsletter approve tomorrow
      newsletter approve 2026-01-07 --by "Anna, news desk"
    """
    options = globals_of(context, json=json)
    request = options.request(date)
    from newsletter.wiring import sending  # not needed by --help

    who = by or _user()
    prepared = sending.approve(request, who, options.console.note)
    content = prepared.rendered.content_hash
    options.console.say(f"approved  {prepared.issue.title}  ({prepared.source}, content {content[:12]})")
    if not request.newsletter.schedule.require_approval:
        options.console.note(f"{request.name} goes out without, too: schedule.require_approval is false")
    options.console.data({"run": str(prepared.run), "content_hash": content, "by": who})


def _user() -> str:
    with contextlib.suppress(OSError, KeyError, ImportError):  # no such user, as in some containers
        return getpass.getuser()
    return ""
