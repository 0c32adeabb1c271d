"""The date in the title against the date of the issue."""

from __future__ import annotations

import re
from collections.abc import Iterator

from newsletter.preflight.check import Found, check
from newsletter.preflight.issue_texts import title_line
from newsletter.preflight.model import Examined, Level

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_WEEKDAY = re.compile(
    r"\b(?:(mon)|(tues?)|(wed(?:nes)?)|(thu(?:rs?)?)|(fri)|(sat(?:ur)?)|(sun))(?:day|\b)", re.IGNORECASE
)


@check(
    "date-mismatch",
    Level.ERROR,
    means="The date in the title is not the date the issue is for.",
    do="Correct the title, or rename the file.",
)
def date_mismatch(examined: Examined) -> Iterator[Found]:
    """The most common slip of a daily newsletter: yesterday's file, copied."""
    issue = examined.issue
    if issue.title_date is not None and issue.title_date != issue.date:
        yield Found(
            f"the title says {issue.title_date.isoformat()}, the issue is for {issue.date.isoformat()}",
            title_line(issue),
        )


@check(
    "title-undated",
    Level.INFO,
    means="The title names no date, so it cannot be compared with the file's name.",
    do="Nothing, if that is how the newsletter is titled.",
)
def title_undated(examined: Examined) -> Iterator[Found]:
    """Worth knowing only: some newsletters put no date into their titles."""
    if examined.issue.title_date is None:
        yield Found("the title names no date", title_line(examined.issue))


@check(
    "title-weekday",
    Level.WARN,
    means="The title names a weekday that is not the issue's.",
    do="Correct the weekday, or the date.",
)
def title_weekday(examined: Examined) -> Iterator[Found]:
    """English names only, and only beside a date: without one, `Sunday Best` may be the newsletter's name."""
    issue = examined.issue
    found = list(_WEEKDAY.finditer(issue.title)) if issue.title_date else []
    said = {_WEEKDAYS[(match.lastindex or 1) - 1] for match in found}
    actual = _WEEKDAYS[issue.date.weekday()]
    if len(said) == 1 and actual not in said:
        yield Found(f"the title says {said.pop()}, {issue.date.isoformat()} is a {actual}", title_line(issue))
