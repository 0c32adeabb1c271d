"""What the SMTP test server is told to do, and what it tells of what it did."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Reaction:
    """What the server does at one step in place of what it would do.

    `say`: these octets, as they are. `accept`: whether the message counts as accepted; by default where `say` begins
    with `2`. `close` (in order) or `reset` (RST) ends the connection, `hang` stops answering on it for good.
    """

    say: bytes = b""
    accept: bool | None = None
    close: bool = False
    reset: bool = False
    hang: bool = False


@dataclass(frozen=True)
class Moment:
    """Where a server is: the `step` (connect, EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, content, RSET, NOOP, QUIT), how
    often that step came before, on all connections, the recipient, where there is one, and the connection's number."""

    step: str
    before: int
    address: str
    connection: int


@dataclass(frozen=True)
class Taken:
    """One message that the server answers for."""

    address: str
    sender: str
    message: bytes
    connection: int


@dataclass
class Script:
    """How a server behaves.

    `react` is asked first, at every step; `rcpt` and `content` are answers by recipient. `cut_in` and `cut_out` are how
    many octets the connection of that number, counted from 0, may read or write: what it read is dealt with, then it is
    closed before it answers. `data_despite_refusal`: 354 though the recipient was refused, or the sender: then the
    recipient is taken. `piece`: answers are written so many octets at a time, with a `pause` in seconds behind each.
    """

    pipelining: bool = True
    size: int | None = 50_000_000
    delay: float = 0.0
    tls: ssl.SSLContext | None = None
    tls_from_start: bool = False
    logins: Mapping[str, str] = field(default_factory=dict)
    mechanisms: Sequence[str] = ("PLAIN", "LOGIN")
    login_needs_tls: bool = False
    rcpt: dict[str, bytes] = field(default_factory=dict)
    content: dict[str, bytes] = field(default_factory=dict)
    data_despite_refusal: bool = False
    react: Callable[[Moment], Reaction | None] = lambda _moment: None
    cut_in: Mapping[int, int] = field(default_factory=dict)
    cut_out: Mapping[int, int] = field(default_factory=dict)
    cut_by_reset: bool = True
    piece: int | None = None
    pause: float = 0.0
    keep_messages: bool = True
