"""/subscribe/NEWSLETTER: a form, its JSON twin, and a snippet for one's own site.

Whoever asks gets the same answer whether the address is known, subscribed, suppressed, erased or asked a minute ago.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse, Response

from newsletter.pipeline.sign_up import SignUpResult, Typed, sign_up
from newsletter.rendering.words import Words
from newsletter.settings.model import Newsletter
from newsletter.web.asgi import header
from newsletter.web.client_address import client_ip
from newsletter.web.error_answers import wants_json
from newsletter.web.forms import posted_form, readable
from newsletter.web.own_origin import origin_of
from newsletter.web.proof_of_work import proof_of_work
from newsletter.web.public import Public
from newsletter.web.security_headers import CONTENT_SECURITY_POLICY

#: People do not see this field, and programs that fill in whatever they find do. No name that browsers fill in.
TRAP = "topic"
PROOF = "altcha"
_MOST_FIELDS = 20
#: Of what a caller of the JSON API says of the sentence that it showed.
_LONGEST_WORDING = 1_000
_SCRIPT = "proof-of-work.js"
#: For the page whose form proves work, and no other.
_WITH_SCRIPT = CONTENT_SECURITY_POLICY + "; script-src 'self'; connect-src 'self'"
_NO_STORE = {"Cache-Control": "no-store"}
#: Seconds that a browser need not ask again whether it may post.
_PREFLIGHT_KEPT = "600"

#: Of a result that is a mistake: the field, and its words.
_MISTAKES: Mapping[SignUpResult, tuple[str, str]] = {
    SignUpResult.MISSING: ("email", "subscribe.email_missing"),
    SignUpResult.INVALID: ("email", "subscribe.email_invalid"),
}


@dataclass(frozen=True, slots=True)
class Submitted:
    """The fields of a form or a JSON object; only those that are text."""

    fields: Mapping[str, str]

    def get(self, name: str) -> str:
        """A field; '' where there is none."""
        return self.fields.get(name, "")


async def submitted(request: Request) -> Submitted:
    """What was sent. Raises HTTPException 400 where it cannot be read."""
    if header(request.scope, b"content-type").partition(";")[0].strip().lower() == "application/json":
        try:
            found = json.loads(await request.body())
        except (ValueError, RecursionError):
            raise HTTPException(HTTPStatus.BAD_REQUEST, "the body is no JSON") from None
        if not isinstance(found, dict):
            raise HTTPException(HTTPStatus.BAD_REQUEST, "the body is no JSON object")
        return Submitted({name: readable(value) for name, value in found.items() if isinstance(value, str)})
    form = await posted_form(request, most_fields=_MOST_FIELDS)
    return Submitted({name: value for name, value in form.items() if isinstance(value, str)})


def signup_routes(public: Public) -> APIRouter:
    """All of it. Raises ConfigError where a proof of work is wanted and its package is missing."""
    routes = APIRouter()
    work = proof_of_work(public.loaded, public.keys)
    allowed = {origin_of(url) for url in public.loaded.settings.web.signup.allowed_origins}
    forms = _Forms(public, proves_work=work is not None)

    def cross_origin(request: Request) -> dict[str, str]:
        """The header fields by which a browser hands the answer to a page of a named site."""
        origin = header(request.scope, b"origin").lower()
        return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"} if origin in allowed else {"Vary": "Origin"}

    @routes.get("/subscribe/{newsletter}")
    def form(newsletter: str) -> Response:
        _open(public, newsletter)
        return forms.page(newsletter)

    @routes.get("/subscribe/{newsletter}/snippet")
    def snippet(newsletter: str) -> Response:
        _open(public, newsletter)
        return forms.snippet_page(newsletter)

    @routes.post("/subscribe/{newsletter}")
    def subscribe(newsletter: str, request: Request, sent: Annotated[Submitted, Depends(submitted)]) -> Response:
        settings = _open(public, newsletter)
        now = public.now()
        answers = _Answers(forms, newsletter, request, cross_origin(request), sent, now)
        if sent.get(TRAP):
            return answers.taken()
        if work is not None and not work.accepts(sent.get(PROOF)):
            return answers.mistake("", "subscribe.proof_failed" if sent.get(PROOF) else "subscribe.proof_missing")
        typed = Typed(
            email=sent.get("email"),
            name=sent.get("name"),
            source=_source(public, newsletter, request, allowed),
            wording=_wording(forms.words(newsletter), settings, request, sent),
            ip=client_ip(request),
        )
        result = sign_up(public.signups, public.loaded, newsletter, typed, now=now)
        if result is SignUpResult.TOO_MANY:
            return answers.too_many()
        if result in _MISTAKES:
            return answers.mistake(*_MISTAKES[result])
        public.asked.set()
        return answers.taken()

    @routes.options("/subscribe/{newsletter}")
    def preflight(newsletter: str, request: Request) -> Response:
        _open(public, newsletter)
        given = cross_origin(request)
        if "Access-Control-Allow-Origin" not in given:
            raise HTTPException(HTTPStatus.FORBIDDEN, headers=given)
        allow = {"Access-Control-Allow-Methods": "POST", "Access-Control-Allow-Headers": "Content-Type, Accept"}
        kept = {"Access-Control-Max-Age": _PREFLIGHT_KEPT}
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=given | allow | kept)

    if work is not None:

        @routes.get("/subscribe/{newsletter}/challenge")
        def challenge(newsletter: str, request: Request) -> Response:
            _open(public, newsletter)
            return JSONResponse(work.challenge(), headers=cross_origin(request) | _NO_STORE)

        @routes.get(f"/assets/{_SCRIPT}")
        def script() -> Response:
            content = public.pages.file(_SCRIPT)
            if content is None:
                raise HTTPException(HTTPStatus.NOT_FOUND)
            return Response(content, media_type="text/javascript", headers={"Cache-Control": "public, max-age=600"})

    return routes


def signup_open(public: Public, newsletter: str) -> bool:
    """Whether anybody may ask for this newsletter on the web."""
    settings = public.newsletter(newsletter)
    return settings is not None and settings.public and public.loaded.settings.web.signup.enabled


def _open(public: Public, newsletter: str) -> Newsletter:
    settings = public.newsletter(newsletter)
    if settings is None or not signup_open(public, newsletter):
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return settings


class _Forms:
    """The form as a page, with what was typed and what is wrong with it, and as a snippet."""

    def __init__(self, public: Public, *, proves_work: bool) -> None:
        self._public = public
        self._proves_work = proves_work

    def words(self, newsletter: str) -> Words:
        """In the language of the newsletter."""
        return self._public.words(newsletter)

    def title(self, newsletter: str) -> str:
        """The newsletter's."""
        return self._public.loaded.settings.newsletters[newsletter].title

    def page(
        self,
        newsletter: str,
        *,
        status: int = HTTPStatus.OK,
        sent: Submitted | None = None,
        field: str = "",
        error: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """The form; `error` stands beside `field`, or above all of them."""
        typed = sent or Submitted({})
        policy = {"Content-Security-Policy": _WITH_SCRIPT} if self._proves_work else {}
        return self._public.pages.page(
            "subscribe.html.j2",
            self.words(newsletter),
            status=status,
            headers={**policy, **(headers or {})},
            newsletter=self.title(newsletter),
            action=self._public.path(f"/subscribe/{newsletter}"),
            challenge=self._public.path(f"/subscribe/{newsletter}/challenge") if self._proves_work else "",
            email=typed.get("email")[:320],
            name=typed.get("name")[:200],
            trap=TRAP,
            field=field,
            error=error,
        )

    def sent_page(self, newsletter: str) -> Response:
        """What everybody sees."""
        title = self.title(newsletter)
        return self._public.pages.page("subscribe_sent.html.j2", self.words(newsletter), newsletter=title)

    def snippet_page(self, newsletter: str) -> Response:
        """The form for another site, to be copied."""
        pages, words, title = self._public.pages, self.words(newsletter), self.title(newsletter)
        base = self._public.loaded.settings.site.base_url
        html = pages.html(
            "subscribe_snippet.html.j2",
            words,
            newsletter=title,
            action=f"{base}/subscribe/{newsletter}",
            challenge=f"{base}/subscribe/{newsletter}/challenge" if self._proves_work else "",
            script=f"{base}/assets/{_SCRIPT}",
            trap=TRAP,
        )
        return pages.page("snippet.html.j2", words, newsletter=title, snippet=html.strip())


class _Answers:
    """The answers to one request: pages for people, JSON for programs."""

    def __init__(
        self,
        forms: _Forms,
        newsletter: str,
        request: Request,
        cross_origin: Mapping[str, str],
        sent: Submitted,
        now: dt.datetime,
    ) -> None:
        self._forms = forms
        self._newsletter = newsletter
        self._json = wants_json(request.scope)
        self._headers = cross_origin
        self._sent = sent
        self._now = now

    def taken(self) -> Response:
        """A mail is on its way, or it is not."""
        if self._json:
            return JSONResponse({"status": "check_your_inbox"}, HTTPStatus.ACCEPTED, headers=dict(self._headers))
        return self._forms.sent_page(self._newsletter)

    def mistake(self, field: str, key: str) -> Response:
        """What was sent cannot be used; `key` is that of the words."""
        return self._refused(HTTPStatus.UNPROCESSABLE_ENTITY, field, self._forms.words(self._newsletter)(key))

    def too_many(self) -> Response:
        """A quota is used up until the hour is over."""
        seconds = 3600 - (self._now.minute * 60 + self._now.second)
        said = self._forms.words(self._newsletter)("subscribe.too_many", minutes=-(-seconds // 60))
        return self._refused(HTTPStatus.TOO_MANY_REQUESTS, "", said, {"Retry-After": str(seconds)})

    def _refused(
        self, status: HTTPStatus, field: str, error: str, headers: Mapping[str, str] | None = None
    ) -> Response:
        headers = {**self._headers, **(headers or {})}
        if self._json:
            document = {"status": "refused", "errors": {field or "form": error}}
            return JSONResponse(document, status, headers=headers)
        return self._forms.page(
            self._newsletter, status=status, sent=self._sent, field=field, error=error, headers=headers
        )


def _source(public: Public, newsletter: str, request: Request, allowed: set[str]) -> str:
    """The page, as far as it is known."""
    origin = header(request.scope, b"origin").lower()
    if origin in allowed:
        return f"web {origin}"
    return (
        f"web {public.loaded.settings.site.base_url}/subscribe/{newsletter}" if not wants_json(request.scope) else "api"
    )


def _wording(words: Words, newsletter: Newsletter, request: Request, sent: Submitted) -> str:
    """The sentence beside the button: that of our form, or what a program says that it showed."""
    told = sent.get("wording")[:_LONGEST_WORDING] if wants_json(request.scope) else ""
    return told or words("subscribe.consent", newsletter=newsletter.title)
