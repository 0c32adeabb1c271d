"""/confirm/NEWSLETTER/TOKEN: where the link of a confirmation mail leads: a page with one button, which subscribes."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from newsletter.audience.masking import masked
from newsletter.delivery.links import Purpose
from newsletter.pipeline.confirm_signup import Confirmation, Stand, confirm_signup, look_up
from newsletter.settings.model import Newsletter
from newsletter.web.client_address import client_ip
from newsletter.web.public import Public
from newsletter.web.signup import signup_open


def confirmation_routes(public: Public) -> APIRouter:
    """GET shows how it stands and changes nothing; POST confirms."""
    routes = APIRouter()

    @routes.get("/confirm/{newsletter}/{token}")
    def ask(newsletter: str, token: str) -> Response:
        settings, number = _addressed(public, newsletter, token)
        return _page(public, newsletter, settings, look_up(public.signups, number, newsletter, now=public.now()))

    @routes.post("/confirm/{newsletter}/{token}")
    def confirm(newsletter: str, token: str, request: Request) -> Response:
        settings, number = _addressed(public, newsletter, token)
        button = public.words(newsletter)("confirm.wording", newsletter=settings.title)
        confirmed = confirm_signup(
            public.signups,
            public.audience,
            number,
            newsletter,
            wording=button,
            ip=client_ip(request),
            now=public.now(),
        )
        return _page(public, newsletter, settings, confirmed)

    return routes


def _addressed(public: Public, newsletter: str, token: str) -> tuple[Newsletter, int]:
    """The newsletter, and the number of the request. Raises HTTPException 404, whatever is wrong."""
    number = public.links(newsletter).subscriber_id(Purpose.CONFIRM, token)
    settings = public.newsletter(newsletter)
    if number is None or settings is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return settings, number


def _page(public: Public, newsletter: str, settings: Newsletter, found: Confirmation) -> Response:
    words, signup = public.words(newsletter), found.signup
    again = public.path(f"/subscribe/{newsletter}") if signup_open(public, newsletter) else ""
    title, email = settings.title, masked(signup.request.address) if signup else ""
    match found.stand:
        case Stand.OPEN:
            return public.pages.page("confirm.html.j2", words, newsletter=title, email=email)
        case Stand.CONFIRMED:
            token = public.links(newsletter).token(Purpose.PREFERENCES, found.subscriber_id or 0)
            archive = settings.public and public.loaded.settings.web.archive
            return public.pages.page(
                "confirmed.html.j2",
                words,
                newsletter=title,
                email=email,
                preferences=public.path(f"/preferences/{newsletter}/{token}"),
                archive=public.path(f"/archive/{newsletter}") if archive else "",
            )
        case Stand.ALREADY if signup is not None and signup.confirmed_at is not None:
            date = words.date(signup.confirmed_at.date())
            return public.pages.page("confirmed_already.html.j2", words, newsletter=title, date=date, again=again)
        case Stand.BARRED:
            operator = (settings.reply_to or settings.sender).address
            return public.pages.page("confirm_barred.html.j2", words, newsletter=title, email=email, operator=operator)
        case _:
            return public.pages.page(
                "confirm_expired.html.j2", words, status=HTTPStatus.GONE, newsletter=title, again=again
            )
