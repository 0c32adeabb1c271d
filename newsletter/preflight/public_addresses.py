"""Which IP addresses are public, by the IANA registries of special-purpose addresses and nothing else.

The tables stand here because those of the standard library differ from one Python version to the next.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import unicodedata
from urllib.parse import unquote

#: https://www.iana.org/assignments/iana-ipv4-special-registry, with multicast (RFC 5771). The first line that fits
#: holds. A block with a few public addresses in it (192.0.0.9) counts as a whole: nobody serves pages there.
_IPV4 = {
    "0.0.0.0/32": "unspecified",
    "0.0.0.0/8": "reserved",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "carrier-shared",
    "127.0.0.0/8": "loopback",
    "169.254.0.0/16": "link-local",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved",
    "192.0.2.0/24": "documentation",
    "192.88.99.0/24": "reserved",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "benchmarking",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
#: https://www.iana.org/assignments/iana-ipv6-special-registry, with multicast (RFC 4291) and the former site-local
#: addresses (RFC 3879). Outside 2000::/3, which is all that IANA gives out (ipv6-unicast-address-assignments), the
#: names only say why; without one it is "unassigned".
_IPV6 = {
    "::/128": "unspecified",
    "::1/128": "loopback",
    "64:ff9b:1::/48": "private",
    "100::/64": "discard-only",
    "2001:2::/48": "benchmarking",
    "2001:db8::/32": "documentation",
    "2001::/23": "reserved",
    "3fff::/20": "documentation",
    "5f00::/16": "reserved",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "site-local",
    "ff00::/8": "multicast",
}
_IPV4_TABLE = tuple((ipaddress.IPv4Network(block), why) for block, why in _IPV4.items())
_IPV6_TABLE = tuple((ipaddress.IPv6Network(block), why) for block, why in _IPV6.items())
_GIVEN_OUT = ipaddress.IPv6Network("2000::/3")
#: IPv6 addresses that carry an IPv4 one, and how many bits stand behind it: mapped, NAT64 (RFC 6052), 6to4 (RFC 3056).
_CARRIERS = (
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),
    (ipaddress.IPv6Network("2002::/16"), 80),
)
#: What programs read as an IPv4 address: one to four numbers, decimal, octal or hex (WHATWG URL, "IPv4 parser").
_NUMBERS = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}", re.IGNORECASE | re.ASCII)


def why_not_public(address: str) -> str:
    """Why nobody on the internet has this address, in a word or two; empty for a public one.

    An IPv6 address that carries an IPv4 one (mapped, NAT64, 6to4) is as public as what it carries. Raises `ValueError`
    for what is no address.
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv4Address):
        return next((why for block, why in _IPV4_TABLE if ip in block), "")
    ip = ipaddress.IPv6Address(int(ip))  # a scope (`%eth0`) says nothing about who has it
    for carrier, behind in _CARRIERS:
        if ip in carrier:
            return why_not_public(str(ipaddress.IPv4Address(int(ip) >> behind & 0xFFFFFFFF)))
    why = next((why for block, why in _IPV6_TABLE if ip in block), "")
    return why or ("" if ip in _GIVEN_OUT else "unassigned")


def address_of(host: str) -> str:
    """The address that the host of a URL stands for without any lookup; empty for a name.

    IPv4 in every form that programs read: `127.1`, `2130706433`, `0x7f.0.0.1`, `0177.0.0.1`, wide digits, `%2e`.
    """
    seen = unicodedata.normalize("NFKC", unquote(host)).replace("\u3002", ".").rstrip(".")
    try:
        return str(ipaddress.ip_address(seen))
    except ValueError:
        if not _NUMBERS.fullmatch(seen):
            return ""
    numbers = [f"{part}0" if part.lower() == "0x" else part for part in seen.split(".")]
    try:
        return socket.inet_ntoa(socket.inet_aton(".".join(numbers)))
    except OSError:
        return ""
