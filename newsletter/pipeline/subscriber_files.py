"""The audience of a newsletter from the files in `subscribers/`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from newsletter.audience.choose import choose_audience
from newsletter.audience.csv_file import read_subscribers
from newsletter.audience.model import Audience, Excluded, Subscriber
from newsletter.errors import AudienceError, Place
from newsletter.issue.model import Issue
from newsletter.pipeline.request import IssueRequest


def audience_of(request: IssueRequest, issue: Issue) -> Audience:
    """Whom the issue goes to: the newsletter's lists, or those of them that the issue's front matter names.

    Raises AudienceError when a file cannot be read, or the issue names a list that is not the newsletter's.
    """
    lists = request.newsletter.lists
    strangers = [name for name in issue.lists if name not in lists]
    if strangers:
        raise AudienceError(
            f"`lists` names {strangers[0]!r}, which is none of the newsletter's lists",
            place=Place(issue.source),
            hint=f"its lists are: {', '.join(lists)}",
        )
    loaded = request.loaded
    rows = _rows(loaded.resolve(loaded.settings.paths.subscribers), loaded.settings.paths.subscribers)
    return choose_audience(rows, issue.lists or lists)


def _rows(folder: Path, shown: Path) -> Iterator[Subscriber | Excluded]:
    """The rows of all files, in the order of their names."""
    for file in sorted(folder.glob("*.csv")):
        if not file.name.endswith(".rejects.csv"):
            yield from read_subscribers(file, str(shown / file.name))
