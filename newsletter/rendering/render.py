"""An issue becomes a rendered issue: Jinja2 → MJML → HTML → inlined CSS, and a text part; once, not per recipient."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from newsletter.errors import Place, TemplateError
from newsletter.issue.model import Issue
from newsletter.rendering.context import ISSUE_HOLES, Holes, content_seed, template_context
from newsletter.rendering.css_lint import CssFault, place_in_tags
from newsletter.rendering.environment import TemplateEnvironment
from newsletter.rendering.holes import Placeholders, fresh_nonce
from newsletter.rendering.inlining import INLINERS, DamagedHtml, inline_css
from newsletter.rendering.mjml import MjmlFailure, mjml_to_html
from newsletter.rendering.mjml_lint import lint
from newsletter.rendering.mjml_syntax import MjmlFault
from newsletter.rendering.model import Holed, Publication, RenderedIssue, Tracking, Variant
from newsletter.rendering.template_folder import (
    HEAD_CSS,
    INLINE_CSS,
    MJML_FILE,
    TEXT_FILE,
    TemplateFolder,
    fingerprint,
    shown,
)
from newsletter.rendering.tracking import content_links, versions, with_image, with_placeholders
from newsletter.rendering.words import Words, words_of

_UNTRACKED = Tracking()


class Renderer:
    """Renders issues of one newsletter with one template.

    A template may branch on the subscriber fields it declares; each distinct combination (a variant) is rendered
    once and kept. `inliner` is a key of `INLINERS`. The template's own words are those of the publication's language.
    `holes` are those that a value will be there for; `tracking` is what the HTML part measures.
    """

    def __init__(
        self,
        template: TemplateFolder,
        publication: Publication,
        *,
        inliner: str = "premailer",
        holes: frozenset[str] = ISSUE_HOLES,
        tracking: Tracking = _UNTRACKED,
    ) -> None:
        if inliner not in INLINERS:
            raise TemplateError(f"no CSS inliner {inliner!r}", hint=f"there are: {', '.join(INLINERS)}")
        self._template = template
        self._publication = publication
        self._inliner = inliner
        self._holes = holes
        self._tracking = tracking
        self._words = words_of(publication.language, template.roots)
        self._environment = TemplateEnvironment(template, self._words)
        self._rendered: dict[tuple[Issue, Variant], RenderedIssue] = {}

    @property
    def fields(self) -> tuple[str, ...]:
        """The subscriber fields the template branches on."""
        return self._template.fields

    def variant_of(self, values: Mapping[str, str]) -> Variant:
        """The variant for a subscriber with these field values; a field they lack counts as empty."""
        return tuple((field, values.get(field, "")) for field in self._template.fields)

    def render(self, issue: Issue, variant: Variant | None = None) -> RenderedIssue:
        """The issue for one variant (without one: for a subscriber whose fields are all empty).

        Fields that the template does not declare are not looked at. The same issue, template and configuration give
        the same bytes and the same hash. Raises TemplateError with the template's line.
        """
        key = (issue, self.variant_of(dict(variant or ())))
        if key not in self._rendered:
            fixed = (self._template, self._environment, self._publication, self._inliner, self._words, self._holes)
            render = _Render(*fixed, self._tracking, *key)
            self._rendered[key] = render.run()
        return self._rendered[key]


class _Render:
    """One pass through the chain."""

    def __init__(
        self,
        template: TemplateFolder,
        environment: TemplateEnvironment,
        publication: Publication,
        inliner: str,
        words: Words,
        holes: frozenset[str],
        tracking: Tracking,
        issue: Issue,
        variant: Variant,
    ) -> None:
        self._template = template
        self._environment = environment
        self._publication = publication
        self._inliner = inliner
        self._words = words
        self._holes = holes
        self._tracking = tracking
        self._links = content_links(issue, publication, tracking)
        self._issue = issue
        self._variant = variant
        files = template.files()
        files |= {name: text.encode() for name, text in environment.included(MJML_FILE, TEXT_FILE).items()}
        self._seed = content_seed(issue, publication, fingerprint(files), inliner, words)
        # every text that a placeholder could be mistaken in
        taken = [data.decode("utf-8", "replace") for data in files.values()]
        taken += [repr(issue), *issue.source_lines, repr(publication), repr(variant), *words.texts.values()]
        self._placeholders = Placeholders(fresh_nonce(self._seed, *taken))

    def run(self) -> RenderedIssue:
        page = self._split(self._html(), MJML_FILE)
        html = versions(page, self._links, self._issue, self._publication, self._tracking)
        text = self._split(self._text(), TEXT_FILE)
        subject, preheader = self._issue.subject, self._issue.preheader
        seen = [subject, preheader, html.public.template, text.template]
        if self._tracking != _UNTRACKED:
            seen.append(repr((self._tracking, self._links)))
        return RenderedIssue(
            subject=subject,
            preheader=preheader,
            html=html.sent,
            text=text,
            content_hash=_content_hash(self._seed, *seen),
            variant=self._variant,
            links=tuple(dict.fromkeys(link.target for link in self._links)) if self._tracking.clicks else (),
            direct=html.direct,
            public=html.public,
        )

    def _split(self, rendered: str, file: str) -> Holed:
        try:
            return self._placeholders.split(rendered)
        except TemplateError as error:
            raise TemplateError(error.message, place=self._place(file), hint=error.hint) from None

    def _context(self, *, html: bool) -> dict[str, Any]:
        holes = Holes(self._placeholders.placeholder, html=html, names=self._holes)
        return template_context(self._issue, self._publication, self._variant, holes, self._words)

    def _html(self) -> str:
        context = self._context(html=True)
        mjml = self._environment.render(MJML_FILE, context)
        try:
            html = mjml_to_html(with_placeholders(lint(mjml), self._links, self._placeholders.placeholder))
        except MjmlFault as fault:
            place, hint = self._environment.place_of(MJML_FILE, context, fault.offset), fault.hint
            if fault.opened is not None:
                hint += f"; it was opened at {self._environment.place_of(MJML_FILE, context, fault.opened)}"
            raise TemplateError(fault.message, place=place, hint=hint) from None
        except MjmlFailure as failure:
            raise TemplateError(str(failure), place=self._place(MJML_FILE)) from None
        lost = self._placeholders.count(mjml) - self._placeholders.count(html)
        if lost:
            message = f"the MJML library lost {lost.total()} holes"
            raise TemplateError(message, place=self._place(MJML_FILE), hint="print them inside <mj-text>")
        try:
            page = inline_css(
                html,
                css=self._template.read(INLINE_CSS),
                head_css=self._template.read(HEAD_CSS),
                inliner=INLINERS[self._inliner],
                holes=self._placeholders.count,
            )
        except CssFault as fault:
            at = place_in_tags(mjml, fault.text) if fault.text else None
            if at is not None:
                place = self._environment.place_of(MJML_FILE, context, at)
            else:
                place = self._place(fault.sheet or MJML_FILE, fault.line, fault.column)
            raise TemplateError(fault.message, place=place, hint=fault.hint) from None
        except DamagedHtml as damage:
            hint = "simplify the template: a tag is left open, or nested too deep"
            raise TemplateError(str(damage), place=self._place(MJML_FILE), hint=hint) from None
        return with_image(page, self._placeholders.placeholder) if self._tracking.opens else page

    def _text(self) -> str:
        text = self._environment.render(TEXT_FILE, self._context(html=False))
        lines = "\n".join(line.rstrip() for line in text.split("\n"))
        return re.sub(r"\n{3,}", "\n\n", lines).strip("\n") + "\n"

    def _place(self, file: str, line: int | None = None, column: int | None = None) -> Place:
        path = self._template.path(file)
        return Place(shown(path) if path else file, line, column)


def _content_hash(seed: bytes, *parts: str) -> str:
    """SHA-256 of what subscribers see, and of everything it was made from: a change to one variant changes all."""
    digest = hashlib.sha256(seed)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()
