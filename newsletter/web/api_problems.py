"""What the API answers where something is wrong: problem details (RFC 9457), with a `code` for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import PurePath
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.responses import Response

from newsletter import errors
from newsletter.errors import NewsletterError
from newsletter.pipeline.people import suppression_document
from newsletter.pipeline.subscriber_calls import KeptOff
from newsletter.web.error_answers import RETRY_AFTER

MEDIA_TYPE = "application/problem+json"
#: What a 401 asks for (RFC 6750, section 3).
CHALLENGE = 'Bearer realm="newsletter"'


class Problem(Exception):
    """An answer that is no success. `problems` says what is wrong with which field."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        hint: str = "",
        problems: Sequence[Mapping[str, str]] = (),
        more: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.headers = dict(headers or {})
        self.document: dict[str, object] = {
            "title": HTTPStatus(status).phrase,
            "status": status,
            "code": code,
            "detail": detail,
            **({"hint": hint} if hint else {}),
            **({"problems": [dict(one) for one in problems]} if problems else {}),
            **(more or {}),
        }
        super().__init__(detail)

    def answer(self) -> Response:
        """As HTTP."""
        # ASCII: half a character, as a request may hold one, can be written no other way
        return Response(json.dumps(self.document), self.status, self.headers, media_type=MEDIA_TYPE)


#: The status and the code of each error, by the nearest of its classes.
_BY_CLASS: Mapping[type[BaseException], tuple[HTTPStatus, str]] = {
    KeptOff: (HTTPStatus.CONFLICT, "suppressed"),
    errors.UsageError: (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid"),
    errors.NothingToDo: (HTTPStatus.CONFLICT, "nothing_to_do"),
    errors.GuardRefused: (HTTPStatus.CONFLICT, "refused"),
    errors.ChecksFailed: (HTTPStatus.CONFLICT, "checks_failed"),
    errors.IssueError: (HTTPStatus.CONFLICT, "issue_unreadable"),
    errors.TemplateError: (HTTPStatus.CONFLICT, "template_unusable"),
    errors.AudienceError: (HTTPStatus.CONFLICT, "audience_unreadable"),
    errors.ConfigError: (HTTPStatus.CONFLICT, "misconfigured"),
    errors.TemporaryError: (HTTPStatus.SERVICE_UNAVAILABLE, "later"),
}


def problem_of(error: NewsletterError) -> Problem:
    """The answer to an error of the program. Where it is in a file, the file's name is told, and not where that is."""
    status, code = next(
        (_BY_CLASS[one] for one in type(error).__mro__ if one in _BY_CLASS),
        (HTTPStatus.INTERNAL_SERVER_ERROR, "failed"),
    )
    if status is HTTPStatus.INTERNAL_SERVER_ERROR:
        return Problem(status, code, "something is wrong with this server; its log says what")
    place = error.place
    where = ":".join(str(part) for part in (PurePath(place.path).name, place.line) if part) + ": " if place else ""
    more: dict[str, object] = {}
    if isinstance(error, KeptOff):
        more["suppressions"] = [suppression_document(one) for one in error.suppressions]
    headers = {"Retry-After": RETRY_AFTER} if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
    return Problem(status, code, where + error.message, hint=error.hint, more=more, headers=headers)


def not_understood(error: RequestValidationError) -> Problem:
    """What is wrong with a request, field by field; its values are not repeated."""
    found = [{"at": ".".join(str(part) for part in one["loc"]), "said": _said(one)} for one in error.errors()]
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", "the request is not understood", problems=found)


def _said(one: Mapping[str, Any]) -> str:
    if one["type"] == "json_invalid":
        return "this is no JSON"
    return str(one["msg"]).removeprefix("Value error, ")


def not_found(what: str) -> Problem:
    """There is no such thing."""
    return Problem(HTTPStatus.NOT_FOUND, "not_found", what)
