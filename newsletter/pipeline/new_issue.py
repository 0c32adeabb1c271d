"""`new`: an issue file to fill, where the day's issue belongs."""

from __future__ import annotations

import os
from pathlib import Path

from newsletter.errors import GuardRefused, OutputError, Place, UsageError, shown
from newsletter.issue.blank import blank_issue
from newsletter.issue.find import expected_file
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
        _write_new(path, text)
    except FileExistsError:  # another editor made it in this very moment
        raise GuardRefused("the issue exists already", place=Place(shown(path)), hint="edit that file") from None
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", place=Place(shown(path))) from None
    return path


def _write_new(path: Path, text: str) -> None:
    """Writes the file whole or not at all, and never over another. Raises FileExistsError, or another OSError."""
    staged = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with staged.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.link(staged, path)
    finally:
        staged.unlink(missing_ok=True)
