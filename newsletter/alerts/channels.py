"""From `[notifications]` to the places that are told. No message, log line or name holds a URL's secrets."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from newsletter import logs
from newsletter.alerts.apprise_urls import AppriseMissing, AppriseUrl
from newsletter.alerts.heartbeat import Heartbeat
from newsletter.alerts.model import Alert, Beat
from newsletter.alerts.webhook import Webhook
from newsletter.errors import ConfigError, Problem
from newsletter.settings.loaded import Loaded
from newsletter.settings.masking import mask_url

_URLS = "notifications.urls"
_HEARTBEAT = "notifications.heartbeat_url"


@dataclass(frozen=True, slots=True)
class Channel:
    """One place that is told; `name` is its key and its URL without secrets. `carry` raises NotTold."""

    name: str
    carry: Callable[[Alert], None] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pulse:
    """The dead man's switch."""

    name: str
    carry: Callable[[Beat], None] = field(repr=False)


def channels(loaded: Loaded) -> tuple[Channel, ...]:
    """The places of `notifications.urls`; nothing is requested. Raises ConfigError with everything that is wrong."""
    found, problems = [], []
    place = loaded.place(_URLS)
    for number, url in enumerate(loaded.settings.notifications.urls):
        key = f"{_URLS}[{number}]"
        logs.never(url)
        try:
            found.append(Channel(f"{key} ({mask_url(url)})", _carrier(url)))
        except AppriseMissing:
            message = f"{key}: a URL that is neither https:// nor http:// is Apprise's, and Apprise is not installed"
            problems.append(Problem(key, message, place, suggestion='Install it: pip install "newsletter[alerts]".'))
        except ValueError as error:
            problems.append(Problem(key, f"{key}: {error}", place, suggestion=_SUGGESTION))
    if problems:
        # raised out here, so that no exception that could carry the URL hangs on it
        raise ConfigError(problems)
    return tuple(found)


def pulse(loaded: Loaded) -> Pulse | None:
    """The switch of `notifications.heartbeat_url`, if there is one. Raises ConfigError."""
    url = loaded.settings.notifications.heartbeat_url
    if not url:
        return None
    logs.never(url)
    if not _is_url(url):
        message = f"{_HEARTBEAT}: this is no URL with a host"
        raise ConfigError([Problem(_HEARTBEAT, message, loaded.place(_HEARTBEAT))])
    return Pulse(f"{_HEARTBEAT} ({mask_url(url)})", Heartbeat(url))


_SUGGESTION = "Write https://HOST/PATH, or a URL as https://github.com/caronc/apprise/wiki has them."


def _carrier(url: str) -> Callable[[Alert], None]:
    if re.match(r"https?://", url, re.IGNORECASE):
        if not _is_url(url):
            raise ValueError("this is no URL with a host")
        return Webhook(url)
    return AppriseUrl(url)


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(re.fullmatch(r"[!-~]+", url) and parts.hostname and parts.port != 0 and httpx.URL(url).host)
    except (ValueError, httpx.InvalidURL):
        return False
