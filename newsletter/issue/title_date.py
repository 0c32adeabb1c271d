"""The date that a title names."""

from __future__ import annotations

import datetime as dt
import re

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip

_NUMBER = {name[:length].lower(): number for number, name in enumerate(MONTHS, 1) for length in (3, len(name))}
_NUMBER["sept"] = 9

_MONTH = "(?P<month>" + "|".join(sorted(_NUMBER, key=len, reverse=True)) + r")\b\.?"
_DAY = r"(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>[0-9]{4})(?![0-9])"
_FORMS = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"(?<![0-9]){_DAY}(?:\s+of)?\s+{_MONTH},?\s+{_YEAR}",  # 7 January 2026, 7th of January 2026, 7 Jan. 2026
        rf"\b{_MONTH}\s+{_DAY},?\s+{_YEAR}",  # January 7, 2026
        r"(?<![0-9-])(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})(?![0-9-])",  # 2026-01-07
    )
)
#: A date stands near the front; a line of a megabyte is not searched to its end.
_SEARCHED = 1_000


def title_date(title: str) -> dt.date | None:
    """The first date in the title that exists, or None.

    Understood: `7 January 2026`, `January 7, 2026`, `7 Jan 2026`, `2026-01-07`, with ordinals (`7th`) and any weekday
    before it. A day that does not exist (31 February) is passed over.
    """
    found = [match for form in _FORMS for match in form.finditer(title[:_SEARCHED])]
    for match in sorted(found, key=lambda match: match.start()):
        month = match["month"].lower()
        number = _NUMBER.get(month) or int(month)
        try:
            return dt.date(int(match["year"]), number, int(match["day"]))
        except ValueError:
            continue
    return None


def written(date: dt.date) -> str:
    """`7 January 2026`, in English whatever the machine's locale."""
    return f"{date.day} {MONTHS[date.month - 1]} {date.year:04d}"
