"""Sends the sample issue to N recipients by SendGrid's API on loopback in one way, and prints what that took.

    python -m benchmarks.rivals.sendgrid WAY PORT N     WAY: helpers, dict, provider

Requests carry 1,000 recipients each, with values and headers of their own. The clock runs while they are made and on
their way; the issue is rendered and modules are imported before.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sendgrid import SendGridAPIClient
from sendgrid.helpers.mail import Content, CustomArg, From, Header, Mail, Personalization, Substitution, To

from benchmarks.render import LETTERHEAD, RUN, Reader, readers
from benchmarks.rivals.smtp import rendered_issue
from newsletter.delivery.model import Batch, Recipient
from newsletter.providers.sendgrid import SendgridProvider
from newsletter.rendering.model import Holed, RenderedIssue, Variant

BATCH = 1_000
#: Threads of the provider, as many as a newsletter has by itself.
_THREADS = 4
_DIFFERENT = 20_000
_KEY = "SG.loopback"
_SENDER = ("buzz@news.example.com", "Daily Buzz")


@dataclass(frozen=True, slots=True)
class _Content:
    """An issue with a key in each hole: `keys` are (key, name of the value)."""

    subject: str
    text: str
    html: str
    keys: tuple[tuple[str, str], ...]


def _content() -> _Content:
    rendered = rendered_issue()
    holes = dict.fromkeys((*rendered.text.holes, *rendered.html.holes))
    keys = {hole: f"-{hole.name}.{hole.context}-" for hole in holes}

    def keyed(holed: Holed) -> str:
        parts = [holed.static[0]]
        for hole, static in zip(holed.holes, holed.static[1:], strict=True):
            parts += (keys[hole], static)
        return "".join(parts)

    named = tuple((key, hole.name) for hole, key in keys.items())
    return _Content(rendered.subject, keyed(rendered.text), keyed(rendered.html), named)


def _headers(reader: Reader) -> dict[str, str]:
    return {
        "Message-ID": reader.message_id,
        "List-Unsubscribe": f"<{reader.unsubscribe_url}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        "List-Id": f"{LETTERHEAD.list_name} <{LETTERHEAD.list_id}>",
        "Feedback-ID": LETTERHEAD.feedback_id,
    }


def _arguments(number: int) -> dict[str, str]:
    return {"nl_run": RUN, "nl_delivery": str(number)}


def _some(count: int) -> Iterator[list[tuple[int, Reader]]]:
    """So many recipients, in lots of one request."""
    people = itertools.cycle(readers(min(count, _DIFFERENT)))
    left = enumerate(itertools.islice(people, count))
    while lot := list(itertools.islice(left, BATCH)):
        yield lot


def with_helpers(port: int, count: int) -> Callable[[], None]:
    """As the package's own pages show it: an object for everything."""
    content, api = _content(), SendGridAPIClient(_KEY, host=f"http://127.0.0.1:{port}")
    lots = list(_some(count))

    def send() -> None:
        for lot in lots:
            mail = Mail(from_email=From(*_SENDER), subject=content.subject)
            mail.add_content(Content("text/plain", content.text))
            mail.add_content(Content("text/html", content.html))
            for number, reader in lot:
                one = Personalization()
                one.add_to(To(reader.address, reader.name))
                for key, name in content.keys:
                    one.add_substitution(Substitution(key, reader.values[name]))
                for header, value in _headers(reader).items():
                    one.add_header(Header(header, value))
                for argument, value in _arguments(number).items():
                    one.add_custom_arg(CustomArg(argument, value))
                mail.add_personalization(one)
            assert api.send(mail).status_code == 202

    return send


def with_dict(port: int, count: int) -> Callable[[], None]:
    """The package, with the body as a plain dict."""
    content, api = _content(), SendGridAPIClient(_KEY, host=f"http://127.0.0.1:{port}")
    lots = list(_some(count))

    def send() -> None:
        for lot in lots:
            body: dict[str, Any] = {
                "personalizations": [
                    {
                        "to": [{"email": reader.address, "name": reader.name}],
                        "substitutions": {key: reader.values[name] for key, name in content.keys},
                        "headers": _headers(reader),
                        "custom_args": _arguments(number),
                    }
                    for number, reader in lot
                ],
                "from": dict(zip(("email", "name"), _SENDER, strict=True)),
                "subject": content.subject,
                "content": [
                    {"type": "text/plain", "value": content.text},
                    {"type": "text/html", "value": content.html},
                ],
            }
            assert api.send(body).status_code == 202

    return send


def provider(port: int, count: int) -> Callable[[], None]:
    """newsletter's own provider, in threads, with recipients that are ready."""
    rendered: dict[Variant, RenderedIssue] = {(): rendered_issue()}
    batches = iter(
        [
            Batch(RUN, number, LETTERHEAD, tuple(_recipient(reader, at) for at, reader in lot), f"{RUN}/{number}")
            for number, lot in enumerate(_some(count), 1)
        ]
    )
    lock = threading.Lock()
    sender = SendgridProvider("sendgrid", _KEY, host=f"http://127.0.0.1:{port}")

    def work() -> None:
        while True:
            with lock:
                batch = next(batches, None)
            if batch is None:
                return
            receipt = sender.submit(batch, rendered)
            assert receipt.accepted == len(batch.recipients), receipt

    def send() -> None:
        threads = [threading.Thread(target=work) for _ in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sender.close()

    return send


def _recipient(reader: Reader, number: int) -> Recipient:
    return Recipient(str(number), reader.address, reader.name, reader.message_id, reader.unsubscribe_url, reader.values)


WAYS = {"helpers": with_helpers, "dict": with_dict, "provider": provider}


def main(arguments: list[str]) -> int:
    send = WAYS[arguments[0]](int(arguments[1]), int(arguments[2]))
    cpu, start = time.process_time(), time.perf_counter()
    send()
    print(json.dumps({"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
