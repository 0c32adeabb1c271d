"""Tells an https:// or http:// URL: a POST of plain JSON (docs/reference/schedule.md)."""

from __future__ import annotations

import json

from newsletter.alerts.http_request import request
from newsletter.alerts.model import Alert


def alert_document(alert: Alert) -> dict[str, object]:
    """What is posted. These five keys are always there; others may come."""
    return {
        "occasion": alert.occasion.value,
        "key": alert.key,
        "title": alert.title,
        "text": alert.text,
        "facts": dict(alert.facts),
    }


class Webhook:
    """One URL. User and password in it become Basic authentication."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, alert: Alert) -> None:
        """Posts the alert. Raises NotTold."""
        content = json.dumps(alert_document(alert), ensure_ascii=False, default=str).encode()
        request("POST", self._url, content, {"Content-Type": "application/json"})
