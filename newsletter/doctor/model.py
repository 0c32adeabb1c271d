"""What a check finds, and what it looks with. Values only."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from newsletter.delivery.provider import MailProvider
    from newsletter.settings.loaded import Loaded


class Status(StrEnum):
    """What came of a check; the words of `doctor --json`."""

    #: As it should be.
    PASS = "pass"  # noqa: S105 - no password
    #: Works, and should be looked at.
    WARN = "warn"
    #: A newsletter cannot go out, or would not arrive.
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. `about` is the newsletter, provider, domain or folder, where there can be several; `do` says
    what to do where it is not a pass."""

    check: str
    status: Status
    message: str
    do: str = ""
    about: str = ""


@dataclass(frozen=True, slots=True)
class NotChecked:
    """What could not be looked at, and why: neither good nor bad is known of it."""

    check: str
    why: str
    about: str = ""


Result = Finding | NotChecked


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """Which step the tables are at (None: before the first) and which the program needs; `empty`: no table at all."""

    current: str | None
    head: str
    empty: bool


#: The strings of a name's TXT records, each record's joined; None where the name does not exist.
#: Raises `newsletter.doctor.dns_questions.Unanswered`.
Texts = Callable[[str], Sequence[str] | None]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What checks look at and with. The callables raise NewsletterError; `provider` makes one that is not connected,
    `refuse_unfit` raises where this installation cannot send a newsletter by workers.

    `online`: whether name servers, providers and web servers may be asked. `database_time` is the clock of the
    database's server, None where the database is a file. `now` is this machine's clock.
    """

    loaded: Loaded
    environ: Mapping[str, str]
    online: bool
    texts: Texts
    template_roots: tuple[Path, ...]
    database: Callable[[], DatabaseFacts]
    database_time: Callable[[], dt.datetime] | None
    provider: Callable[[str], MailProvider]
    refuse_unfit: Callable[[str], None]
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)


#: One check: yields what it finds, at least one thing.
Check = Callable[[Surroundings], Iterator[Result]]
