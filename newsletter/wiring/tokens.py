"""Where the tokens of the API are kept."""

from __future__ import annotations

from collections.abc import Callable

from newsletter.access.model import TokenStore
from newsletter.settings.loaded import Loaded
from newsletter.wiring.parts import database


def token_store(loaded: Loaded, say: Callable[[str], None] = lambda _: None) -> TokenStore:
    """The tokens, on a database that is up to date (see `parts.audience_store`)."""
    from newsletter.store.api_tokens import SqlTokens  # see parts.database
    from newsletter.store.upgrade import ensure_current

    engine = database(loaded)
    ensure_current(engine, say)
    return SqlTokens(engine)
