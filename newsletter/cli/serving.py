"""`web`: the web part in a process of its own."""

from __future__ import annotations

import sys
import threading
from typing import Annotated

import typer

from newsletter.cli.context import globals_of
from newsletter.cli.exit_codes import ExitCode
from newsletter.cli.options import JsonOption
from newsletter.errors import OutputError

#: Seconds between two looks at whether the server still serves.
_LOOK = 1.0


def web(
    context: typer.Context,
    host: Annotated[
        str | None, typer.Option("--host", metavar="ADDRESS", help="The address to listen on, in place of [web] host.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="The port, in place of [web] port; 0: any free one."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Serve the public pages, what providers and programs post to, /healthz, /readyz and /metrics, until SIGTERM.

    \b
    Examples:
      newsletter web
      newsletter web --host 0.0.0.0 --port 8080
    """
    options = globals_of(context, json=json)
    from newsletter import logs  # not needed by --help, like all below
    from newsletter.cli.draining import draining
    from newsletter.metrics import Metrics
    from newsletter.web.serving import keep_what_is_there, web_server
    from newsletter.wiring.readiness import make_current

    loaded = options.settings()
    if options.console.verbose:
        logs.configure(terminal=sys.stderr.isatty())
    make_current(loaded, options.console.note)
    stop = threading.Event()
    server = web_server(loaded, Metrics(), host=host, port=port, say=options.console.note)
    keep_what_is_there()
    with draining(stop, first="Ending.", second="Left at once."), server:
        options.console.say(f"Serving {server.url}   (Ctrl-C ends it)")
        options.console.data({"url": server.url})
        while not stop.wait(_LOOK):
            if not server.serves():
                raise OutputError("the web server ended by itself", hint="Run it again with -v to see why.")
    raise typer.Exit(ExitCode.OK)
