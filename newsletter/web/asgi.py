"""The types of ASGI, and what is asked of a request everywhere.

https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Methods that only look (RFC 9110, section 9.2.1).
SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
#: Tokens of links have 32 characters, those of the API more.
_TOKEN = re.compile(r"[A-Za-z0-9_.~=%-]{24,}")


def header(scope: Scope, name: bytes) -> str:
    """The value of a header field, its lines joined (RFC 9110, section 5.3); '' where there is none."""
    return ", ".join(value.decode("latin-1") for key, value in scope["headers"] if key == name)


def discreet_path(scope: Scope) -> str:
    """The path for a log: without tokens, and without its query."""
    return _TOKEN.sub("…", str(scope["path"]))[:200]


def under(scope: Scope, *folders: str) -> bool:
    """Whether the path lies under one of these (`/api`)."""
    path = scope["path"]
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)
