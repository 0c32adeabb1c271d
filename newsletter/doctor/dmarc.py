"""DMARC records: what receivers are to do with mail that claims to be from a domain and is not. Pure but for questions.

RFC 7489, and the walk up the tree of names that its successor has in place of a list of public suffixes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from newsletter.doctor.dkim_records import tags
from newsletter.doctor.model import Texts

_POLICIES = ("none", "quarantine", "reject")


class DmarcFault(Exception):
    """The record is broken, and receivers take it for none."""


@dataclass(frozen=True, slots=True)
class Dmarc:
    """The record that holds for a domain; `at` is the domain that has it: itself, or one above.

    `policy` is the one for the domain asked for: of a domain above, what it says of its subdomains. `strict_dkim` and
    `strict_spf`: the signing or envelope domain must be the very same. `reports`: whether anybody gets any.
    """

    at: str
    policy: str
    strict_dkim: bool
    strict_spf: bool
    reports: bool


def read_dmarc(domain: str, texts: Texts) -> Dmarc | None:
    """The record for a From domain; None where there is none. Raises DmarcFault and Unanswered."""
    labels = domain.rstrip(".").split(".")
    # one label alone is a top-level domain; the walk is at most eight names long
    for at in [".".join(labels[start:]) for start in range(max(1, len(labels) - 1))][:8]:
        found = [text for text in texts(f"_dmarc.{at}") or () if re.match(r"v\s*=\s*DMARC1\s*(?:;|$)", text)]
        if len(found) > 1:
            raise DmarcFault(f"_dmarc.{at} has {len(found)} DMARC records, and may have one")
        if found:
            return _read(found[0], at, below=at != domain.rstrip("."))
    return None


def _read(record: str, at: str, *, below: bool) -> Dmarc:
    try:
        given = {name.lower(): value for name, value in tags(record).items()}
    except ValueError as error:
        raise DmarcFault(f"the DMARC record of _dmarc.{at} cannot be read: {error}") from None
    policy = given.get("p", "").lower()
    if below:
        policy = given.get("sp", policy).lower()
    if policy not in _POLICIES:
        raise DmarcFault(f"the DMARC record of _dmarc.{at} has no policy p={'|'.join(_POLICIES)}")
    return Dmarc(
        at,
        policy,
        strict_dkim=given.get("adkim", "r").lower() == "s",
        strict_spf=given.get("aspf", "r").lower() == "s",
        reports=bool(given.get("rua")),
    )


def aligned(other: str, domain: str, record: Dmarc, *, strict: bool) -> bool:
    """Whether a signing or envelope domain counts as the From domain's own: it is the same; or, unless `strict`, below
    the domain that has the record, or one of the two is below the other."""
    other, domain, top = other.lower(), domain.lower(), record.at.lower()
    if strict or other == domain:
        return other == domain
    return _below(other, top) or _below(other, domain) or _below(domain, other)


def _below(name: str, top: str) -> bool:
    return name == top or name.endswith(f".{top}")
