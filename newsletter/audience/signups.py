"""Somebody asks for a newsletter on the web, and confirms it from a mail (double opt-in)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

#: Where a dot in the local part makes no other address (https://support.google.com/mail/answer/7436150).
_DOTS_SAY_NOTHING = frozenset({"gmail.com", "googlemail.com"})


@dataclass(frozen=True, slots=True)
class SignUpRequest:
    """What somebody typed, and where. `wording` is the sentence that stood beside the button; `ip` is '' where it is
    not known. `source` is the page, or `api`, `import:people.csv`."""

    newsletter: str
    list: str
    key: str
    address: str
    name: str = ""
    language: str = ""
    timezone: str = ""
    source: str = ""
    wording: str = ""
    ip: str = ""


@dataclass(frozen=True, slots=True)
class SignUp:
    """A request as it is kept. `mailed_at` is when its confirmation mail went out, `confirmed_at` when the person
    pressed the button in the page that it leads to."""

    id: int
    request: SignUpRequest
    asked_at: dt.datetime
    expires_at: dt.datetime
    mailed_at: dt.datetime | None = None
    confirmed_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Quota:
    """So many requests an hour for one `bucket` of a `scope`: ("ip", "203.0.113.7"), ("domain", "example.net"),
    ("all", ""). Buckets are kept as keyed hashes."""

    scope: str
    bucket: str
    per_hour: int


class Asked(StrEnum):
    """What became of a request. Whoever asked is told the same of the first two."""

    #: A confirmation mail is due.
    DUE = "due"
    #: One went out, or was due, not long ago.
    AGAIN = "again"
    #: A quota is used up, nothing was written down.
    OVER_QUOTA = "over_quota"


def mailbox_of(key: str) -> str:
    """Where the mail of an address key arrives: the same for `anna@` and `anna+news@`, of Gmail also for `a.n.n.a@`.

    To hold back mail, never to tell two people apart: not every server delivers what stands behind a + to one person.
    """
    local, _, domain = key.rpartition("@")
    local = local.partition("+")[0] or local
    if domain in _DOTS_SAY_NOTHING:
        return f"{local.replace('.', '')}@gmail.com"
    return f"{local}@{domain}"


class SignUpStore(Protocol):
    """Every method is one transaction."""

    def ask(
        self,
        request: SignUpRequest,
        quotas: Sequence[Quota],
        *,
        expires_after: dt.timedelta,
        again_after: dt.timedelta,
        now: dt.datetime,
    ) -> Asked:
        """Counts the request against every quota and puts it down: one row for each (key, newsletter). Its mail
        is due only where none went out within `again_after`, nor waits, to the same mailbox (`mailbox_of`) for any
        newsletter, but those that were confirmed. A later request says things anew where its mail is due anew; until
        then what was said first stands, and only the time in which it can be confirmed is longer."""
        ...

    def due(self, *, limit: int, now: dt.datetime) -> Sequence[SignUp]:
        """Those whose mail is due, the oldest first. They are marked as mailed before this returns, so that no crash
        and no second process mails them twice; `postpone` takes that back."""
        ...

    def postpone(self, signup_id: int, until: dt.datetime) -> None:
        """The mail certainly did not go out: it is due again then."""
        ...

    def find(self, signup_id: int) -> SignUp | None:
        """The request of this number; None where it was pruned or never was."""
        ...

    def of_person(self, key: str) -> Sequence[SignUp]:
        """The requests that are kept for one address, the oldest first: part of what is held about somebody."""
        ...

    def confirmed(self, signup_id: int, *, now: dt.datetime) -> None:
        """The person confirmed it. May be repeated; the first time counts. Mails of other requests of the same address
        that were held back for this one's sake are due."""
        ...

    def prune(self, *, now: dt.datetime, again_after: dt.timedelta = dt.timedelta(days=1)) -> int:
        """Removes what expired and was not mailed within `again_after`, and counts of hours that are over; how many
        requests."""
        ...
