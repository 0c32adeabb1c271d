"""`new`: an issue file to fill, where the day's issue belongs."""

from __future__ import annotations

import os
from pathlib import Path

from newsletter.errors import GuardRefused, OutputError, Place, UsageError
from newsletter.issue.blank import blank_issue
from newsletter.issue.find import expected_file, shown
from newsletter.pipeline.request import IssueRequest


def new_issue(request: IssueRequest) -> Path:
    """Writes the file and returns its path. Raises GuardRefused where there is one already: nothing is overwritten."""
    newsletter, ref = request.newsletter, request.ref
    if ref.date is None:
        raise UsageError("a new issue is named by its date", hint="newsletter new 2026-01-07")
    path = expected_file(request.issues, newsletter.issue_path, ref)
    text = blank_issue(newsletter.title, ref.date, newsletter.sections)
    for there in (path, path.with_suffix(".md")):
        if there.exists():
            raise GuardRefused("the issue exists already", place=Place(shown(there)), hint="edit that file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # O_EXCL: another editor may have made it in this very moment
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", place=Place(shown(path))) from None
    return path
