"""The hosts of links: look-alikes, places nobody outside can reach, and texts that name another host."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit

from newsletter.issue.model import Link
from newsletter.preflight.check import Found, check
from newsletter.preflight.comparing import shortened
from newsletter.preflight.issue_texts import issue_links
from newsletter.preflight.model import Examined, Level
from newsletter.preflight.public_addresses import address_of, why_not_public

#: Scripts that are written together (UTS 39, "highly restrictive"): each with Latin.
_TOGETHER = (
    frozenset({"LATIN", "CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}),
    frozenset({"LATIN", "CJK", "HANGUL"}),
    frozenset({"LATIN", "CJK", "BOPOMOFO"}),
)
#: Small letters of other scripts that look like Latin ones (UTS 39, confusables; the common ones).
_LOOK_LATIN = frozenset("асеорхуіјѕԁһԛԝӏєгпкмтв" + "οανρτυικηςε" + "օսոհցքզ")
#: Names that only a network of one's own resolves (RFC 2606, 6761, 6762, 8375).
_PRIVATE_NAMES = (
    "localhost",
    "local",
    "localdomain",
    "internal",
    "intranet",
    "lan",
    "home",
    "corp",
    "home.arpa",
    "test",
)
_TEXT_HOST = re.compile(r"(?:https?://)?((?:[a-z0-9-]+\.)+[a-z]{2,24})(?:[/?#:]\S*)?", re.IGNORECASE)


def _split(url: str) -> SplitResult | None:
    """The parts of a web address with a host; None for anything else, which `link-syntax` is about."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts if parts.scheme.lower() in {"http", "https"} and parts.hostname else None


def _web_links(examined: Examined) -> Iterator[tuple[Link, SplitResult]]:
    for link in issue_links(examined.issue):
        parts = _split(link.url)
        if parts:
            yield link, parts


def decoded_host(host: str) -> str:
    """A host with its `xn--` labels as a reader would see them (RFC 3492); labels that cannot be decoded stay."""
    labels = []
    for label in host.split("."):
        shown = label
        if label.lower().startswith("xn--"):
            try:
                shown = label[4:].encode("ascii").decode("punycode")
            except UnicodeError:
                shown = label
        labels.append(shown)
    return ".".join(labels)


def scripts(label: str) -> frozenset[str]:
    """The scripts of the letters of a label by their Unicode names: LATIN, CYRILLIC, GREEK, CJK, …"""
    return frozenset(unicodedata.name(char, "UNKNOWN").split()[0] for char in label if char.isalpha())


@check(
    "link-lookalike",
    Level.ERROR,
    Level.WARN,
    Level.INFO,
    means="The host of a link mixes scripts or is written to look like another; phishing does that, and filters know.",
    do="Type the address by hand; if the host is really called so, link to another page that names it.",
)
def link_lookalike(examined: Examined) -> Iterator[Found]:
    """Mixed scripts in a label are an error, a whole label of look-alikes a warning, other `xn--` hosts an info."""
    for link, parts in _web_links(examined):
        host = decoded_host(parts.hostname or "")
        said = f"the host of {shortened(link.url)}"
        for label in host.split("."):
            found = scripts(label)
            if len(found) > 1 and not any(found <= allowed for allowed in _TOGETHER):
                yield Found(f'{said} mixes {", ".join(sorted(found)).title()} letters in "{label}"', link.line)
            elif found and "LATIN" not in found and all(c in _LOOK_LATIN or not c.isalpha() for c in label.casefold()):
                yield Found(f'{said} has "{label}", all of letters that look like Latin ones', link.line, Level.WARN)
            elif "xn--" in (parts.hostname or "") and not label.isascii():
                yield Found(f"{said} is shown as {host}", link.line, Level.INFO)


@check(
    "link-private",
    Level.ERROR,
    means="A link leads to a machine or network that readers cannot reach, or carries a password.",
    do="Link to the public address.",
)
def link_private(examined: Examined) -> Iterator[Found]:
    """Addresses that are not public, however written, names of local networks, and user names in front of the host."""
    for link, parts in _web_links(examined):
        host = (parts.hostname or "").rstrip(".")
        if parts.username is not None:
            yield Found(f"the link to {host} carries a user name or password", link.line)
        address = address_of(host)
        if address and (why := why_not_public(address)):
            yield Found(f"the link {shortened(link.url)} leads to the {why} address {address}", link.line)
        elif any(host == name or host.endswith(f".{name}") for name in _PRIVATE_NAMES):
            yield Found(f"the link {shortened(link.url)} leads to a private network", link.line)


@check(
    "link-disguised",
    Level.WARN,
    means="The text of a link names one host and the link leads to another, as phishing does.",
    do="Let the text name the host the link leads to, or use words.",
)
def link_disguised(examined: Examined) -> Iterator[Found]:
    """Subdomains of each other are the same place: `example.com` may lead to `www.example.com`."""
    for link, parts in _web_links(examined):
        match = _TEXT_HOST.fullmatch(link.text.strip())
        if not match:
            continue
        said, actual = (host.lower().removeprefix("www.") for host in (match.group(1), parts.hostname or ""))
        if said != actual and not actual.endswith(f".{said}") and not said.endswith(f".{actual}"):
            yield Found(f'the text says "{match.group(1)}", the link leads to {parts.hostname}', link.line)
