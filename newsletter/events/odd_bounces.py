"""Bounces in formats that servers made up, as flufl.bounce knows them."""

from __future__ import annotations

import logging
from email.message import Message

from flufl.bounce import all_failures

#: It notes each format that it tries, and prints what it stumbles over.
logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL + 1)


def odd_failures(message: Message) -> tuple[list[str], list[str]]:
    """The addresses that the message says could not be reached for now, and those that cannot be. Sorted."""
    try:
        temporary, permanent = all_failures(message)
    except Exception:  # noqa: BLE001 - its patterns meet text that nobody foresaw
        return [], []
    return _addresses(temporary), _addresses(permanent - temporary)


def _addresses(found: frozenset[bytes]) -> list[str]:
    # some formats tempt it to take other words for an address
    return sorted(one.decode("ascii", "replace") for one in found if one.count(b"@") == 1)
