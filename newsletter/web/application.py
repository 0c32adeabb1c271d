"""Makes the web application out of its parts, each a router of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI

#: As ASGI has them (https://asgi.readthedocs.io/en/latest/specs/www.html).
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]


def application(*parts: APIRouter) -> FastAPI:
    """The application with these parts. It shows no documentation of itself, and redirects nobody for a slash."""
    app = FastAPI(title="newsletter", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    for part in parts:
        app.include_router(part)
    app.add_middleware(HeadOfEverything)
    return app


class HeadOfEverything:
    """Answers HEAD as GET would be answered, without the body (RFC 9110, section 9.3.2), on every page there is."""

    def __init__(self, app: _App) -> None:
        self._app = app

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        head = scope["method"] == "HEAD"

        async def send_on(message: _Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == HTTPStatus.METHOD_NOT_ALLOWED:
                message = {**message, "headers": [_with_head(*header) for header in message["headers"]]}
            elif head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"} if head else scope, receive, send_on)


def _with_head(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """A header field; where GET is allowed, HEAD is, too."""
    return (name, value + b", HEAD") if name.lower() == b"allow" and b"GET" in value else (name, value)
