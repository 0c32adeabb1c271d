"""Templates written to disk for a test, and issues to render with them."""

from __future__ import annotations

import dataclasses
import datetime as dt
import html
from collections.abc import Mapping
from pathlib import Path

from newsletter.errors import TemplateError
from newsletter.issue.model import Issue, Paragraph, Section, Story
from newsletter.rendering.model import Publication, RenderedIssue
from newsletter.rendering.render import Renderer
from newsletter.rendering.template_folder import find_template

SHIPPED = Path(__file__).parents[2] / "templates"
PUBLICATION = Publication(
    name="daily-buzz",
    title="Daily Buzz",
    site_name="Daily Buzz",
    base_url="https://news.example.com",
    language="en",
    postal_address="1 Example Street, Example City",
    sender="Daily Buzz <buzz@news.example.com>",
    sections=("Top News", "Corporate"),
)
TEXT = "{{ subject }}\n{{ holes.unsubscribe_url }}\n"
_PAGE = """\
<mjml>HEAD
<mj-body>
<mj-section><mj-column>
<mj-text css-class="c">
CONTENT
<a href="{{ holes.unsubscribe_url }}">Unsubscribe</a></mj-text>
</mj-column></mj-section>
</mj-body>
</mjml>
"""


def page(content: str, head: str = "") -> str:
    """A template with `content` inside an mj-text, from line 5 on, and `head` in the mj-head on line 1."""
    return _PAGE.replace("HEAD", f"<mj-head>{head}</mj-head>" if head else "").replace("CONTENT", content)


def paragraph(text: str) -> Paragraph:
    """A paragraph of plain text."""
    return Paragraph(text=text, html=html.escape(text, quote=False))


def story(headline: str, *texts: str, link: str | None = None) -> Story:
    """A story of plain paragraphs."""
    return Story(headline, tuple(paragraph(text) for text in texts), link)


ISSUE = Issue(
    title="Daily Buzz: 7 January 2026",
    date=dt.date(2026, 1, 7),
    subject="Daily Buzz: 7 January 2026",
    preheader="Ferries Run Every Hour",
    note=(paragraph("Good morning."),),
    sections=(
        Section(
            "Top News", (story("Ferries & Trains", "They run “hourly” & more.", link="https://example.com/a?b=1&c=2"),)
        ),
        Section("Corporate", (story("Bakers Agree", "They did.", "At last."), story("Only a Headline"))),
    ),
)


def write(root: Path, files: Mapping[str, str | bytes], name: str = "mine") -> Path:
    """Writes a template's files below `root`, with a text part unless one is given; returns `root`."""
    for file, content in {"issue.txt.j2": TEXT, **files}.items():
        path = root / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def renderer(root: Path, *more: Path, name: str = "mine", inliner: str = "premailer") -> Renderer:
    """A renderer for the template `name` in these folders."""
    return Renderer(find_template(name, [root, *more]), PUBLICATION, inliner=inliner)


def render(root: Path, files: Mapping[str, str | bytes], issue: Issue = ISSUE, inliner: str = "premailer") -> str:
    """The HTML of `issue` through a template of these files, holes as `{name}`."""
    return renderer(write(root, files), inliner=inliner).render(issue).html.template


def failure(root: Path, files: Mapping[str, str | bytes], issue: Issue = ISSUE) -> TemplateError:
    """The TemplateError of rendering with these files; its place is relative to `root`."""
    try:
        done: RenderedIssue = renderer(write(root, files)).render(issue)
    except TemplateError as error:
        place = error.place
        if place is not None and Path(place.path).is_absolute():
            place = dataclasses.replace(place, path=Path(place.path).relative_to(root))
        return TemplateError(error.message, place=place, hint=error.hint)
    raise AssertionError(f"no error; rendered {done.html.template}")
