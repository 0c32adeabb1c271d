"""Counts clicks and opens behind the readers' backs: nobody waits for it, and it may fail."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from newsletter import logs
from newsletter.errors import NewsletterError
from newsletter.events.tracking import HitKind, Verdict
from newsletter.events.verdicts import BURST_SECONDS, Click, in_bursts
from newsletter.pipeline.count_hits import Requested

#: Requests that may wait to be counted; what comes beyond is not counted. They wait for a second, and for a database
#: that is away for longer.
MOST_WAITING = 20_000
#: Requests that are written in one transaction.
MOST_WRITTEN = 2_000
#: Seconds between two looks at what waits.
_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A request, and who made it: whatever stands for them. Kept for two seconds, and nowhere but here."""

    request: Requested
    who: str
    since: float


class HitCounter:
    """A thread that writes what it is told of with `count`, all of a second together.

    A request waits for a second before it is written: by then it shows whether it was one of many at once, which no
    reader makes.
    """

    def __init__(self, write: Callable[[Sequence[Requested]], object]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        #: Those written a moment ago: a burst may have begun with them.
        self._before: deque[_Waiting] = deque()
        self._told = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hits", daemon=True)
        self._thread.start()

    def count(self, request: Requested, who: str) -> None:
        """Has it counted. `who` made it: the same text for the same reader, '' for nobody knows."""
        with self._lock:
            if len(self._waiting) < MOST_WAITING:
                self._waiting.append(_Waiting(request, who, time.monotonic()))

    def close(self) -> None:
        """Writes what is waiting, at once, and ends the thread. May be called twice."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(_PAUSE):
            self._turn(time.monotonic() - BURST_SECONDS)
        self._turn(float("inf"))

    def _turn(self, until: float) -> None:
        """Writes what came before then."""
        while due := self._due(until):
            try:
                self._write([self._judged(one, bursts) for bursts in [self._bursts()] for one in due])
            except Exception as error:  # noqa: BLE001 - the next ones may well be counted
                self._say(error)
                if isinstance(error, NewsletterError):  # the database: it may be back in a moment
                    return
            else:
                self._told = False
            self._take(due)

    def _due(self, until: float) -> list[_Waiting]:
        with self._lock:
            some = [self._waiting[at] for at in range(min(MOST_WRITTEN, len(self._waiting)))]
        return [one for one in some if one.since <= until]

    def _take(self, due: Sequence[_Waiting]) -> None:
        with self._lock:
            for _ in due:
                self._before.append(self._waiting.popleft())
            while self._before and self._before[0].since < time.monotonic() - 2 * BURST_SECONDS:
                self._before.popleft()

    def _bursts(self) -> set[int]:
        """Those that are some of many at once, by `id`."""
        with self._lock:
            known = [*self._before, *self._waiting]
        by_reader: dict[tuple[object, str], list[_Waiting]] = defaultdict(list)
        for one in known:
            if one.who and one.request.kind is HitKind.CLICK:
                by_reader[one.request.run, one.who].append(one)
        found: set[int] = set()
        for theirs in by_reader.values():
            theirs.sort(key=lambda one: one.request.at)
            places = in_bursts([Click(one.request.number, one.request.at) for one in theirs])
            found.update(id(theirs[place]) for place in places)
        return found

    @staticmethod
    def _judged(one: _Waiting, bursts: set[int]) -> Requested:
        return replace(one.request, verdict=Verdict.MACHINE) if id(one) in bursts else one.request

    def _say(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            logs.write("warning", "hits_not_counted", error=f"{type(error).__name__}: {error}")
