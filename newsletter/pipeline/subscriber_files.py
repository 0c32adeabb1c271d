"""The audience of a newsletter from the files in `subscribers/`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path

from newsletter.audience.choose import choose_audience
from newsletter.audience.csv_file import read_subscribers
from newsletter.audience.model import Audience, Excluded, Subscriber
from newsletter.errors import AudienceError, IssueError, Place
from newsletter.issue.model import Issue
from newsletter.pipeline.request import IssueRequest


def audience_of(request: IssueRequest, issue: Issue) -> Audience:
    """Whom the issue goes to: the newsletter's lists, or those of them that the issue's front matter names.

    Raises AudienceError when a file cannot be read or a list is in none of them, and IssueError when the issue names a
    list that is not the newsletter's.
    """
    lists = request.newsletter.lists
    strangers = [name for name in issue.lists if name not in lists]
    if strangers:
        raise IssueError(
            f"`lists` names {strangers[0]!r}, which is none of the newsletter's lists",
            place=Place(issue.source, issue.lists_line or None),
            hint=f"its lists are: {', '.join(lists)}",
        )
    folder = request.loaded.settings.paths.subscribers
    files = _files(request.loaded.resolve(folder), folder)
    known: set[str] = {file.stem for file in files}
    audience = choose_audience(_rows(files, folder, known), issue.lists or lists)
    for name in lists:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"lists there are: {', '.join(sorted(known)) or 'none'}"
            raise AudienceError(f"the list {name!r} is in no file of {folder}/", hint=hint)
    return audience


def _files(folder: Path, shown: Path) -> list[Path]:
    try:
        # not glob: it says nothing about a folder that it may not read
        files = sorted(folder.iterdir())
    except OSError as error:
        hint = "make it and put the lists there as CSV files, or set paths.subscribers"
        raise AudienceError(f"the folder cannot be read: {error.strerror}", place=Place(shown), hint=hint) from None
    return [file for file in files if file.suffix == ".csv" and not file.name.endswith(".rejects.csv")]


def _rows(files: Iterable[Path], shown: Path, known: set[str]) -> Iterator[Subscriber | Excluded]:
    """The rows of all files; the lists they name are added to `known`."""
    for file in files:
        for row in read_subscribers(file, str(shown / file.name)):
            known.update(row.lists)
            yield row
