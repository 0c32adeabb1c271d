"""What rendering and message making cost, in one run on one machine.

    python benchmarks/render.py [--short] [--issue FILE]

Three things are timed over the same issue, template and recipients: the whole chain (Jinja2, MJML, inlining, text
part), the messages that newsletter.rendering.mime makes, and the same messages built with email.message.EmailMessage.
Before the clock starts, both ways are read back and compared: a fast way that says something else would be no result.
"""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import formataddr
from hashlib import sha256
from pathlib import Path

from newsletter.issue.parse import parse_issue
from newsletter.rendering.holes import fill
from newsletter.rendering.letter import Letterhead, message_id
from newsletter.rendering.mime import MessageEncoder
from newsletter.rendering.model import Publication, RenderedIssue
from newsletter.rendering.render import Renderer
from newsletter.rendering.template_folder import find_template

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = ("Top News", "Top Business", "Economy & Markets", "Corporate", "In Case You Missed It")
DOMAIN = "news.example.com"
RUN = "daily-buzz/2026-01-07"
#: Times faster than EmailMessage that the message maker is meant to be.
TARGET = 60

PUBLICATION = Publication(
    name="daily-buzz",
    title="Daily Buzz",
    site_name="Daily Buzz",
    base_url=f"https://{DOMAIN}",
    language="en",
    postal_address="1 Example Street, Example City",
    sender=f"Daily Buzz <buzz@{DOMAIN}>",
    sections=SECTIONS,
)
LETTERHEAD = Letterhead(
    sender=PUBLICATION.sender,
    reply_to="editor@example.com",
    list_id=f"daily-buzz.{DOMAIN}",
    list_name="Daily Buzz",
    feedback_id="2026-01-07:daily-buzz:issue:DailyBuzz",
    date=dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.timezone(dt.timedelta(hours=8))),
)
#: One name in five is not plain ASCII, and one in ten needs escaping.
NAMES = (
    "Ada Lovelace",
    "Grace Hopper",
    "Zo\u00eb S\u00f8rensen",
    "Alan Turing",
    "Katherine Johnson",
    "Barbara Liskov",
    "Tim O'Reilly & Sons",
    "Edsger Dijkstra",
    "\u738b\u5c0f\u660e",
    "Margaret Hamilton",
)


@dataclass(frozen=True, slots=True)
class Reader:
    """One recipient; every value of theirs is their own, as in a real run."""

    name: str
    address: str
    message_id: str
    unsubscribe_url: str
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class Timing:
    """Microseconds a call: the median of the rounds, and the best one."""

    median: float
    best: float


def readers(count: int) -> list[Reader]:
    """`count` recipients with distinct names, addresses and links of the length that signed tokens have."""
    made = []
    for number in range(count):
        name = f"{NAMES[number % len(NAMES)]} {number}"
        token = f"{sha256(str(number).encode()).hexdigest()}.aV4xyz.{sha256(name.encode()).hexdigest()[:27]}"
        links = {f"{page}_url": f"https://{DOMAIN}/{page}/{token}" for page in ("unsubscribe", "preferences")}
        values = {
            "name": name,
            "email": f"reader{number}@example.org",
            "view_url": f"https://{DOMAIN}/daily-buzz/2026-01-07",
        }
        made.append(
            Reader(
                name, values["email"], message_id(RUN, str(number), DOMAIN), links["unsubscribe_url"], values | links
            )
        )
    return made


def with_email_message(rendered: RenderedIssue, reader: Reader) -> bytes:
    """The same message as the standard library's documentation makes it."""
    message = EmailMessage(policy=policy.SMTP)
    message["From"] = LETTERHEAD.sender
    message["To"] = formataddr((reader.name, reader.address))
    message["Reply-To"] = LETTERHEAD.reply_to
    message["Subject"] = rendered.subject
    message["Date"] = LETTERHEAD.date
    message["Message-ID"] = reader.message_id
    message["List-Id"] = f"{LETTERHEAD.list_name} <{LETTERHEAD.list_id}>"
    message["List-Unsubscribe"] = f"<{reader.unsubscribe_url}>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message["Feedback-ID"] = LETTERHEAD.feedback_id
    message.set_content(fill(rendered.text, reader.values), cte="quoted-printable")
    message.add_alternative(fill(rendered.html, reader.values), subtype="html", cte="quoted-printable")
    return message.as_bytes()


