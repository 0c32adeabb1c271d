"""Issues, rendered issues and assertions for the tests of preflight."""

from __future__ import annotations

import dataclasses
import datetime as dt
import html
from collections.abc import Sequence

from newsletter.issue.model import Image, Issue, Link, Paragraph, Section, Story
from newsletter.issue.parse import parse_issue
from newsletter.preflight.model import Examined, Finding, Level
from newsletter.preflight.registry import CHECKS
from newsletter.rendering.model import Hole, HoleContext, Holed, Publication, RenderedIssue

DATE = dt.date(2026, 1, 7)
ADDRESS = "1 Example Street, Example City"
SECTIONS = ("Top News", "Top Business", "Corporate", "In Case You Missed It")

MORNING = """\
Daily Buzz: 7 January 2026
Top News
Harbour Bridge Opens After Nine Years of Work
The new bridge over the harbour opened on Tuesday, nine years after the first pile was driven into the mud below it.
Its builders said that 40,000 vehicles a day will use it by the end of the year, half of what the tunnel takes now.
Ferry Line Keeps Its Night Service
The operator of the oldest ferry line said it will keep its boats running through the night until at least 2028.
Top Business
Tea Traders See Record Prices
Prices at the spring auction rose by a fifth, traders said, after frost had cut the first harvest in the hills.
"""

PUBLICATION = Publication(
    name="daily-buzz",
    title="Daily Buzz",
    site_name="Daily Buzz",
    base_url="https://news.example.com",
    language="en",
    postal_address=ADDRESS,
    sender="Daily Buzz <buzz@news.example.com>",
)

_UNSUBSCRIBE_MARK = "\x00unsubscribe\x00"


def issue_of(text: str = MORNING, date: dt.date = DATE, *, suffix: str = "txt") -> Issue:
    return parse_issue(text.encode(), source=f"issues/{date.isoformat()}.{suffix}", date=date, sections=SECTIONS)


def with_line(line: str, after: str = "half of what the tunnel takes now.") -> Issue:
    """The morning's issue with one more line behind the first story's second paragraph: line 6 of the file."""
    return issue_of(MORNING.replace(after, f"{after}\n{line}"))


def with_paragraph(paragraph: Paragraph, issue: Issue | None = None) -> Issue:
    """The morning's issue with one more section, of one story with this paragraph."""
    issue = issue or issue_of()
    story = Story("What Else There Is Today", (paragraph,), line=90)
    return dataclasses.replace(issue, sections=(*issue.sections, Section("Corporate", (story,), line=89)))


def with_link(url: str, text: str = "the port's own report", line: int = 91) -> Issue:
    said = f"All of it stands in {text} of last week."
    markup = f'All of it stands in <a href="{html.escape(url)}">{html.escape(text)}</a> of last week.'
    return with_paragraph(Paragraph(said, markup, line, links=(Link(url, text, line),)))


def with_image(url: str, alt: str = "The bridge at dawn", width: int | None = None) -> Issue:
    markup = f'<img src="{html.escape(url)}" alt="{html.escape(alt)}">'
    return with_paragraph(Paragraph("", markup, 91, images=(Image(url, alt, width, 91),)))


def page_of(issue: Issue) -> str:
    """A small HTML mail: every title, headline and paragraph, and a footer with a mark for the unsubscribe link."""
    rows = [f"<h1>{html.escape(issue.title)}</h1>"]
    rows += [f"<p>{paragraph.html}</p>" for paragraph in issue.note]
    for section in issue.filled_sections:
        rows.append(f"<h2>{html.escape(section.title)}</h2>")
        for story in section.stories:
            title = html.escape(story.headline)
            rows.append(
                f'<h3><a href="{html.escape(story.link)}">{title}</a></h3>' if story.link else f"<h3>{title}</h3>"
            )
            rows += [f"<p>{paragraph.html}</p>" for paragraph in story.paragraphs]
    rows.append(f'<p>{ADDRESS}</p><p><a href="{_UNSUBSCRIBE_MARK}">Unsubscribe</a></p>')
    body = '<table role="presentation" width="600"><tr><td style="padding:24px;font-size:17px">' + "".join(rows)
    return f'<!DOCTYPE html><html lang="en"><head><title>x</title></head><body>{body}</td></tr></table></body></html>'


def text_of(issue: Issue) -> str:
    """A small text part with everything in it."""
    rows = [issue.title, "", *(paragraph.text for paragraph in issue.note)]
    for section in issue.filled_sections:
        rows += [section.title.upper(), ""]
        for story in section.stories:
            rows += [story.headline, *(paragraph.text for paragraph in story.paragraphs), story.link or "", ""]
    return "\n".join([*rows, "--", *ADDRESS.split(", "), f"Unsubscribe: {_UNSUBSCRIBE_MARK}"])


def holed(text: str, context: HoleContext) -> Holed:
    static = tuple(text.split(_UNSUBSCRIBE_MARK))
    return Holed(static, (Hole("unsubscribe_url", context),) * (len(static) - 1))


def rendered_of(issue: Issue, *, page: str | None = None, text: str | None = None) -> RenderedIssue:
    return RenderedIssue(
        subject=issue.subject,
        preheader=issue.preheader,
        html=holed(page_of(issue) if page is None else page, HoleContext.HTML_URL),
        text=holed(text_of(issue) if text is None else text, HoleContext.TEXT_URL),
        content_hash="0" * 64,
    )


def examined_of(
    issue: Issue | None = None,
    *,
    page: str | None = None,
    text: str | None = None,
    earlier: Sequence[Issue] = (),
    subject: str | None = None,
    preheader: str | None = None,
    publication: Publication = PUBLICATION,
) -> Examined:
    issue = issue or issue_of()
    rendered = rendered_of(issue, page=page, text=text)
    if subject is not None:
        rendered = dataclasses.replace(rendered, subject=subject)
    if preheader is not None:
        rendered = dataclasses.replace(rendered, preheader=preheader)
    return Examined(issue, rendered, publication, earlier)


def with_markup(markup: str, issue: Issue | None = None) -> Examined:
    """The morning's issue, whose template also has this in its body."""
    issue = issue or issue_of()
    return examined_of(issue, page=page_of(issue).replace("<body>", f"<body>{markup}"))


def findings_of(check_id: str, examined: Examined) -> tuple[Finding, ...]:
    """What one check finds; its exceptions come through."""
    [check] = [check for check in CHECKS if check.rule.id == check_id]
    return check.findings(examined)


def breach(check_id: str, examined: Examined, level: Level, *said: str, line: int | None = None) -> None:
    """The check has one finding for each of `said`, in this order, the first at this level and line."""
    found = findings_of(check_id, examined)
    assert len(found) == max(1, len(said)), found
    assert (found[0].id, found[0].level, found[0].line) == (check_id, level, line)
    assert found[0].hint
    for finding, words in zip(found, said, strict=False):
        assert words in finding.message


def clean(check_id: str, *all_examined: Examined) -> None:
    """The check has nothing to say about any of these."""
    for examined in all_examined:
        assert findings_of(check_id, examined) == ()
