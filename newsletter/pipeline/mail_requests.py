"""Confirmation mails that a command waits for: all that are due, and those that the provider was too busy for again."""

from __future__ import annotations

import datetime as dt
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from newsletter.pipeline.send_confirmations import Became, ConfirmationSender, Told


@dataclass(slots=True)
class Mailed:
    """What became of the mails, each once; `reasons` of those that did not go out. `serious`: somebody has to mend
    something before the rest can."""

    became: dict[int, Became] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    serious: str = ""

    def count(self, became: Became) -> int:
        """How many became this."""
        return sum(one is became for one in self.became.values())


def mail_requests(
    sender: ConfirmationSender,
    stop: threading.Event,
    *,
    patience: dt.timedelta,
    progress: Callable[[int], None] = lambda _: None,
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
) -> Mailed:
    """Sends what is due, whoever asked for it, and waits for what was postponed, `patience` at the longest.

    `progress` hears how many are decided.
    """
    mailed = Mailed()
    waiting: dict[int, dt.datetime] = {}
    until = now() + patience

    def told(one: Told) -> None:
        mailed.became[one.signup.id] = one.became
        waiting.pop(one.signup.id, None)
        if one.until is not None:
            waiting[one.signup.id] = one.until
        if one.became is not Became.SENT:
            mailed.reasons[one.reason] += 1
        if one.serious:
            mailed.serious = one.reason
            halt.set()
        progress(len(mailed.became) - len(waiting))

    halt = _Either(stop)
    while True:
        sender.send_due(halt, told)
        if halt.is_set() or not waiting or (next_try := min(waiting.values())) > until:
            return mailed
        stop.wait(max((next_try - now()).total_seconds(), 0.01))


class _Either(threading.Event):
    """Set when it is, or the other one is."""

    def __init__(self, other: threading.Event) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        """See threading.Event."""
        return super().is_set() or self._other.is_set()