def with_segments(encoder: MessageEncoder, reader: Reader) -> bytes:
    return encoder.message(
        to_address=reader.address,
        to_name=reader.name,
        message_id=reader.message_id,
        unsubscribe_url=reader.unsubscribe_url,
        values=reader.values,
    )


def said(raw: bytes) -> tuple[str, str]:
    """The decoded text and HTML of a message."""
    message = message_from_bytes(raw, policy=policy.default)
    parts = [message.get_body((kind,)) for kind in ("plain", "html")]
    text, html = (str(part.get_content()).replace("\r\n", "\n").rstrip("\n") if part else "" for part in parts)
    return text, html


def timed(work: Callable[[], object], *, calls: int, rounds: int) -> Timing:
    """Microseconds a call of `work`, over `rounds` rounds of `calls` calls after one round to warm up."""
    figures = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        for _ in range(calls):
            work()
        figures.append((time.perf_counter() - start) / calls * 1e6)
    return Timing(statistics.median(figures[1:]), min(figures[1:]))


def commit() -> str:
    """The commit that is measured, `+changes` if the tree holds more."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    head = git("rev-parse", "--short", "HEAD")
    return f"{head}{'+changes' if git('status', '--porcelain') else ''}" if head else "none"


def processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Times rendering and message making.")
    parser.add_argument("--short", action="store_true", help="a few seconds, for CI; coarser figures")
    parser.add_argument("--issue", type=Path, default=ROOT / "issues" / "2026-01-07.txt", help="the issue to render")
    options = parser.parse_args(arguments)
    rounds = 3 if options.short else 9
    people = readers(500 if options.short else 2000)

    issue = parse_issue(options.issue.read_bytes(), source=options.issue.name, sections=SECTIONS)
    renderer = Renderer(find_template("digest", [ROOT / "templates"]), PUBLICATION)
    rendered = renderer.render(issue)
    encoder = MessageEncoder(rendered, LETTERHEAD)
    for reader in people[: len(NAMES)]:
        if said(with_segments(encoder, reader)) != said(with_email_message(rendered, reader)):
            print(f"the two ways say different things to {reader.name}; nothing was timed", file=sys.stderr)
            return 1

    # A renderer keeps what it has rendered; a new subject each time makes it work, with its templates compiled.
    edits = itertools.count()
    chain = timed(
        lambda: renderer.render(replace(issue, subject=f"{issue.subject} ({next(edits)})")),
        calls=5 if options.short else 20,
        rounds=rounds,
    )
    encode = timed(lambda: MessageEncoder(rendered, LETTERHEAD), calls=10, rounds=rounds)
    turn = itertools.cycle(people)
    segments = timed(lambda: with_segments(encoder, next(turn)), calls=len(people), rounds=rounds)
    turn = itertools.cycle(people)
    standard = timed(lambda: with_email_message(rendered, next(turn)), calls=10 if options.short else 50, rounds=rounds)

    size = len(with_segments(encoder, people[0]))
    html = len(fill(rendered.html, people[0].values).encode())
    text = len(fill(rendered.text, people[0].values).encode())
    print(f"commit {commit()}, Python {platform.python_version()}, {os.cpu_count()} x {processor()}")
    print(f"issue {options.issue.name}: HTML {html:,} bytes, text {text:,} bytes, a whole message {size:,} bytes")
    print(f"{rounds} rounds; microseconds, median (best)")
    rows = (
        ("the whole chain, once per issue and variant", chain),
        ("encoding the segments, once per issue and variant", encode),
        ("a complete message from segments", segments),
        ("a complete message from EmailMessage", standard),
    )
    for label, timing in rows:
        print(f"  {label:<52}{timing.median:>10,.1f} ({timing.best:,.1f})")
    print(f"  {'messages per second and core, from segments':<52}{1e6 / segments.median:>10,.0f}")
    print(f"  {'messages per second and core, EmailMessage':<52}{1e6 / standard.median:>10,.0f}")
    print(f"  {f'ratio (target: at least {TARGET})':<52}{standard.median / segments.median:>10,.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
