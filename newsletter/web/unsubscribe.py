"""/unsubscribe/NEWSLETTER/TOKEN: one click to leave, as RFC 8058 has it, and a page with one button for people."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import PlainTextResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException as Refused

from newsletter.audience.masking import masked
from newsletter.audience.people import Departure
from newsletter.delivery.links import Purpose
from newsletter.errors import TemporaryError
from newsletter.web.group_writer import GroupWriter
from newsletter.web.public import Public

Leaving = GroupWriter[Departure, bool]

#: The body that RFC 8058 asks for (section 3.2), and what our own page sends.
_ONE_CLICK = b"List-Unsubscribe=One-Click"
_BY, _PAGE = "by", "page"
#: Seconds until we say that we cannot at the moment. A mailbox provider asks again then; the departure may well be
#: written nonetheless, and the second one changes nothing.
_PATIENCE = 15.0


def departures_of(public: Public) -> Callable[[Sequence[Departure]], Sequence[bool]]:
    """What the writer of all departures writes with."""
    return lambda departures: public.audience.leave(departures, now=public.now())


def unsubscribe_routes(public: Public, leaving: Leaving) -> APIRouter:
    """GET shows the page and changes nothing. POST unsubscribes, whatever its body says and whoever it still is."""
    routes = APIRouter()

    async def unsubscribe(request: Request) -> Response:
        newsletter, token = request.path_params["newsletter"], request.path_params["token"]
        number = public.links(newsletter).subscriber_id(Purpose.UNSUBSCRIBE, token)
        if number is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        if request.method != "POST":
            return await run_in_threadpool(_question, public, newsletter, number)
        on_page = await _sent_by_page(request)
        await _leave(leaving, Departure(number, _lists(public, newsletter), "page" if on_page else "one-click"))
        return _goodbye_page(public, newsletter) if on_page else _goodbye(public, newsletter)

    # no path operation of FastAPI's: there is nothing to validate, and this is to be quick
    routes.add_route("/unsubscribe/{newsletter}/{token}", unsubscribe, methods=["GET", "POST"])
    return routes


async def _leave(leaving: Leaving, departure: Departure) -> None:
    """It is durable when this returns. Raises TemporaryError where it may not be."""
    try:
        async with asyncio.timeout(_PATIENCE):
            await leaving.put(departure)
    except TimeoutError:
        raise TemporaryError("the database takes too long") from None


async def _sent_by_page(request: Request) -> bool:
    """Whether our own button was pressed. A body that is none of a form, or too broken to be read, is no objection."""
    body = await request.body()
    if body == _ONE_CLICK or not body:
        return False
    try:
        form = await request.form(max_files=10, max_fields=10)
    except (Refused, ValueError):
        return False
    said = form.get(_BY)
    await form.close()
    return not isinstance(said, UploadFile) and said == _PAGE


def _question(public: Public, newsletter: str, number: int) -> Response:
    person = next(iter(list(public.audience.members([number]))), None)
    return public.pages.page(
        "unsubscribe.html.j2",
        public.words(newsletter),
        newsletter=_title(public, newsletter),
        address=masked(person.address) if person is not None else "",
        by=(_BY, _PAGE),
    )


def _goodbye(public: Public, newsletter: str) -> Response:
    return PlainTextResponse(public.words(newsletter)("unsubscribe.done", newsletter=_title(public, newsletter)) + "\n")


def _goodbye_page(public: Public, newsletter: str) -> Response:
    known = public.newsletter(newsletter)
    back = known is not None and known.public and public.loaded.settings.web.signup.enabled
    return public.pages.page(
        "unsubscribed.html.j2",
        public.words(newsletter),
        newsletter=_title(public, newsletter),
        subscribe_again=public.path(f"/subscribe/{newsletter}") if back else "",
    )


def _title(public: Public, newsletter: str) -> str:
    """A newsletter that is no longer in the settings is called by its name."""
    known = public.newsletter(newsletter)
    return known.title if known is not None else newsletter


def _lists(public: Public, newsletter: str) -> tuple[str, ...]:
    known = public.newsletter(newsletter)
    return tuple(known.lists) if known is not None else (newsletter,)
