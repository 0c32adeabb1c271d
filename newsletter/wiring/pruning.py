"""`[retention]`: what is removed when its time is over, by `db prune` and once a day by the daemon that leads."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from newsletter.settings.loaded import Loaded
from newsletter.wiring.parts import beside_database, database

if TYPE_CHECKING:
    from newsletter.store.pruning import Prunable


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many were removed: runs whose recipients were the last that was kept of them, those recipients, the rows of
    batches, attempts, words on single recipients, events, clicks and opens of single people, and bytes of the journal
    (`newsletter.store.journal_folding`: of runs whose calls are gone, only who was claimed stays)."""

    runs: int
    recipients: int
    batches: int
    attempts: int
    notes: int
    events: int
    hits: int
    journal_bytes: int


def prune_database(loaded: Loaded, *, now: dt.datetime, stop: Callable[[], bool]) -> Pruned:
    """Removes what `[retention]` keeps no longer, in short transactions; `stop` is asked between them whether to end.

    Raises what `newsletter.store.failures` says, and GuardRefused where `newsletter db upgrade` is needed.
    """
    from newsletter.store.events import SqlEvents  # see parts.database
    from newsletter.store.journal_folding import fold_journal
    from newsletter.store.pruning import prune_runs
    from newsletter.store.tracking import SqlTracking
    from newsletter.store.upgrade import ensure_current

    engine, keep = database(loaded), loaded.settings.retention
    ensure_current(engine, lambda _: None)
    inbox, tracking = SqlEvents(engine), SqlTracking(engine)
    events = _all(lambda: inbox.prune(before=now - keep.events, limit=_ROWS), stop)
    hits = _all(lambda: tracking.prune(before=now - keep.events, limit=_ROWS), stop)
    runs = prune_runs(engine, runs_before=now - keep.runs, attempts_before=now - keep.attempts, stop=stop)
    journal = beside_database(loaded, engine) / "journal.ndjson"
    saved = 0 if stop() else fold_journal(journal, before=now - keep.attempts)
    return Pruned(**asdict(runs), events=events, hits=hits, journal_bytes=saved)


def prunable(loaded: Loaded, *, now: dt.datetime) -> Prunable:
    """What it would remove of runs."""
    from newsletter.store.pruning import prunable_runs  # see parts.database
    from newsletter.store.upgrade import ensure_current

    engine, keep = database(loaded), loaded.settings.retention
    ensure_current(engine, lambda _: None)
    return prunable_runs(engine, runs_before=now - keep.runs, attempts_before=now - keep.attempts)


def give_room_back(loaded: Loaded) -> bool:
    """Writes SQLite's file anew without what was removed; False where another process has it, or the disk has no room
    for a second one. PostgreSQL does it by itself."""
    from newsletter.store.engine import scrub  # see parts.database

    return scrub(database(loaded))


#: Rows of one transaction.
_ROWS = 2_000


def _all(some: Callable[[], int], stop: Callable[[], bool]) -> int:
    removed = 0
    while not stop() and (number := some()):
        removed += number
    return removed
