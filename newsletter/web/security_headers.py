"""The header fields that every answer has, so that a browser does no more with it than it must."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from newsletter.web.asgi import SAFE, App, Message, Receive, Scope, Send, under

#: No script, no frame, nothing from elsewhere. A route that needs another one sets it itself.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: What a route may set otherwise.
_DEFAULTS: Mapping[str, str] = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    # Not no-referrer: with it browsers send `Origin: null` with our own forms (Fetch, "append a request Origin
    # header"), and they could not be told from those of others. Other sites learn nothing either way.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=(), browsing-topics=()",
    "x-content-type-options": "nosniff",
}
#: Where the path has a token that stands for a person.
TOKEN_PATHS = ("/unsubscribe", "/preferences", "/confirm", "/c", "/o")
_NO_STORE = (b"cache-control", b"no-store")
_NOT_INDEXED = (b"x-robots-tag", b"noindex")
#: A year, in seconds.
_HSTS = (b"strict-transport-security", b"max-age=31536000")


class SecurityHeaders:
    """Adds them where the answer has none of the same name. `https`: whether the site is reached by nothing else."""

    def __init__(self, app: App, *, https: bool = False) -> None:
        self._app = app
        self._defaults = [(name.encode(), value.encode()) for name, value in _DEFAULTS.items()]
        if https:
            self._defaults.append(_HSTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                present = {name.lower() for name, _ in headers}
                headers += [one for one in self._wanted(scope, message["status"]) if one[0] not in present]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_on)

    def _wanted(self, scope: Scope, status: int) -> list[tuple[bytes, bytes]]:
        wanted = self._defaults
        has_token = under(scope, *TOKEN_PATHS)
        if has_token:
            wanted = [*wanted, _NOT_INDEXED]
        if has_token or status >= HTTPStatus.BAD_REQUEST or scope["method"] not in SAFE:
            wanted = [*wanted, _NO_STORE]
        return wanted
