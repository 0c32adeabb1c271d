"""A provider wired to a test server, and an issue with many holes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from provider_examples import PLAIN, SUBJECT, recipient
from servers.sendgrid_server import SendgridServer

from newsletter.delivery.model import Recipient
from newsletter.providers.sendgrid import SendgridProvider
from newsletter.rendering.model import Hole, HoleContext, Holed, RenderedIssue

KEY = "SG.canary-0123456789abcdef.only-for-tests"


def wired(server: SendgridServer, *, timeout: float = 5.0, sandbox: bool = False) -> SendgridProvider:
    """A provider that hands its mail to the server."""
    return SendgridProvider("sendgrid", KEY, host=server.url, timeout=timeout, sandbox=sandbox)


def bodies(server: SendgridServer) -> Sequence[Any]:
    """The documents of all calls so far."""
    return [json.loads(body) for body in server.bodies]


def of_many_holes(count: int) -> RenderedIssue:
    """An issue with the holes f0, f1, …"""
    holes = tuple(Hole(f"f{number}", HoleContext.TEXT) for number in range(count))
    return RenderedIssue(SUBJECT, "", Holed(("<p>",), ()), Holed(("-",) * (count + 1), holes), "7c" * 32, PLAIN)


def with_values(number: int, count: int, value: str) -> Recipient:
    """Somebody who has the same value in each of so many holes."""
    plain = recipient(number)
    return Recipient(
        id=plain.id,
        address=plain.address,
        name="",
        message_id=plain.message_id,
        unsubscribe_url=plain.unsubscribe_url,
        values={f"f{place}": value for place in range(count)},
        variant=PLAIN,
    )
