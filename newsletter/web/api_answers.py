"""How operations describe what they may answer, for OpenAPI."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from newsletter.web.api_documents import ProblemDocument
from newsletter.web.api_problems import MEDIA_TYPE

#: What any operation may answer: no token, one without the scope, something not understood, too many wrong tokens, and
#: a server or database in trouble.
_ALWAYS = (401, 403, 408, 422, 429, 500, 503)
#: What one with a body may, too.
_WITH_BODY = (400, 413, 415)
_WORDS = {
    400: "The body cannot be read.",
    401: "There is no token, or a wrong one.",
    403: "The token does not have the scope.",
    404: "There is no such thing.",
    408: "The request came too slowly.",
    409: "It was refused, and nothing was changed; `code` says why.",
    413: "The body is too large.",
    415: "The body is no JSON.",
    422: "The request is not understood; `problems` says what is wrong with which field.",
    429: "Too many wrong tokens came from this address.",
    500: "Something went wrong; the server's log says what.",
    503: "The database cannot be reached for a moment; nothing was changed.",
}
_HEADERS = {
    401: {"WWW-Authenticate": {"description": "RFC 6750.", "schema": {"type": "string"}}},
    403: {"WWW-Authenticate": {"description": "RFC 6750.", "schema": {"type": "string"}}},
    429: {"Retry-After": {"description": "Seconds.", "schema": {"type": "string"}}},
    503: {"Retry-After": {"description": "Seconds.", "schema": {"type": "string"}}},
}
PROBLEM = ProblemDocument.__name__


def answers(*also: int, body: bool = False, **good: str) -> dict[int | str, dict[str, Any]]:
    """The problems that an operation may answer with: those of all, and `also`; `body`: it has one."""
    statuses = sorted({*_ALWAYS, *also, *(_WITH_BODY if body else ())})
    return {one: _problem(one) for one in statuses} | {
        int(k.removeprefix("_")): {"description": v} for k, v in good.items()
    }


def _problem(status: int) -> dict[str, Any]:
    return {
        "description": _WORDS.get(status, HTTPStatus(status).phrase),
        "content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{PROBLEM}"}}},
        **({"headers": _HEADERS[status]} if status in _HEADERS else {}),
    }
