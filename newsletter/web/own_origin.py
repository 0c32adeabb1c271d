"""Refuses forms that another site sent in somebody's name (CSRF), without cookies and hidden tokens.

A browser says where a request comes from, by Sec-Fetch-Site (https://www.w3.org/TR/fetch-metadata/) and by Origin (RFC
6454), and a page cannot make it lie. What is no browser sends neither, and acts in nobody's name but its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import urlsplit

from newsletter.web.asgi import SAFE, App, Receive, Scope, Send, header, under
from newsletter.web.error_answers import ErrorAnswers

#: Where something else proves that the sender may: the token that a mailbox provider posts to (RFC 8058), a signature,
#: a token of the API.
PROVEN_OTHERWISE = ("/unsubscribe", "/webhooks", "/api")
#: Where sites that the settings name may send their own forms.
OPEN_TO_NAMED_SITES = "/subscribe"


class OwnOrigin:
    """403 for what would change something and comes from another site. `base_url` is ours, and so is the Host asked."""

    def __init__(self, app: App, errors: ErrorAnswers, *, base_url: str = "", allowed: Iterable[str] = ()) -> None:
        self._app = app
        self._errors = errors
        self._ours = origin_of(base_url)
        self._allowed = {origin_of(url) for url in allowed} - {""}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http" and scope["method"] not in SAFE and not self._may(scope):
            await self._errors.answer(scope, HTTPStatus.FORBIDDEN)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _may(self, scope: Scope) -> bool:
        if under(scope, *PROVEN_OTHERWISE):
            return True
        site, origin = header(scope, b"sec-fetch-site"), header(scope, b"origin").lower()
        if origin in self._allowed and under(scope, OPEN_TO_NAMED_SITES):
            return True
        if site in {"same-origin", "none"}:  # none: the person themselves, as by loading a page again
            return True
        if site == "cross-site":
            return False
        return not origin or origin == self._ours or self._is_host(origin, header(scope, b"host"))

    @staticmethod
    def _is_host(origin: str, host: str) -> bool:
        """Behind a proxy that ends TLS the scheme we see is not that of the page: names and ports are compared."""
        scheme, _, rest = origin.partition("://")
        return scheme in {"http", "https"} and bool(host) and rest == host.lower()


def origin_of(url: str) -> str:
    """Its origin as browsers write it: `https://news.example.com`, with a port where it is not the scheme's own."""
    parts = urlsplit(url)
    if not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port not in {None, usual} else "")
