"""Serves the web application in a thread, beside whatever else the process does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import uvicorn

from newsletter import logs
from newsletter.errors import OutputError
from newsletter.web.application import application
from newsletter.web.health import Check, LastLook, health_routes
from newsletter.wiring.readiness import database_check

if TYPE_CHECKING:
    from fastapi import FastAPI

    from newsletter.metrics import Metrics
    from newsletter.settings.loaded import Loaded

#: Seconds that answers may take to end when the server stops.
_FAREWELL = 3


def web_server(
    loaded: Loaded,
    metrics: Metrics,
    last_look: LastLook | None = None,
    *,
    host: str | None = None,
    port: int | None = None,
) -> WebServer:
    """The web part of these settings, not started; `last_look`: of the daemon in the same process.

    Raises OutputError where its address cannot be used.
    """
    web = loaded.settings.web
    checks: dict[str, Check] = {"database": database_check(loaded)}
    if last_look is not None:
        checks["daemon"] = last_look.check
    app = application(health_routes(checks, metrics))
    where = (host if host is not None else web.host, port if port is not None else web.port)
    return WebServer(app, *where, trusted_proxies=web.trusted_proxies)


class WebServer:
    """Listens as soon as it is made, answers once it is started. A context manager: starts, and stops at the end.

    `trusted_proxies`: whose X-Forwarded-For and -Proto are believed. Raises OutputError where the address is taken.
    """

    def __init__(self, app: FastAPI, host: str, port: int, *, trusted_proxies: Sequence[str] = ()) -> None:
        self._socket = _listening(host, port)
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=list(trusted_proxies),
            timeout_graceful_shutdown=_FAREWELL,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="web", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._socket.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    def serves(self) -> bool:
        """Whether it still does."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Serves from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the answers that are being given, soon in any case. May be called twice."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(_FAREWELL + 5)
        self._socket.close()

    def __enter__(self) -> WebServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except Exception as error:  # noqa: BLE001 - the daemon goes on without its web part
            logs.write("error", "web_failed", error=f"{type(error).__name__}: {error}")


def _listening(host: str, port: int) -> socket.socket:
    try:
        found: list[Any] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=512)
    except (OSError, UnicodeError) as error:
        said = getattr(error, "strerror", None) or "no such address"
        raise OutputError(
            f"{host} port {port} cannot be listened on: {said}",
            hint="Give another one: [web] host and port, or --host and --port (0: any free port).",
        ) from None
