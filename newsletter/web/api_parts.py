"""Cursors: where a part of a list ended, as text that means nothing to whoever gives it back."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import TypeVar

from newsletter.pipeline.listing_parts import Part
from newsletter.web.api_problems import Problem

_Item = TypeVar("_Item")
#: The largest number of a row.
_MOST = 2**63 - 1


def part_document(of: str, part: Part[_Item], document: Callable[[_Item], object]) -> dict[str, object]:
    """A part as it is answered; `of` names the list, whose cursors are worth nothing for another."""
    items: Sequence[object] = [document(one) for one in part.items]
    return {"items": items, "next": None if part.last is None else _written(of, part.last)}


def text_after(of: str, cursor: str) -> str:
    """What `part_document` put into the cursor; '' for ''. Raises Problem."""
    if not cursor:
        return ""
    try:
        said = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        kind, colon, value = said.decode().partition(":")
    except (binascii.Error, ValueError):
        raise _no_cursor() from None
    if kind != of or not colon or not value.isprintable():
        raise _no_cursor()
    return value


def number_after(of: str, cursor: str) -> int | None:
    """The same of a list in the order of numbers; None for ''. Raises Problem."""
    value = text_after(of, cursor)
    if not value:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 20 and int(value) <= _MOST):
        raise _no_cursor()
    return int(value)


def _written(of: str, value: str) -> str:
    return base64.urlsafe_b64encode(f"{of}:{value}".encode()).decode("ascii").rstrip("=")


def _no_cursor() -> Problem:
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid",
        "this cursor is of no list of this kind",
        problems=[{"at": "query.after", "said": "give `next` of the part before, as it was"}],
    )
