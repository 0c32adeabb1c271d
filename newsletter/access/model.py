"""Tokens of the API: what they allow, and how they are kept (as hashes)."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

#: So that a token that leaked is recognised for what it is.
PREFIX = "nlt_"
_BYTES = 32


class Scope(StrEnum):
    """What a token allows."""

    #: Look at subscribers, runs and issues.
    READ = "read"
    #: Add, change and remove subscribers.
    SUBSCRIBERS = "subscribers"
    #: Approve, send, pause, resume and cancel.
    SEND = "send"


@dataclass(frozen=True, slots=True)
class ApiToken:
    """A token without its secret."""

    id: int
    name: str
    scopes: frozenset[Scope]
    created_at: dt.datetime
    revoked_at: dt.datetime | None = None


def new_token() -> str:
    """A new secret: 256 random bits behind `PREFIX`. Shown once, and never kept."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


def digest_of(token: str) -> bytes:
    """What is kept of a token: its SHA-256. It holds 256 random bits, so a slow hash would add nothing."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class TokenStore(Protocol):
    """Every method is one transaction."""

    def add(self, name: str, digest: bytes, scopes: Iterable[Scope], *, now: dt.datetime) -> ApiToken:
        """Keeps a token. Raises GuardRefused where one of that name is in use."""
        ...

    def find(self, digest: bytes) -> ApiToken | None:
        """The token with this digest; None where there is none or it was revoked. Changes nothing."""
        ...

    def tokens(self) -> Sequence[ApiToken]:
        """All of them, revoked ones too, by name."""
        ...

    def revoke(self, name: str, *, now: dt.datetime) -> bool:
        """It holds no more. False where there is none in use."""
        ...
