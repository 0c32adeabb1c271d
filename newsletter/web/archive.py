"""/, /archive/NEWSLETTER and the issues below it: what went out, for everybody."""

from __future__ import annotations

import re
from http import HTTPStatus

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from newsletter.delivery.names import RunName
from newsletter.settings.model import Newsletter
from newsletter.web.conditional import conditional
from newsletter.web.feed import ATOM, Feed, atom_feed
from newsletter.web.issue_page import issue_headers, issue_page
from newsletter.web.public import Public

#: A date, and an edition where there is one. Nothing else is looked up, anywhere.
_SLOT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:\.[a-z0-9-]{1,64})?")
#: Issues on one page of the list, and in the feed.
_PAGE, _FEED = 30, 20
#: Seconds that anybody may keep a page without asking again.
_KEPT = {"Cache-Control": "public, max-age=300"}


def archive_routes(public: Public) -> APIRouter:
    """The index of the site, the list of a newsletter's issues, its feed, and each issue."""
    routes = APIRouter()

    @routes.get("/")
    def home() -> Response:
        """The newsletters that anybody may subscribe to."""
        web = public.loaded.settings.web
        shown = {name: one for name, one in public.loaded.settings.newsletters.items() if one.public}
        return public.pages.page(
            "home.html.j2",
            public.words(""),
            headers=_KEPT,
            newsletters=shown,
            subscribing=web.signup.enabled,
            archive=web.archive,
            canonical=_url(public, "/"),
        )

    @routes.get("/archive/{newsletter}")
    def issues(newsletter: str, before: str = "") -> Response:
        """The issues, the latest first; `before`: those behind this one."""
        found = _shown(public, newsletter)
        behind = RunName(newsletter, _slot(before)) if before else None
        listed = public.archive.issues(newsletter, limit=_PAGE + 1, before=behind)
        here = f"/archive/{newsletter}"
        return public.pages.page(
            "archive.html.j2",
            public.words(newsletter),
            headers=_KEPT,
            name=newsletter,
            newsletter=found,
            issues=listed[:_PAGE],
            before=before,
            earlier=listed[_PAGE - 1].run.slot if len(listed) > _PAGE else "",
            subscribing=public.loaded.settings.web.signup.enabled,
            canonical=_url(public, f"{here}?before={before}" if before else here),
        )

    # stands before the issues: a feed is none of them
    @routes.get("/archive/{newsletter}/feed.atom")
    def feed(newsletter: str, request: Request) -> Response:
        """The latest issues as an Atom feed."""
        found = _shown(public, newsletter)
        listed = public.archive.issues(newsletter, limit=_FEED)
        words = public.words(newsletter)
        document = atom_feed(
            Feed(
                newsletter=newsletter,
                title=found.title,
                list_id=found.list_id,
                language=words.language,
                subtitle=words("archive.description", newsletter=found.title),
                archive_url=_url(public, f"/archive/{newsletter}"),
            ),
            listed,
        )
        latest = max((one.published_at for one in listed if one.published_at), default=None)
        return conditional(document, ATOM, asked=request.headers, modified=latest, headers=_KEPT)

    @routes.get("/archive/{newsletter}/{slot}")
    def issue(newsletter: str, slot: str, request: Request) -> Response:
        """One issue, as it was mailed."""
        found = _shown(public, newsletter)
        kept = public.archive.issue(RunName(newsletter, _slot(slot)))
        if kept is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        subscribe = f"/subscribe/{newsletter}" if public.loaded.settings.web.signup.enabled else ""
        page = issue_page(
            kept,
            public.words(newsletter),
            title=found.title,
            url=_url(public, f"/archive/{newsletter}/{slot}"),
            archive_path=public.path(f"/archive/{newsletter}"),
            subscribe_path=public.path(subscribe) if subscribe else "",
        )
        headers = {**_KEPT, **issue_headers(kept)}
        kind = "text/html; charset=utf-8"
        return conditional(page, kind, asked=request.headers, modified=kept.published_at, headers=headers)

    return routes


def _shown(public: Public, name: str) -> Newsletter:
    """The newsletter, where its issues are shown to everybody."""
    found = public.newsletter(name)
    if found is None or not found.public or not public.loaded.settings.web.archive:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return found


def _slot(text: str) -> str:
    if not _SLOT.fullmatch(text):
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return text


def _url(public: Public, path: str) -> str:
    return public.loaded.settings.site.base_url.rstrip("/") + path
