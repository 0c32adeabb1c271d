"""A name server on loopback, over UDP, that answers questions for TXT records out of a table."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

#: In place of records: the server fails, or says nothing.
SERVFAIL = ("SERVFAIL",)
SILENCE = ("SILENCE",)
#: Seconds that a record may be kept.
_TTL = 60
#: Bytes of one string in a TXT record (RFC 1035, section 3.3).
_STRING = 255


class DnsServer:
    """Serves from when it is made. `records`: the texts of names; a text `CNAME other.name` points there.

    A name that is not in the table, and that none below is, does not exist.
    """

    def __init__(self, records: Mapping[str, Sequence[str]]) -> None:
        self.records = {name.lower(): tuple(texts) for name, texts in records.items()}
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.05)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> DnsServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()
        self._socket.close()

    @property
    def address(self) -> str:
        """As `--nameserver` takes it."""
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def _serve(self) -> None:
        while not self._closing.is_set():
            with suppress(TimeoutError, dns.exception.DNSException):
                wire, client = self._socket.recvfrom(4096)
                answer = self._answer(dns.message.from_wire(wire))
                if answer is not None:
                    self._socket.sendto(answer.to_wire(), client)

    def _answer(self, query: dns.message.Message) -> dns.message.Message | None:
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        self.asked.append(name)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        for _ in range(8):
            texts = self.records.get(name)
            if texts == SILENCE:
                return None
            if texts == SERVFAIL:
                response.set_rcode(dns.rcode.SERVFAIL)
            elif texts is None and not any(other.endswith(f".{name}") for other in self.records):
                response.set_rcode(dns.rcode.NXDOMAIN)
            elif texts and texts[0].startswith("CNAME "):
                target = texts[0].removeprefix("CNAME ")
                response.answer.append(dns.rrset.from_text(f"{name}.", _TTL, "IN", "CNAME", f"{target}."))
                name = target
                continue
            elif texts and question.rdtype == dns.rdatatype.TXT:
                records = [dns.rdata.from_text("IN", "TXT", _quoted(text)) for text in texts]
                response.answer.append(dns.rrset.from_rdata_list(f"{name}.", _TTL, records))
            break
        return response


def _quoted(text: str) -> str:
    parts = [text[start : start + _STRING] for start in range(0, len(text), _STRING)] or [""]
    return " ".join('"{}"'.format(part.replace("\\", "\\\\").replace('"', '\\"')) for part in parts)
