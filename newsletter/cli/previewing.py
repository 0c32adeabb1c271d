"""`preview`: look at an issue."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from newsletter.cli.context import Globals, globals_of
from newsletter.cli.options import DateArgument, JsonOption
from newsletter.errors import UsageError, shown

if TYPE_CHECKING:
    from newsletter.pipeline.request import IssueRequest


class PreviewFormat(StrEnum):
    """A part of the mail to print."""

    HTML = "html"
    TEXT = "text"
    EML = "eml"


def preview(
    context: typer.Context,
    date: DateArgument = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page on this machine; it is made anew at each reload.")
    ] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port of --serve; 0: any free one.")] = 8025,
    recipient: Annotated[
        str | None, typer.Option("--as", metavar="EMAIL", help="Show the mail that this subscriber gets.")
    ] = None,
    part: Annotated[
        PreviewFormat | None, typer.Option("--format", help="Print this part of the mail and nothing else.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Look at an issue: its mail on desktop and phone, its checks, its audience. Writes what a dry run writes.

    \b
    Examples:
      newsletter preview --open
      newsletter preview 2026-01-07 --format text --as ana@example.com
    """
    options = globals_of(context, json=json)
    if part and (serve or open_page or json):
        raise UsageError("--format prints a part of the mail; it goes with --as alone")
    request = options.request(date)
    if serve:
        _serve(options, request, recipient, port, open_page=open_page)
        return
    from newsletter import wiring

    if part:
        mail = wiring.one_mail(request, shown_to=recipient, say=options.console.note)
        options.console.raw({"html": mail.html.encode(), "text": mail.text.encode(), "eml": mail.message}[part])
        return
    _, done = wiring.dry_run_issue(request, shown_to=recipient, say=options.console.note)
    page = done.folder / "index.html"
    options.console.say(f"Open   {shown(page)}")
    options.console.data({"page": shown(page)})
    if open_page:
        _open(options, page.resolve().as_uri())


def _serve(options: Globals, request: IssueRequest, recipient: str | None, port: int, *, open_page: bool) -> None:
    from newsletter.web.preview_server import PreviewServer  # an HTTP server, needed here alone

    # asked for anew each time, so that changes of the configuration show; but the date is the one of the start
    def ask() -> IssueRequest:
        return options.request(str(request.ref))

    with PreviewServer(ask, recipient, port) as server:
        options.console.say(f"Serving {server.url}   (Ctrl-C ends it)")
        options.console.data({"url": server.url})
        if open_page:
            _open(options, server.url)
        server.serve_forever()


def _open(options: Globals, url: str) -> None:
    import webbrowser  # needed here alone

    if not webbrowser.open(url):
        options.console.note(f"No browser could be started; open {url}")
