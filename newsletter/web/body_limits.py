"""How large a request's body may be, and how slowly it may come."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import HTTPException

from newsletter.web.asgi import App, Message, Receive, Scope, Send, header, under
from newsletter.web.error_answers import ErrorAnswers

KB = 1024
MB = 1024 * KB
#: Bytes of a form.
MOST = 64 * KB
#: Bytes where more is sent.
MOST_UNDER: Mapping[str, int] = {"/webhooks": 10 * MB, "/api": MB}
#: Seconds that the whole of it may take, and each part after the one before.
WHOLE, PART = 20.0, 5.0
#: What is not read is not waited for.
_LEAVE = {"Connection": "close"}


class BodyLimits:
    """413 for a body that is too large, by its Content-Length or while it comes; 408 for one that comes too slowly."""

    def __init__(self, app: App, errors: ErrorAnswers, *, whole: float = WHOLE, part: float = PART) -> None:
        self._app = app
        self._errors = errors
        self._whole = whole
        self._part = part

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = next((most for folder, most in MOST_UNDER.items() if under(scope, folder)), MOST)
        told = header(scope, b"content-length")
        if told and (not (told.isascii() and told.isdigit()) or int(told[:20]) > most):
            answer = self._errors.answer(scope, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, headers=_LEAVE)
            await answer(scope, receive, send)
            return
        await self._app(scope, self._limited(receive, most), send)

    def _limited(self, receive: Receive, most: int) -> Receive:
        size, until, whole = 0, 0.0, False

        async def receive_on() -> Message:
            nonlocal size, until, whole
            if whole:  # what comes now is that the client has gone: that may take as long as it likes
                return await receive()
            now = asyncio.get_running_loop().time()
            until = until or now + self._whole
            try:
                async with asyncio.timeout_at(min(until, now + self._part)):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, headers=_LEAVE) from None
            if message["type"] == "http.request":
                size += len(message.get("body", b""))
                whole = not message.get("more_body", False)
                if size > most:
                    raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, headers=_LEAVE)
            return message

        return receive_on
