"""The issue files of a newsletter, by their names alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from newsletter.issue.slots import slots_in
from newsletter.pipeline.request import IssueRequest
from newsletter.settings.loaded import Loaded
from newsletter.settings.model import Newsletter


@dataclass(frozen=True, slots=True)
class IssueFile:
    """The file of a slot; `file` is its path within the folder of issues."""

    slot: str
    date: dt.date
    edition: str
    file: str


def issue_files(loaded: Loaded, newsletter: Newsletter) -> Sequence[IssueFile]:
    """All there are, each slot once, in no order. None is opened."""
    folder = loaded.resolve(loaded.settings.paths.issues)
    found = {}
    for (date, edition), path in slots_in(folder, newsletter.issue_path):
        slot = f"{date.isoformat()}.{edition}" if edition else date.isoformat()
        found[slot] = IssueFile(slot, date, edition, path.relative_to(folder).as_posix())
    return tuple(found.values())


def has_issue(request: IssueRequest) -> bool:
    """Whether there is a file of the issue that is asked for."""
    return any(one.slot == str(request.ref) for one in issue_files(request.loaded, request.newsletter))
