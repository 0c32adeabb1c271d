"""Tokens of the API: `TokenStore` on a database. What is kept of a token is its digest; nothing leads back to it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from newsletter.access.model import ApiToken, Scope
from newsletter.errors import GuardRefused
from newsletter.store.advisory_locks import AdvisoryLock, hold
from newsletter.store.delivery_notes import clean
from newsletter.store.engine import reading, writing
from newsletter.store.person_rows import moment, seconds
from newsletter.store.tables import api_token as table

_IN_USE = table.c.revoked_at.is_(None)


class SqlTokens:
    """`TokenStore` on SQLite and PostgreSQL, its tables up to date. Raises what `newsletter.store.failures` says."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(self, name: str, digest: bytes, scopes: Iterable[Scope], *, now: dt.datetime) -> ApiToken:
        """See `TokenStore`."""
        values = {
            "name": clean(name),
            "digest": digest,
            "scopes": " ".join(sorted({scope.value for scope in scopes})),
            "created_at": seconds(now),
        }
        with writing(self._engine) as connection:
            hold(connection, AdvisoryLock.TOKENS)
            if connection.scalar(sa.select(table.c.id).where(table.c.name == values["name"], _IN_USE)) is not None:
                raise GuardRefused(
                    f"a token named {values['name']} is in use",
                    hint=f"Revoke it first (`newsletter tokens revoke {values['name']}`), or take another name.",
                )
            return _read(connection.execute(sa.insert(table).values(values).returning(table)).one())

    def find(self, digest: bytes) -> ApiToken | None:
        """See `TokenStore`."""
        with reading(self._engine) as connection:
            row = connection.execute(sa.select(table).where(table.c.digest == digest, _IN_USE)).one_or_none()
        return _read(row) if row else None

    def tokens(self) -> Sequence[ApiToken]:
        """See `TokenStore`."""
        with reading(self._engine) as connection:
            rows = connection.execute(sa.select(table).order_by(table.c.id)).all()
        return sorted(map(_read, rows), key=lambda one: one.name)

    def revoke(self, name: str, *, now: dt.datetime) -> bool:
        """See `TokenStore`."""
        revoked = sa.update(table).where(table.c.name == clean(name), _IN_USE).values(revoked_at=seconds(now))
        with writing(self._engine) as connection:
            return connection.execute(revoked).rowcount > 0


def _read(row: sa.Row[Any]) -> ApiToken:
    return ApiToken(
        id=row.id,
        name=row.name,
        # a scope that an older program does not know allows nothing
        scopes=frozenset(scope for scope in Scope if scope in row.scopes.split()),
        created_at=moment(row.created_at),
        revoked_at=None if row.revoked_at is None else moment(row.revoked_at),
    )
