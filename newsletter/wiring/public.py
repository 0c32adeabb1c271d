"""What the public side keeps its things in: every store, on one engine."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from newsletter.access.model import TokenStore
from newsletter.audience.signups import SignUpStore
from newsletter.audience.store import AudienceStore
from newsletter.delivery.archive import Archive
from newsletter.delivery.ledger import Ledger
from newsletter.events.inbox import EventInbox
from newsletter.events.tracking import TrackingStore
from newsletter.settings.loaded import Loaded
from newsletter.wiring.parts import database, ledger_on


@dataclass(frozen=True, slots=True)
class PublicStores:
    """Safe to share between threads."""

    audience: AudienceStore
    signups: SignUpStore
    ledger: Ledger
    archive: Archive
    events: EventInbox
    tracking: TrackingStore
    tokens: TokenStore


def public_stores(loaded: Loaded, say: Callable[[str], None] = lambda _: None) -> PublicStores:
    """The stores of these settings. SQLite is brought up to date; `say` hears of a backup copy that was made.

    PostgreSQL is not connected to yet: it may be away or behind when the web part starts, and come later (/readyz
    says so meanwhile). Raises GuardRefused and OutputError, on SQLite only.
    """
    from newsletter.store.api_tokens import SqlTokens  # see wiring.parts.database
    from newsletter.store.archive import SqlArchive
    from newsletter.store.audience import SqlAudience
    from newsletter.store.engine import sqlite_path
    from newsletter.store.erasure_key import erasure_key
    from newsletter.store.events import SqlEvents
    from newsletter.store.signups import SqlSignUps
    from newsletter.store.tracking import SqlTracking
    from newsletter.store.upgrade import ensure_current

    engine = database(loaded)
    key = functools.cache(functools.partial(erasure_key, engine))
    if sqlite_path(engine) is not None:
        ensure_current(engine, say)
        key()  # made now: the first one to need it may be in a transaction, which the making would wait for
    return PublicStores(
        audience=SqlAudience(engine, key),
        signups=SqlSignUps(engine, key),
        ledger=ledger_on(loaded, engine),
        archive=SqlArchive(engine),
        events=SqlEvents(engine),
        tracking=SqlTracking(engine),
        tokens=SqlTokens(engine),
    )
