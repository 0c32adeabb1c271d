"""Tokens of the API: found by their digest, and by nothing once they are revoked. On both databases."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from newsletter.access.model import PREFIX, ApiToken, Scope, digest_of, new_token
from newsletter.errors import GuardRefused
from newsletter.store import tables
from newsletter.store.api_tokens import SqlTokens
from newsletter.store.engine import writing

NOW = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(days=1)


@pytest.fixture
def tokens(database: sa.Engine) -> SqlTokens:
    return SqlTokens(database)


def test_a_token_is_found_by_its_digest_until_it_is_revoked(tokens: SqlTokens) -> None:
    secret = new_token()
    added = tokens.add("shop", digest_of(secret), [Scope.SUBSCRIBERS, Scope.READ, Scope.READ], now=NOW)
    assert added == ApiToken(added.id, "shop", frozenset({Scope.READ, Scope.SUBSCRIBERS}), NOW)
    assert tokens.find(digest_of(secret)) == added
    assert tokens.find(digest_of(new_token())) is None
    assert tokens.find(b"") is None
    assert tokens.revoke("shop", now=LATER)
    assert tokens.find(digest_of(secret)) is None
    assert not tokens.revoke("shop", now=LATER)
    assert not tokens.revoke("unheard of", now=LATER)
    assert [(one.name, one.revoked_at) for one in tokens.tokens()] == [("shop", LATER)]


def test_a_name_is_in_use_once_and_free_after_its_token_was_revoked(tokens: SqlTokens) -> None:
    tokens.add("shop", b"1" * 32, [Scope.READ], now=NOW)
    with pytest.raises(GuardRefused, match="a token named shop is in use"):
        tokens.add(" shop\n", b"2" * 32, [Scope.SEND], now=NOW)
    assert tokens.find(b"2" * 32) is None
    tokens.revoke("shop", now=NOW)
    tokens.add("shop", b"3" * 32, [Scope.SEND], now=LATER)
    tokens.add("agenda", b"4" * 32, [], now=LATER)
    assert [(one.name, one.revoked_at) for one in tokens.tokens()] == [("agenda", None), ("shop", NOW), ("shop", None)]
    # revoking takes the one that is in use
    assert tokens.revoke("shop", now=LATER)
    assert [one.revoked_at for one in tokens.tokens()] == [None, NOW, LATER]


def test_of_many_who_add_the_same_name_at_once_one_does(tokens: SqlTokens) -> None:
    def add(number: int) -> bool:
        try:
            tokens.add("shop", bytes([number]) * 32, [Scope.READ], now=NOW)
        except GuardRefused:
            return False
        return True

    with ThreadPoolExecutor(max_workers=4) as pool:
        assert sum(pool.map(add, range(8))) == 1
    assert len(tokens.tokens()) == 1


def test_a_scope_that_this_program_does_not_know_allows_nothing(tokens: SqlTokens, database: sa.Engine) -> None:
    with writing(database) as connection:
        values = {"name": "old", "digest": b"5", "scopes": "admin read", "created_at": 1}
        connection.execute(sa.insert(tables.api_token).values(values))
    assert [one.scopes for one in tokens.tokens()] == [frozenset({Scope.READ})]


def test_nothing_of_the_secret_is_kept(tokens: SqlTokens, database: sa.Engine) -> None:
    secret = new_token()
    tokens.add("shop", digest_of(secret), [Scope.READ], now=NOW)
    with database.connect() as connection:
        kept = repr([bytes(row.digest) for row in connection.execute(sa.select(tables.api_token))])
    assert secret not in kept
    assert secret.startswith(PREFIX)
    assert len({digest_of(new_token()) for _ in range(50)}) == 50
