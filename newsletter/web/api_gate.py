"""What stands before every call of the API: a token, a body of the right kind and size, and a line in the log.

A token comes in the header field Authorization and nowhere else (RFC 6750, section 2.1).
"""

from __future__ import annotations

from http import HTTPStatus

from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool

from newsletter import logs
from newsletter.access.model import ApiToken, TokenStore, digest_of
from newsletter.errors import NewsletterError
from newsletter.web.api_problems import CHALLENGE, Problem, problem_of
from newsletter.web.api_throttle import Throttle
from newsletter.web.asgi import SAFE, App, Message, Receive, Scope, Send, discreet_path, header
from newsletter.web.client_address import client_ip

#: Bytes of a body.
MOST = 64 * 1024
#: The description of the API holds no secret.
OPEN = "/openapi.json"
#: Whose token it is, in `scope["state"]`.
TOKEN = "api_token"  # noqa: S105 - the name of a field
_JSON = "application/json"


class Gate:
    """Lets calls with a token through. Why one is refused is told in the same words for every wrong token."""

    def __init__(self, app: App, tokens: TokenStore, throttle: Throttle | None = None) -> None:
        self._app = app
        self._tokens = tokens
        self._throttle = throttle or Throttle()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            return
        send = _not_kept(send)
        if scope["path"].removeprefix(scope.get("root_path", "")) == OPEN:
            await self._app(scope, receive, send)
            return
        try:
            token = await self._admitted(scope)
            body = await _body(scope, receive)
        except Problem as problem:
            await problem.answer()(scope, receive, send)
            return
        scope = {**scope, "state": {**scope.get("state", {}), TOKEN: token}}
        if scope["method"] not in SAFE:
            send = _logged(scope, token, send)
        await self._app(scope, _again(body, receive), send)

    async def _admitted(self, scope: Scope) -> ApiToken:
        """The token of the call. Raises Problem; wrong tokens of any kind take the same way, up to the look-up."""
        said, ip = header(scope, b"authorization"), client_ip(Request(scope))
        if not said:
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                "no_token",
                "this needs a token",
                hint="Send it as: Authorization: Bearer TOKEN. `newsletter tokens add` makes one.",
                headers={"WWW-Authenticate": CHALLENGE},
            )
        if wait := self._throttle.wait(ip):
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too_many_wrong_tokens",
                "too many wrong tokens came from this address",
                headers={"Retry-After": str(wait)},
            )
        scheme, _, given = said.partition(" ")
        try:
            found = await run_in_threadpool(self._tokens.find, digest_of(given.strip(" ")))
        except NewsletterError as error:
            logs.write("warning", "not_answered", path=discreet_path(scope), error=str(error))
            raise problem_of(error) from error
        if found is None or scheme.lower() != "bearer":
            self._throttle.failed(ip)
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                "wrong_token",
                "this token is not known, or was revoked",
                headers={"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token"'},
            )
        return found


async def _body(scope: Scope, receive: Receive) -> bytes:
    """The whole body. Raises Problem where it is too large or no JSON."""
    found = bytearray()
    more = True
    while more:
        try:
            message = await receive()
        except HTTPException as error:  # of the limits around every request
            raise Problem(error.status_code, "body", error.detail, headers=error.headers) from None
        if message["type"] != "http.request":
            break
        found += message.get("body", b"")
        more = message.get("more_body", False)
        if len(found) > MOST:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                "too_large",
                f"a body has at most {MOST:,} bytes",
                headers={"Connection": "close"},
            )
    kind = header(scope, b"content-type").partition(";")[0].strip().lower()
    if found and kind != _JSON:
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not_json", f"a body is {_JSON}", headers={"Accept": _JSON})
    return bytes(found)


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives the body that was read."""
    given = False

    async def receive_on() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_on


def _not_kept(send: Send) -> Send:
    """No answer is kept by anybody: they are about people."""

    async def send_on(message: Message) -> None:
        if message["type"] == "http.response.start":
            others = [one for one in message["headers"] if one[0].lower() != b"cache-control"]
            message = {**message, "headers": [*others, (b"cache-control", b"no-store")]}
        await send(message)

    return send_on


def _logged(scope: Scope, token: ApiToken, send: Send) -> Send:
    """Whatever changes something stands in the log with the token's name."""

    async def send_on(message: Message) -> None:
        if message["type"] == "http.response.start":
            operation = getattr(scope.get("route"), "name", "")
            what = {"operation": operation, "path": discreet_path(scope), "status": message["status"]}
            logs.write("info", "api_call", token=token.name, **what)
        await send(message)

    return send_on
