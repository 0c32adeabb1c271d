"""What is answered where something is wrong: a page in words for people, `application/problem+json` for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response

from newsletter import logs
from newsletter.errors import NewsletterError, TemporaryError
from newsletter.rendering.words import Words
from newsletter.web.asgi import App, Message, Receive, Scope, Send, discreet_path, header, under
from newsletter.web.pages import Pages

#: Statuses that have words of their own; others have those of 400 or 500.
TOLD = frozenset({400, 403, 404, 405, 408, 410, 413, 429, 500, 503})
#: Seconds after which trying again makes sense.
RETRY_AFTER = "30"
_PAGE = "error.html.j2"


class ErrorAnswers:
    """Makes the answers. Without pages, as where only the health is served, they are plain text."""

    def __init__(self, pages: Pages | None = None, words: Words | None = None) -> None:
        self._pages = pages
        self._words = words
        self._made: dict[int, str] = {}

    def answer(
        self,
        scope: Scope,
        status: int,
        *,
        detail: str = "",
        headers: Mapping[str, str] | None = None,
        problems: object = None,
    ) -> Response:
        """The answer to the request of `scope`. `detail` and `problems` are for programs; pages have words."""
        headers = dict(headers or {})
        phrase = _phrase(status)
        if wants_json(scope):
            document: dict[str, object] = {"title": phrase, "status": status}
            if detail and detail != phrase:
                document["detail"] = detail
            if problems is not None:
                document["problems"] = problems
            return Response(json.dumps(document), status, headers, media_type="application/problem+json")
        if self._pages is None or self._words is None:
            return PlainTextResponse(f"{phrase}\n", status, headers)
        return Response(self._page(status), status, headers, media_type="text/html")

    def _page(self, status: int) -> str:
        """Each is always the same: what a person may learn from it is the status alone."""
        told = status if status in TOLD else (500 if status >= HTTPStatus.INTERNAL_SERVER_ERROR else 400)
        if told not in self._made:
            assert self._pages is not None
            assert self._words is not None
            words = self._words
            title, text = words(f"error.title_{told}"), words(f"error.text_{told}")
            self._made[told] = self._pages.html(_PAGE, words, title=title, text=text)
        return self._made[told]

    def make_all(self) -> None:
        """Raises TemplateError where one of the pages cannot be made, and better now than for a reader."""
        if self._pages is not None:
            for status in TOLD:
                self._page(status)

    def install(self, app: FastAPI) -> None:
        """Has `app` answer with them."""

        async def refused(request: Request, error: Exception) -> Response:
            assert isinstance(error, HTTPException)
            return self.answer(request.scope, error.status_code, detail=str(error.detail), headers=error.headers)

        async def not_understood(request: Request, error: Exception) -> Response:
            assert isinstance(error, RequestValidationError)
            problems = [{"at": ".".join(map(str, one["loc"])), "said": one["msg"]} for one in error.errors()]
            return self.answer(request.scope, HTTPStatus.UNPROCESSABLE_ENTITY, problems=problems)

        async def not_now(request: Request, error: Exception) -> Response:
            logs.write("warning", "not_answered", path=discreet_path(request.scope), error=str(error))
            return self.unavailable(request.scope)

        async def broken(request: Request, _: Exception) -> Response:
            return self.answer(request.scope, HTTPStatus.INTERNAL_SERVER_ERROR)  # LastResort has it in the log

        app.add_exception_handler(HTTPException, refused)
        app.add_exception_handler(RequestValidationError, not_understood)
        app.add_exception_handler(TemporaryError, not_now)
        app.add_exception_handler(Exception, broken)

    def unavailable(self, scope: Scope) -> Response:
        """503: nothing was changed, and the same request may succeed in a moment."""
        return self.answer(scope, HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": RETRY_AFTER})


class LastResort:
    """Around everything: an error that nobody expected gets into the log, and no further."""

    def __init__(self, app: App, errors: ErrorAnswers) -> None:
        self._app = app
        self._errors = errors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        started = False

        async def send_on(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        except ClientDisconnect:
            return  # they went away while they sent: nobody waits for an answer
        except Exception as error:  # noqa: BLE001 - a server outlives whatever goes wrong with one request
            where = {"method": scope.get("method", ""), "path": discreet_path(scope)}
            if isinstance(error, NewsletterError):
                logs.write("error", "request_failed", error=str(error), **where)
            else:
                logs.write("exception", "request_failed", error=type(error).__name__, **where)
            if not started:
                await self._errors.answer(scope, HTTPStatus.INTERNAL_SERVER_ERROR)(scope, receive, send)


def wants_json(scope: Scope) -> bool:
    """Whether a program asks, and no browser: by the path, by Accept, or by what it sends."""
    accept = header(scope, b"accept")
    if under(scope, "/api", "/webhooks"):
        return True
    if "text/html" in accept:
        return False
    return "json" in accept or header(scope, b"content-type").startswith("application/json")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
