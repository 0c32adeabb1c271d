"""Tells each cause once, whatever restarts; and the log, which hears everything."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Protocol

from newsletter.alerts.model import Alert, Beat, Teller
from newsletter.delivery.clock import Clock
from newsletter.errors import NewsletterError
from newsletter.schedule.records import ScheduleRecords


class Log(Protocol):
    """Writes a line of the log; `level`: debug, info, warning, error or exception."""

    def __call__(self, level: str, event: str, /, **fields: object) -> None:
        """Writes it."""
        ...


class Herald:
    """Tells operators, each cause once. Used by several threads."""

    def __init__(self, records: ScheduleRecords, teller: Teller, log: Log, clock: Clock) -> None:
        self.log = log
        self._records = records
        self._teller = teller
        self._clock = clock
        #: told while the database was away, or since it was asked: it need not be asked every few seconds
        self._told: set[str] = set()

    def tell_through(self, teller: Teller) -> None:
        """From now on these are the places that hear of it. The one before has its say, and is closed."""
        before, self._teller = self._teller, teller
        # a place that does not answer must not hold up a slot
        threading.Thread(target=before.close, name="farewell", daemon=True).start()

    def tell(self, alert: Alert) -> None:
        """Tells it, unless it was told before. Raises what the database does."""
        if alert.key in self._told:
            return
        if self._records.first_time(alert.key, now=self._clock.now()):
            self._teller.tell(alert)
        self._told.add(alert.key)

    def tell_without_database(self, alert: Alert) -> None:
        """Tells it once, until `forget`; the database is not asked, for it is what is wrong."""
        if alert.key not in self._told:
            self._told.add(alert.key)
            self._teller.tell(alert)

    def tell_in_any_case(self, alert: Alert) -> None:
        """As `tell`; where the database is away, as `tell_without_database`."""
        try:
            self.tell(alert)
        except NewsletterError:
            self.tell_without_database(alert)

    def forget(self, key: str) -> None:
        """The cause is gone: told without the database, it may be told again."""
        self._told.discard(key)

    def forget_for_good(self, key: str) -> None:
        """The cause is gone: should it come again, it is told again. Where the database is away, it is not."""
        self._told.discard(key)
        with suppress(NewsletterError):
            self._records.forget(key)

    def beat(self, beat: Beat) -> None:
        """For a dead man's switch."""
        self._teller.beat(beat)
