"""The headers of a run: the same on every message but for the few that name the recipient."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from newsletter.rendering.escaping import ascii_domain

_DOMAIN = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")


@dataclass(frozen=True, slots=True)
class Letterhead:
    """What all messages of a run have in common, apart from the rendered issue.

    `sender` and `reply_to` are RFC 5322 mailboxes (`Daily Buzz <buzz@news.example.com>`); `list_id` is the bare
    identifier of RFC 2919 (`daily-buzz.news.example.com`); `list_name` its description; `feedback_id` the value of
    Gmail's Feedback-ID, without anything that differs per message; `date` carries its zone.
    `transactional`: the answer to what one person did (a confirmation), not mail to a list. It says that a program
    wrote it (RFC 3834), and has no List-Id and nothing to unsubscribe from.
    """

    sender: str
    reply_to: str
    list_id: str
    list_name: str
    feedback_id: str
    date: dt.datetime
    transactional: bool = False


def message_id(run: str, subscriber_id: str, domain: str) -> str:
    """The Message-ID of one subscriber's message in one run, with its angle brackets (RFC 5322, section 3.6.4).

    Always the same for the two, and never for another two. Opaque: 128 bits of a hash, so neither the address nor the
    subscriber's number can be read from it. `domain` is the sender's; ValueError if it is none.
    """
    return message_ids(run, [subscriber_id], domain)[0]


def message_ids(run: str, subscriber_ids: Iterable[str], domain: str) -> list[str]:
    """The `message_id` of each of these subscribers. ValueError where `domain` is none."""
    try:
        right = ascii_domain(domain)
    except ValueError:
        right = ""
    if not _DOMAIN.fullmatch(right):
        raise ValueError(f"a Message-ID needs the sender's domain, not {domain!r}")
    end = f"@{right}>"
    # The length in front keeps ("a", "bc") and ("ab", "c") apart.
    of_run = hashlib.sha256(f"{len(run)}:{run}".encode("utf-8", "surrogatepass"))
    made = []
    for subscriber_id in subscriber_ids:
        digest = of_run.copy()
        digest.update(subscriber_id.encode("utf-8", "surrogatepass"))
        made.append(f"<{digest.hexdigest()[:32]}{end}")
    return made
