"""Tells operators what happened, each place in a thread of its own, and writes all of it into the log."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace

from newsletter import logs
from newsletter.alerts.channels import channels, pulse
from newsletter.alerts.courier import Courier, Patience
from newsletter.alerts.model import Alert, Beat, Occasion
from newsletter.settings.loaded import Loaded

#: Seconds that `close` waits for what was told last.
FAREWELL = 5.0
#: A beat says that something happens now: it is not worth much later.
_BEAT_PATIENCE = Patience(keep_trying=300.0)
_LEVELS = {Occasion.SUMMARY: "info", Occasion.MISSING_ISSUE: "warning", Occasion.PAUSED: "warning"}


class QueuedTeller:
    """A `Teller`: what is told waits in a queue per place, so that one that hangs holds up no other, and no send.

    Every alert is in the log; the places hear of the occasions in `on`.
    """

    def __init__(
        self,
        couriers: Collection[Courier[Alert]],
        heart: Courier[Beat] | None,
        on: Collection[Occasion],
        *,
        farewell: float = FAREWELL,
    ) -> None:
        self._couriers = tuple(couriers)
        self._heart = heart
        self._on = frozenset(on)
        self._farewell = farewell

    def tell(self, alert: Alert) -> None:
        """See `Teller`."""
        alert = _discreet(alert)
        level = _LEVELS.get(alert.occasion, "error")
        logs.write(level, "alert", occasion=alert.occasion.value, key=alert.key, title=alert.title, text=alert.text)
        if alert.occasion in self._on:
            for courier in self._couriers:
                courier.take(alert)

    def beat(self, beat: Beat) -> None:
        """See `Teller`."""
        if self._heart is not None:
            self._heart.take(beat)

    def close(self) -> None:
        """See `Teller`. Tries what waits once more; what is still not told is in the log. May be called twice."""
        couriers: list[Courier[Alert] | Courier[Beat]] = [*self._couriers]
        if self._heart is not None:
            couriers.append(self._heart)
        for courier in couriers:
            courier.hurry()
        until = time.monotonic() + self._farewell
        for courier in couriers:
            courier.wait(until)


def _discreet(alert: Alert) -> Alert:
    """Without addresses and secrets: what servers say may hold either, and these places are other people's."""
    facts = {name: logs.discreet(value) if isinstance(value, str) else value for name, value in alert.facts.items()}
    return replace(alert, title=logs.discreet(alert.title), text=logs.discreet(alert.text), facts=facts)


def teller(loaded: Loaded, *, patience: Patience | None = None) -> QueuedTeller:
    """The teller of `[notifications]`. Raises ConfigError for a URL that cannot be told anything."""
    notifications = loaded.settings.notifications
    couriers = [
        Courier(one.name, one.carry, lambda alert: f"{alert.key}: {alert.title}", patience=patience)
        for one in channels(loaded)
    ]
    heart, beats = pulse(loaded), None
    if heart is not None:
        beats = Courier(
            heart.name, heart.carry, lambda beat: beat.value or "success", patience=patience or _BEAT_PATIENCE
        )
    return QueuedTeller(couriers, beats, [Occasion(word) for word in notifications.on])
