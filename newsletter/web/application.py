"""Makes the web application out of its parts, each a router of its own, and what stands around all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI

from newsletter.web.asgi import App, Message, Receive, Scope, Send
from newsletter.web.body_limits import PART, WHOLE, BodyLimits
from newsletter.web.error_answers import ErrorAnswers, LastResort
from newsletter.web.own_origin import OwnOrigin
from newsletter.web.security_headers import SecurityHeaders


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What holds for every request: where the site is reached, whose forms may come here, how errors are told, and how
    long a body may take (in seconds: the whole of it, and each part after the one before)."""

    base_url: str = "http://localhost"
    allowed_origins: Sequence[str] = ()
    errors: ErrorAnswers = field(default_factory=ErrorAnswers)
    whole_body: float = WHOLE
    part_of_body: float = PART


def application(*parts: APIRouter, surroundings: Surroundings | None = None) -> FastAPI:
    """The application with these parts. It shows no documentation of itself, and redirects nobody for a slash."""
    around = surroundings or Surroundings()
    app = FastAPI(title="newsletter", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    for part in parts:
        app.include_router(part)
    around.errors.install(app)
    # the last one is the outermost
    app.add_middleware(OwnOrigin, errors=around.errors, base_url=around.base_url, allowed=tuple(around.allowed_origins))
    app.add_middleware(BodyLimits, errors=around.errors, whole=around.whole_body, part=around.part_of_body)
    app.add_middleware(HeadOfEverything)
    app.add_middleware(LastResort, errors=around.errors)
    base = urlsplit(around.base_url)
    app.add_middleware(SecurityHeaders, https=base.scheme == "https")
    app.add_middleware(WithoutPrefix, prefix=base.path.rstrip("/"))
    return app


class WithoutPrefix:
    """Takes away the path of base_url where a proxy has left it there: both kinds of proxies are common."""

    def __init__(self, app: App, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if self._prefix and scope["type"] == "http" and f"{scope['path']}/".startswith(f"{self._prefix}/"):
            scope = {**scope, "path": scope["path"].removeprefix(self._prefix) or "/"}
        await self._app(scope, receive, send)


class HeadOfEverything:
    """Answers HEAD as GET would be answered, without the body (RFC 9110, section 9.3.2), on every page there is."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        head = scope["method"] == "HEAD"

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == HTTPStatus.METHOD_NOT_ALLOWED:
                message = {**message, "headers": [_with_head(*header) for header in message["headers"]]}
            elif head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET", _ASKED: "HEAD"} if head else scope, receive, send_on)


#: Where a scope says what the method was before it was answered as another.
_ASKED = "newsletter.asked_method"


def asked_method(scope: Scope) -> str:
    """The method of the request as it came: HEAD, where it is answered as GET."""
    return str(scope.get(_ASKED, scope["method"]))


def _with_head(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """A header field; where GET is allowed, HEAD is, too."""
    return (name, value + b", HEAD") if name.lower() == b"allow" and b"GET" in value else (name, value)
