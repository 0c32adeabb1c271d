"""A whole send, by the command as anybody starts it, to servers on loopback that keep all they accept.

    python benchmarks/send.py [--short] [--issue FILE] [--people N]

A fresh project with SQLite sends the issue to N subscribers, once through SMTP and once through the SendGrid API.
Afterwards every message that was accepted is parsed and looked at: once to everybody and to nobody else, complete,
with headers of its own. The servers run in this process, on the same machine: they cost time that is in the figures.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # run as a file, only its own folder is looked through

from servers.sendgrid_server import SendgridServer  # noqa: E402 - see above
from servers.smtp_server import Script, SmtpServer  # noqa: E402

from benchmarks.harness.projects import over_sendgrid, over_smtp  # noqa: E402
from benchmarks.render import NAMES, SECTIONS, commit, processor  # noqa: E402
from newsletter.issue.parse import parse_issue  # noqa: E402
from newsletter.project_files import copy_project  # noqa: E402

#: What the renderer puts where a recipient's values go; none may be left.
_HOLE = re.compile(r"\bz[0-9a-f]{8}[a-z][0-9]{3}z\b")
_ONE_CLICK = "List-Unsubscribe=One-Click"


@dataclass(frozen=True)
class Mail:
    """One accepted message, as its recipient reads it. `headers`: names in small letters."""

    address: str
    headers: dict[str, str]
    text: str
    html: str
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Server:
    """A server on loopback: the environment that aims at it, how many messages it has, and all of them."""

    settings: Mapping[str, str]
    count: Callable[[], int]
    mails: Callable[[], list[Mail]]
    running: AbstractContextManager[object]


def smtp_server() -> Server:
    """Of the tests; PIPELINING, no TLS."""
    server = SmtpServer(Script())
    return Server(
        over_smtp(server.port),
        lambda: len(server.taken),
        lambda: [_parsed(taken.address, taken.message) for taken in server.taken],
        server,
    )


def sendgrid_server() -> Server:
    """Of the tests; it refuses whatever the vendor refuses."""
    server = SendgridServer().start()

    def mails() -> list[Mail]:
        bodies: list[dict[str, Any]] = [json.loads(body) for body in server.bodies]
        keys = {key for body in bodies for one in body["personalizations"] for key in one.get("substitutions", ())}
        return [
            Mail(
                one.address,
                {**one.headers, "subject": one.subject},
                one.text,
                one.html,
                tuple(f"{key} was not replaced" for key in keys if key in one.text + one.html + one.subject),
            )
            for one in server.messages
        ]

    return Server(over_sendgrid(server.port), lambda: len(server.messages), mails, closing(server))


SERVERS = {"smtp": smtp_server, "sendgrid": sendgrid_server}


def _parsed(address: str, raw: bytes) -> Mail:
    message = message_from_bytes(raw, policy=policy.default)
    faults = [f"{type(defect).__name__}" for part in message.walk() for defect in part.defects]
    faults += [] if str(message["To"]).endswith(address) or f"<{address}>" in str(message["To"]) else ["another To"]
    parts = [message.get_body((kind,)) for kind in ("plain", "html")]
    text, html = (str(part.get_content()) if part else "" for part in parts)
    return Mail(address, {name.lower(): str(value) for name, value in message.items()}, text, html, tuple(faults))


def faults_of(mails: Sequence[Mail], expected: set[str]) -> list[str]:
    """What is wrong with what was accepted; none: everybody has it once, and can read it and leave."""
    times = Counter(mail.address for mail in mails)
    found = [f"{len(expected - times.keys())} did not get it"] if expected - times.keys() else []
    found += [f"{len(times.keys() - expected)} strangers got it"] if times.keys() - expected else []
    found += [f"{one} got it {number} times" for one, number in times.items() if number > 1]
    for header in ("message-id", "list-unsubscribe"):
        if len({mail.headers.get(header) for mail in mails}) != len(mails):
            found.append(f"{header} is not everybody's own")
    if len({mail.headers.get("subject") for mail in mails}) > 1:
        found.append("there are several subjects")
    for mail in mails:
        wrong = list(mail.faults)
        wrong += ["no one-click"] if mail.headers.get("list-unsubscribe-post") != _ONE_CLICK else []
        wrong += ["the HTML is cut"] if not mail.html.rstrip().lower().endswith("</html>") else []
        wrong += ["no text"] if len(mail.text) < len(mail.html) / 100 else []
        wrong += ["a hole is left"] if _HOLE.search(mail.text + mail.html) else []
        found += [f"{mail.address}: {fault}" for fault in wrong]
    return found


def make_project(folder: Path, issue: Path, people: int) -> tuple[str, set[str]]:
    """A new project with this issue and so many subscribers; the issue's date, and the addresses."""
    copy_project(folder)
    octets = issue.read_bytes()
    date = str(parse_issue(octets, source=issue.name, sections=SECTIONS).date or "2026-01-07")
    (folder / "issues" / f"{date}.txt").write_bytes(octets)
    rows = [(f"reader{number}@example.org", f"{NAMES[number % len(NAMES)]} {number}") for number in range(people)]
    with (folder / "subscribers" / "daily-buzz.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(("email", "name", "consent_at"))
        out.writerows((*row, "2025-01-01") for row in rows)
    return date, {address for address, _ in rows}


@dataclass(frozen=True)
class Figures:
    """One send: seconds of the command, seconds until the first message, messages a second from there on."""

    seconds: float
    first: float
    speed: float
    size: int
    faults: list[str]


def measure(kind: str, issue: Path, people: int) -> Figures:
    """One send in a fresh project."""
    server = SERVERS[kind]()
    with tempfile.TemporaryDirectory(prefix="newsletter-bench-") as name, server.running:
        folder = Path(name) / "project"
        date, expected = make_project(folder, issue, people)

        def command(*arguments: str) -> str:
            done = subprocess.run(
                [sys.executable, "-m", "newsletter", *arguments],
                cwd=folder,
                env=server.settings,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise RuntimeError(f"newsletter {' '.join(arguments)}: {done.returncode}\n{done.stderr}{done.stdout}")
            return done.stdout

        command("db", "upgrade")
        seen: list[tuple[float, int]] = []
        over = threading.Event()

        def look() -> None:
            # the server tells no times, so that its own work stays small
            while not over.wait(0.002):
                if (there := server.count()) != (seen[-1][1] if seen else 0):
                    seen.append((time.perf_counter(), there))

        watching = threading.Thread(target=look)
        watching.start()
        start = time.perf_counter()
        try:
            told = command("send", date, "--confirm", str(people), "--json")
        finally:
            seconds = time.perf_counter() - start
            over.set()
            watching.join()
        sheet: dict[str, Any] = json.loads(told.splitlines()[-1])
        mails = server.mails()
    faults = faults_of(mails, expected)
    if (sheet["state"], sheet["planned"], sheet["accepted"]) != ("finished", people, people):
        faults.append(f"the ledger says {sheet}")
    (began, few), (ended, all_of_them) = seen[0], seen[-1]
    speed = (all_of_them - few) / (ended - began) if ended > began else 0.0
    return Figures(seconds, began - start, speed, max(len(mail.html.encode()) for mail in mails), faults)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Sends an issue over loopback, and reads all that arrived.")
    parser.add_argument("--short", action="store_true", help="a few seconds, for CI; coarser figures")
    parser.add_argument("--issue", type=Path, default=ROOT / "issues" / "2026-01-07.txt", help="the issue to send")
    parser.add_argument("--people", type=int, default=1_000, help="how many subscribers")
    options = parser.parse_args(arguments)
    people = 120 if options.short else options.people
    found = {kind: measure(kind, options.issue, people) for kind in SERVERS}
    print(f"commit {commit()}, Python {platform.python_version()}, {os.cpu_count()} x {processor()}")
    print(f"issue {options.issue.name}, {people:,} subscribers; one run, servers on the same machine")
    print(f"  {'':<52}{''.join(f'{kind:>12}' for kind in found)}")
    rows: Sequence[tuple[str, Callable[[Figures], float], int]] = (
        ("the command, seconds", lambda one: one.seconds, 2),
        ("  until the first message was accepted, seconds", lambda one: one.first, 2),
        ("  from then on, messages a second", lambda one: one.speed, 0),
        ("HTML of the largest message, bytes", lambda one: one.size, 0),
        ("lost, doubled, strangers, or not as they must be", lambda one: len(one.faults), 0),
    )
    for label, figure, decimals in rows:
        print(f"  {label:<52}{''.join(f'{figure(one):>12,.{decimals}f}' for one in found.values())}")
    faults = [f"{kind}: {fault}" for kind, one in found.items() for fault in one.faults]
    for fault in faults[:20]:
        print(f"  FAULT {fault}")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
