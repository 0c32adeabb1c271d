"""The mail that asks somebody to confirm a request: the template `confirmation`, in the language of the request.

It says nothing that whoever asked has typed, but for the address that it goes to: else strangers could write to
strangers through it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from newsletter.audience.addresses import displayed
from newsletter.audience.signups import SignUp, SignUpRequest
from newsletter.delivery.links import LinkMaker
from newsletter.delivery.model import Batch, Recipient
from newsletter.errors import UsageError
from newsletter.issue.model import Issue
from newsletter.rendering.context import CONFIRMATION_HOLES
from newsletter.rendering.letter import Letterhead, message_id
from newsletter.rendering.model import Publication, RenderedIssue, Variant
from newsletter.rendering.render import Renderer
from newsletter.rendering.template_folder import find_template
from newsletter.rendering.words import Words, words_of
from newsletter.settings.loaded import Loaded
from newsletter.settings.model import Newsletter

TEMPLATE = "confirmation"
#: What `SignUpRequest.source` begins with where an operator's file named the address.
IMPORTED = "import:"
#: No date stands in the mail: it is rendered once, whatever the day.
_NO_DATE = dt.date(1970, 1, 1)
#: Languages come from files that operators import.
_MOST_LANGUAGES = 100


@dataclass(frozen=True, slots=True)
class ConfirmationMail:
    """One call to the provider, for one person."""

    provider: str
    batch: Batch
    rendered: Mapping[Variant, RenderedIssue]

    @property
    def recipient(self) -> Recipient:
        """Whom it goes to."""
        return self.batch.recipients[0]


class ConfirmationMails:
    """Makes them; each is rendered once for a newsletter and a language. `secrets` sign the links. Not for several
    threads at once."""

    def __init__(self, loaded: Loaded, template_roots: Sequence[Path], secrets: Sequence[str]) -> None:
        self._loaded = loaded
        self._roots = template_roots
        self._secrets = secrets
        self._words: dict[str, Words] = {}
        self._renderers: dict[tuple[str, str], Renderer] = {}

    def mail(self, signup: SignUp, *, now: dt.datetime) -> ConfirmationMail:
        """The mail for a request. Raises TemplateError, and UsageError where its newsletter is gone."""
        name = signup.request.newsletter
        newsletter = self._loaded.settings.newsletters.get(name)
        if newsletter is None:
            raise UsageError(f"there is no newsletter `{name}` any more", hint="Its requests expire by themselves.")
        words = self._words_for(signup.request.language or newsletter.language)
        renderer = self._renderer(name, newsletter, words)
        recipient = self._recipient(signup, newsletter, words, renderer)
        subject = words("confirmation.subject", newsletter=newsletter.title)
        preheader = words("confirmation.preheader", newsletter=newsletter.title)
        rendered = renderer.render(Issue(subject, _NO_DATE, subject=subject, preheader=preheader), recipient.variant)
        # of no run: what is told of it later is about an address, and the number is no subscriber's
        batch = Batch("", 1, _letterhead(name, newsletter, now), (recipient,), recipient.message_id)
        return ConfirmationMail(newsletter.delivery.provider, batch, {recipient.variant: rendered})

    def try_out(self, *, now: dt.datetime) -> None:
        """Makes one in each language of the newsletters. Raises TemplateError: better now than later."""
        tried: set[str] = set()
        for name, newsletter in self._loaded.settings.newsletters.items():
            if newsletter.language not in tried:
                tried.add(newsletter.language)
                nobody = SignUpRequest(name, newsletter.lists[0], key="a@example.com", address="a@example.com")
                self.mail(SignUp(0, nobody, now, now), now=now)

    def _recipient(self, signup: SignUp, newsletter: Newsletter, words: Words, renderer: Renderer) -> Recipient:
        request = signup.request
        links = LinkMaker(self._loaded.settings.site.base_url, request.newsletter, self._secrets)
        asked = signup.asked_at.astimezone(dt.UTC)
        when = words("confirmation.moment", date=words.date(asked.date()), time=f"{asked:%H:%M}")
        imported = "yes" if request.source.startswith(IMPORTED) else ""
        return Recipient(
            id=str(signup.id),
            address=request.address,
            name="",
            message_id=message_id(
                f"confirmation of {request.newsletter}", f"{signup.id} {asked.isoformat()}", newsletter.sender.domain
            ),
            unsubscribe_url="",
            values={"email": displayed(request.address), "confirm_url": links.confirm_url(signup.id), "asked_at": when},
            variant=renderer.variant_of({"imported": imported}),
        )

    def _words_for(self, language: str) -> Words:
        tag = language or self._loaded.settings.site.language
        if tag not in self._words:
            if len(self._words) >= _MOST_LANGUAGES:
                self._words.clear()
            self._words[tag] = words_of(tag, self._roots)
        return self._words[tag]

    def _renderer(self, name: str, newsletter: Newsletter, words: Words) -> Renderer:
        key = (name, words.language)
        if key not in self._renderers:
            site = self._loaded.settings.site
            publication = Publication(
                name=name,
                title=newsletter.title,
                site_name=site.name,
                base_url=site.base_url,
                language=words.language,
                postal_address=site.postal_address,
                sender=str(newsletter.sender),
            )
            template = find_template(TEMPLATE, self._roots)
            self._renderers[key] = Renderer(template, publication, holes=CONFIRMATION_HOLES)
        return self._renderers[key]


def _letterhead(name: str, newsletter: Newsletter, now: dt.datetime) -> Letterhead:
    return Letterhead(
        sender=str(newsletter.sender),
        reply_to=str(newsletter.reply_to or newsletter.sender),
        list_id="",
        list_name="",
        # as `pipeline.prepare.feedback_id`, of another kind of mail
        feedback_id=f"signup:{name}:confirmation:{name[:15].ljust(5, '0')}",
        date=now.astimezone(newsletter.schedule.timezone),
        transactional=True,
    )
