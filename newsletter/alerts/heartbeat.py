"""A dead man's switch, as of healthchecks.io: GET of URL/start, URL and URL/fail.

It alarms when nothing was heard: also of a machine that is off, which no alert could tell.
https://healthchecks.io/docs/http_api/
"""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from newsletter.alerts.http_request import request
from newsletter.alerts.model import Beat


def beat_url(url: str, beat: Beat) -> str:
    """The URL for a beat: its word becomes the last part of the path, before any query."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/") if beat.value else parts.path
    return urlunsplit(parts._replace(path=f"{path}/{beat.value}" if beat.value else path, fragment=""))


class Heartbeat:
    """The switch's URL."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, beat: Beat) -> None:
        """Requests the URL of the beat. Raises NotTold."""
        request("GET", beat_url(self._url, beat))
