"""Asks the DNS for TXT records."""

from __future__ import annotations

import ipaddress
import re

import dns.exception
import dns.resolver

from newsletter.errors import UsageError

#: Seconds for one question, repetitions included.
_SECONDS = 5.0


class Unanswered(Exception):
    """Nobody answered, or not with what was asked: nothing is known of the name."""


class NameServers:
    """The name servers of this machine, or the one that is given as `ADDRESS` or `ADDRESS:PORT`.

    Raises UsageError where that is no IP address.
    """

    def __init__(self, server: str = "", *, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._resolver: dns.resolver.Resolver | None = None
        if server:
            address, port = _address(server)
            self._resolver = dns.resolver.Resolver(configure=False)
            self._resolver.nameservers = [address]
            self._resolver.port = port

    def texts(self, name: str) -> tuple[str, ...] | None:
        """The TXT records of a name, as `Texts` says. Raises Unanswered."""
        try:
            if self._resolver is None:
                self._resolver = dns.resolver.Resolver()
            answer = self._resolver.resolve(name, "TXT", lifetime=self._seconds, search=False)
        except dns.resolver.NXDOMAIN:
            return None
        except dns.resolver.NoAnswer:
            return ()
        except dns.resolver.NoNameservers:
            raise Unanswered(f"the name servers answered the question for {name} with an error (SERVFAIL)") from None
        except dns.exception.Timeout:
            raise Unanswered(f"no name server answered the question for {name} within {self._seconds:g} s") from None
        except dns.resolver.NoResolverConfiguration:
            raise Unanswered("this machine knows no name server (/etc/resolv.conf)") from None
        except (dns.exception.DNSException, OSError) as error:
            raise Unanswered(f"the question for {name} failed: {type(error).__name__}") from None
        return tuple(b"".join(record.strings).decode("ascii", "replace") for record in answer)


def _address(server: str) -> tuple[str, int]:
    found = re.fullmatch(r"\[([^\]]+)\](?::(\d{1,5}))?|([^:]+)(?::(\d{1,5}))?|(.+)", server)
    assert found is not None
    address, port = found[1] or found[3] or found[5], int(found[2] or found[4] or 53)
    try:
        return str(ipaddress.ip_address(address)), port
    except ValueError:
        raise UsageError(
            f"{server!r} is no name server", hint="Give its IP address, such as 192.0.2.53 or 127.0.0.1:5353."
        ) from None
