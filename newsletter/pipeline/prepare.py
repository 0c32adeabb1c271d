"""The first half of every use case: find the day's issue, read it, render it, check it."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from newsletter.delivery.names import RunName
from newsletter.errors import Place, TemplateError, shown
from newsletter.issue.find import earlier_issues, read_issue
from newsletter.issue.model import Issue
from newsletter.pipeline.issue_lists import lists_named
from newsletter.pipeline.request import IssueRequest
from newsletter.pipeline.slot_time import slot_time
from newsletter.preflight.model import Examined, Finding, Level
from newsletter.preflight.registry import CHECKS, examine
from newsletter.preflight.size import html_bytes
from newsletter.preflight.verdict import failing, in_order
from newsletter.rendering.letter import Letterhead
from newsletter.rendering.model import Publication, RenderedIssue, Tracking, Variant
from newsletter.rendering.render import Renderer
from newsletter.rendering.template_folder import find_template
from newsletter.settings.model import Newsletter

#: What the members of an issue's audience have in the fields that a template may branch on.
BranchingValues = Callable[[Issue], Iterable[Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """An issue that was read, rendered and checked; `rendered` is the mail of somebody with no fields."""

    request: IssueRequest
    publication: Publication
    issue: Issue
    renderer: Renderer
    rendered: RenderedIssue
    findings: tuple[Finding, ...]

    @property
    def name(self) -> str:
        """The newsletter's name."""
        return self.request.name

    @property
    def newsletter(self) -> Newsletter:
        """The newsletter's settings."""
        return self.request.newsletter

    @property
    def date(self) -> dt.datetime:
        """When the issue is due, in the newsletter's zone: the Date of its mail."""
        return slot_time(self.newsletter.schedule, self.issue.date, self.issue.edition)

    @property
    def source(self) -> str:
        """The issue's file as seen from the project, wherever the command runs."""
        file, folder = Path(self.issue.source).absolute(), self.request.loaded.folder
        return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else str(file)

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
        """Size of the HTML as Gmail counts it, with typical values filled in."""
        return html_bytes(self.rendered.html)

    def failing(self, level: Level = Level.ERROR) -> tuple[Finding, ...]:
        """The findings of `level` or worse; a live send wants none that are errors."""
        return failing(self.findings, level)


def prepare(request: IssueRequest, template_roots: Sequence[Path], values_of: BranchingValues) -> Prepared:
    """Reads and renders the issue that is asked for, and checks every variant that its audience would get.

    Raises IssueError, TemplateError or AudienceError; what the checks find is in the result. Templates are looked up
    in `template_roots`, in this order.
    """
    newsletter, folder = request.newsletter, request.issues
    issue = read_issue(folder, newsletter.issue_path, request.ref, newsletter.sections)
    publication = publication_of(request)
    renderer, rendered = _rendered(newsletter, template_roots, publication, issue)
    lists_named(request, issue)  # raises where the issue names a list that is not the newsletter's
    earlier = earlier_issues(folder, newsletter.issue_path, issue, newsletter.sections)
    variants = {renderer.variant_of({})}
    if renderer.fields:  # else the audience need not be read
        variants.update(map(renderer.variant_of, values_of(issue)))
    examined = {
        variant: examine(Examined(issue, renderer.render(issue, variant), publication, earlier))
        for variant in sorted(variants)
    }
    findings = merged(examined)
    return Prepared(request, publication, issue, renderer, rendered, findings)


def _rendered(
    newsletter: Newsletter, roots: Sequence[Path], publication: Publication, issue: Issue
) -> tuple[Renderer, RenderedIssue]:
    try:
        template = find_template(newsletter.template, roots)
        renderer = Renderer(template, publication, tracking=tracking_of(newsletter))
        return renderer, renderer.render(issue)
    except OSError as error:
        place = Place(shown(Path(os.fsdecode(error.filename)))) if error.filename else None
        raise TemplateError(f"cannot be read: {error.strerror}", place=place, hint="check its permissions") from None


def merged(examined: Mapping[Variant, Sequence[Finding]]) -> tuple[Finding, ...]:
    """The findings of all variants, each once; one that is not in every variant says whose mail it is in."""
    everywhere = set.intersection(*(set(findings) for findings in examined.values()))
    some = [
        replace(finding, message=f"{finding.message} ({_named(variant)})")
        for variant, findings in examined.items()
        for finding in findings
        if finding not in everywhere
    ]
    return in_order([*everywhere, *some])


def _named(variant: Variant) -> str:
    return "for " + ", ".join(f"{field} {value!r}" if value else f"no {field}" for field, value in variant)


def publication_of(request: IssueRequest) -> Publication:
    """What templates may know of the newsletter."""
    site, newsletter = request.loaded.settings.site, request.newsletter
    return Publication(
        name=request.name,
        title=newsletter.title,
        site_name=site.name,
        base_url=site.base_url,
        language=newsletter.language or site.language,
        postal_address=site.postal_address,
        sender=str(newsletter.sender),
        sections=tuple(newsletter.sections),
        has_archive=request.loaded.settings.web.archive and newsletter.public,
    )


def tracking_of(newsletter: Newsletter) -> Tracking:
    """What its mail measures."""
    tracking = newsletter.tracking
    return Tracking(tracking.clicks, tracking.opens, tracking.per_person, tuple(tracking.utm.items()))


def letterhead_of(prepared: Prepared) -> Letterhead:
    """The headers of the run."""
    newsletter = prepared.newsletter
    return Letterhead(
        sender=str(newsletter.sender),
        reply_to=str(newsletter.reply_to or newsletter.sender),
        list_id=newsletter.list_id,
        list_name=newsletter.title,
        feedback_id=feedback_id(prepared.run),
        date=prepared.date,
    )


def feedback_id(run: RunName) -> str:
    """Gmail's Feedback-ID, `campaign:customer:mail type:sender`; the sender is 5 to 15 characters and never changes.

    https://support.google.com/mail/answer/6254652
    """
    sender = run.newsletter[:15].ljust(5, "0")
    return f"{run.slot}:{run.newsletter}:issue:{sender}"
