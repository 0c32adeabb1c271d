"""Whoever tries tokens is slowed down: so many wrong ones a minute from one address, then none is looked up."""

from __future__ import annotations

import time
from collections.abc import Callable

from newsletter.pipeline.sign_up import network_of

#: Wrong tokens from one address (of IPv6: one /64) within `WITHIN` seconds.
MOST, WITHIN = 20, 60.0
#: Addresses that are remembered; the oldest are forgotten first.
_REMEMBERED = 10_000


class Throttle:
    """Counts in memory, for one process. Not for several threads."""

    def __init__(
        self, *, most: int = MOST, within: float = WITHIN, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = most
        self._within = within
        self._clock = clock
        #: network → (wrong tokens, when they are forgotten), in the order of the latter
        self._wrong: dict[str, tuple[int, float]] = {}

    def wait(self, ip: str) -> int:
        """How many seconds this address has to wait; 0: it may try."""
        count, until = self._wrong.get(network_of(ip), (0, 0.0))
        left = until - self._clock()
        return int(left) + 1 if count >= self._most and left > 0 else 0

    def failed(self, ip: str) -> None:
        """A wrong token came from there."""
        now, network = self._clock(), network_of(ip)
        count, until = self._wrong.get(network, (0, 0.0))
        if until <= now:
            self._wrong.pop(network, None)
            count, until = 0, now + self._within
            while len(self._wrong) >= _REMEMBERED:
                del self._wrong[next(iter(self._wrong))]
        self._wrong[network] = (count + 1, until)
