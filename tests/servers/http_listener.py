"""An HTTP server on loopback that writes down what it is asked, and answers as it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request. Names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What is answered; `hang`: nothing, until the server closes."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: bool = False


class HttpListener:
    """Serves in threads as soon as it is made; `answer` says what each request gets, by its number from 0."""

    def __init__(self, answer: Callable[[int, Asked], Answer] = lambda _number, _asked: Answer()) -> None:
        self.asked: list[Asked] = []
        self._answer = answer
        self._changed = threading.Condition()
        self.closing = threading.Event()
        listener = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                listener._handle(self)

            do_GET = do_POST = do_HEAD = handle_any  # noqa: N815 - the names that http.server looks for

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing on stderr."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.port: int = self._http.server_port
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> HttpListener:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def url(self, path: str = "/", *, scheme: str = "http", user: str = "") -> str:
        """A URL of it."""
        return f"{scheme}://{user}{'@' if user else ''}127.0.0.1:{self.port}{path}"

    def wait_for(self, count: int, *, seconds: float = 20.0) -> list[Asked]:
        """The requests, as soon as there are `count`."""
        until = time.monotonic() + seconds
        with self._changed:
            while len(self.asked) < count:
                assert self._changed.wait(until - time.monotonic()), f"{len(self.asked)} of {count} requests came"
            return list(self.asked)

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Asked(request.command, request.path, headers, body)
        with self._changed:
            number = len(self.asked)
            self.asked.append(asked)
            self._changed.notify_all()
        answer = self._answer(number, asked)
        if answer.hang:
            self.closing.wait(60)
            request.close_connection = True
            return
        with suppress(OSError):
            request.send_response(answer.status)
            for name, value in answer.headers.items():
                request.send_header(name, value)
            request.send_header("Content-Length", "0")
            request.end_headers()
