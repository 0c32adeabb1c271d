"""The fields of a form that somebody posted, whatever they posted."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import HTTPException, Request
from starlette.datastructures import FormData


async def posted_form(request: Request, *, most_fields: int) -> FormData:
    """The fields; none where no form was sent. Raises HTTPException 400 where it cannot be read, has a file in it or
    more fields than these."""
    try:
        form = await request.form(max_files=0, max_fields=most_fields)
    except UnicodeError:  # of a charset such as `undefined`, which Python knows and cannot read
        raise HTTPException(HTTPStatus.BAD_REQUEST, "the form is in no charset that can be read") from None
    texts = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    return FormData([(readable(name), readable(value)) for name, value in texts])


def readable(text: str) -> str:
    """Text that can be written down, whatever was sent: JSON and some charsets hold half a surrogate pair."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
