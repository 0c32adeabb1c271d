"""Webhook events taken in while a real send runs on the same database, and after the process was killed.

    .venv/bin/python benchmarks/webhooks.py [--short] [--people N] [--rate N] [--postgresql]

A fresh project sends an issue to N subscribers through the SendGrid API of a server on loopback, at the given rate.
As soon as that server took a message, two signed events of it (processed, delivered) are posted to `newsletter web`, in
posts of up to 500, as the vendor does: what is not answered with 2xx is posted again. When half of the events are
answered for, the web process is killed (SIGKILL) and another one started. At the end the balance sheet must have every
delivery, and right after the kill every one that had been answered for. Everything shares one machine.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # run as a file, only its own folder is looked through

from servers.sendgrid_rules import Message  # noqa: E402 - see above
from servers.sendgrid_server import SendgridServer  # noqa: E402
from servers.signed_posts import WebhookSigner, body_of, event_of  # noqa: E402

from benchmarks.harness.projects import over_sendgrid  # noqa: E402
from benchmarks.render import commit, processor  # noqa: E402
from benchmarks.send import make_project  # noqa: E402

#: Events a minute that must be taken in while a send runs.
TARGET = 50_000
_THREADS = 4
_KINDS = ("processed", "delivered")


@dataclass(frozen=True)
class Post:
    """Events of some messages, and how many of them say that one was delivered."""

    body: bytes
    events: int
    delivered: int


@dataclass
class Told:
    """What the provider did: seconds of each post that was answered, what was answered for, and since when."""

    seconds: list[float] = field(default_factory=list)
    events: int = 0
    delivered: int = 0
    refused: int = 0
    began: float = 0.0


class Provider:
    """Posts events from several threads, each on a connection of its own, until they are answered for."""

    def __init__(self, signer: WebhookSigner, most: int) -> None:
        self.told = Told()
        self._most = most
        self.port = 0
        #: posts that wait for their answer, more or less
        self.under_way = 0
        self._signer = signer
        self._posts: queue.Queue[Post | None] = queue.Queue()
        self._lock = threading.Lock()
        #: cleared while there is nobody to post to
        self.open = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(_THREADS)]
        for thread in self._threads:
            thread.start()

    def tell(self, messages: Sequence[Message]) -> None:
        """Events of these messages are to be posted."""
        events = [event_of(one, kind) for one in messages for kind in _KINDS]
        for start in range(0, len(events), self._most):
            some = events[start : start + self._most]
            delivered = sum(one["event"] == "delivered" for one in some)
            self._posts.put(Post(body_of(some), len(some), delivered))

    def close(self) -> None:
        """Returns when everything was answered for."""
        for _ in self._threads:
            self._posts.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while (post := self._posts.get()) is not None:
            while True:
                self.open.wait()
                if connection is None or connection.port != self.port:
                    connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                start = time.perf_counter()
                try:
                    fields = self._signer.headers(post.body)
                    self.under_way += 1
                    connection.request("POST", "/webhooks/sendgrid/sendgrid", post.body, fields)
                    with connection.getresponse() as answer:
                        answer.read()
                        status = answer.status
                except (OSError, http.client.HTTPException):
                    status = 0
                    connection.close()
                finally:
                    self.under_way -= 1
                if self._note(post, status, start):
                    break
                time.sleep(0.1)

    def _note(self, post: Post, status: int, start: float) -> bool:
        with self._lock:
            told = self.told
            if status not in {200, 204}:
                told.refused += 1
                return False
            told.began = told.began or start
            told.seconds.append(time.perf_counter() - start)
            told.events += post.events
            told.delivered += post.delivered
            return True


class Web:
    """`newsletter web` as a process."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "newsletter", "web", "--port", "0", "--json"],
            cwd=folder,
            env=settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        url = json.loads(self._process.stdout.readline())["url"]
        self.port = int(url.rstrip("/").rpartition(":")[2])
        with urllib.request.urlopen(url + "readyz", timeout=60) as answer:  # the first request loads what it needs
            answer.read()

    def end(self, number: signal.Signals) -> None:
        """Ends it with this signal."""
        self._process.send_signal(number)
        self._process.communicate(timeout=60)


@dataclass(frozen=True)
class Figures:
    """What came of it. `lost`: events that were answered for, and of which the next process knew nothing."""

    told: Told
    while_sending: float
    send_seconds: float
    settled_after: float
    lost: int
    faults: list[str]

    def quantile(self, share: float) -> float:
        """Milliseconds that this share of the posts took at most."""
        return 1000 * sorted(self.told.seconds)[min(len(self.told.seconds) - 1, int(share * len(self.told.seconds)))]


