"""/c/NEWSLETTER/SLOT/NUMBER[/TOKEN] leads to where a link of an issue leads, /o/NEWSLETTER/SLOT/TOKEN.gif is the image
of opens. Both are counted where the settings say so; a reader waits for neither."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from http import HTTPStatus

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from newsletter.delivery.links import Purpose
from newsletter.delivery.names import RunName
from newsletter.events.tracking import HitKind
from newsletter.events.verdicts import verdict_of
from newsletter.pipeline.count_hits import Requested, count_hits
from newsletter.settings.model import Tracking
from newsletter.web.application import asked_method
from newsletter.web.client_address import client_ip
from newsletter.web.hit_counter import HitCounter
from newsletter.web.public import Public

_NEWSLETTER = re.compile(r"[a-z0-9-]+")
_SLOT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:\.[a-z0-9-]{1,64})?")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_IMAGE = re.compile(r"(?P<token>.+)\.gif")
#: What may stand in a Location header, and lead to a page.
_TARGET = re.compile(r"https?://[!-~]+")
#: One transparent pixel (GIF89a).
PIXEL = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
#: Nobody keeps the answer, and the page behind a link does not learn which issue it was in.
_HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
#: Targets that are kept in memory: they never change.
_MOST_KNOWN = 20_000
#: Number 0 is nobody: the reader of a test, or of the archive.
_NOBODY = 0


def link_routes(public: Public, ending: ExitStack | None = None) -> APIRouter:
    """The two routes. `ending` has what is not yet written counted."""
    routes = APIRouter()
    known: dict[tuple[RunName, int], str] = {}

    def write(requested: Sequence[Requested]) -> int:
        return count_hits(requested, tracking=public.tracking, people=public.audience, ledger=public.ledger)

    counter = HitCounter(write)
    if ending is not None:
        ending.callback(counter.close)

    async def click(request: Request) -> Response:
        """A redirect to a target that was stored with the issue, and to nothing else."""
        params = request.path_params
        run, token = _run(params), params.get("token")
        if not _NUMBER.fullmatch(params["number"]):
            raise HTTPException(HTTPStatus.NOT_FOUND)
        number = int(params["number"])
        reader = None if token is None else _reader(public, run, token)
        target = known.get((run, number)) or await run_in_threadpool(public.tracking.target, run, number)
        if target is None or not _TARGET.fullmatch(target):
            raise HTTPException(HTTPStatus.NOT_FOUND)
        if len(known) < _MOST_KNOWN:
            known[run, number] = target
        tracking = _tracking(public, run)
        if tracking.clicks and reader != _NOBODY:
            _count(request, run, HitKind.CLICK, number, reader, tracking)
        return Response(status_code=HTTPStatus.FOUND, headers={**_HEADERS, "Location": target})

    async def image(request: Request) -> Response:
        """One pixel, whoever asks for it with a token of ours."""
        run, name = _run(request.path_params), _IMAGE.fullmatch(request.path_params["image"])
        if name is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        reader = _reader(public, run, name["token"])
        tracking = _tracking(public, run)
        if tracking.opens and reader != _NOBODY:
            _count(request, run, HitKind.OPEN, 0, reader, tracking)
        return Response(PIXEL, media_type="image/gif", headers=_HEADERS)

    def _count(
        request: Request, run: RunName, kind: HitKind, number: int, reader: int | None, tracking: Tracking
    ) -> None:
        verdict = verdict_of(kind, asked_method(request.scope), request.headers)
        who = f"#{reader}" if reader is not None else client_ip(request)
        counter.count(Requested(run, kind, number, verdict, public.now(), reader, tracking.per_person), who)

    for path in ("/c/{newsletter}/{slot}/{number}", "/c/{newsletter}/{slot}/{number}/{token}"):
        routes.add_route(path, click, methods=["GET"])
    routes.add_route("/o/{newsletter}/{slot}/{image}", image, methods=["GET"])
    return routes


def _run(params: dict[str, str]) -> RunName:
    # PostgreSQL refuses to look for some characters
    if not (_NEWSLETTER.fullmatch(params["newsletter"]) and _SLOT.fullmatch(params["slot"])):
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return RunName(params["newsletter"], params["slot"])


def _reader(public: Public, run: RunName, token: str) -> int:
    number = public.links(run.newsletter).subscriber_id(Purpose.TRACK, token)
    if number is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return number


def _tracking(public: Public, run: RunName) -> Tracking:
    """What is counted now; nothing of a newsletter that is no longer in the settings. Its links lead on."""
    newsletter = public.newsletter(run.newsletter)
    return newsletter.tracking if newsletter is not None else Tracking()
