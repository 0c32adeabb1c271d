"""The preferences page, from what is kept and what was typed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from http import HTTPStatus

from fastapi.responses import Response

from newsletter.audience.masking import masked
from newsletter.audience.people import Person
from newsletter.pipeline.people import shown_address
from newsletter.pipeline.preferences import OpensQuestion, Saved, choices, opens_question, zone_of
from newsletter.pipeline.typed_preferences import LONGEST_BREAK, Mistyped, zones_to_choose
from newsletter.rendering.words import Words
from newsletter.web.public import Public


class PreferencesPage:
    """The page behind one token. `person` is None where the token is nobody's (any more): then it shows the same forms
    empty, and says that they do nothing."""

    def __init__(
        self, public: Public, newsletter: str, token: str, person: Person | None, languages: Mapping[str, str]
    ) -> None:
        self.newsletter = newsletter
        self.token = token
        self.words = public.words(newsletter)
        self._public = public
        self._person = person
        self._languages = languages

    def answer(self, *said: str, **values: dt.date) -> Response:
        """The page, with what was just done: keys of words, and the values in them."""
        return self._page(notes=[self._said(one, values) for one in said])

    def saved(self, saved: Saved) -> Response:
        """The page after a change."""
        notes = [self.words("preferences.saved")]
        notes += [self.words("preferences.joined", newsletter=title) for title in saved.joined]
        notes += [self.words("preferences.left", newsletter=title) for title in saved.left]
        barred = [
            self.words("preferences.barred", newsletter=title, operator=self._operator()) for title in saved.barred
        ]
        return self._page(notes=notes, barred=barred)

    def mistyped(
        self,
        typed: Mapping[str, str],
        wrong: Mapping[str, Mistyped],
        *,
        ticked: Collection[str] | None = None,
        opens: bool | None = None,
    ) -> Response:
        """The page with what was typed, and beside it what is wrong."""
        errors = {field: self._said(one.words, one.values) for field, one in wrong.items()}
        return self._page(
            status=HTTPStatus.UNPROCESSABLE_ENTITY, typed=typed, errors=errors, ticked=ticked, opens=opens
        )

    def _page(
        self,
        *,
        status: int = HTTPStatus.OK,
        notes: Collection[str] = (),
        barred: Collection[str] = (),
        typed: Mapping[str, str] | None = None,
        errors: Mapping[str, str] | None = None,
        ticked: Collection[str] | None = None,
        opens: bool | None = None,
    ) -> Response:
        person, settings = self._person, self._public.loaded.settings
        offered = choices(settings.newsletters, person)
        asked = opens_question(settings.newsletters, person)
        zone = zone_of(person, self._public.newsletter(self.newsletter))
        now = self._public.now()
        today = now.astimezone(zone).date()
        until = person.paused_until if person and person.paused_until and person.paused_until > now else None
        kept = {
            "name": person.name if person else "",
            "language": person.language if person else "",
            "timezone": person.timezone if person else "",
            "until": until.astimezone(zone).date().isoformat() if until else "",
        }
        languages = {**self._languages}
        if kept["language"]:
            languages.setdefault(kept["language"], kept["language"])
        return self._public.pages.page(
            "preferences.html.j2",
            self.words,
            status=status,
            headers={"Cache-Control": "no-store"},
            here=self._public.path(f"/preferences/{self.newsletter}/{self.token}"),
            email=masked_address(person) if person else "",
            notes=notes,
            barred=barred,
            errors=dict(errors or {}),
            typed={**kept, **(typed or {})},
            newsletters=offered,
            ticked={one.name for one in offered if one.subscribed} if ticked is None else set(ticked),
            languages=languages,
            zones=zones_to_choose(),
            example_zone=str(zone) if "/" in str(zone) else "Europe/Warsaw",
            opens_wording=opens_wording(self.words, asked) if asked else "",
            opens_given=bool(person and person.measures_opens),
            opens_ticked=bool(person and person.measures_opens) if opens is None else opens,
            paused_until=self.words.date(until.astimezone(zone).date()) if until else "",
            first_day=(today + dt.timedelta(days=1)).isoformat(),
            last_day=(today + dt.timedelta(days=LONGEST_BREAK)).isoformat(),
            subscribing=settings.web.signup.enabled,
        )

    def _said(self, key: str, values: Mapping[str, str | dt.date]) -> str:
        shown = {
            name: self.words.date(value) if isinstance(value, dt.date) else value for name, value in values.items()
        }
        return self.words(key, **shown)

    def _operator(self) -> str:
        """Whom to write to."""
        newsletters = self._public.loaded.settings.newsletters
        found = self._public.newsletter(self.newsletter) or next(iter(newsletters.values()))
        return (found.reply_to or found.sender).address


def opens_wording(words: Words, asked: OpensQuestion) -> str:
    """The sentence that somebody agrees to, as it stands on the page and in the record."""
    if not asked.titles:
        return words("preferences.opens_given")
    kind = "personal" if asked.per_person else "counted"
    return words(f"preferences.opens_{kind}", newsletters=", ".join(asked.titles))


def masked_address(person: Person) -> str:
    """Their address as a page may show it."""
    return masked(shown_address(person))
