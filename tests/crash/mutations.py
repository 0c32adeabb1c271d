"""The product with one of its safeties taken out, in the sending process: what the crash suite must notice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http.client import HTTPException
from typing import Any

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from python_http_client.exceptions import HTTPError

from newsletter.delivery.states import STATE_BITS, DeliveryState
from newsletter.providers import sendgrid_transport
from newsletter.store import eligible, foresight, journal, recovery
from newsletter.store.batch_rows import BatchRow
from newsletter.store.recovery import resend_unknown

_RETRIES = 3


def no_durable_intent() -> None:
    """A claim is in memory alone: the database learns of a call when it is over."""
    _written_as(DeliveryState.PLANNED)


def outcome_first() -> None:
    """A call counts as successful from the moment it is decided on: the checkpoint moves ahead of the mail."""
    _written_as(DeliveryState.ACCEPTED)


def _written_as(state: DeliveryState) -> None:
    save = BatchRow.save

    def saved(self: BatchRow, connection: sa.Connection) -> None:
        true = self.states
        flying = DeliveryState.IN_FLIGHT
        self.states = bytearray(byte & ~STATE_BITS | state if byte & STATE_BITS == flying else byte for byte in true)
        try:
            save(self, connection)
        finally:
            self.states = true

    BatchRow.save = saved  # type: ignore[method-assign]


class _AnyStanding:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


def no_suppression_recheck() -> None:
    """Whoever was in the frozen audience is mailed, whatever they said since."""
    eligible.ELIGIBLE = _AnyStanding()  # type: ignore[assignment, attr-defined]


def stale_foresight() -> None:
    """What was read ahead of an exchange is believed, whatever was written since."""
    foresight._Seen.__eq__ = lambda _self, _other: True  # type: ignore[method-assign]


def library_retries() -> None:
    """The HTTP library repeats a call after a 5xx, a reset or a lost answer, as many do unless they are told not to."""
    once = sendgrid_transport.Client._make_request

    def repeated(self: Any, opener: object, request: Any, timeout: float | None = None) -> Any:
        for left in reversed(range(_RETRIES)):
            try:
                return once(self, opener, request, timeout=timeout)
            except HTTPError as error:
                if not left or error.status_code < 500:
                    raise
            except (OSError, HTTPException):
                if not left:
                    raise
        raise AssertionError("unreachable")

    sendgrid_transport.Client._make_request = repeated  # type: ignore[assignment, method-assign]


def unknown_resent() -> None:
    """What a dead process left in flight is simply sent again."""
    recover = recovery.recover

    def recovered(connection: sa.Connection, row: Any, sender_id: int, who: str, now: Any, number: Any = None) -> None:
        recover(connection, row, sender_id, who, now, number)
        resend_unknown(connection, row.id, now)

    recovery.recover = recovered


def no_journal() -> None:
    """The journal is written, and nobody looks into it."""
    journal.Journal.entries = lambda _self, _run: iter(())  # type: ignore[assignment, method-assign]


#: By name; each is applied in the sending process before it starts.
#: (`no-unique-run` is one of the database: see `without_unique_run`.)
MUTATIONS: Mapping[str, Callable[[], None]] = {
    "no-durable-intent": no_durable_intent,
    "outcome-first": outcome_first,
    "no-suppression-recheck": no_suppression_recheck,
    "stale-foresight": stale_foresight,
    "library-retries": library_retries,
    "unknown-resent": unknown_resent,
    "no-journal": no_journal,
}


def without_unique_run(engine: sa.Engine) -> None:
    """Takes the unique key of runs out of the tables."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.connection.driver_connection.execute("PRAGMA foreign_keys = OFF")  # type: ignore[union-attr]
        with connection.begin(), Operations(MigrationContext.configure(connection)).batch_alter_table("run") as run:
            run.drop_constraint("uq_run_newsletter_issue_date_edition", type_="unique")
