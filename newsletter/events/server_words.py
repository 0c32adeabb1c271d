"""What a server's code and words together say of a failed delivery: is it the mailbox, the moment, or us. Pure.

Many servers give a general code, such as `5.0.0`, or none, and say the rest in words; those are read where the code
does not say. Where nothing is clear the failure counts as a soft one: those become a hard one by repetition
(`bounces.soft_limit`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from newsletter.events.model import EventKind
from newsletter.events.status_codes import kind_of_status

#: Not within a longer number, such as an IP address.
_ENHANCED = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?!\.?\d)")
#: Not a telephone number.
_REPLY = re.compile(r"(?<![\d.\[(-])([45][0-5]\d)(?=[ -](?!\d{3}-))")

#: Says that it failed, and not why: some servers give these to every 5yz reply (`5.4.1` and `5.5.0` are Microsoft's).
_GENERAL = re.compile(r"[45]\.[0-5]\.0|[45]\.4\.1")

_START, _END = r"(?<![\w.@-])(?:", r")(?![\w@-])"
#: The mailbox is full, or it may work later.
_LATER = re.compile(
    _START + r"try again|temporar(?:y|ily)|timed? ?out|over ?quota|quota|out of (?:disk )?space"
    r"|(?:mailbox|inbox|folder)(?: for \S+)?(?: is)? (?:full|too large|size limit)"
    r"|insufficient (?:system )?(?:storage|disk)|not enough (?:storage|disk) space"
    r"|exceeded (?:its |the )?storage|storage (?:limit|allocation)" + _END,
    re.IGNORECASE,
)
_BLOCKED = re.compile(
    _START + r"spam|unsolicited|blocked|block ?list(?:ed)?|blacklist(?:ed)?|banned|reputation|policy"
    r"|dmarc|spf|dkim|virus|dnsbl|rbl|access denied|content (?:rejected|filter)|not authori[sz]ed"
    r"|relay(?:ing)? (?:access )?(?:not permitted|denied|not allowed)|too many hops|loop(?:ing)?"
    r"|message (?:size|length)|message too (?:large|big|long)" + _END,
    re.IGNORECASE,
)
_MAILBOX = r"(?:user|recipient|address(?:ee)?|mailbox|account|host|domain|person|alias|userid)"
_NOBODY = re.compile(
    _START + _MAILBOX + r"(?: \S+)?(?: is| was| has been)? "
    r"(?:unknown|not known|not found|unavailable|invalid|inactive|disabled|closed|suspended|discontinued|deactivated)"
    r"|(?:unknown|no such|invalid|illegal|non-?existent|bad|unrouteable|undeliverable|inactive|disabled)"
    r"(?: \S+){0,2} " + _MAILBOX + r"|do(?:es)?(?: not|n't) exist|do(?:es)?n't have an? \S+ account"
    r"|no (?:mailbox|account|user|recipient)(?: here)?(?: by that name)?|nxdomain|name or service not known"
    r"|(?:recipient|user)(?: name)? is not recogni[sz]ed"
    r"|not (?:a )?(?:valid|our|known) (?:user|recipient|customer|mailbox|address)|(?:user )?not (?:listed|found) in"
    + _END,
    re.IGNORECASE,
)


def failure(status: str, words: str) -> tuple[EventKind, str]:
    """What a failure is, and its code: an enhanced one (`5.1.1`), else a reply code (`550`), else ''.

    `status` is the Status field of RFC 3464, or ''; `words` are the Diagnostic-Code, or whatever text there is. A code
    that says something, wherever it stands, counts more than a general one.
    """
    codes = [code for text in (status, words) for code in _enhanced(text) if not code.startswith("2")]
    telling = next((code for code in codes if not _GENERAL.fullmatch(code)), "")
    if telling:
        return kind_of_status(telling) or EventKind.SOFT_BOUNCE, telling
    reply = _REPLY.search(words)
    shown = codes[0] if codes else reply[1] if reply else ""
    kind = _of_words(words)
    if kind is EventKind.HARD_BOUNCE and shown.startswith("4"):
        kind = EventKind.SOFT_BOUNCE  # there may be such a mailbox later, the server says
    return kind or EventKind.SOFT_BOUNCE, shown


def status_of(text: str) -> str:
    """The first enhanced status code in it, or ''."""
    return next(_enhanced(text), "")


def _enhanced(text: str) -> Iterator[str]:
    return (".".join(str(int(part)) for part in found.groups()) for found in _ENHANCED.finditer(text))


def _of_words(words: str) -> EventKind | None:
    """In doubt the one that does less: who is over quota, or blocks us, may well exist."""
    flat = " ".join(words.split())
    if _LATER.search(flat):
        return EventKind.SOFT_BOUNCE
    if _BLOCKED.search(flat):
        return EventKind.BLOCKED
    return EventKind.HARD_BOUNCE if _NOBODY.search(flat) else None
