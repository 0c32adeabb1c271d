"""A deadline that comes in the middle of no test, whatever the time of day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping


def far_deadline() -> Mapping[str, str]:
    """Keys of `[newsletters.*.schedule]`, as TOML: in UTC, and half a day from now. The time of the issue is midnight:
    a deadline must come after it on its day."""
    late = dt.datetime.now(dt.UTC) + dt.timedelta(hours=12)
    late = max(late, late.replace(hour=0, minute=1))
    return {"timezone": '"UTC"', "time": '"00:00"', "deadline": f'"{late:%H:%M}"'}
