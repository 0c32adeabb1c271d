"""The API's operations on people: seen, added, changed, taken off, erased, suppressed."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Response

from newsletter.audience.model import ConsentState
from newsletter.audience.people import Consent, Person, Preferences, Selection, SuppressionReason
from newsletter.errors import NothingToDo
from newsletter.pipeline import people, subscriber_calls
from newsletter.pipeline.files_naming import files_naming
from newsletter.pipeline.held_data import held_data, whoever_is_held
from newsletter.pipeline.listing_parts import some_people, some_suppressions
from newsletter.web import api_documents as documents
from newsletter.web.api_answers import answers
from newsletter.web.api_parts import number_after, part_document, text_after
from newsletter.web.api_problems import not_found
from newsletter.web.api_requests import (
    AddSubscriber,
    AddSuppression,
    After,
    ChangeSubscriber,
    EmailPath,
    Limit,
    ListFilter,
    Unsubscribe,
)
from newsletter.web.api_rights import Keeper, Reader, source_of
from newsletter.web.public import Public

_PEOPLE, _SUPPRESSIONS = "p", "s"
_NOBODY = "nothing is held about this address"


def subscriber_operations(public: Public) -> APIRouter:
    """The operations, under `/api/v1`."""
    routes = APIRouter(tags=["subscribers"])
    store, loaded = public.audience, public.loaded

    @routes.get("/subscribers", response_model=documents.SubscriberPart, responses=answers())
    def list_subscribers(
        _: Reader,
        list: ListFilter = None,
        state: Annotated[
            ConsentState | None, Query(description="In this state: on that list, or over all lists without one.")
        ] = None,
        after: After = "",
        limit: Limit = 100,
    ) -> object:
        """The people on the lists, by address, whatever their state."""
        chosen = people.known_list(loaded, store, list)
        selection = Selection(lists=(chosen,) if chosen else tuple(store.lists()))
        part = some_people(store, selection, state, after=text_after(_PEOPLE, after), limit=limit)
        return part_document(_PEOPLE, part, people.person_document)

    @routes.post(
        "/subscribers",
        status_code=HTTPStatus.CREATED,
        response_model=documents.Added,
        responses=answers(409, body=True)
        | {200: {"description": "They were on the list before.", "model": documents.Added}},
    )
    def add_subscriber(token: Keeper, asked: AddSubscriber, response: Response) -> object:
        """Puts somebody on a list. Nobody whom a suppression keeps off comes back this way, whatever their consent."""
        said = asked.consent
        new = subscriber_calls.NewSubscriber(
            email=asked.email,
            list=asked.list,
            name=asked.name,
            language=asked.language,
            timezone=asked.timezone,
            tags=asked.tags,
            attributes=asked.attributes,
            consent=Consent(asked.list, said.at, said.source, said.wording, said.ip or "") if said else None,
            confirm=asked.confirm,
            newsletter=asked.newsletter,
        )
        done = subscriber_calls.add_subscriber(
            store, public.signups, loaded, new, source=source_of(token), now=public.now()
        )
        if done.confirmation is not None:
            public.asked.set()
        if not done.new:
            response.status_code = HTTPStatus.OK
        return {
            "email": done.address,
            "list": done.list,
            "state": done.state.value,
            "new": done.new,
            "confirmation": done.confirmation.value if done.confirmation else None,
        }

    @routes.post(
        "/subscribers/{email:address}/unsubscribe", response_model=documents.Left, responses=answers(404, body=True)
    )
    def unsubscribe(token: Keeper, email: EmailPath, asked: Unsubscribe) -> object:
        """Takes somebody off a list, or off all, for good; the record stays. Repeated, it changes nothing."""
        address, changed = subscriber_calls.leave_list(
            store, loaded, email, asked.list, note=asked.note, source=source_of(token), now=public.now()
        )
        return {"email": address.shown, "list": asked.list, "state": "unsubscribed", "changed": changed}

    @routes.get("/subscribers/{email:address}", response_model=documents.WholeSubscriber, responses=answers(404))
    def show_subscriber(_: Reader, email: EmailPath) -> object:
        """Everything that is held about somebody."""
        return _held(public, email)

    @routes.patch(
        "/subscribers/{email:address}", response_model=documents.Subscriber, responses=answers(404, body=True)
    )
    def change_subscriber(_: Keeper, email: EmailPath, asked: ChangeSubscriber) -> object:
        """Changes name, language or time zone."""
        wanted = Preferences(name=asked.name, language=asked.language, timezone=asked.timezone)
        try:
            return people.person_document(subscriber_calls.change_subscriber(store, email, wanted))
        except NothingToDo:
            raise not_found(_NOBODY) from None

    @routes.delete("/subscribers/{email:address}", response_model=documents.Erased, responses=answers(404))
    def erase_subscriber(token: Keeper, email: EmailPath) -> object:
        """Removes everything that is held about somebody. It cannot be undone; to stop mail: unsubscribe."""
        address = people.address_of(email)
        known, clean = people.erase_person(store, address.key, now=public.now(), source=source_of(token))
        named = files_naming(loaded, address)
        return {
            "email": address.shown,
            "known": known,
            "clean": clean,
            "files": [_within(public, str(one)) for one in named.places],
            "unsearched": [_within(public, str(one)) for one in named.unsearched],
        }

    @routes.get("/suppressions", response_model=documents.SuppressionPart, responses=answers())
    def list_suppressions(
        _: Reader,
        lifted: Annotated[bool, Query(description="Also those that were lifted.")] = False,
        after: After = "",
        limit: Limit = 100,
    ) -> object:
        """The suppressions that stand, the oldest first."""
        behind = number_after(_SUPPRESSIONS, after) or 0
        part = some_suppressions(store, standing_only=not lifted, after=behind, limit=limit)
        return part_document(_SUPPRESSIONS, part, people.suppression_document)

    @routes.post(
        "/suppressions",
        status_code=HTTPStatus.CREATED,
        response_model=documents.Suppressed,
        responses=answers(body=True) | {200: {"description": "It stood before.", "model": documents.Suppressed}},
    )
    def add_suppression(token: Keeper, asked: AddSuppression, response: Response) -> object:
        """Keeps an address from being mailed: no import, no sync and no call puts it back."""
        address = people.address_of(asked.email)
        chosen = people.known_list(loaded, store, asked.list)
        new = store.suppress(
            address.key,
            SuppressionReason(asked.reason),
            chosen,
            source=source_of(token),
            now=public.now(),
            note=subscriber_calls.one_line(asked.note),
        )
        if not new:
            response.status_code = HTTPStatus.OK
        return {"email": address.shown, "reason": asked.reason, "list": chosen, "new": new}

    return routes


def _held(public: Public, email: str) -> object:
    try:
        person = whoever_is_held(public.audience, public.signups, people.address_of(email))
    except NothingToDo:
        raise not_found(_NOBODY) from None
    held = held_data(
        person, ledger=public.ledger, signups=public.signups, events=public.events, tracking=public.tracking
    )
    if person.id is None and _was_erased(person) and not held["sign_ups"]:
        raise not_found(_NOBODY)
    return held


def _was_erased(person: Person) -> bool:
    """What is left of them is a hash, which is nothing to show."""
    return any(one.reason is SuppressionReason.ERASED for one in person.suppressions)


def _within(public: Public, place: str) -> str:
    """A place as seen from the project."""
    return place.removeprefix(f"{public.loaded.folder}/")
