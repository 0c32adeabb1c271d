"""The JSON API under `/api/v1`: an application of its own, so that whatever it answers is JSON.

Behind a gate (`api_gate`) that asks for a token before anything is looked up. It reads no cookie and lets no other site
call it from a browser (no CORS).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from newsletter import __version__, logs
from newsletter.errors import NewsletterError
from newsletter.web.api_documents import FieldProblem, ProblemDocument
from newsletter.web.api_gate import OPEN, Gate
from newsletter.web.api_issues import issue_operations
from newsletter.web.api_problems import Problem, not_understood, problem_of
from newsletter.web.api_rights import refuse_odd_query
from newsletter.web.api_runs import run_operations
from newsletter.web.api_subscribers import subscriber_operations
from newsletter.web.api_throttle import Throttle
from newsletter.web.api_turns import Turns
from newsletter.web.asgi import Scope, discreet_path
from newsletter.web.public import Public
from newsletter.web.sending_desk import SendingDesk

PREFIX = "/api/v1"
_METHODS = ("GET", "POST", "PATCH", "DELETE", "PUT")
_ABOUT = """Subscribers, runs and issues, for programs. Every call but this description needs a token of
`newsletter tokens add`, sent as `Authorization: Bearer TOKEN`. Times are UTC. Lists come in parts: give `next` of one
as `after` to get what follows. Problems are told as in RFC 9457, with a `code` for programs."""


def api_routes(public: Public, desk: SendingDesk, throttle: Throttle | None = None) -> APIRouter:
    """`/api/v1/…`. `desk` sends what is begun here; whoever made it closes it."""
    routes = APIRouter()
    routes.mount(PREFIX, Gate(api(public, desk), public.tokens, throttle))
    return routes


def api(public: Public, desk: SendingDesk) -> FastAPI:
    """The operations without the gate."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    turns = Turns()
    operations = APIRouter(dependencies=[Depends(refuse_odd_query)], generate_unique_id_function=_name)
    for part in (
        issue_operations(public, turns),
        subscriber_operations(public),
        run_operations(public, desk, turns),
    ):
        operations.include_router(part)
    app.include_router(operations)
    description = described(app)

    @app.get(OPEN, include_in_schema=False)
    async def describe() -> Response:
        return JSONResponse(description)

    _tell_problems(app)
    return app


def _name(route: APIRoute) -> str:
    """What client generators call the operation: its function's name."""
    return route.name


def _tell_problems(app: FastAPI) -> None:
    """Has `app` tell all that goes wrong as problem details."""

    def problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return error.answer()

    def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return not_understood(error).answer()

    def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, NewsletterError)
        found = problem_of(error)
        if found.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            logs.write("error", "not_answered", path=discreet_path(request.scope), error=str(error))
        return found.answer()

    def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_allowed(app, request.scope))
        code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        return Problem(error.status_code, code, str(error.detail), headers=headers).answer()

    def broken(_: Request, __: Exception) -> Response:
        # it goes on to the log of the whole application
        return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "failed", "something went wrong").answer()

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(NewsletterError, refused)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, broken)


def _allowed(app: FastAPI, scope: Scope) -> list[str]:
    """The methods that a path has (RFC 9110, section 15.5.6): routes know their own alone."""
    return [
        method
        for method in _METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in app.router.routes)
    ]


def described(app: FastAPI) -> dict[str, Any]:
    """The description of its operations as OpenAPI 3.1."""
    found = get_openapi(
        title="newsletter",
        version=__version__,
        summary="A newsletter delivery pipeline",
        description=_ABOUT,
        routes=app.routes,
        servers=[{"url": PREFIX}],
    )
    schemas = found["components"]["schemas"]
    for model in (ProblemDocument, FieldProblem):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schema.pop("$defs", None)
        schemas[model.__name__] = schema
    return found
