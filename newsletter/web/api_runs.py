"""The API's operations on runs: how they stand, and begun, paused, resumed and cancelled."""

from __future__ import annotations

import contextlib
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query

from newsletter import wiring
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import RunRecord
from newsletter.delivery.states import DeliveryState
from newsletter.errors import NothingToDo, UsageError
from newsletter.pipeline.listing_parts import some_deliveries, some_runs
from newsletter.pipeline.request import IssueRequest
from newsletter.pipeline.run_report import counts_document, delivery_document, report, status_document
from newsletter.pipeline.steer_run import cancel_run, pause_run
from newsletter.pipeline.subscriber_calls import one_line
from newsletter.web import api_documents as documents
from newsletter.web.api_answers import answers
from newsletter.web.api_parts import number_after, part_document
from newsletter.web.api_problems import not_found
from newsletter.web.api_requests import NAME, After, Cancel, Limit, NewsletterName, Pause, Resume, Send, SlotName
from newsletter.web.api_rights import Reader, Sender
from newsletter.web.api_turns import Turns
from newsletter.web.public import Public
from newsletter.web.sending_desk import SendingDesk

_RUNS, _DELIVERIES = "r", "d"
_ONE = "/runs/{newsletter}/{slot}"
_ACCEPTED: dict[str, Any] = {
    "status_code": HTTPStatus.ACCEPTED,
    "response_model": documents.Run,
    "responses": answers(404, 409, body=True),
}


def run_operations(public: Public, desk: SendingDesk, turns: Turns) -> APIRouter:
    """The operations, under `/api/v1`."""
    routes = APIRouter(tags=["runs"])
    ledger = public.ledger

    def found(newsletter: str, slot: str) -> RunRecord:
        run = ledger.run(RunName(newsletter, slot))
        if run is None:
            ledger.refuse_forgotten(RunName(newsletter, slot))
            raise not_found(f"there is no run {newsletter}/{slot}")
        return run

    def stand(run: RunRecord) -> dict[str, object]:
        return status_document(report(ledger, ledger.run(run.name) or run))

    @routes.get("/runs", response_model=documents.RunPart, responses=answers())
    def list_runs(
        _: Reader,
        newsletter: Annotated[
            str | None, Query(pattern=NAME, max_length=100, description="Of this newsletter.", examples=["daily-buzz"])
        ] = None,
        after: After = "",
        limit: Limit = 100,
    ) -> object:
        """The runs in numbers, the latest first."""
        part = some_runs(ledger, newsletter, before=number_after(_RUNS, after), limit=limit)
        return part_document(_RUNS, part, lambda one: counts_document(*one))

    @routes.get(_ONE, response_model=documents.Run, responses=answers(404, 409))
    def show_run(_: Reader, newsletter: NewsletterName, slot: SlotName) -> object:
        """How a run stands."""
        return stand(found(newsletter, slot))

    @routes.get(f"{_ONE}/deliveries", response_model=documents.DeliveryPart, responses=answers(404, 409))
    def list_deliveries(
        _: Reader,
        newsletter: NewsletterName,
        slot: SlotName,
        state: Annotated[
            documents.DeliveryStateName | None, Query(description="In this state.", examples=["accepted"])
        ] = None,
        after: After = "",
        limit: Limit = 100,
    ) -> object:
        """What became of each recipient of a run."""
        run, states = found(newsletter, slot), () if state is None else (DeliveryState[state.upper()],)
        behind = number_after(_DELIVERIES, after) or 0
        part = some_deliveries(ledger, run, states, after=behind, limit=limit)
        return part_document(_DELIVERIES, part, delivery_document)

    @routes.post(_ONE, **_ACCEPTED)
    async def send(_: Sender, newsletter: NewsletterName, slot: SlotName, asked: Send) -> object:
        """Sends an issue to its audience, once. The guards are those of `newsletter send`; the mail goes out after the
        answer, and the run says how it stands."""

        def begun() -> dict[str, object]:
            request = request_of(public, newsletter, slot)
            return stand(desk.send(request, confirmed=asked.confirm, limit=asked.limit))

        return await turns.take(begun)

    @routes.post(f"{_ONE}/resume", **_ACCEPTED)
    async def resume(_: Sender, newsletter: NewsletterName, slot: SlotName, asked: Resume) -> object:
        """Goes on with a run that was paused or interrupted. The issue must be the same."""

        def begun() -> dict[str, object]:
            found(newsletter, slot)
            request = request_of(public, newsletter, slot)
            return stand(desk.resume(request, confirmed=asked.confirm, limit=asked.limit))

        return await turns.take(begun)

    @routes.post(f"{_ONE}/pause", response_model=documents.Run, responses=answers(404, 409, body=True))
    def pause(_: Sender, newsletter: NewsletterName, slot: SlotName, asked: Pause) -> object:
        """Stops a run, whoever sends it; calls that are out are finished. Repeated, it changes nothing."""
        run = found(newsletter, slot)
        with contextlib.suppress(NothingToDo):  # it is paused
            pause_run(ledger, run, one_line(asked.reason), now=public.now())
        return stand(run)

    @routes.post(f"{_ONE}/cancel", response_model=documents.Run, responses=answers(404, 409, body=True))
    def cancel(_: Sender, newsletter: NewsletterName, slot: SlotName, asked: Cancel) -> object:  # noqa: ARG001 - empty
        """Ends a run: what did not go out does not, ever. Calls that are out still count."""
        run = found(newsletter, slot)
        cancel_run(ledger, run, now=public.now())
        return stand(run)

    return routes


def request_of(public: Public, newsletter: str, slot: str) -> IssueRequest:
    """The issue of a slot. Raises Problem where there is no such newsletter, or date."""
    if public.newsletter(newsletter) is None:
        raise not_found(f"there is no newsletter {newsletter}")
    try:
        return wiring.request(public.loaded, newsletter, slot)
    except UsageError as error:
        raise not_found(error.message) from None
