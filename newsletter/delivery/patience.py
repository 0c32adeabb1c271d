"""How long, and how often, a database that is away is tried again. No I/O."""

from __future__ import annotations

#: Seconds between tries, the first and the longest; each is twice the one before.
FIRST_WAIT, LONGEST_WAIT = 0.25, 10.0
#: How long a database may be away before the run is given up.
PATIENCE = 300.0


class Patience:
    """Counts from the first failure on; `most` is for how many seconds it lasts."""

    def __init__(self, most: float = PATIENCE) -> None:
        self._most = most
        self._since: float | None = None
        self._wait = FIRST_WAIT

    def after_failure(self, now: float) -> float | None:
        """In how many seconds to try again; None: it has lasted too long. `now` in monotonic seconds."""
        if self._since is None:
            self._since = now
        if now - self._since >= self._most:
            return None
        wait, self._wait = self._wait, min(2 * self._wait, LONGEST_WAIT)
        return wait

    def after_success(self) -> bool:
        """Starts anew; whether it had failed before."""
        failed, self._since, self._wait = self._since is not None, None, FIRST_WAIT
        return failed
