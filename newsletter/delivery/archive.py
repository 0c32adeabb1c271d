"""Issues as they went out, for the public archive. `newsletter.store` implements it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from newsletter.delivery.names import RunName


@dataclass(frozen=True, slots=True)
class PublishedIssue:
    """An issue without anything of anybody: every hole is filled with what holds for all. `published_at` is when its
    run began to send; `image_origins` are the hosts that its images come from (`https://images.example.com`)."""

    run: RunName
    issue_date: dt.date
    title: str
    subject: str
    preheader: str
    html: str
    text: str
    content_hash: str
    image_origins: tuple[str, ...] = ()
    published_at: dt.datetime | None = None


class Archive(Protocol):
    """Every method is one transaction."""

    def keep(self, issue: PublishedIssue) -> None:
        """Keeps the issue, in place of an earlier version of it. It shows once its run has begun to send."""
        ...

    def issues(self, newsletter: str, *, limit: int = 50, before: RunName | None = None) -> Sequence[PublishedIssue]:
        """The issues that went out, the latest first, behind `before`; their `html` and `text` are ''."""
        ...

    def issue(self, run: RunName) -> PublishedIssue | None:
        """One issue that went out, whole; None where it did not, or is not known."""
        ...
