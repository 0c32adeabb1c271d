"""/preferences/NEWSLETTER/TOKEN: what is kept about somebody, for themselves to see, change, take along and erase."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import Response
from starlette.datastructures import FormData

from newsletter import logs, wiring
from newsletter.audience.people import Person, Preferences
from newsletter.delivery.links import Purpose
from newsletter.pipeline.held_data import held_data
from newsletter.pipeline.people import erase_person
from newsletter.pipeline.preferences import (
    SOURCE,
    Wish,
    opens_question,
    save,
    start_of,
    zone_of,
)
from newsletter.pipeline.typed_preferences import Mistyped, day_typed, name_typed, zone_typed
from newsletter.rendering.words import catalogues
from newsletter.web.client_address import client_ip
from newsletter.web.forms import posted_form
from newsletter.web.preferences_page import PreferencesPage, masked_address, opens_wording
from newsletter.web.public import Public

_PATH = "/preferences/{newsletter}/{token}"


async def _posted(request: Request) -> FormData:
    """The fields of a form; nothing where none was sent."""
    return await posted_form(request, most_fields=500)


Posted = Annotated[FormData, Depends(_posted)]


def preferences_routes(public: Public) -> APIRouter:
    """The page, what its forms do, and the page that erases."""
    routes = APIRouter()
    desk = _Desk(public)

    @routes.get(_PATH)
    def show(newsletter: str, token: str) -> Response:
        """What is kept, in forms."""
        return desk.page(newsletter, token, _whose(public, newsletter, token)).answer()

    @routes.post(_PATH)
    def change(newsletter: str, token: str, form: Posted, request: Request) -> Response:
        """Does what the form says, and answers with the page as it is then."""
        person = _whose(public, newsletter, token)
        page = desk.page(newsletter, token, person)
        if person is None or person.id is None:
            return page.answer()
        action = _text(form, "action")
        if action == "pause":
            return desk.pause(page, person, person.id, form)
        if action == "resume":
            return desk.resume(page, person.id)
        if action == "save":
            return desk.save(page, person, form, client_ip(request))
        return page.answer("preferences.unchanged")

    @routes.post(f"{_PATH}/download")
    def download(newsletter: str, token: str) -> Response:
        """Everything that is held about them, as a file."""
        person = _whose(public, newsletter, token)
        if person is None:
            return desk.page(newsletter, token, None).answer()
        document = held_data(
            person, ledger=public.ledger, signups=public.signups, events=public.events, tracking=public.tracking
        )
        return Response(
            json.dumps(document, ensure_ascii=False, indent=2) + "\n",
            media_type="application/json",
            headers={"Content-Disposition": 'attachment; filename="newsletter-data.json"', "Cache-Control": "no-store"},
        )

    @routes.get(f"{_PATH}/erase")
    def ask(newsletter: str, token: str) -> Response:
        """One sentence, one button."""
        person = _whose(public, newsletter, token)
        here = public.path(f"/preferences/{newsletter}/{token}")
        email = masked_address(person) if person is not None else ""
        return public.pages.page("erase.html.j2", public.words(newsletter), here=here, email=email)

    @routes.post(f"{_PATH}/erase")
    def erase(newsletter: str, token: str) -> Response:
        """Removes them everywhere; says the same where they were removed before."""
        person = _whose(public, newsletter, token)
        if person is not None:
            _, clean = erase_person(public.audience, person.key, now=public.now(), source=SOURCE)
            if not clean:  # another process holds the database: what was deleted may stand in its files for a while
                logs.write("warning", "not_scrubbed", hint="newsletter subscribers erase overwrites it, done again")
        return public.pages.page("erased.html.j2", public.words(newsletter))

    return routes


class _Desk:
    """Does what a form asks for."""

    def __init__(self, public: Public) -> None:
        self._public = public
        self._languages = catalogues(wiring.template_roots(public.loaded))

    def page(self, newsletter: str, token: str, person: Person | None) -> PreferencesPage:
        """The page of one token."""
        return PreferencesPage(self._public, newsletter, token, person, self._languages)

    def pause(self, page: PreferencesPage, person: Person, person_id: int, form: FormData) -> Response:
        """No mail until a day."""
        typed = _text(form, "until")
        zone = zone_of(person, self._public.newsletter(page.newsletter))
        try:
            day = day_typed(typed, self._public.now().astimezone(zone).date())
        except Mistyped as wrong:
            return page.mistyped({"until": typed}, {"until": wrong})
        if not self._public.audience.pause(person_id, start_of(day, zone)):
            return self._gone(page)
        return self._again(page, person_id).answer("preferences.paused_now", date=day)

    def resume(self, page: PreferencesPage, person_id: int) -> Response:
        """Mail again."""
        if not self._public.audience.pause(person_id, None):
            return self._gone(page)
        return self._again(page, person_id).answer("preferences.resumed")

    def save(self, page: PreferencesPage, person: Person, form: FormData, ip: str) -> Response:
        """Newsletters, name, language, time zone, consent to opens. All of it, or nothing where a field is wrong."""
        newsletters = self._public.loaded.settings.newsletters
        typed = {name: _text(form, name) for name in ("name", "language", "timezone") if name in form}
        ticked, were = _names(form, "newsletter"), _names(form, "was")
        opens, were_opens = _text(form, "opens") == "yes", _text(form, "opens_were") == "yes"
        said, wrong = _read(typed, person, self._languages)
        if wrong:
            return page.mistyped(typed, wrong, ticked=ticked, opens=opens)
        asked = opens_question(newsletters, person)
        wish = Wish(
            # what a page that was open for long did not know of stays as it is
            join=ticked - were,
            leave=were - ticked,
            preferences=said,
            opens=opens if asked is not None and "opens_were" in form and opens != were_opens else None,
        )
        saved, there = save(
            self._public.audience,
            newsletters,
            person,
            wish,
            consent_wording=page.words("preferences.consent"),
            opens_wording=opens_wording(page.words, asked) if asked is not None else "",
            ip=ip,
            now=self._public.now(),
        )
        return self.page(page.newsletter, page.token, there).saved(saved) if there else self._gone(page)

    def _gone(self, page: PreferencesPage) -> Response:
        """They were erased a moment ago, on another page."""
        return self.page(page.newsletter, page.token, None).answer("preferences.unchanged")

    def _again(self, page: PreferencesPage, person_id: int) -> PreferencesPage:
        return self.page(page.newsletter, page.token, self._public.audience.person_of(person_id))


def _read(
    typed: Mapping[str, str], person: Person, languages: Mapping[str, str]
) -> tuple[Preferences, dict[str, Mistyped]]:
    """What was typed as it is kept, None for what was not sent; and what is wrong with it, by field."""
    wrong: dict[str, Mistyped] = {}
    name = name_typed(typed["name"]) if "name" in typed else None
    language, zone = typed.get("language"), typed.get("timezone")
    if language is not None and language not in {"", person.language, *languages}:
        wrong["language"] = Mistyped("preferences.language_unknown")
    if zone is not None:
        try:
            zone = zone_typed(zone, person.timezone)
        except Mistyped as error:
            wrong["timezone"] = error
    return Preferences(name, language, zone), wrong


def _whose(public: Public, newsletter: str, token: str) -> Person | None:
    """The person of the token; None where they were erased, or never were. Raises 404 for what is no token."""
    number = public.links(newsletter).subscriber_id(Purpose.PREFERENCES, token)
    if number is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return public.audience.person_of(number)


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value if isinstance(value, str) else ""


def _names(form: FormData, name: str) -> frozenset[str]:
    return frozenset(value for value in form.getlist(name) if isinstance(value, str))
