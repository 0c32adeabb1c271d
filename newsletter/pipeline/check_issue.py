"""`check`: the issue as data, and all that its checks find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from newsletter.issue.model import Issue
from newsletter.pipeline.prepare import BranchingValues, Prepared, prepare
from newsletter.pipeline.request import IssueRequest
from newsletter.preflight.verdict import in_order


def check_issue(
    request: IssueRequest,
    template_roots: Sequence[Path],
    values_of: BranchingValues,
    *,
    request_links: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Prepared:
    """The prepared issue with its findings, the worst first; with `request_links`, each link is requested, too.

    `progress` hears (links requested, of how many), from several threads.
    """
    prepared = prepare(request, template_roots, values_of)
    if not request_links:
        return prepared
    # the HTTP client takes longer to load than everything else
    from newsletter.preflight.link_requests import check_links

    site = prepared.publication.base_url
    found = check_links(prepared.issue, prepared.rendered, own_site=site, progress=progress)
    return replace(prepared, findings=in_order([*prepared.findings, *found]))


def check_document(prepared: Prepared) -> dict[str, object]:
    """What `check --json` prints: the issue as it was understood, and what its checks found, the worst first."""
    return {
        "issue": issue_document(prepared.issue),
        "findings": [
            {"id": one.id, "level": one.level, "line": one.line, "message": one.message, "hint": one.hint}
            for one in prepared.findings
        ],
    }


def issue_document(issue: Issue) -> dict[str, object]:
    """The issue as `check --json` prints it."""
    return {
        "title": issue.title,
        "date": issue.date.isoformat(),
        "edition": issue.edition,
        "subject": issue.subject,
        "preheader": issue.preheader,
        "note": [paragraph.text for paragraph in issue.note],
        "sections": [
            {
                "title": section.title,
                "stories": [
                    {
                        "headline": story.headline,
                        "paragraphs": [paragraph.text for paragraph in story.paragraphs],
                        "link": story.link,
                    }
                    for story in section.stories
                ],
            }
            for section in issue.sections
        ],
    }