class Trial:
    """One send with its events, in a fresh project."""

    def __init__(self, folder: Path, people: int, rate: int, most: int, server: SendgridServer, url: str) -> None:
        self.folder = folder
        self.people = people
        self.most = most
        self.server = server
        signer = WebhookSigner()
        self.provider = Provider(signer, most)
        self.date, _ = make_project(folder, ROOT / "issues" / "2026-01-07.txt", people)
        self.settings = over_sendgrid(server.port) | {
            "NEWSLETTER__PROVIDERS__SENDGRID__RATE": f"{rate}/s",
            "SENDGRID_WEBHOOK_KEY": signer.public_key,
        }
        if url:
            self.settings |= {
                "NEWSLETTER__DATABASE__URL": url,
                "NEWSLETTER_SECRET_KEY": "only for a benchmark, 40 characters long",
            }
        self.command("db", "upgrade")

    def command(self, *arguments: str) -> str:
        """What it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "newsletter", *arguments],
            cwd=self.folder,
            env=self.settings,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"newsletter {' '.join(arguments)}: {done.returncode}\n{done.stderr}{done.stdout}")
        return done.stdout

    def status(self) -> dict[str, Any]:
        """The balance sheet."""
        sheet: dict[str, Any] = json.loads(self.command("status", f"daily-buzz/{self.date}", "--json"))
        return sheet

    def run(self) -> Figures:
        """Sends, tells, kills, and looks."""
        provider = self.provider
        web = Web(self.folder, self.settings)
        provider.port = web.port
        provider.open.set()
        sending = threading.Thread(target=self._send)
        start = time.perf_counter()
        sending.start()
        told, while_sending, send_seconds, lost, killed = 0, 0.0, 0.0, 0, False
        while told < self.people:
            there = self.server.messages
            if len(there) - told >= self.most // len(_KINDS) or len(there) == self.people:
                provider.tell(there[told:])
                told = len(there)
            if not send_seconds and not sending.is_alive():
                send_seconds, while_sending = time.perf_counter() - start, self._speed()
            if not killed and provider.told.delivered >= self.people // 2:
                web, lost, killed = *self._kill(web), True
            time.sleep(0.05)
        sending.join()
        send_seconds = send_seconds or time.perf_counter() - start
        while_sending = while_sending or self._speed()
        if not killed:
            self._await(self.people // 2)
            web, lost = self._kill(web)
        provider.close()
        over = time.perf_counter()
        sheet = self._until(self.people)
        settled_after = time.perf_counter() - over
        web.end(signal.SIGTERM)
        faults = [f"the ledger says {sheet}"] if sheet["delivered"] != self.people else []
        return Figures(provider.told, while_sending, send_seconds, settled_after, lost, faults)

    def _send(self) -> None:
        self.command("send", self.date, "--confirm", str(self.people), "--json")

    def _speed(self) -> float:
        told = self.provider.told
        return told.events / (time.perf_counter() - told.began) if told.began else 0.0

    def _await(self, delivered: int) -> None:
        while self.provider.told.delivered < delivered:
            time.sleep(0.01)

    def _kill(self, web: Web) -> tuple[Web, int]:
        """The next process, and how many deliveries that were answered for it did not find. What is posted meanwhile
        has to wait, so that nothing is told twice before that was looked at."""
        end = time.perf_counter() + 5
        while not self.provider.under_way and time.perf_counter() < end:
            time.sleep(0.0005)
        web.end(signal.SIGKILL)
        self.provider.open.clear()
        time.sleep(0.2)  # whoever waits for an answer learns that there is none
        known = self.provider.told.delivered
        following = Web(self.folder, self.settings)
        found = self._until(known)["delivered"]
        self.provider.port = following.port
        self.provider.open.set()
        return following, max(0, known - found)

    def _until(self, delivered: int) -> dict[str, Any]:
        """The balance sheet with so many delivered, or what it is after a minute without news."""
        sheet, since = self.status(), time.perf_counter()
        while sheet["delivered"] < delivered and time.perf_counter() - since < 60:
            time.sleep(0.1)
            before, sheet = sheet, self.status()
            since = since if sheet["delivered"] == before["delivered"] else time.perf_counter()
        return sheet


def measure(people: int, rate: int, most: int, *, postgresql: bool) -> Figures:
    """One trial."""
    postgres = None
    server = SendgridServer().start()
    try:
        url = ""
        if postgresql:
            from fresh_databases import PostgresServer

            postgres = PostgresServer()
            url = postgres.url(postgres.create())
        with tempfile.TemporaryDirectory(prefix="newsletter-bench-") as name:
            return Trial(Path(name) / "project", people, rate, most, server, url).run()
    finally:
        server.close()
        if postgres is not None:
            postgres.stop()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Posts events while a send runs, and kills who takes them in.")
    parser.add_argument("--short", action="store_true", help="a few seconds, for CI; coarser figures")
    parser.add_argument("--people", type=int, default=10_000, help="how many subscribers; two events of each")
    parser.add_argument("--rate", type=int, default=600, help="messages a second that are sent")
    parser.add_argument("--postgresql", action="store_true", help="on PostgreSQL instead of SQLite")
    options = parser.parse_args(arguments)
    people, most = (600, 50) if options.short else (options.people, 500)
    found = measure(people, options.rate, most, postgresql=options.postgresql)
    told = found.told
    a_minute = 60 * found.while_sending
    print(f"commit {commit()}, Python {platform.python_version()}, {os.cpu_count()} x {processor()}")
    print(f"{people:,} subscribers, {'PostgreSQL' if options.postgresql else 'SQLite'}, everything on one machine")
    rows = (
        ("the send, seconds", found.send_seconds, 1),
        ("events posted and answered for", told.events, 0),
        ("  while the send ran, a minute", a_minute, 0),
        (f"a post of up to {most}, milliseconds, p50", found.quantile(0.50), 1),
        ("  p99", found.quantile(0.99), 1),
        ("posts without an answer (SIGKILL), posted again", told.refused, 0),
        ("settled after the last answer, seconds", found.settled_after, 1),
        ("answered for, and lost by the SIGKILL", found.lost, 0),
    )
    for label, figure, decimals in rows:
        print(f"  {label:<52}{figure:>12,.{decimals}f}")
    faults = found.faults + ([f"{found.lost} events were lost"] if found.lost else [])
    if not options.short and a_minute < TARGET:
        faults.append(f"fewer than {TARGET:,} a minute")
    for fault in faults:
        print(f"  FAULT {fault}")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
