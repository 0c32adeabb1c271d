"""Threads for acts: one each, so that one run never holds up another."""

from __future__ import annotations

import threading
from collections.abc import Callable

#: Runs an act, in a thread that has this name.
Spawn = Callable[[str, Callable[[], None]], None]


class Threads:
    """The threads of one daemon. They do not keep the process from ending; `join` waits for them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._alive: set[threading.Thread] = set()

    def spawn(self, name: str, act: Callable[[], None]) -> None:
        """Runs `act` in a thread of its own."""

        def run() -> None:
            try:
                act()
            finally:
                with self._lock:
                    self._alive.discard(threading.current_thread())

        thread = threading.Thread(target=run, name=name, daemon=True)
        with self._lock:
            self._alive.add(thread)
        try:
            thread.start()
        except BaseException:
            with self._lock:
                self._alive.discard(thread)
            raise

    @property
    def idle(self) -> bool:
        """Whether no act is going on."""
        with self._lock:
            return not self._alive

    def join(self) -> None:
        """Waits until no act is going on, those included that begin meanwhile."""
        while True:
            with self._lock:
                alive = list(self._alive)
            if not alive:
                return
            for thread in alive:
                thread.join()
