"""Email addresses: what can be mailed, and what tells two people apart. No DNS is asked.

email-validator decides. It takes 30 µs an address; what nearly every address looks like is decided here by a pattern
in less than one, with the same result (a test compares the two).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress, repeat

import email_validator
import idna
from email_validator.rfc_constants import CASE_INSENSITIVE_MAILBOX_NAMES

#: RFC 5321, 4.5.3.1.3: a path has at most 256 octets, with its angle brackets.
LONGEST = 254
#: RFC 5321, 4.5.3.1.1; email-validator lets more pass.
_LONGEST_LOCAL = 64
#: Readers decode what begins with this wherever it stands (RFC 2047), so no header holds it as it is.
_ENCODED_WORD = "=?"
#: The signs of RFC 5322's atoms, for a regular expression.
_ATOM = r"a-zA-Z0-9_!#$%&'*+\-/=?^`{|}~"
#: A local part that is nothing but these, with single dots between.
_PLAIN_LOCAL = re.compile(rf"[{_ATOM}]++(?:\.[{_ATOM}]++)*+", re.ASCII)
#: The same wherever its dots are, which takes half as long.
_SIGNS_OF_LOCAL = re.compile(rf"[{_ATOM}.]++", re.ASCII)
#: A host name of letters and digits with single hyphens inside its labels; `--` marks an IDN, among others.
_PLAIN_DOMAIN = re.compile(r"(?:[a-zA-Z0-9]++(?:-[a-zA-Z0-9]++)*+\.)+([a-zA-Z]{2,63})", re.ASCII)
#: The same of many, a line each: the domain, and what stands behind its last dot.
_PLAIN_DOMAINS = re.compile(rf"^({_PLAIN_DOMAIN.pattern})$", re.ASCII | re.MULTILINE)
#: RFC 1035, 2.3.4: a label has at most 63 octets. Whoever has no more than that in all needs no look at each.
_LONGEST_PLAIN_DOMAIN = 63
_RESERVED = frozenset(name.rpartition(".")[2] for name in email_validator.SPECIAL_USE_DOMAIN_NAMES)
#: A longer domain is left to a closer look; behind any local part this one keeps within the limit.
_LONGEST_ORDINARY_DOMAIN = LONGEST - 1 - _LONGEST_LOCAL
#: RFC 2142: these are spelled in lower case.
_ROLES = frozenset(CASE_INSENSITIVE_MAILBOX_NAMES)
#: How many domains are remembered; a million addresses have some ten thousand, most of them once.
_DOMAINS = 10_000


class BadAddress(ValueError):
    """Not an address that can be mailed; the message says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """`address` for sending, with its domain as A-labels; `key`, equal for two spellings of one mailbox.

    RFC 5321 lets the local part be case-sensitive; no mailbox provider of note is, and somebody who signs up as
    `Anna@` and `anna@` is one person. So the key ignores case.
    """

    address: str
    key: str

    @property
    def shown(self) -> str:
        """For people to read: an IDN in its own script."""
        return displayed(self.address)


def parse_address(text: str) -> Address:
    """The address in `text`. Raises BadAddress.

    The local part must be ASCII: a server that takes others (SMTPUTF8, RFC 6531) cannot be counted on.
    """
    address = mailable(text)
    return Address(address, address.lower())


def mailable(text: str) -> str:
    """The address in `text` as it is sent to; in lower case it is the key. Raises BadAddress."""
    stripped = text.strip().removeprefix("\ufeff")
    local, at, domain = stripped.rpartition("@")
    if at and (reason := _not_in_a_mail(local)):
        raise BadAddress(reason)
    if at and _PLAIN_LOCAL.fullmatch(local):
        # a longer domain is none, and must not be remembered
        ascii_domain = _ascii_domain(domain) if len(domain) <= LONGEST else None
        if ascii_domain and len(local) + 1 + max(len(domain), len(ascii_domain)) <= LONGEST:
            lower = local.lower()
            return f"{lower if lower in _ROLES else local}@{ascii_domain}"
    return _validated(stripped)


