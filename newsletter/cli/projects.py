"""`init` and `new`: a project to start with, an issue to fill."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from newsletter.cli.context import globals_of
from newsletter.cli.options import DateArgument, JsonOption
from newsletter.errors import shown


def init(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder, which need not exist.")] = Path(),
    json: JsonOption = False,
) -> None:
    """Start a new project: config.toml, templates, a sample issue and a sample list.

    \b
    Example:
      newsletter init my-newsletter
    """
    console = globals_of(context, json=json).console
    from newsletter.project_files import copy_project  # not needed by --help

    written = copy_project(folder)
    for file in written:
        console.say(f"  wrote  {shown(file)}")
    enter = "" if folder.resolve() == Path.cwd() else f"cd {shown(folder)} && "
    console.say(f"Next   {enter}newsletter send 2026-01-07 --dry-run")
    console.data({"folder": str(folder), "files": [str(file.relative_to(folder)) for file in written]})


def new(context: typer.Context, date: DateArgument = None, json: JsonOption = False) -> None:
    """Write an issue file to fill; an existing one is left alone.

    \b
    Example:
      newsletter new tomorrow
    """
    options = globals_of(context, json=json)
    request = options.request(date)
    from newsletter.pipeline.new_issue import new_issue  # not needed by --help

    path = new_issue(request)
    options.console.say(f"wrote  {shown(path)}")
    options.console.say(f"Next   edit it, then: newsletter check {request.ref}")
    options.console.data({"newsletter": request.name, "path": shown(path)})
