"""A server that behaves like the vendor's `/v3/mail/send` and `/v3/scopes`, and can be told to misbehave.

Whom it accepts it notes before it answers: in `messages`, and as a line of JSON in a file, which is synced to the disk
first. As a process of its own:

    PYTHONPATH=tests python -m servers.sendgrid_server --port 0 --record FILE --delay 20 --fault 500-after=0.05

It prints `listening on http://127.0.0.1:PORT` and serves until it is told to stop.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import ssl
import struct
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from servers.sendgrid_rules import MOST_BYTES, Fault, Message, fault, faults, messages, parse

VENDOR_BUSY = json.dumps({"errors": [{"message": "service unavailable", "field": None, "help": None}]}).encode()
_NO_ANSWER_FOR = 60.0


class Manner(StrEnum):
    """How an answer reaches the client."""

    #: Whole, at once.
    WHOLE = auto()
    #: The head promises a body, of which half comes before the connection ends.
    TRUNCATED = auto()
    #: The connection ends within the head.
    CUT_HEAD = auto()
    #: The connection is reset, with nothing said.
    RESET = auto()
    #: Nothing comes, and the connection stays.
    HANG = auto()
    #: A byte every 50 milliseconds, for 20 seconds.
    DRIP = auto()
    #: Something that is no HTTP.
    NONSENSE = auto()


@dataclass(frozen=True, slots=True)
class Say:
    """An answer to one call. `accept`: whether its recipients are accepted and noted before it."""

    status: int
    accept: bool
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    manner: Manner = Manner.WHOLE
    #: It is said before the request is read, and the connection closed.
    unread: bool = False


def error(status: int, message: str, where: str | None = None, headers: Mapping[str, str] | None = None) -> Say:
    """A refusal with the vendor's error body."""
    body = json.dumps({"errors": [fault(message, where)]}).encode()
    return Say(status, False, body, headers or {})


def accepted(manner: Manner = Manner.WHOLE) -> Say:
    """202, by default as the vendor says it."""
    return Say(202, True, b"{}" if manner is Manner.TRUNCATED else b"", {"X-Message-Id": uuid.uuid4().hex}, manner)


#: Answers by name, for the command line.
SAYINGS: Mapping[str, Callable[[], Say]] = {
    "400-from": lambda: error(400, "The from email does not contain a valid address.", "from.email"),
    "401": lambda: error(401, "The provided authorization grant is invalid, expired, or revoked"),
    "403": lambda: error(403, "The from address does not match a verified Sender Identity.", "from"),
    "413": lambda: error(413, "Payload Too Large"),
    "429": lambda: error(429, "too many requests", None, {"X-RateLimit-Reset": str(int(time.time()) + 1)}),
    "500-before": lambda: Say(500, False, b"<html>Internal Server Error</html>"),
    "500-after": lambda: Say(500, True, b"<html>Internal Server Error</html>"),
    "502-after": lambda: Say(502, True, b"<html>Bad Gateway</html>"),
    "503": lambda: Say(503, False, VENDOR_BUSY),
    "503-bare": lambda: Say(503, False, b"<html>Service Unavailable</html>"),
    "hang-before": lambda: Say(202, False, manner=Manner.HANG),
    "hang-after": lambda: accepted(Manner.HANG),
    "reset-before": lambda: Say(202, False, manner=Manner.RESET),
    "reset-after": lambda: accepted(Manner.RESET),
    "truncated": lambda: accepted(Manner.TRUNCATED),
    "cut-head": lambda: accepted(Manner.CUT_HEAD),
    "nonsense": lambda: accepted(Manner.NONSENSE),
    "drip": lambda: accepted(Manner.DRIP),
}


