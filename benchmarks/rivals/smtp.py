"""Sends N messages of the sample issue to an SMTP server on loopback in one way, and prints what that took.

    python -m benchmarks.rivals.smtp WAY PORT N     WAY: email-message, aiosmtplib, threads, provider

The clock runs while the messages are on their way: the issue is rendered, modules are imported, and what is called
ready is made before.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import smtplib
import sys
import threading
import time
from collections.abc import Callable, Iterator

from benchmarks.render import (
    LETTERHEAD,
    PUBLICATION,
    ROOT,
    RUN,
    SECTIONS,
    Reader,
    readers,
    with_email_message,
    with_segments,
)
from newsletter.delivery.model import Batch, Recipient
from newsletter.issue.parse import parse_issue
from newsletter.providers.smtp import SmtpProvider
from newsletter.providers.smtp_handshake import SmtpServer
from newsletter.rendering.mime import MessageEncoder
from newsletter.rendering.model import RenderedIssue, Variant
from newsletter.rendering.render import Renderer
from newsletter.rendering.template_folder import find_template

CONNECTIONS = 16
#: Messages of one call of the provider.
WINDOW = 50
#: Different messages; they are sent again and again.
_DIFFERENT = 500
_SENDER = "buzz@news.example.com"


def rendered_issue() -> RenderedIssue:
    """The sample issue."""
    issue = parse_issue((ROOT / "issues" / "2026-01-07.txt").read_bytes(), source="2026-01-07.txt", sections=SECTIONS)
    return Renderer(find_template("digest", [ROOT / "templates"]), PUBLICATION).render(issue)


def ready(count: int) -> Iterator[tuple[str, bytes]]:
    """So many messages that are made, with the addresses they go to."""
    encoder = MessageEncoder(rendered_issue(), LETTERHEAD)
    made = [(reader.address, with_segments(encoder, reader)) for reader in readers(_DIFFERENT)]
    return itertools.islice(itertools.cycle(made), count)


def email_message(port: int, count: int) -> Callable[[], None]:
    """As the standard library's documentation shows it: a message for each reader, one after the other."""
    rendered = rendered_issue()
    people = itertools.islice(itertools.cycle(readers(_DIFFERENT)), count)

    def send() -> None:
        with smtplib.SMTP("127.0.0.1", port) as smtp:
            for reader in people:
                smtp.sendmail(_SENDER, [reader.address], with_email_message(rendered, reader))

    return send


def in_threads(port: int, count: int) -> Callable[[], None]:
    """smtplib with messages that are ready, in as many threads as there are connections."""
    left, lock = ready(count), threading.Lock()

    def work() -> None:
        with smtplib.SMTP("127.0.0.1", port) as smtp:
            while True:
                with lock:
                    mail = next(left, None)
                if mail is None:
                    return
                smtp.sendmail(_SENDER, [mail[0]], mail[1])

    return lambda: _together(work)


def with_aiosmtplib(port: int, count: int) -> Callable[[], None]:
    """The asyncio package with messages that are ready, over as many connections."""
    import aiosmtplib  # the others go without it

    left = ready(count)

    async def work() -> None:
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False) as smtp:
            for address, message in left:
                await smtp.sendmail(_SENDER, [address], message)

    async def all_of_them() -> None:
        await asyncio.gather(*(work() for _ in range(CONNECTIONS)))

    return lambda: asyncio.run(all_of_them())


def provider(port: int, count: int) -> Callable[[], None]:
    """newsletter's own provider with recipients that are ready; the messages are made as they go."""
    rendered: dict[Variant, RenderedIssue] = {(): rendered_issue()}
    people = itertools.islice(itertools.cycle(map(_recipient, readers(_DIFFERENT * 4), itertools.count())), count)
    recipients = list(people)
    batches = iter(
        [
            Batch(RUN, number, LETTERHEAD, tuple(recipients[at : at + WINDOW]))
            for number, at in enumerate(range(0, count, WINDOW), 1)
        ]
    )
    lock = threading.Lock()
    sender = SmtpProvider("smtp", SmtpServer("127.0.0.1", port))

    def work() -> None:
        while True:
            with lock:
                batch = next(batches, None)
            if batch is None:
                return
            receipt = sender.submit(batch, rendered)
            assert receipt.accepted == len(batch.recipients), receipt

    def send() -> None:
        _together(work)
        sender.close()

    return send


def _recipient(reader: Reader, number: int) -> Recipient:
    return Recipient(str(number), reader.address, reader.name, reader.message_id, reader.unsubscribe_url, reader.values)


def _together(work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


WAYS = {
    "email-message": email_message,
    "aiosmtplib": with_aiosmtplib,
    "threads": in_threads,
    "provider": provider,
}


def main(arguments: list[str]) -> int:
    way, port, count = arguments[0], int(arguments[1]), int(arguments[2])
    send = WAYS[way](port, count)
    cpu, start = time.process_time(), time.perf_counter()
    send()
    print(json.dumps({"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
