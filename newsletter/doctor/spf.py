"""SPF records (RFC 7208): what a domain says of who may send with it in the envelope. Pure but for the questions."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from newsletter.doctor.model import Texts

#: More terms that need the DNS make every check of the record fail (RFC 7208, section 4.6.4).
MOST_LOOKUPS = 10
_MECHANISM = re.compile(r"([+?~-]?)(all|include|a|mx|ptr|ip4|ip6|exists)(?:([:/])(.*))?", re.IGNORECASE)
_MODIFIER = re.compile(r"([a-z][a-z0-9_.-]*)=(.*)", re.IGNORECASE)
_ASKS = {"include", "a", "mx", "ptr", "exists"}


class SpfFault(Exception):
    """The record is broken: receivers treat it as an error (permerror), whoever sends."""


@dataclass(frozen=True, slots=True)
class Spf:
    """A record that works. `lookups`: how many of its terms need the DNS; `ending`: `-all`, `~all`, `?all` or `+all`,
    where none is written `?all`."""

    record: str
    lookups: int
    ending: str


def read_spf(domain: str, texts: Texts) -> Spf | None:
    """The record of a domain with all that it includes; None where there is none. Raises SpfFault and Unanswered."""
    record = _record(domain, texts(domain) or ())
    if record is None:
        return None
    reader = _Reader(texts)
    return Spf(record, ending=reader.read(domain, record), lookups=reader.lookups)


def _record(domain: str, found: Sequence[str]) -> str | None:
    records = [text for text in found if re.match(r"v=spf1(?: |$)", text, re.IGNORECASE)]
    if len(records) > 1:
        raise SpfFault(f"{domain} has {len(records)} SPF records, and may have one")
    return records[0] if records else None


class _Reader:
    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self.lookups = 0

    def read(self, domain: str, record: str) -> str:
        """Follows a record; how it ends."""
        ending = redirect = ""
        for term in record.split()[1:]:
            mechanism = _MECHANISM.fullmatch(term)
            if mechanism:
                qualifier, kind, _, value = mechanism.groups()
                if kind.lower() == "all":
                    ending = f"{qualifier or '+'}all"
                    break
                self._follow(kind.lower(), value or "", term)
            elif modifier := _MODIFIER.fullmatch(term):
                if modifier[1].lower() == "redirect":
                    redirect = modifier[2]
            else:
                raise SpfFault(f"the SPF record of {domain} has a term that does not exist: {term}")
        if not ending and redirect:
            return self._of_other("redirect=", redirect)
        return ending or "?all"

    def _follow(self, kind: str, value: str, term: str) -> None:
        if kind in ("ip4", "ip6"):
            try:
                network = ipaddress.ip_network(value, strict=False)
            except ValueError:
                raise SpfFault(f"{term} is no address or network") from None
            if network.version != int(kind[2]):
                raise SpfFault(f"{term} is an address of the other kind")
        elif kind == "include":
            if not value:
                raise SpfFault(f"{term} names no domain")
            self._of_other("include:", value)
        elif kind in _ASKS:
            self._count()

    def _of_other(self, how: str, domain: str) -> str:
        self._count()
        if "%" in domain:
            return "?all"  # a macro: filled in by receivers, per message
        record = _record(domain, self._texts(domain) or ())
        if record is None:
            raise SpfFault(f"{how}{domain} names a domain without an SPF record")
        return self.read(domain, record)

    def _count(self) -> None:
        self.lookups += 1
        if self.lookups > MOST_LOOKUPS:
            raise SpfFault(f"the SPF record needs more than {MOST_LOOKUPS} questions to the DNS")
