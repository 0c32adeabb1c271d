"""What rendering made of the issue: is all of it there, in both parts, and nothing else left over."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from newsletter.issue.model import Issue
from newsletter.preflight.check import Found, check
from newsletter.preflight.comparing import containment, folded, letters, shingles, shortened
from newsletter.preflight.issue_texts import all_texts
from newsletter.preflight.model import Examined, Level
from newsletter.preflight.page import read_page, with_samples
from newsletter.rendering.model import Holed

#: A paragraph is there if this much of its runs of words is: a text part may put marks and numbers into it.
_THERE = 0.8
#: So many letters in a row are no coincidence, wherever the words between them begin.
_LONG_RUN = 20
#: The form of a placeholder in the render chain: z, 8 hex digits, a letter for the context, 3 digits, z.
_PLACEHOLDER = re.compile(r"z[0-9a-f]{8}[hutl][0-9]{3}z")
_OPENING = re.compile(r"\{\{|\{%|\{#(?=\s)")
_CLOSING = re.compile(r"\}\}|%\}")
_STYLE = re.compile(r"<style\b.*?</style\s*>", re.IGNORECASE | re.DOTALL)
_LIST_MARK = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)])\s+")
#: The number of a link, which the text part puts behind the words that are linked, and the space before it.
_LINK_NUMBER = re.compile(r"(?<!\s)\s*\[\d+\]")
_ACTIVE = ("script", "iframe", "frame", "object", "embed", "applet", "form", "input", "textarea", "select", "button")


class _Haystack:
    """A rendered part, made searchable once."""

    def __init__(self, text: str) -> None:
        text = _LINK_NUMBER.sub("", text)
        self._words = f" {folded(text)} "
        self._letters = letters(text)
        self._shingles = shingles(text)

    def holds(self, text: str) -> bool:
        """Whether every line of `text` is there; the lines of a list lose their marks, which HTML draws by itself."""
        return all(self._holds_line(_LIST_MARK.sub("", line)) for line in text.splitlines())

    def _holds_line(self, line: str) -> bool:
        line = _LINK_NUMBER.sub("", line)
        if not folded(line) or f" {folded(line)} " in self._words:  # nothing that could be missed, or all of it
            return True
        run = letters(line)
        return (len(run) >= _LONG_RUN and run in self._letters) or containment(shingles(line), self._shingles) >= _THERE


def _pieces(issue: Issue) -> Iterator[tuple[str, str, int]]:
    """What must be in every part: kind, text, line. Empty sections are left out of the mail."""
    for paragraph in issue.note:
        yield "paragraph", paragraph.text, paragraph.line
    for section in issue.filled_sections:
        if section.title:
            yield "section title", section.title, section.line
        for story in section.stories:
            if story.headline:
                yield "headline", story.headline, story.line
            for paragraph in story.paragraphs:
                yield "paragraph", paragraph.text, paragraph.line


@functools.lru_cache(maxsize=8)
def _html_part(html: Holed) -> _Haystack:
    page = read_page(html)
    return _Haystack(page.text + " " + " ".join(element.get("alt") or "" for element in page.all("img")))


@check(
    "html-incomplete",
    Level.ERROR,
    Level.WARN,
    means="Something of the issue is missing from the HTML.",
    do="Look at the preview; a template that leaves a text out on purpose is only warned about paragraphs.",
)
def html_incomplete(examined: Examined) -> Iterator[Found]:
    """A missing headline or section title is an error; a missing paragraph a warning: a template may show teasers."""
    page = _html_part(examined.rendered.public_html)
    missing = [piece for piece in _pieces(examined.issue) if not page.holds(piece[1])]
    titles = [piece for piece in missing if piece[0] != "paragraph"]
    paragraphs = [piece for piece in missing if piece[0] == "paragraph"]
    for pieces, level in ((titles, Level.ERROR), (paragraphs, Level.WARN)):
        if pieces:
            yield Found(_said(pieces, "the HTML"), pieces[0][2], level)


@check(
    "text-incomplete",
    Level.WARN,
    means="Something that the HTML says is missing from the text part.",
    do="Add it to the template's issue.txt.j2; some readers, and many spam filters, see only that part.",
)
def text_incomplete(examined: Examined) -> Iterator[Found]:
    """Titles, headlines, paragraphs and the stories' links, compared without wrapping and typography."""
    page = _html_part(examined.rendered.public_html)
    text = with_samples(examined.rendered.text)
    part = _Haystack(text)
    missing = [piece for piece in _pieces(examined.issue) if not part.holds(piece[1]) and page.holds(piece[1])]
    if missing:
        yield Found(_said(missing, "the text part"), missing[0][2])
    run_together = "".join(text.split())
    links = [(story.link, story.link_line) for story in examined.issue.stories() if story.link]
    lost = [(link, line) for link, line in links if "".join(link.split()) not in run_together]
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        yield Found(f"the text part lacks the link {shortened(lost[0][0])}{more}", lost[0][1])


def _said(pieces: list[tuple[str, str, int]], part: str) -> str:
    kind, text, _ = pieces[0]
    more = f" and {len(pieces) - 1} more" if len(pieces) > 1 else ""
    return f'{part} lacks the {kind} "{shortened(text)}"{more}'


@check(
    "hole-leftover",
    Level.ERROR,
    means="Something that should have been filled in is still there: a placeholder, or a mark of a template.",
    do="Correct the template; to show such a mark on purpose, write it as an HTML entity.",
)
def hole_leftover(examined: Examined) -> Iterator[Found]:
    """`{{`, `}}`, `{%`, `%}` and placeholders in subject, preheader, HTML and text.

    Marks the editor typed do not count, they are `placeholder-text`. Closing marks are not looked for in CSS, where
    two braces may close together.
    """
    rendered = examined.rendered
    typed = " ".join(text for text, _ in all_texts(examined.issue))
    html = with_samples(rendered.public_html)
    parts = {
        "subject": (rendered.subject, rendered.subject),
        "preheader": (rendered.preheader, rendered.preheader),
        "HTML": (html, _STYLE.sub(" ", html)),
        "text part": (text := with_samples(rendered.text), text),
    }
    for part, (whole, outside_style) in parts.items():
        found = _PLACEHOLDER.findall(whole) + _OPENING.findall(whole) + _CLOSING.findall(outside_style)
        for mark in dict.fromkeys(found):
            if mark not in typed:
                yield Found(f'the {part} holds "{mark}"')


@check(
    "active-content",
    Level.ERROR,
    means="The HTML has a script, a form or a frame; mail clients take it out, and filters take it for an attack.",
    do="Take it out of the template and link to a page instead.",
)
def active_content(examined: Examined) -> Iterator[Found]:
    """One finding an element name; handlers such as onclick count too. The same holds for refreshing `<meta>`."""
    page = read_page(examined.rendered.public_html)
    for tag in dict.fromkeys(element.tag for element in page.all(*_ACTIVE)):
        yield Found(f"the HTML has <{tag}>")
    handlers = (name for element in page.elements for name, _ in element.attributes if re.fullmatch(r"on[a-z]+", name))
    for name in dict.fromkeys(handlers):
        yield Found(f"the HTML has the attribute {name}")
    if any((element.get("http-equiv") or "").lower() == "refresh" for element in page.all("meta")):
        yield Found("the HTML has a refreshing <meta>")
