"""The lists that an issue is for."""

from __future__ import annotations

from newsletter.errors import IssueError, Place
from newsletter.issue.model import Issue
from newsletter.pipeline.request import IssueRequest


def lists_named(request: IssueRequest, issue: Issue) -> tuple[str, ...]:
    """The newsletter's lists, or those of them that the issue's front matter names.

    Raises IssueError where it names a list that is not the newsletter's.
    """
    lists = request.newsletter.lists
    strangers = [name for name in issue.lists if name not in lists]
    if strangers:
        raise IssueError(
            f"`lists` names {strangers[0]!r}, which is none of the newsletter's lists",
            place=Place(issue.source, issue.lists_line or None),
            hint=f"its lists are: {', '.join(lists)}",
        )
    return tuple(issue.lists or lists)
