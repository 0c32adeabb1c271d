"""Carries things to one place, in their order, in a thread of its own; tries again, and logs what never got there."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from newsletter import logs

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a thing is tried, in seconds: the wait after the first failure doubles up to `longest_wait`, and nothing
    is begun again later than `keep_trying` after it was taken."""

    first_wait: float = 2.0
    longest_wait: float = 60.0
    keep_trying: float = 900.0


class NotTold(Exception):
    """It did not get there. `reason` repeats nothing of a URL.

    `again`: it may work later, though not before `after` seconds.
    """

    def __init__(self, reason: str, *, again: bool = True, after: float = 0.0) -> None:
        self.reason = reason
        self.again = again
        self.after = after
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class _Parcel(Generic[T]):
    thing: T
    taken_at: float


class Courier(Generic[T]):
    """Brings each thing that it takes to `carry`, which raises NotTold. `take` never blocks and raises nothing.

    `name` stands in the log, as `label` of a thing does. Where more than `room` things wait, later ones are lost: the
    first ones name the cause. Whatever else `carry` raises counts as NotTold.
    """

    def __init__(
        self,
        name: str,
        carry: Callable[[T], None],
        label: Callable[[T], str],
        *,
        patience: Patience | None = None,
        room: int = 200,
    ) -> None:
        self.name = name
        self._carry = carry
        self._label = label
        self._patience = patience or Patience()
        self._room = room
        self._waiting: deque[_Parcel[T]] = deque()
        self._in_hand: _Parcel[T] | None = None
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._given_up = False

    def take(self, thing: T) -> None:
        """Takes a thing to be brought."""
        with self._changed:
            refused = self._why_not()
            if not refused:
                self._waiting.append(_Parcel(thing, time.monotonic()))
                self._changed.notify()
        if refused:
            self._lost(thing, refused)

    def _why_not(self) -> str:
        if self._closing.is_set():
            return "the program is ending"
        if len(self._waiting) >= self._room:
            return f"{self._room} others are waiting"
        if self._thread is None:
            # a daemon thread: a place that never answers must not keep the process alive
            self._thread = threading.Thread(target=self._work, name=f"telling {self.name}", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # the system gives no more threads, or the interpreter is ending
                self._thread = None
                return "no thread could be started"
        return ""

    def hurry(self) -> None:
        """Takes nothing more from now on; what waits is tried once more at once, and not again."""
        with self._changed:
            self._closing.set()
            self._changed.notify()

    def wait(self, until: float) -> None:
        """Waits until everything was brought or lost, but not longer than to `until` (`time.monotonic`)."""
        if self._thread is None or self._given_up:
            return
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            with self._changed:
                self._given_up = True
                left = [one for one in (self._in_hand, *self._waiting) if one is not None]
                self._waiting.clear()
            for parcel in left:
                self._lost(parcel.thing, "there was no answer before the program ended")

    def _work(self) -> None:
        while self._next() is not None:
            self._bring()

    def _next(self) -> _Parcel[T] | None:
        """The thing to bring, kept in hand; None: there will be none."""
        with self._changed:
            self._in_hand = None
            while not self._waiting and not self._closing.is_set():
                self._changed.wait()
            if self._waiting:
                self._in_hand = self._waiting.popleft()
            return self._in_hand

    def _bring(self) -> None:
        parcel = self._in_hand
        assert parcel is not None
        give_up = parcel.taken_at + self._patience.keep_trying
        wait, tries, last = self._patience.first_wait, 0, False
        while True:
            last = last or self._closing.is_set()
            failed = self._try(parcel.thing)
            tries += 1
            if failed is None:
                if tries > 1:
                    self._write("info", "told_late", parcel.thing, tries=tries)
                return
            pause = max(wait, failed.after)
            if last or not failed.again or time.monotonic() + pause > give_up:
                self._lost(parcel.thing, failed.reason, tries)
                return
            if tries == 1:
                self._write("warning", "telling_delayed", parcel.thing, reason=failed.reason)
            last = self._closing.wait(pause)
            wait = min(wait * 2, self._patience.longest_wait)

    def _try(self, thing: T) -> NotTold | None:
        try:
            self._carry(thing)
        except NotTold as failed:
            return failed
        except Exception as error:  # noqa: BLE001 - another's code; its message may hold the URL
            return NotTold(f"it failed with {type(error).__name__}")
        return None

    def _lost(self, thing: T, reason: str, tries: int = 0) -> None:
        self._write("error", "not_told", thing, reason=reason, tries=tries)

    def _write(self, level: str, event: str, thing: T, **fields: object) -> None:
        logs.write(level, event, to=self.name, what=self._label(thing), **fields)
