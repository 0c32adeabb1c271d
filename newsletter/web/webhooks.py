"""/webhooks/sendgrid/PROVIDER: what SendGrid tells of mail that went out. It is on the disk before it is answered."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from newsletter import logs
from newsletter.errors import NewsletterError
from newsletter.events.model import Event
from newsletter.pipeline.receive_events import Received, keep_posts, receive_post
from newsletter.web.group_writer import GroupWriter
from newsletter.web.public import Public
from newsletter.wiring.events import Webhook

Keeping = GroupWriter[Sequence[Event], None]

#: Posts that are written together: SendGrid's have some hundred events each.
MOST_POSTS = 20
#: Posts that may wait to be written, each of some 100 kB: SendGrid keeps the others.
MOST_WAITING = 500
#: Seconds until we say that we cannot at the moment; SendGrid posts again, for 24 hours.
_PATIENCE = 20.0


def keeping_of(public: Public) -> Callable[[Sequence[Sequence[Event]]], Sequence[None]]:
    """What the writer of all posts writes with."""

    def keep(posts: Sequence[Sequence[Event]]) -> Sequence[None]:
        keep_posts(public.events, posts, public.now())
        return [None] * len(posts)

    return keep


def webhook_routes(public: Public, keeping: Keeping, webhooks: Mapping[str, Webhook]) -> APIRouter:
    """`webhooks` are the SendGrid accounts of the settings, each with its key. Whoever has no valid signature learns
    nothing; whoever has one learns whether to post it again (503)."""
    routes = APIRouter()

    async def sendgrid(request: Request) -> Response:
        name = request.path_params["provider"]
        webhook = webhooks.get(name)
        if webhook is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        body = await request.body()
        if not await run_in_threadpool(_is_theirs, webhook, body, request, public):
            raise HTTPException(HTTPStatus.FORBIDDEN)
        received = await run_in_threadpool(receive_post, body)
        _tell(name, received)
        if received.unreadable:
            raise HTTPException(HTTPStatus.BAD_REQUEST)
        if received.events:
            await _kept(keeping, received.events)
            _count(public, received.events)
            public.events_arrived.set()
        return Response(status_code=HTTPStatus.NO_CONTENT)

    routes.add_api_route("/webhooks/sendgrid/{provider}", sendgrid, methods=["POST"], response_model=None)
    return routes


def _is_theirs(webhook: Webhook, body: bytes, request: Request, public: Public) -> bool:
    if webhook.proves is None:
        logs.write("error", "webhook_closed", provider=webhook.provider, reason=webhook.closed)
        return False
    proven = webhook.proves(body, request.headers, public.now())
    if not proven:
        logs.write("warning", "webhook_refused", provider=webhook.provider, reason="no valid signature of this moment")
    return proven


async def _kept(keeping: Keeping, events: Sequence[Event]) -> None:
    """Returns when they are durable. Raises what says that they are to be posted again."""
    try:
        # the writer goes on writing, whoever waits: then what is posted again is known
        await asyncio.wait_for(asyncio.shield(keeping.put(events)), _PATIENCE)
    except (NewsletterError, TimeoutError) as error:
        logs.write("warning", "events_not_kept", events=len(events), error=str(error) or "the database takes too long")
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": "30"}) from None


def _tell(name: str, received: Received) -> None:
    if received.unreadable:
        logs.write("warning", "post_unreadable", provider=name, reason=received.unreadable)
    for why, number in (received.unusable or {}).items():
        logs.write("warning", "events_unusable", provider=name, reason=why, events=number)


def _count(public: Public, events: Sequence[Event]) -> None:
    for (source, kind), number in Counter((one.source, one.kind) for one in events).items():
        public.metrics.events.labels(source, kind.value).inc(number)
