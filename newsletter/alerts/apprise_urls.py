"""Tells whoever Apprise can: chats, mail, telephones. Apprise is an extra, and imported only where a URL needs it.

https://github.com/caronc/apprise/wiki
"""

from __future__ import annotations

import logging
import warnings
from typing import Any

from newsletter.alerts.courier import NotTold
from newsletter.alerts.model import Alert, Occasion

#: Apprise's kinds of message, which choose a colour or a sign.
_KINDS = {
    Occasion.MISSING_ISSUE: "warning",
    Occasion.FAILED: "failure",
    Occasion.PAUSED: "warning",
    Occasion.DEADLINE: "failure",
    Occasion.SUMMARY: "info",
}


class AppriseMissing(Exception):
    """Apprise is not installed."""


class AppriseUrl:
    """One URL that Apprise knows. Raises AppriseMissing, and ValueError where it does not know it."""

    def __init__(self, url: str) -> None:
        with warnings.catch_warnings():
            # the first URL loads a hundred modules, which warn of what their authors should see to
            warnings.simplefilter("ignore")
            try:
                import apprise  # an extra, and slow to load
            except ImportError:
                raise AppriseMissing from None
            _silence()
            asset = apprise.AppriseAsset(app_id="newsletter", app_desc="newsletter", secure_logging=True)
            service: Any = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        if service is None:
            raise ValueError("Apprise does not know this kind of URL, or a part of it is missing or wrong")
        self._apprise: Any = apprise.Apprise(asset=asset)
        self._apprise.add(service)

    def __call__(self, alert: Alert) -> None:
        """Sends the alert as plain text. Raises NotTold."""
        title, body = (alert.title, alert.text) if alert.text else ("", alert.title)
        done = self._apprise.notify(
            body=body, title=title, notify_type=_KINDS[alert.occasion], body_format="text", interpret_escapes=False
        )
        if not done:
            raise NotTold("Apprise could not bring it there")


def _silence() -> None:
    """Apprise writes what it requests to Python's logging, URLs and all."""
    log = logging.getLogger("apprise")
    log.propagate = False
    if not log.handlers:
        log.addHandler(logging.NullHandler())
