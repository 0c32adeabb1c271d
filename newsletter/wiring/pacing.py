"""What paces a run and counts its calls, by its newsletter's engine: in this process, or over all workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from threading import Event

from newsletter.delivery.clock import SystemClock
from newsletter.delivery.pace_records import TallyRecords
from newsletter.delivery.pacing import Pacing
from newsletter.delivery.shared_pacing import SharedLimiter
from newsletter.settings.loaded import Loaded
from newsletter.settings.model import Newsletter
from newsletter.wiring.mail_providers import limiter, rates
from newsletter.wiring.parts import database

ENGINE_OF_MANY = "procrastinate"


@dataclass(frozen=True, slots=True)
class Together:
    """What the senders of one run have in common where there are several, else nothing: the `tally` that its `Breakers`
    count with, and the event that `send_run` takes as `changed`."""

    tally: TallyRecords | None = None
    changed: Event | None = None


def pacing(loaded: Loaded, provider: str) -> Pacing:
    """What paces the calls to a provider account: one for all that send through it in this process.

    Where a newsletter that goes out through it has `engine = "procrastinate"`, its rates hold over all workers on the
    database, and over whatever else sends through it there.
    """
    newsletters = loaded.settings.newsletters.values()
    if not any(one.delivery.engine == ENGINE_OF_MANY for one in newsletters if one.delivery.provider == provider):
        return limiter(loaded, provider)
    rate, domains = rates(loaded, provider)
    return _shared(loaded.settings.database.url, provider, rate, domains)


@contextmanager
def together(loaded: Loaded, newsletter: Newsletter, run_id: int) -> Iterator[Together]:
    """What the workers of a run have in common, while the block lasts."""
    if newsletter.delivery.engine != ENGINE_OF_MANY:
        yield Together()
        return
    from newsletter.store.run_signals import RunSignals  # see parts.database
    from newsletter.store.shared_pace import SqlTally

    engine = database(loaded)
    signals = RunSignals(engine)
    try:
        with signals.of_run(run_id) as changed:
            yield Together(SqlTally(engine, run_id), changed)
    finally:
        signals.close()


@cache
def _shared(url: str, provider: str, rate: float | None, domains: tuple[tuple[str, float], ...]) -> SharedLimiter:
    from pathlib import Path

    from newsletter.store.engine import open_engine  # see parts.database
    from newsletter.store.shared_pace import SqlPaceRecords

    # a server's URL has no path that is relative
    records = SqlPaceRecords(open_engine(url, Path()), provider)
    return SharedLimiter(rate, dict(domains), records, SystemClock())
