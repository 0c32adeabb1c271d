"""What paces a run, by its newsletter's engine: in this process, or over all workers."""

from __future__ import annotations

from functools import cache

from newsletter import logs
from newsletter.delivery.clock import SystemClock
from newsletter.delivery.pacing import Pacing
from newsletter.delivery.shared_pacing import SharedLimiter
from newsletter.settings.loaded import Loaded
from newsletter.wiring.cluster import ENGINE
from newsletter.wiring.mail_providers import limiter, rates


def pacing(loaded: Loaded, provider: str) -> Pacing:
    """What paces the calls to a provider account: one for all that send through it in this process.

    Where a newsletter that goes out through it has `engine = "procrastinate"`, its rates hold over all workers on the
    database, and over whatever else sends through it there.
    """
    newsletters = loaded.settings.newsletters.values()
    if not any(one.delivery.engine == ENGINE for one in newsletters if one.delivery.provider == provider):
        return limiter(loaded, provider)
    rate, domains = rates(loaded, provider)
    return _shared(loaded.settings.database.url, provider, rate, domains)


@cache
def _shared(url: str, provider: str, rate: float | None, domains: tuple[tuple[str, float], ...]) -> SharedLimiter:
    from pathlib import Path

    from newsletter.store.engine import open_engine  # see parts.database
    from newsletter.store.shared_pace import SqlPaceRecords

    # a server's URL has no path that is relative
    records = SqlPaceRecords(open_engine(url, Path()), provider)

    def far(seconds: float) -> None:
        hint = "The worker is far from its database, or the database is too busy: its mail goes out slowly."
        logs.write("warning", "pace_is_slow", provider=provider, answer_seconds=round(seconds, 2), hint=hint)

    return SharedLimiter(rate, dict(domains), records, SystemClock(), far)
