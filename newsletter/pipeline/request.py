"""What a use case is asked for: one issue of one newsletter, under these settings."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from newsletter.issue.find import IssueRef, parse_ref
from newsletter.settings.loaded import Loaded
from newsletter.settings.model import Newsletter
from newsletter.settings.pick import pick_newsletter


@dataclass(frozen=True, slots=True)
class IssueRequest:
    """One issue (`ref`) of the newsletter called `name`, whose part of the settings is `newsletter`."""

    loaded: Loaded
    name: str
    newsletter: Newsletter
    ref: IssueRef

    @property
    def issues(self) -> Path:
        """The folder of issue files."""
        return self.loaded.resolve(self.loaded.settings.paths.issues)

    def command(self, words: str) -> str:
        """What a user types: `words` for this issue, with -n where there are several newsletters."""
        several = f"-n {self.name} " if len(self.loaded.settings.newsletters) > 1 else ""
        return f"newsletter {several}{words} {self.ref}"

    def output(self, slot: str) -> Path:
        """The folder of a dry run of the issue of `slot`."""
        return self.loaded.resolve(self.loaded.settings.paths.output) / self.name / slot


def request_issue(loaded: Loaded, newsletter: str | None, date: str | None, now: dt.datetime) -> IssueRequest:
    """The request that a user typed: a newsletter's name (None: the only one) and DATE (None: today's, in its zone).

    Raises UsageError. `now` carries its zone.
    """
    name, found = pick_newsletter(loaded.settings, newsletter)
    today = now.astimezone(found.schedule.timezone).date()
    return IssueRequest(loaded, name, found, parse_ref(date or "today", today))
