"""Why nothing goes out on a date: an operator's word, `skip_dates`, or a public holiday. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from newsletter.schedule.model import Skip
from newsletter.settings.holiday_codes import holidays_in
from newsletter.settings.model import Schedule

#: What is said of a date that an operator left out without a reason.
BY_AN_OPERATOR = "by an operator"
#: What is said of a date in the settings.
BY_SETTINGS = "in skip_dates"


def why_skipped(newsletter: str, schedule: Schedule, date: dt.date, edition: str, skips: Sequence[Skip] = ()) -> str:
    """Why nothing goes out for this issue, in a few words; '' where it does."""
    for skip in skips:
        if skip.newsletter == newsletter and skip.date == date and skip.edition in (None, edition):
            return skip.reason or BY_AN_OPERATOR
    return why_left_out(schedule, date)


def why_left_out(schedule: Schedule, date: dt.date) -> str:
    """Why the settings leave a date out, whatever the edition; '' where they do not."""
    if date in schedule.skip_dates:
        return BY_SETTINGS
    if schedule.skip_holidays:
        return holidays_in(schedule.skip_holidays, date.year).get(date, "")
    return ""
