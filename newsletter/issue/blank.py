"""An issue file to fill, for `newsletter new`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from newsletter.issue.decode import clean
from newsletter.issue.title_date import written

#: Printers' mark for "to come". The preflight holds an issue back while it stands anywhere.
PLACEHOLDER = "TK"


def blank_issue(title: str, date: dt.date, sections: Sequence[str]) -> str:
    """The text of a new issue: its title with the date, and under each section one story to write over.

    It parses as it is, and carries `TK` in each story, which the preflight reports as an error.
    """
    story = f"{PLACEHOLDER} Headline\n{PLACEHOLDER}: what happened, who says so, and what comes next.\n"
    names = [name for name in map(clean, sections) if name]
    parts = [f"{name}\n{story}" for name in names] or [story]
    return "\n".join([f"{clean(title)}: {written(date)}\n", *parts])
