"""Settles events beside the server, in a thread of its own: soon after they came, and once a while in any case."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from newsletter import logs
from newsletter.errors import NewsletterError
from newsletter.pipeline.count_hits import prune_hits
from newsletter.pipeline.take_events import Taken, event_tools, prune_events, take_events
from newsletter.web.public import Public

#: Seconds between two looks where nothing came: another process may have kept some, or died before it settled them.
REST = 30.0
#: Seconds between two steps: SQLite has one writer at a time, and a send that is under way must get its turn.
BREATH = 0.02
_A_DAY = 86_400.0
#: Seconds to wait for the step that is under way.
_FAREWELL = 10.0


class EventWorker:
    """`take` settles what waits, until its argument says that it shall end; `prune` removes what is old, once a day."""

    def __init__(
        self,
        take: Callable[[Callable[[], bool]], Taken],
        prune: Callable[[], int],
        arrived: threading.Event,
        *,
        rest: float = REST,
    ) -> None:
        self._take = take
        self._prune = prune
        self._arrived = arrived
        self._rest = rest
        self._ending = threading.Event()
        self._pruned_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def start(self) -> None:
        """See `Worker`."""
        self._arrived.set()  # some may wait since the last process
        self._thread.start()

    def stop(self) -> None:
        """See `Worker`."""
        self._ending.set()
        self._arrived.set()
        self._thread.join(_FAREWELL)

    def _run(self) -> None:
        while True:
            self._arrived.wait(self._rest)
            if self._ending.is_set():
                return
            self._arrived.clear()  # before the look: what comes during it is looked for again
            self._look()

    def _look(self) -> None:
        try:
            taken = self._take(self._shall_end)
            for why, number in taken.failures.items():
                logs.write("error", "events_not_settled", events=number, error=why)
            if taken.suppressions:
                logs.write("info", "events_settled", events=taken.settled, suppressions=taken.suppressions)
            self._prune_daily()
        except NewsletterError as error:  # they wait on
            logs.write("warning", "events_wait", error=str(error))
        except Exception as error:  # noqa: BLE001 - the thread must live: the next look may go well
            logs.write("exception", "events_wait", error=type(error).__name__)

    def _shall_end(self) -> bool:
        return self._ending.wait(BREATH)

    def _prune_daily(self) -> None:
        now = time.monotonic()
        if self._pruned_at is not None and now - self._pruned_at < _A_DAY:
            return
        if removed := self._prune():
            logs.write("info", "events_pruned", events=removed)
        self._pruned_at = now


def event_worker(public: Public) -> EventWorker:
    """The worker of these settings."""
    tools = event_tools(public.loaded, public.events, public.ledger, public.audience)
    keep = public.loaded.settings.retention.events
    return EventWorker(
        lambda stop: take_events(tools, now=public.now, stop=stop),
        lambda: (
            prune_events(tools, keep=keep, now=public.now()) + prune_hits(public.tracking, keep=keep, now=public.now())
        ),
        public.events_arrived,
    )
