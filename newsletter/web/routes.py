"""All routes of the public side: each module has some, and this is the list of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from fastapi import APIRouter

from newsletter.web.api import api_routes
from newsletter.web.archive import archive_routes
from newsletter.web.assets import asset_routes
from newsletter.web.confirmation import confirmation_routes
from newsletter.web.event_worker import event_worker
from newsletter.web.group_writer import GroupWriter
from newsletter.web.links import link_routes
from newsletter.web.outbox import Outbox
from newsletter.web.preferences import preferences_routes
from newsletter.web.public import Public
from newsletter.web.sending_desk import SendingDesk
from newsletter.web.signup import signup_routes
from newsletter.web.unsubscribe import departures_of, unsubscribe_routes
from newsletter.web.webhooks import MOST_POSTS, MOST_WAITING, keeping_of, webhook_routes
from newsletter.wiring.events import sendgrid_webhooks

if TYPE_CHECKING:
    from newsletter.web.serving import Worker


def public_routes(public: Public, ending: ExitStack | None = None) -> list[APIRouter]:
    """What `newsletter web` serves beside its health. `ending` closes what writes for them: call it when the server has
    given its last answer."""
    ending = ending or ExitStack()
    leaving = GroupWriter(departures_of(public), gather=0.002, name="departures")
    ending.callback(leaving.close)
    keeping = GroupWriter(keeping_of(public), most=MOST_POSTS, most_waiting=MOST_WAITING, name="posts")
    ending.callback(keeping.close)
    desk = SendingDesk(public.ledger, public.audience, public.metrics)
    ending.callback(desk.close)
    return [
        unsubscribe_routes(public, leaving),  # first: routes are tried in order, and mailbox providers come in crowds
        signup_routes(public),  # before the assets: one of them is its script
        confirmation_routes(public),
        asset_routes(public),
        preferences_routes(public),
        archive_routes(public),
        link_routes(public, ending),
        webhook_routes(public, keeping, sendgrid_webhooks(public.loaded)),
        api_routes(public, desk),
    ]


def public_workers(public: Public, say: Callable[[str], None] = lambda _: None) -> list[Worker]:
    """What works beside the server: started before it, stopped after it. `say` hears what somebody at a terminal waits
    for."""
    return [event_worker(public), Outbox(public, say)]
