"""What a template gets to see of an issue."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from newsletter.issue.model import Issue, Paragraph, Story
from newsletter.rendering.model import HoleContext, Publication, Variant
from newsletter.rendering.words import Words

#: The design has this many section colours; further sections begin again with the first.
COLOURS = 5

#: Holes that hold a URL, and those that hold text.
URL_HOLES = frozenset({"unsubscribe_url", "preferences_url", "view_url", "confirm_url"})
TEXT_HOLES = frozenset({"name", "email", "asked_at"})
#: What there is a value for in the mail that asks for a confirmation, and in issues. A template may use no others.
CONFIRMATION_HOLES = frozenset({"email", "confirm_url", "asked_at"})
ISSUE_HOLES = (URL_HOLES | TEXT_HOLES) - {"confirm_url", "asked_at"}


@dataclasses.dataclass(frozen=True, slots=True)
class ParagraphView:
    """A paragraph; `html` is sanitised and printed as it is."""

    text: str
    html: Markup
    block: bool


@dataclasses.dataclass(frozen=True, slots=True)
class StoryView:
    """A story; `is_lead` marks the first one of the issue that has paragraphs."""

    headline: str
    paragraphs: tuple[ParagraphView, ...]
    link: str | None
    is_lead: bool

    @property
    def headline_only(self) -> bool:
        """True when there is nothing below the headline but perhaps a link."""
        return not self.paragraphs


@dataclasses.dataclass(frozen=True, slots=True)
class SectionView:
    """A section with stories; `colour` is 1 to 5, `anchor` its id in the page."""

    title: str
    anchor: str
    colour: int
    stories: tuple[StoryView, ...]


class Holes:
    """`holes.name` in a template prints the placeholder of that hole, in the context of the template's kind."""

    def __init__(
        self, placeholder: Callable[[str, HoleContext], str], *, html: bool, names: frozenset[str] = ISSUE_HOLES
    ) -> None:
        text, url = (HoleContext.HTML, HoleContext.HTML_URL) if html else (HoleContext.TEXT, HoleContext.TEXT_URL)
        self._placeholder = placeholder
        self._contexts = dict.fromkeys(TEXT_HOLES & names, text) | dict.fromkeys(URL_HOLES & names, url)

    def __getattr__(self, name: str) -> str:
        if name.startswith("_") or name not in self._contexts:
            raise AttributeError(name)
        return self._placeholder(name, self._contexts[name])


class SubscriberFields:
    """`subscriber.tier` in a template: the value of a declared field in this variant. There are no others."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def __getattr__(self, name: str) -> str:
        if name.startswith("_") or name not in self._values:
            raise AttributeError(name)
        return self._values[name]


#: The tables of a catalogue that mails are written with; the others hold the words of pages.
MAIL_TABLES = frozenset({"mail", "dates"})


def template_context(
    issue: Issue, publication: Publication, variant: Variant, holes: Holes, words: Words
) -> dict[str, Any]:
    """The variables of docs/reference/templates.md."""
    return {
        "publication": publication,
        "issue": issue,
        "subject": issue.subject,
        "preheader": issue.preheader,
        "note": _paragraphs(issue.note),
        "sections": _sections(issue, publication),
        "holes": holes,
        "subscriber": SubscriberFields(dict(variant)),
        "reading_minutes": issue.reading_minutes,
        "word_count": issue.word_count,
        "words": words,
    }


def _sections(issue: Issue, publication: Publication) -> tuple[SectionView, ...]:
    lead = next((story for story in issue.stories() if story.paragraphs), None)
    colours = _colours(issue, publication)
    return tuple(
        SectionView(
            title=section.title,
            anchor=f"s{number}",
            colour=colours[_bare(section.title)],
            stories=tuple(_story(story, is_lead=story is lead) for story in section.stories),
        )
        for number, section in enumerate(issue.filled_sections, 1)
    )


def _colours(issue: Issue, publication: Publication) -> dict[str, int]:
    """A configured section keeps its colour whatever else the day brings; others take the next ones in order."""
    titles = [*publication.sections, *(section.title for section in issue.filled_sections)]
    order = dict.fromkeys(_bare(title) for title in titles)
    return {title: place % COLOURS + 1 for place, title in enumerate(order)}


def _bare(title: str) -> str:
    """A section's title for comparison: without case and trailing dots."""
    return title.casefold().rstrip(".… ")


def _story(story: Story, *, is_lead: bool) -> StoryView:
    return StoryView(story.headline, _paragraphs(story.paragraphs), story.link, is_lead)


def _paragraphs(paragraphs: Sequence[Paragraph]) -> tuple[ParagraphView, ...]:
    # The issue room made this HTML from escaped text or through a sanitiser.
    return tuple(ParagraphView(one.text, Markup(one.html), one.block) for one in paragraphs)  # noqa: S704


def content_seed(
    issue: Issue, publication: Publication, template_fingerprint: bytes, inliner: str, words: Words
) -> bytes:
    """SHA-256 over all that decides what a subscriber sees; where in its file a line stands does not, nor do words that
    are those of pages."""
    texts = sorted((key, text) for key, text in words.texts.items() if key.split(".")[0] in MAIL_TABLES)
    facts = [_compared(issue), _compared(publication), template_fingerprint.hex(), inliner, words.language, texts]
    return hashlib.sha256(json.dumps(facts, ensure_ascii=True, default=str).encode()).digest()


def _compared(value: Any) -> Any:
    """A dataclass as plain data, without the fields that take no part in comparisons."""
    if dataclasses.is_dataclass(value):
        return [_compared(getattr(value, field.name)) for field in dataclasses.fields(value) if field.compare]
    if isinstance(value, tuple):
        return [_compared(one) for one in value]
    return value
