"""Serves the preview of one issue on this machine; each reload of the page makes it anew."""

from __future__ import annotations

import html
import mimetypes
import tempfile
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import unquote, urlsplit

from newsletter import wiring
from newsletter.errors import NewsletterError, OutputError
from newsletter.pipeline.request import IssueRequest

#: Host headers that mean this machine. Others come from a page whose name was pointed at it (DNS rebinding).
_OWN_NAMES = {"127.0.0.1", "localhost"}
_ADDRESS = "127.0.0.1"

_PROBLEM = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Cannot be shown</title><style>:root{{color-scheme:light dark}}body{{font:17px/1.5 system-ui;margin:2rem auto;
max-width:40rem;padding:0 1rem}}p{{overflow-wrap:anywhere}}</style></head>
<body><h1>Cannot be shown</h1><p>{message}</p><p>{hint}</p><p>Mend it and load this page again.</p></body></html>
"""


class PreviewServer:
    """An HTTP server on the loopback address. Use it as a context manager; `serve_forever` runs until interrupted.

    `ask` gives the issue to show, at each reload. Raises OutputError where the port is taken.
    """

    def __init__(self, ask: Callable[[], IssueRequest], shown_to: str | None, port: int) -> None:
        self._ask = ask
        self._shown_to = shown_to
        self._making = threading.Lock()
        # a folder of its own: a dry run that stands in `out/` is left alone
        self._temporary = tempfile.TemporaryDirectory(prefix="newsletter-preview-")
        self._folder = Path(self._temporary.name) / "preview"
        preview = self

        class Handler(_Handler):
            server_of = preview

        try:
            self._server = ThreadingHTTPServer((_ADDRESS, port), Handler)
        except OSError as error:
            self._temporary.cleanup()
            hint = "give another one with --port, or --port 0 for any free one"
            raise OutputError(f"port {port} cannot be used: {error.strerror}", hint=hint) from None

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{_ADDRESS}:{self._server.server_port}/"

    def serve_forever(self) -> None:
        """Answers requests until interrupted, or until the block around it ends."""
        self._server.serve_forever()

    def page(self) -> bytes:
        """The page, made anew. Raises NewsletterError."""
        with self._making:
            wiring.dry_run_issue(self._ask(), eml=1, shown_to=self._shown_to, into=self._folder)
            return (self._folder / "index.html").read_bytes()

    def file(self, path: str) -> tuple[str, bytes] | None:
        """Name and content of the file at a URL path, or None: there is none, or it would lie outside."""
        with self._making:
            root = self._folder.resolve()
            file = (root / path.lstrip("/")).resolve()
            if not file.is_relative_to(root) or not file.is_file():
                return None
            return file.name, file.read_bytes()

    def __enter__(self) -> PreviewServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.server_close()
        self._temporary.cleanup()


class _Handler(BaseHTTPRequestHandler):
    """GET / makes the page, GET of anything else gives a file of the dry run."""

    server_of: PreviewServer
    server_version = "newsletter-preview"
    sys_version = ""

    def do_GET(self) -> None:
        host = (self.headers.get("Host") or "").rpartition(":")[0] or (self.headers.get("Host") or "")
        if host not in _OWN_NAMES:
            self._answer(HTTPStatus.MISDIRECTED_REQUEST, b"This server answers to 127.0.0.1 alone.\n", "text/plain")
            return
        path = unquote(urlsplit(self.path).path)
        if path in {"/", "/index.html"}:
            self._page()
            return
        file = self.server_of.file(path) if "\0" not in path else None
        if file is None:
            self._answer(HTTPStatus.NOT_FOUND, b"There is no such file in this preview.\n", "text/plain")
        else:
            name, content = file
            self._answer(HTTPStatus.OK, content, mimetypes.guess_type(name)[0] or "application/octet-stream")

    def _page(self) -> None:
        try:
            self._answer(HTTPStatus.OK, self.server_of.page(), "text/html")
        except NewsletterError as error:
            page = _PROBLEM.format(message=html.escape(str(error)), hint=html.escape(error.hint))
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, page.encode(), "text/html")

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8" if kind.startswith("text/") else kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent: the terminal shows the address and nothing else."""
