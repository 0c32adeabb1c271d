"""A provider that cannot be reached: for how long a process leaves it alone.

Without a pause its threads would try each batch in turn, in vain, and all would wait for longer than the provider was
away. It is this process's own: to others the same provider may be near.
"""

from __future__ import annotations

import threading

from newsletter.delivery.clock import Clock

#: Seconds. It is left alone for as long as it has been away, within these.
SHORTEST, LONGEST = 1.0, 30.0


class Outage:
    """Whether the last call reached the provider. Used by several threads at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since: float | None = None
        self._until = 0.0

    def note(self, *, reached: bool) -> float:
        """A call has ended; for how many seconds from now no other is worth it."""
        now = self._clock.monotonic()
        with self._lock:
            if reached:
                self._since, self._until = None, 0.0
                return 0.0
            if self._since is None:
                self._since = now
            if self._until <= now:  # calls that fail together are one try
                self._until = now + min(LONGEST, max(SHORTEST, now - self._since))
            return self._until - now

    def left(self) -> float:
        """For how many seconds no call is worth it."""
        with self._lock:
            return max(0.0, self._until - self._clock.monotonic())
