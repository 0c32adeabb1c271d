"""The key that the addresses of erased people are hashed with: made once, kept in the database, never changed.

It must be wherever the hashes are, and nowhere do they serve without it: see docs/decisions/0009-erased-people.md.
"""

from __future__ import annotations

import secrets

import sqlalchemy as sa

from newsletter.store.engine import reading, writing
from newsletter.store.mailing_lists import insert_new
from newsletter.store.tables import setting

_NAME = "erasure_key"
#: As long as the hash (RFC 2104, 3).
_BYTES = 32


def erasure_key(engine: sa.Engine) -> bytes:
    """The key, 32 bytes; made on first use. Of two processes that make one, both get the first one's."""
    with reading(engine) as connection:
        kept = connection.scalar(_KEPT)
    if kept is None:
        with writing(engine) as connection:
            new = insert_new(connection, setting).values(name=_NAME, value=secrets.token_hex(_BYTES))
            connection.execute(new)
            kept = connection.scalars(_KEPT).one()
    return bytes.fromhex(kept)


_KEPT = sa.select(setting.c.value).where(setting.c.name == _NAME)
