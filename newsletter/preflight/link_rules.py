"""The rules that `--links` looks for breaches of, by requesting each link."""

from __future__ import annotations

from newsletter.preflight.check import Rule
from newsletter.preflight.model import Level

LINK_BROKEN = Rule(
    "link-broken",
    Level.ERROR,
    "A link leads nowhere: its page is not found or gone, or its host has no address. (Only with `--links`.)",
    "Open it in a browser and correct it.",
)
LINK_FAILING = Rule(
    "link-failing",
    Level.WARN,
    "The server of a link did not answer in time, or with an error, or redirects without end. (Only with `--links`.)",
    "Open it in a browser; try again later, or link elsewhere.",
)
LINK_UNCONFIRMED = Rule(
    "link-unconfirmed",
    Level.INFO,
    "The site of a link turns programs away or wants a login, so nothing is known. (Only with `--links`.)",
    "Open it in a browser.",
)
LINK_REFUSED = Rule(
    "link-refused",
    Level.ERROR,
    "A link leads, at once or by a redirect, to an address that is not public. (Only with `--links`.)",
    "Link to the public address.",
)

LINK_RULES = (LINK_BROKEN, LINK_FAILING, LINK_UNCONFIRMED, LINK_REFUSED)
