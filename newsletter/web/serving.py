"""Serves the web application in a thread, beside whatever else the process does."""

from __future__ import annotations

import functools
import gc
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

import uvicorn

from newsletter import logs
from newsletter.errors import OutputError
from newsletter.metrics import Metrics
from newsletter.rendering.words import Words, words_of
from newsletter.web.application import Surroundings, application
from newsletter.web.connections import GuardedConnection, guarded
from newsletter.web.error_answers import ErrorAnswers
from newsletter.web.health import Check, LastLook, health_routes
from newsletter.web.pages import Pages
from newsletter.web.public import Public
from newsletter.web.routes import public_routes, public_workers
from newsletter.wiring.parts import signing_keys, template_roots
from newsletter.wiring.public import public_stores
from newsletter.wiring.readiness import database_check

if TYPE_CHECKING:
    from fastapi import FastAPI

    from newsletter.settings.loaded import Loaded

#: Seconds that answers may take to end when the server stops.
_FAREWELL = 3
#: Seconds that a connection may rest between two requests: longer than proxies keep theirs, or they would now and then
#: send a request into one that is just being closed.
_KEEP_ALIVE = 75
#: Connections that may wait to be taken.
_BACKLOG = 1024


class Worker(Protocol):
    """Something that works beside the server, in a thread of its own."""

    def start(self) -> None:
        """Begins; called once, when the server does."""
        ...

    def stop(self) -> None:
        """Ends after what it has in hand, soon in any case. Called after the server has answered its last request."""
        ...


def web_server(
    loaded: Loaded,
    metrics: Metrics,
    last_look: LastLook | None = None,
    *,
    host: str | None = None,
    port: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> WebServer:
    """The web part of these settings, not started; `last_look`: of the daemon in the same process.

    `say` hears of a backup copy of the database that was made, and of mail that was only written to disk. Raises
    OutputError where its address cannot be used, TemplateError for a page or a catalogue that is wrong, ConfigError
    where a key is missing, and what opening the database raises.
    """
    web, site = loaded.settings.web, loaded.settings.site
    checks: dict[str, Check] = {"database": database_check(loaded)}
    if last_look is not None:
        checks["daemon"] = last_look.check
    public = public_of(loaded, say, metrics)
    errors = ErrorAnswers(public.pages, public.words(""))
    errors.make_all()
    where = (host if host is not None else web.host, port if port is not None else web.port)
    ending = ExitStack()
    try:
        app = application(
            health_routes(checks, metrics),
            *public_routes(public, ending),
            surroundings=Surroundings(site.base_url, web.signup.allowed_origins, errors),
        )
        workers = public_workers(public, say)
        return WebServer(app, *where, trusted_proxies=web.trusted_proxies, workers=workers, ending=ending)
    except BaseException:
        ending.close()
        raise


def public_of(loaded: Loaded, say: Callable[[str], None] = lambda _: None, metrics: Metrics | None = None) -> Public:
    """What the routes have in common. Raises what `web_server` does."""
    roots = template_roots(loaded)
    site = loaded.settings.site

    @functools.lru_cache(maxsize=100)
    def words(language: str) -> Words:
        return words_of(language, roots)

    used = {site.language, *(one.language for one in loaded.settings.newsletters.values())}
    languages = [words(language) for language in sorted(used)]
    shared: dict[str, Any] = {"site_name": site.name, "postal_address": site.postal_address}
    pages = Pages(roots, shared)
    pages.compile_all(languages)
    keys = signing_keys(loaded)
    stores = public_stores(loaded, say)
    public = Public(
        loaded=loaded,
        audience=stores.audience,
        signups=stores.signups,
        ledger=stores.ledger,
        archive=stores.archive,
        events=stores.events,
        tracking=stores.tracking,
        tokens=stores.tokens,
        keys=keys,
        pages=pages,
        words_of=words,
        metrics=metrics or Metrics(),
    )
    pages.share(path=public.path)
    return public


def keep_what_is_there() -> None:
    """Called once in the life of a process that serves: what is in memory by now stays there to the end, and the
    garbage collector need not look through it again. Each time it did, every answer would wait for 0.2 s."""
    gc.collect()
    gc.freeze()


class WebServer:
    """Listens as soon as it is made, answers once it is started. A context manager: starts, and stops at the end.

    `trusted_proxies`: whose X-Forwarded-For and -Proto are believed. `workers` start and stop with it; `ending` is
    closed when all of them have stopped. Raises OutputError where the address is taken.
    """

    def __init__(
        self,
        app: FastAPI,
        host: str,
        port: int,
        *,
        trusted_proxies: Sequence[str] = (),
        workers: Sequence[Worker] = (),
        ending: ExitStack | None = None,
        connection: type[GuardedConnection] | None = None,
    ) -> None:
        self._socket = _listening(host, port)
        self._workers = list(workers)
        self._working: list[Worker] = []
        self._ending = ending or ExitStack()
        config = uvicorn.Config(
            app,
            http=connection or guarded(),
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=list(trusted_proxies),
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=_FAREWELL,
            backlog=_BACKLOG,
        )
        _into_our_log()
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
        for worker in self._workers:
            worker.start()
            self._working.append(worker)
        self._thread.start()

    def stop(self) -> None:
        """Ends after the answers that are being given, soon in any case: first the server, so that nothing new comes,
        then what writes for it. May be called twice."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(_FAREWELL + 5)
        self._socket.close()
        while self._working:
            self._working.pop().stop()
        self._ending.close()

    def __enter__(self) -> WebServer:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except Exception as error:  # noqa: BLE001 - the daemon goes on without its web part
            logs.write("error", "web_failed", error=f"{type(error).__name__}: {error}")


class _OurLog(logging.Handler):
    """What uvicorn has to say, such as that a request was no HTTP. Never what the request was."""

    def emit(self, record: logging.LogRecord) -> None:
        """See logging."""
        logs.write("warning", "web", said=record.getMessage().strip()[:200])


def _into_our_log() -> None:
    # it complains of forms that are none, to standard error where nobody listens
    logging.getLogger("python_multipart").addHandler(logging.NullHandler())
    logger = logging.getLogger("uvicorn.error")
    logger.propagate = False
    if not any(isinstance(one, _OurLog) for one in logger.handlers):
        logger.addHandler(_OurLog(logging.WARNING))


def _listening(host: str, port: int) -> socket.socket:
    try:
        found: list[Any] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        listening = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        said = getattr(error, "strerror", None) or "no such address"
        raise OutputError(
            f"{host} port {port} cannot be listened on: {said}",
            hint="Give another one: [web] host and port, or --host and --port (0: any free port).",
        ) from None
    # asyncio sets it on sockets that it opened itself; without it an answer, which is two segments, may wait 40 ms for
    # the client's acknowledgement (Nagle). Connections inherit it.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
