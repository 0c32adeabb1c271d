"""The first half of every use case: find the day's issue, read it, render it, check it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from newsletter.delivery.batching import RunName
from newsletter.issue.find import earlier_issues, read_issue
from newsletter.issue.model import Issue
from newsletter.pipeline.request import IssueRequest
from newsletter.preflight.model import Examined, Finding, Level
from newsletter.preflight.registry import CHECKS, examine
from newsletter.preflight.size import html_bytes
from newsletter.preflight.verdict import failing
from newsletter.rendering.letter import Letterhead
from newsletter.rendering.model import Publication, RenderedIssue
from newsletter.rendering.render import Renderer
from newsletter.rendering.template_folder import find_template
from newsletter.settings.model import Newsletter


@dataclass(frozen=True, slots=True)
class Prepared:
    """An issue that was read, rendered and checked; `rendered` is the variant of a subscriber without any fields."""

    name: str
    newsletter: Newsletter
    publication: Publication
    issue: Issue
    renderer: Renderer
    rendered: RenderedIssue
    findings: tuple[Finding, ...]

    @property
    def run(self) -> RunName:
        """The run that would send this issue."""
        return RunName(self.name, self.issue.slot)

    @property
    def checks_passed(self) -> int:
        """How many of the checks found nothing."""
        return len(CHECKS) - len({finding.id for finding in self.findings})

    @property
    def html_bytes(self) -> int:
        """Size of the HTML, without what is filled in per recipient."""
        return html_bytes(self.rendered.html)

    def failing(self, level: Level = Level.ERROR) -> tuple[Finding, ...]:
        """The findings of `level` or worse; a live send wants none that are errors."""
        return failing(self.findings, level)


def prepare(request: IssueRequest, template_roots: Sequence[Path]) -> Prepared:
    """Reads, renders and checks the issue that is asked for.

    Raises IssueError or TemplateError; what the checks find is in the result. Templates are looked up in
    `template_roots`, in this order.
    """
    newsletter, folder = request.newsletter, request.issues
    issue = read_issue(folder, newsletter.issue_path, request.ref, newsletter.sections)
    publication = publication_of(request)
    renderer = Renderer(find_template(newsletter.template, template_roots), publication)
    rendered = renderer.render(issue)
    earlier = earlier_issues(folder, newsletter.issue_path, issue, newsletter.sections)
    findings = examine(Examined(issue, rendered, publication, earlier, newsletter.sender.domain))
    return Prepared(request.name, newsletter, publication, issue, renderer, rendered, findings)


def publication_of(request: IssueRequest) -> Publication:
    """What templates may know of the newsletter."""
    site, newsletter = request.loaded.settings.site, request.newsletter
    return Publication(
        name=request.name,
        title=newsletter.title,
        site_name=site.name,
        base_url=site.base_url,
        language=site.language,
        postal_address=site.postal_address,
        sender=str(newsletter.sender),
        sections=tuple(newsletter.sections),
    )


def letterhead_of(prepared: Prepared, date: dt.datetime) -> Letterhead:
    """The headers of the run; `date` carries its zone."""
    newsletter = prepared.newsletter
    return Letterhead(
        sender=str(newsletter.sender),
        reply_to=str(newsletter.reply_to or newsletter.sender),
        list_id=newsletter.list_id,
        list_name=newsletter.title,
        feedback_id=feedback_id(prepared.run),
        date=date,
    )


def feedback_id(run: RunName) -> str:
    """Gmail's Feedback-ID, `campaign:customer:mail type:sender`; the sender is 5 to 15 characters and never changes.

    https://support.google.com/mail/answer/6254652
    """
    sender = run.newsletter[:15].ljust(5, "0")
    return f"{run.slot}:{run.newsletter}:issue:{sender}"


def slot_time(prepared: Prepared) -> dt.datetime:
    """When the issue is due: its date at the time of the schedule (of its edition), in the newsletter's zone."""
    schedule = prepared.newsletter.schedule
    issue = prepared.issue
    time = schedule.editions.get(issue.edition) or schedule.time or dt.time(0)
    return dt.datetime.combine(issue.date, time, tzinfo=schedule.timezone)
