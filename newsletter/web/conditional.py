"""Conditional requests (RFC 9110, section 13): a reader that has the page already is told so."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from email.utils import format_datetime, parsedate_to_datetime
from http import HTTPStatus

from fastapi.responses import Response


def conditional(
    body: str, media_type: str, *, asked: Mapping[str, str], modified: dt.datetime | None, headers: Mapping[str, str]
) -> Response:
    """The body, or 304 where the request (`asked`: its headers) shows that it is known. The ETag is the body's."""
    content = body.encode()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    known = {**headers, "ETag": tag}
    if modified is not None:
        known["Last-Modified"] = format_datetime(modified.astimezone(dt.UTC), usegmt=True)
    if _is_known(asked, tag, modified):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=known)
    return Response(content, media_type=media_type, headers=known)


def _is_known(asked: Mapping[str, str], tag: str, modified: dt.datetime | None) -> bool:
    """If-None-Match, and where that is missing If-Modified-Since: an ETag says more."""
    if "if-none-match" in asked:
        tags = {one.strip().removeprefix("W/") for one in asked["if-none-match"].split(",")}
        return tag in tags or "*" in tags
    try:
        since = parsedate_to_datetime(asked["if-modified-since"])
    except (KeyError, ValueError, OverflowError):  # no such field, no date, a year beyond all calendars
        return False
    # a date without a zone is none (RFC 9110, section 5.6.7)
    return modified is not None and since.tzinfo is not None and modified.replace(microsecond=0) <= since
