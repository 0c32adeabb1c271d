"""Email addresses: what can be mailed, and what tells two people apart. No DNS is asked."""

from __future__ import annotations

from dataclasses import dataclass

import email_validator

#: RFC 5321, 4.5.3.1.3: a path has at most 256 octets, with its angle brackets.
LONGEST = 254


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


def parse_address(text: str) -> Address:
    """The address in `text`. Raises BadAddress.

    The local part must be ASCII: a server that takes others (SMTPUTF8, RFC 6531) cannot be counted on.
    """
    stripped = text.strip().removeprefix("\ufeff")
    if not stripped:
        raise BadAddress("the address is empty")
    if len(stripped) > LONGEST:
        raise BadAddress(f"longer than {LONGEST} characters")
    try:
        parsed = email_validator.validate_email(stripped, check_deliverability=False, allow_smtputf8=False)
    except email_validator.EmailNotValidError as error:
        raise BadAddress(str(error).rstrip(".")) from None
    ascii_address = parsed.ascii_email or parsed.normalized
    return Address(address=ascii_address, key=ascii_address.casefold())