class SendgridServer:
    """The server, on a port of loopback; serves from `start` to `close`. May be scripted and read from any thread.

    `key` is the API key it takes (None: any); `delay` the seconds between noting the recipients of a call and its
    answer; `faults` gives the chance of each of `SAYINGS` at any call that is not scripted; `tls` serves https.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        key: str | None = None,
        scopes: Sequence[str] = ("mail.send", "sender_verification_eligible"),
        record: Path | None = None,
        delay: float = 0.0,
        faults: Mapping[str, float] | None = None,
        seed: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.key = key
        self.scopes = list(scopes)
        self.delay = delay
        #: Addresses the vendor refuses to take in a call, in lower case.
        self.refused: set[str] = set()
        #: (method, path, headers in lower case) of every request.
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        #: The bodies of every call of mail/send, as they were sent.
        self.bodies: list[bytes] = []
        self.closing = threading.Event()
        self._messages: list[Message] = []
        self._script: deque[Say] = deque()
        self._faults = dict(faults or {})
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._file = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if record else None
        self._http = _Http(("127.0.0.1", port), self)
        self._tls = tls
        if tls is not None:
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    @property
    def url(self) -> str:
        """The base URL of the API."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        """The port of 127.0.0.1 that it listens on."""
        return self._http.server_port

    @property
    def messages(self) -> Sequence[Message]:
        """All that was accepted so far, in that order."""
        with self._lock:
            return tuple(self._messages)

    def start(self) -> SendgridServer:
        """Serves, in a thread."""
        self._thread.start()
        return self

    def answer_next(self, *sayings: Say) -> None:
        """Answers the next calls of mail/send so, one each, whatever is in them."""
        with self._lock:
            self._script.extend(sayings)

    def close(self) -> None:
        """Stops to listen, and lets go of every client that waits. May be called twice."""
        if self.closing.is_set():
            return
        self.closing.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
        if self._file is not None:
            os.close(self._file)

    # what the handler asks

    def next_saying(self) -> Say | None:
        """What is to be answered whatever is asked; None: what the vendor would."""
        with self._lock:
            if self._script:
                return self._script.popleft()
            for name, chance in self._faults.items():
                if self._random.random() < chance:
                    return SAYINGS[name]()
        return None

    def note(self, body: Mapping[str, Any]) -> None:
        """Writes down everybody in a call, durably."""
        found = list(messages(body))
        with self._lock:
            self._messages += found
            if self._file is not None:
                lines = "".join(json.dumps({"at": time.time()} | _noted(message)) + "\n" for message in found)
                os.write(self._file, lines.encode())
                os.fsync(self._file)

    def refusals(self, body: Mapping[str, Any]) -> list[Fault]:
        """Faults for the addresses in `refused`."""
        return [
            fault("Does not contain a valid address.", f"personalizations.{number}.to.0.email")
            for number, person in enumerate(body["personalizations"])
            if person["to"][0]["email"].lower() in self.refused
        ]


def _noted(message: Message) -> dict[str, str]:
    arguments = message.custom_args
    return {
        "address": message.address,
        "message_id": message.headers.get("message-id", ""),
        "run": arguments.get("nl_run", ""),
        "delivery": arguments.get("nl_delivery", ""),
        "call": arguments.get("nl_call", ""),
    }


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], api: SendgridServer) -> None:
        super().__init__(address, _Handler)
        self.api = api

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is what these servers are for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http

    def do_GET(self) -> None:
        api = self._asked()
        if not self._may():
            return
        if self.path.split("?")[0] == "/v3/scopes":
            self._say(Say(200, False, json.dumps({"scopes": api.scopes}).encode()))
        else:
            self._say(error(404, "not found"))

    def do_POST(self) -> None:
        api = self._asked()
        saying = api.next_saying() if self.path == "/v3/mail/send" else None
        if saying is not None and saying.unread:
            self._say(saying)
            return
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path != "/v3/mail/send":
            self._say(error(404, "not found"))
            return
        api.bodies.append(raw)
        body = parse(raw)
        if saying is None:
            if not self._may():
                return
            saying = self._usual(raw, body)
        if saying.accept and isinstance(body, dict):
            api.note(body)
            api.closing.wait(api.delay)
        self._say(saying)

    def _usual(self, raw: bytes, body: object) -> Say:
        """What the vendor would answer."""
        if len(raw) >= MOST_BYTES:
            return error(413, "Payload Too Large")
        if self.headers.get_content_type() != "application/json":
            return error(415, "Content-Type should be application/json.")
        found = faults(body) or self.server.api.refusals(body)  # type: ignore[arg-type] # a body without faults is a dict
        if found:
            return Say(400, False, json.dumps({"errors": found}).encode())
        assert isinstance(body, dict)
        if body.get("mail_settings", {}).get("sandbox_mode", {}).get("enable"):
            return Say(200, False)
        return accepted()

    def _asked(self) -> SendgridServer:
        api = self.server.api
        api.requests.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}))
        return api

    def _may(self) -> bool:
        api = self.server.api
        scheme, _, key = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not key or key != (api.key or key):
            self._say(SAYINGS["401"]())
        elif self.command == "POST" and "mail.send" not in api.scopes:
            self._say(error(403, "access forbidden"))
        else:
            return True
        return False

    def _say(self, saying: Say) -> None:
        if saying.manner in (Manner.RESET, Manner.HANG):
            self._end(saying.manner)
            return
        if saying.manner is Manner.NONSENSE:
            self.wfile.write(b"220 mail.example.com ESMTP\r\n")
            self.close_connection = True
            return
        head = [f"HTTP/1.1 {saying.status} {self.responses.get(saying.status, ('Said',))[0]}"]
        head += [f"{name}: {value}" for name, value in saying.headers.items()]
        if saying.manner is Manner.DRIP:
            self._drip("\r\n".join([*head, "X-Drip: "]).encode())
            return
        head += ["Content-Type: application/json", f"Content-Length: {len(saying.body)}", "Connection: close"]
        whole = "\r\n".join([*head, "", ""]).encode() + saying.body
        if saying.manner is Manner.TRUNCATED:
            whole = whole[: -max(1, len(saying.body) // 2)]
        elif saying.manner is Manner.CUT_HEAD:
            whole = whole[: whole.index(b"Content-Type") + 5]
        self.wfile.write(whole)
        self.close_connection = True

    def _drip(self, start: bytes) -> None:
        with suppress(OSError):
            self.wfile.write(start)
            end = time.monotonic() + 20
            while time.monotonic() < end and not self.server.api.closing.wait(0.05):
                self.wfile.write(b"x")
        self.close_connection = True

    def _end(self, manner: Manner) -> None:
        self.close_connection = True
        if manner is Manner.HANG:
            self.server.api.closing.wait(_NO_ANSWER_FOR)
        else:
            # closed with unsent data thrown away: the client gets a reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Serves until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="servers.sendgrid_server", description="A server like the vendor's.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--record", type=Path, help="a file that gets a line for each accepted recipient")
    parser.add_argument("--key", help="the only API key it takes")
    parser.add_argument("--delay", type=float, default=0.0, help="milliseconds before each answer")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=CHANCE", help=", ".join(SAYINGS))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    chances = {name: float(chance) for name, _, chance in (one.partition("=") for one in given.fault)}
    if chances.keys() - SAYINGS.keys():
        parser.error(f"unknown fault: {', '.join(sorted(chances.keys() - SAYINGS.keys()))}")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server = SendgridServer(
        port=given.port,
        key=given.key,
        record=given.record,
        delay=given.delay / 1000,
        faults=chances,
        seed=given.seed,
    ).start()
    sys.stdout.write(f"listening on {server.url}\n")
    sys.stdout.flush()
    stop.wait()
    server.close()


if __name__ == "__main__":
    main()
