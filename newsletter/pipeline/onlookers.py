"""Everybody who looks on while a run is sent: the terminal, the log, the counters."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence

from newsletter.delivery.observing import EndedCall, Observer, Unobserved
from newsletter.delivery.run_values import Balance
from newsletter.errors import NewsletterError

#: Hears how a run stands.
OnBalance = Callable[[Balance], None]


class Onlookers:
    """Tells several observers what the send loop tells it.

    One that fails is left out from then on: a terminal that was closed must not keep mail from going out.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = list(observers)

    def claimed(self, members: int) -> None:
        """See `Observer`."""
        self._tell(lambda one: one.claimed(members))

    def ended(self, call: EndedCall) -> None:
        """See `Observer`."""
        self._tell(lambda one: one.ended(call))

    def waiting(self, until: dt.datetime) -> None:
        """See `Observer`."""
        self._tell(lambda one: one.waiting(until))

    def paused(self, reason: str) -> None:
        """See `Observer`."""
        self._tell(lambda one: one.paused(reason))

    def database_trouble(self, error: NewsletterError, next_try: float) -> None:
        """See `Observer`."""
        self._tell(lambda one: one.database_trouble(error, next_try))

    def database_back(self) -> None:
        """See `Observer`."""
        self._tell(lambda one: one.database_back())

    def _tell(self, tell: Callable[[Observer], None]) -> None:
        for one in tuple(self._observers):
            try:
                tell(one)
            except Exception:  # noqa: BLE001 - whatever it is, the mail matters more
                self._observers.remove(one)


class BalanceTeller(Unobserved):
    """Tells the balance sheet when the first call begins, and whenever one is over."""

    def __init__(self, balance: Callable[[], Balance], tell: OnBalance) -> None:
        self._balance = balance
        self._tell = tell
        self._begun = False

    def claimed(self, members: int) -> None:  # noqa: ARG002 - as below
        """See `Observer`."""
        if not self._begun:
            self._begun = True
            self._tell(self._balance())

    def ended(self, call: EndedCall) -> None:  # noqa: ARG002 - the sheet has it
        """See `Observer`."""
        self._tell(self._balance())
