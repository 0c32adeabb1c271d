"""Events with the parts that they take: where they are kept, what settles them, and the keys that prove who posted."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from newsletter.errors import ConfigError, UsageError
from newsletter.events.sendgrid_signature import SIGNATURE_FIELD, TIMESTAMP_FIELD, PostedKey
from newsletter.pipeline.take_events import EventTools, event_tools
from newsletter.settings.loaded import Loaded
from newsletter.settings.provider_model import SendgridProvider
from newsletter.settings.suggest import did_you_mean
from newsletter.wiring.parts import audience_store, database, ledger

if TYPE_CHECKING:
    from newsletter.store.events import SqlEvents


def event_inbox(loaded: Loaded) -> SqlEvents:
    """Where events are kept, on a database that is up to date (see `audience_store`)."""
    from newsletter.store.events import SqlEvents  # SQLAlchemy takes long to load

    return SqlEvents(database(loaded))


def event_taking(loaded: Loaded, say: Callable[[str], None] = lambda _: None) -> EventTools:
    """What settles events. Raises GuardRefused where `newsletter db upgrade` is needed."""
    audience = audience_store(loaded, say)
    return event_tools(loaded, event_inbox(loaded), ledger(loaded), audience)


def sendgrid_names(loaded: Loaded) -> list[str]:
    """The providers that are SendGrid accounts."""
    return [name for name, one in loaded.settings.providers.items() if isinstance(one, SendgridProvider)]


def refuse_other_provider(loaded: Loaded, name: str) -> None:
    """Raises UsageError where there is no SendGrid account of this name in the settings."""
    names = sendgrid_names(loaded)
    if name not in names:
        there = f"there is {', '.join(names)}" if names else "there is none"
        raise UsageError(f"{name} is no provider of the kind sendgrid; {there}", hint=did_you_mean(name, names))


#: (body, header fields, now) → whether the account posted it, and just now.
Proof = Callable[[bytes, Mapping[str, str], dt.datetime], bool]


@dataclass(frozen=True, slots=True)
class Webhook:
    """The webhook of a SendGrid account. Where there is no key that `proves` anything, `closed` says why."""

    provider: str
    proves: Proof | None
    closed: str = ""


def sendgrid_webhooks(loaded: Loaded) -> Mapping[str, Webhook]:
    """Those of the settings, by the name of the provider; a missing key is no error, and leaves one closed."""
    return {name: _webhook(loaded, name) for name in sendgrid_names(loaded)}


def _webhook(loaded: Loaded, name: str) -> Webhook:
    settings = loaded.settings.providers[name]
    assert isinstance(settings, SendgridProvider)
    secret = settings.webhook_public_key
    try:
        key = PostedKey(secret.resolve(os.environ, loaded.folder))
    except ConfigError as error:
        return Webhook(name, None, str(error))
    except ValueError as error:
        return Webhook(name, None, f"providers.{name}.webhook_public_key, {secret.source}: {error}")

    def proves(body: bytes, fields: Mapping[str, str], now: dt.datetime) -> bool:
        signature, timestamp = fields.get(SIGNATURE_FIELD, ""), fields.get(TIMESTAMP_FIELD, "")
        return key.vouches_for(body, signature=signature, timestamp=timestamp, now=now)

    return Webhook(name, proves)
