"""Who sends a run hears at once that its state changed: NOTIFY with the transaction that changes it, and LISTEN.

Nothing depends on it. A notice that is lost (the connection was, or the network is cut and nobody says so) only comes
later, as everybody who sends asks the ledger every second or two in any case (`newsletter.delivery.clerk.HEED_EVERY`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from newsletter.store.engine import psycopg_arguments

if TYPE_CHECKING:
    import psycopg

_CHANNEL = "newsletter_runs"
#: How soon the wish to end is noticed. Seconds.
_GLANCE = 0.2
#: Seconds between two tries to connect, the first and the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0


def tell_change(connection: sa.Connection, run_id: int) -> None:
    """When this transaction is kept, whoever listens hears that the run's state is another one."""
    if connection.dialect.name == "postgresql":
        connection.execute(_TELL, {"channel": _CHANNEL, "run_id": str(run_id)})


class RunSignals:
    """Listens, on a connection of its own, for as long as it is open. PostgreSQL only; not through a pooler that gives
    a session's transactions to several connections."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._events: dict[int, list[threading.Event]] = {}
        self._closing = threading.Event()
        #: Whether it hears at this moment, as far as is known.
        self.listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="run-signals", daemon=True)
        self._thread.start()

    @contextmanager
    def of_run(self, run_id: int) -> Iterator[threading.Event]:
        """An event that is set whenever the run's state may have changed; whoever waits for it clears it."""
        event = threading.Event()
        with self._lock:
            self._events.setdefault(run_id, []).append(event)
        try:
            yield event
        finally:
            with self._lock:
                self._events[run_id].remove(event)

    def close(self) -> None:
        """Listens no more. May be called twice."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        import psycopg  # takes long to load, and SQLite does without

        pause = _FIRST_PAUSE
        while not self._closing.is_set():
            try:
                with self._connect() as connection:
                    connection.execute(f"LISTEN {_CHANNEL}")
                    self.listening.set()
                    pause = _FIRST_PAUSE
                    self._set(None)  # what happened in between was not heard
                    while not self._closing.is_set():
                        for notice in connection.notifies(timeout=_GLANCE):
                            self._set(notice.payload)
            except psycopg.Error:
                self._set(None)
            finally:
                self.listening.clear()
            self._closing.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _connect(self) -> psycopg.Connection[Any]:
        import psycopg  # see _run

        return psycopg.connect(**psycopg_arguments(self._engine), autocommit=True)

    def _set(self, run: str | None) -> None:
        """Of this run; None: of all."""
        with self._lock:
            for number, events in self._events.items():
                if run is None or run == str(number):
                    for event in events:
                        event.set()


_TELL = sa.text("SELECT pg_notify(:channel, :run_id)")
