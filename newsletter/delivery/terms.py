"""How a run is to be sent."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class SendTerms:
    """What `[newsletters.NAME.delivery]` says of sending, and the run's deadline.

    `batch_size`: recipients of a call at most; `window`: messages of a claim, where a provider takes one at a time;
    `concurrency`: calls at the same time; `retry_for`: how long after a batch's first attempt a recipient is tried
    again; `failure_rate`: the share of refused recipients, a fraction, above which the run pauses; `on_unknown`: a
    recipient whose outcome is unknown is held for an operator, or sent to again.
    """

    batch_size: int
    window: int
    concurrency: int
    retry_for: dt.timedelta
    deadline: dt.datetime
    failure_rate: float
    on_unknown: Literal["hold", "resend"] = "hold"
