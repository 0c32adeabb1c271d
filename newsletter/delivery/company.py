"""How long an exchange with the ledger waits for more of the threads that send.

An exchange costs a millisecond, however few are in it, and the threads take the interpreter from each other while it is
made. Where a processor is the limit, to wait until all have come costs nothing: whoever waits leaves it to the others,
and a message then takes a fifth less of it, in small windows two fifths. Where the server is the limit, time counts.
"""

from __future__ import annotations

from newsletter.delivery.clock import Clock

#: One thread in so many is company enough, and for no longer than this do those who came wait for it. Seconds.
FEW, SHORTLY = 4, 0.01
#: For no longer do they wait for everybody. Seconds.
LONGEST = 0.06
#: Of one processor; what Python can use at a time is hardly more.
_BUSY = 0.7
#: Seconds over which the use of the processor is looked at.
_OVER = 0.25
#: What a wait in vain counts, where a time that all come makes up for one (it saves a sixth of what that costs); and
#: where it is left.
_IN_VAIN, _TOO_OFTEN = 6, 12
#: Seconds for which it is left: the first time, for the machine may have been busy elsewhere for a moment; twice as
#: long each time after that, and at most.
SOON, AGAIN_AFTER = 0.5, 10.0
#: So often running all have to come, with the processor busy all the while, before it is the first time again.
WELL_AGAIN = 20


class Company:
    """Looks at how busy this process is, and whether to wait for all was worth it. Used by one thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since, self._used = clock.monotonic(), clock.processor_time()
        self._not_before = self._since
        self._all = False
        self._in_vain = self._in_company = 0
        self._left_for = SOON

    def awaited(self, at_work: int) -> tuple[int, float]:
        """How many of the threads at work an exchange waits for, and for how many seconds at most; with few threads
        and nothing to compute, for nobody."""
        now = self._clock.monotonic()
        if now - self._since >= _OVER:
            used = self._clock.processor_time()
            busy = used - self._used >= _BUSY * (now - self._since)
            self._since, self._used = now, used
            if self._all and not busy:
                self._leave(now)  # the processor has nothing to do meanwhile: the server is waited for
            else:
                self._all = busy and now >= self._not_before
                if self._in_company >= WELL_AGAIN:
                    self._left_for = SOON
        return (at_work, LONGEST) if self._all else (at_work // FEW, SHORTLY)

    def came(self, everybody: bool) -> None:
        """Whether all came that were waited for. Some may be in long calls, whatever else the process is busy with."""
        if not self._all:
            return
        if everybody:
            self._in_vain, self._in_company = max(0, self._in_vain - 1), self._in_company + 1
            return
        self._in_vain, self._in_company = self._in_vain + _IN_VAIN, 0
        if self._in_vain >= _TOO_OFTEN:
            self._leave(self._clock.monotonic())

    def _leave(self, now: float) -> None:
        self._all, self._in_vain, self._in_company = False, 0, 0
        self._not_before = now + self._left_for
        self._left_for = min(2 * self._left_for, AGAIN_AFTER)
