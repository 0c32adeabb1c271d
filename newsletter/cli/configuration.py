"""`config show` and `config schema`."""

from __future__ import annotations

import os

import typer

from newsletter.cli.announced import group_of_commands
from newsletter.cli.context import globals_of
from newsletter.cli.options import JsonOption

app = group_of_commands("The configuration.")


@app.command()
def show(context: typer.Context, json: JsonOption = False) -> None:
    """Show every value that is in force and where it comes from; secrets are masked."""
    options = globals_of(context, json=json)
    loaded = options.settings()
    from newsletter.settings.show import shown_values, written  # not needed by --help

    values = shown_values(loaded, os.environ)
    for one in values:
        options.console.say(f"{one.key} = {written(one.value)}  # {one.origin}")
    options.console.data([{"key": one.key, "value": one.value, "origin": one.origin} for one in values])


@app.command()
def schema(context: typer.Context, json: JsonOption = False) -> None:
    """Print the JSON Schema of config.toml, for editors that check files as you type."""
    options = globals_of(context, json=json)
    import json as json_format

    from newsletter.settings.schema import json_schema  # not needed by --help

    document = json_schema()
    options.console.say(json_format.dumps(document, indent=2, ensure_ascii=False))
    options.console.data(document)
