"""What preflight looks at and what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from newsletter.issue.model import Issue
from newsletter.rendering.model import Publication, RenderedIssue

#: Bytes in a KB, wherever a mail's size is meant.
KB = 1024
#: Gmail shows "[Message clipped]" after about this many KB of HTML; found by the community, not stated by Google.
GMAIL_CLIPS_KB = 102


class Level(StrEnum):
    """How bad a finding is."""

    #: Worth knowing; nothing to mend.
    INFO = "info"
    #: Should be mended; the issue may go out as it is.
    WARN = "warn"
    #: Must be mended; a live send is refused.
    ERROR = "error"

    @property
    def rank(self) -> int:
        """0 for info, 1 for warn, 2 for error."""
        return list(Level).index(self)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a check found. `line` points into the issue's source where there is one; `hint` says what to do."""

    id: str
    level: Level
    message: str
    hint: str = ""
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Examined:
    """All that a check may look at. `earlier` are the issues before this one, the latest first, at most seven."""

    issue: Issue
    rendered: RenderedIssue
    publication: Publication
    earlier: Sequence[Issue] = ()
