"""Whether an issue's file is the same as a moment ago, and when it was last written; without reading it as an issue."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from newsletter.issue.decode import MAX_BYTES
from newsletter.issue.find import expected_file
from newsletter.issue.slots import SUFFIXES
from newsletter.pipeline.request import IssueRequest


@dataclass(frozen=True, slots=True)
class IssueFile:
    """`fingerprint` is '' where there is no file; `changed_at` is seconds since 1970, of its last change."""

    fingerprint: str = ""
    changed_at: float = 0.0


def issue_file_now(request: IssueRequest) -> IssueFile:
    """The issue's file as it is now, under either suffix: with both there is an issue that cannot be read."""
    expected = expected_file(request.issues, request.newsletter.issue_path, request.ref)
    names = {expected, *(expected.with_suffix(suffix) for suffix in SUFFIXES if expected.suffix in SUFFIXES)}
    digest, changed_at = hashlib.sha256(), 0.0
    found = False
    for path in sorted(names):
        try:
            status = path.stat()
            content = _content(path, status)
        except FileNotFoundError:
            if not os.path.islink(path):  # noqa: PTH114 - a broken link is a file that cannot be read
                continue
            content = b"a broken link"
        except OSError as error:
            content = str(error.errno).encode()
        else:
            changed_at = max(changed_at, status.st_mtime)
        found = True
        digest.update(path.name.encode("utf-8", "surrogateescape") + b"\0" + content + b"\0")
    return IssueFile(digest.hexdigest(), changed_at) if found else IssueFile()


def _content(path: Path, status: os.stat_result) -> bytes:
    if not stat.S_ISREG(status.st_mode):  # to open a pipe could wait for ever
        return b"no regular file"
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)
