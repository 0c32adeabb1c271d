"""The style sheet and pictures of the public pages, from `templates/pages/`."""

from __future__ import annotations

import hashlib
import re
from http import HTTPStatus

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from newsletter.web.public import Public

#: What a page may load; scripts are not among it, and nor are fonts.
_KINDS = {
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "ico": "image/x-icon",
}
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*\.(" + "|".join(_KINDS) + ")")
#: Seconds that a browser keeps one without asking again: no longer, since operators change them.
_KEPT = 600


def asset_routes(public: Public) -> APIRouter:
    """/assets/NAME: a file of `templates/pages/`, of the project first."""
    routes = APIRouter()

    @routes.get("/assets/{name}")
    def asset(name: str, request: Request) -> Response:
        kind = _NAME.fullmatch(name)
        content = public.pages.file(name) if kind else None
        if kind is None or content is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        headers = {"ETag": tag, "Cache-Control": f"public, max-age={_KEPT}"}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(content, media_type=_KINDS[kind[1]], headers=headers)

    return routes
