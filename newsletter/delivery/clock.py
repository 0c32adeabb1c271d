"""Time as the send loop sees it, so that a test can drive it."""

from __future__ import annotations

import datetime as dt
import threading
import time
from typing import Protocol


def boot_time() -> float:
    """Seconds since the machine started, its sleep included (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Clock(Protocol):
    """Tells the time, and waits. Used by several threads at once."""

    def now(self) -> dt.datetime:
        """The time of day, in UTC: what the ledger writes down, and deadlines are compared with."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment; never set back."""
        ...

    def processor_time(self) -> float:
        """Seconds of processors that this process has used."""
        ...

    def wait(self, event: threading.Event, seconds: float | None = None) -> bool:
        """Waits until `event` is set, at most so long. Whether it is set."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> dt.datetime:
        """See `Clock`."""
        return dt.datetime.now(dt.UTC)

    def monotonic(self) -> float:
        """See `Clock`."""
        return time.monotonic()

    def processor_time(self) -> float:
        """See `Clock`."""
        return time.process_time()

    def wait(self, event: threading.Event, seconds: float | None = None) -> bool:
        """See `Clock`."""
        return event.wait(seconds)