def plainly_mailable(texts: Sequence[str]) -> list[str]:
    """`mailable` of each, many at a time, where a look tells what it says; '' where that takes more than one, and where
    an apostrophe in front may be the guard of a spreadsheet (`spreadsheets`)."""
    local_parts, ats, domains = zip(*map(str.rpartition, map(str.strip, texts), repeat("@")), strict=True)
    together = "\n".join(["", *local_parts, ""])
    if ".." in together or "\n." in together or ".\n" in together or "\n'" in together:
        local_parts = tuple(local if _PLAIN_LOCAL.fullmatch(local) and local[0] != "'" else "" for local in local_parts)
    if max(map(len, local_parts)) > _LONGEST_LOCAL or _ENCODED_WORD in together:
        local_parts = tuple("" if _not_in_a_mail(local) else local for local in local_parts)
    if not _ROLES.isdisjoint(map(str.lower, local_parts)):
        # others become ASCII in lower case: the sign of Kelvin, for one
        local_parts = tuple(
            lower if (lower := local.lower()) in _ROLES and local.isascii() else local for local in local_parts
        )
    plain = map(_SIGNS_OF_LOCAL.fullmatch, local_parts)
    ascii_domains = map(_ascii_domains(set(compress(domains, ats))).get, domains)
    return [
        f"{local}@{domain}" if signs and domain else ""
        for local, signs, domain in zip(local_parts, plain, ascii_domains, strict=True)
    ]


def _not_in_a_mail(local: str) -> str:
    """Why no message can be addressed to this local part, whatever email-validator says of it; '' where one can."""
    if len(local) > _LONGEST_LOCAL:
        return f"more than {_LONGEST_LOCAL} characters before the @"
    return f"{_ENCODED_WORD} before the @ begins an encoded word" if _ENCODED_WORD in local else ""


def _ascii_domains(domains: Collection[str]) -> dict[str, str]:
    """Each domain as A-labels, where it is one behind every plain local part; else ''."""
    found = {
        domain: domain.lower()
        for domain, last in _PLAIN_DOMAINS.findall("\n".join(domains))
        if len(domain) <= _LONGEST_PLAIN_DOMAIN and last.lower() not in _RESERVED
    }
    for domain in domains:
        if domain not in found:
            ascii_domain = (_ascii_domain(domain) or "") if len(domain) <= _LONGEST_ORDINARY_DOMAIN else ""
            found[domain] = ascii_domain if len(ascii_domain) <= _LONGEST_ORDINARY_DOMAIN else ""
    return found


def displayed(address: str) -> str:
    """The address for people to read: an IDN in its own script, where that spelling leads to the same mailbox."""
    local, _, domain = address.rpartition("@")
    return f"{local}@{_unicode_domain(domain)}" if "xn--" in domain else address


@lru_cache(_DOMAINS)
def _unicode_domain(domain: str) -> str:
    try:
        shown = idna.decode(domain)
        again = mailable(f"a@{shown}")
    except (idna.IDNAError, BadAddress):
        return domain
    return shown if again == f"a@{domain}" and shown.isprintable() else domain


@lru_cache(_DOMAINS)
def _ascii_domain(domain: str) -> str | None:
    """The domain as A-labels in lower case; None where email-validator has something to say about it."""
    plain = _PLAIN_DOMAIN.fullmatch(domain) if len(domain) <= _LONGEST_PLAIN_DOMAIN else None
    if plain and plain[1].lower() not in _RESERVED:
        return domain.lower()
    try:
        return email_validator.validate_email(f"a@{domain}", check_deliverability=False).ascii_domain
    except email_validator.EmailNotValidError:
        return None


def _validated(stripped: str) -> str:
    """What email-validator says."""
    if not stripped:
        raise BadAddress("the address is empty")
    if len(stripped) > LONGEST:
        raise BadAddress(f"longer than {LONGEST} characters")
    try:
        parsed = email_validator.validate_email(stripped, check_deliverability=False, allow_smtputf8=False)
    except email_validator.EmailNotValidError as error:
        raise BadAddress(str(error).rstrip(".")) from None
    return parsed.ascii_email or parsed.normalized
