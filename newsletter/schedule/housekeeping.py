"""What a leading daemon does once a day beside its newsletters: it removes what is kept no longer."""

from __future__ import annotations

import threading

from newsletter.delivery.clock import Clock
from newsletter.errors import NewsletterError
from newsletter.schedule.herald import Herald
from newsletter.schedule.newsroom import Newsroom
from newsletter.schedule.threads import Spawn

_A_DAY = 86_400.0
#: Seconds between two transactions: SQLite has one writer at a time, and a send that is under way must get its turn.
BREATH = 0.02


class Housekeeping:
    """Asked at each look of the leader. `stop` ends it after the transaction that is under way."""

    def __init__(self, herald: Herald, clock: Clock, spawn: Spawn, stop: threading.Event) -> None:
        self._herald = herald
        self._clock = clock
        self._spawn = spawn
        self._stop = stop
        self._began_at: float | None = None

    def look(self, newsroom: Newsroom, *, busy: bool) -> None:
        """Prunes where a day is over since it last did; not while an issue is being made ready or sent (`busy`)."""
        now = self._clock.monotonic()
        if busy or (self._began_at is not None and now - self._began_at < _A_DAY):
            return
        self._began_at = now

        def prune() -> None:
            try:
                removed = newsroom.prune(lambda: self._stop.wait(BREATH))
            except NewsletterError as error:  # what was removed is; the rest waits for tomorrow
                self._herald.log("warning", "not_pruned", error=str(error), hint=error.hint)
            except Exception as error:  # noqa: BLE001 - a mistake of this program must not end the daemon
                self._herald.log("exception", "not_pruned", error=f"{type(error).__name__}: {error}")
            else:
                if removed:
                    self._herald.log("info", "pruned", **removed)

        self._spawn("prune", prune)
