"""Threads without work: where they wait until there is something to ask for again. Locked by itself."""

from __future__ import annotations

import contextlib
import threading

from newsletter.delivery.clock import Clock


class Resting:
    """Waiting threads, and the number of the last news: whoever knows that number has missed nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._wakers: list[threading.Event] = []
        self._news = 0

    @property
    def news(self) -> int:
        """The number of the last news."""
        return self._news

    def rest(self, news: int, seconds: float, end: threading.Event) -> None:
        """Waits so long, or until the next news; not at all where some came after `news`, or `end` is set."""
        waker = threading.Event()
        with self._lock:
            if end.is_set() or self._news != news:
                return
            self._wakers.append(waker)
        self._clock.wait(waker, seconds)
        with self._lock, contextlib.suppress(ValueError):
            self._wakers.remove(waker)

    def wake(self) -> None:
        """There are news: everybody wakes up."""
        with self._lock:
            self._news += 1
            wakers, self._wakers = self._wakers, []
        for waker in wakers:
            waker.set()
