"""The link of a story: a line that is a URL, or a URL that ends a paragraph.

The last one of a story is its link. An earlier one stays where the editor put it, as text: nothing is lost. A URL
that closes a finished sentence is taken off the paragraph; one that the sentence needs ("Read more at https://…")
stays in the text and is the link as well.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from newsletter.issue.decode import clean
from newsletter.issue.headings import ends_like_sentence
from newsletter.issue.model import Paragraph, Story

#: Browsers and mail clients take URLs of about this length (characters); longer ones stay text.
_MAX_URL = 2_048
_URL = re.compile(r"https?://[^\s/?#<>\"]+[^\s<>\"]*", re.IGNORECASE)
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_OPENERS = "<([{\"'“‘«‹（【「"
_PAIRS = {")": "(", "]": "[", "}": "{"}
_TRAILING = frozenset(".,;:!?'\"”’»›>…。，！？、）】」" + "".join(_PAIRS))
_ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff"


@dataclass(frozen=True, slots=True)
class Content:
    """A block of a story: the paragraph as written, and what is left of it if its URL becomes the story's link.

    Without `url` the two are the same. `rest` is None where the block was the URL alone.
    """

    whole: Paragraph
    rest: Paragraph | None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class ClosingURL:
    """A text that ends with a URL: the text before it ("" if there is none) and the URL."""

    before: str
    url: str

    @property
    def is_alone(self) -> bool:
        """Whether the text is nothing but the URL."""
        return not self.before

    @property
    def can_go(self) -> bool:
        """Whether the text before stands on its own as a paragraph."""
        return ends_like_sentence(self.before)


def closing_url(text: str) -> ClosingURL | None:
    """The http or https URL that `text` ends with, without the brackets, quotes and punctuation around it."""
    *before, token = text.rsplit(None, 1) or [""]
    token = token.strip(_ZERO_WIDTH)
    scheme = _SCHEME.search(token)
    if scheme is None or len(token) > _MAX_URL:
        return None
    prefix, url = token[: scheme.start()], _without_trailing(token[scheme.start() :])
    if (prefix and prefix[-1].isalnum()) or not _URL.fullmatch(url):
        return None
    lead = " ".join([*before, prefix]) if prefix.strip(_OPENERS) else "".join(before)
    return ClosingURL(before=clean(lead.rstrip(_OPENERS)), url=url)


def _without_trailing(url: str) -> str:
    while url and url[-1] in _TRAILING:
        opener = _PAIRS.get(url[-1])
        if opener and url.count(opener) >= url.count(url[-1]):
            break  # the bracket belongs to the URL, as in …/wiki/Mercury_(planet)
        url = url[:-1].rstrip(_ZERO_WIDTH)
    return url


def compose_story(
    headline: str, line: int, contents: Sequence[Content], link: str | None = None, link_line: int = 0
) -> Story:
    """A story of its blocks. `link` is one that its headline brings; else the last URL of the blocks is the link."""
    chosen: Content | None = None
    if link is None:
        chosen = next((content for content in reversed(contents) if content.url), None)
    paragraphs = [content.rest if content is chosen else content.whole for content in contents]
    kept = tuple(paragraph for paragraph in paragraphs if paragraph is not None)
    if chosen is not None:
        link, link_line = chosen.url, chosen.whole.line
        if not headline and not kept:
            kept = (chosen.whole,)  # a story needs something to read
    return Story(headline=headline, paragraphs=kept, link=link, line=line, link_line=link_line)
