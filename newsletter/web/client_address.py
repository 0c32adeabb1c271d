"""Whose request it is: the address that is counted for limits, and kept with a consent."""

from __future__ import annotations

import ipaddress

from fastapi import Request


def client_ip(request: Request) -> str:
    """The address, as short as it can be written; '' where none is known.

    The server has looked behind the proxies of `web.trusted_proxies` before, and behind no other: of X-Forwarded-For it
    took the right-most address that is not a trusted proxy's. All before it anybody could have made up.
    """
    if request.client is None:
        return ""
    try:
        address = ipaddress.ip_address(request.client.host.partition("%")[0])
    except ValueError:  # a proxy that passes on what it was told: all of its clients count as one
        return ""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
