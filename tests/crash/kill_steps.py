"""Named steps of a send at which something can be made to happen: the process is killed, stopped, or finds no room.

Everything is wrapped from outside; the product has no hook for it. An order is `STEP:N=ACTION`: the N-th time that this
process comes to STEP, in whichever thread.
"""

from __future__ import annotations

import functools
import os
import select
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine.default import DefaultDialect
from step_actions import ACTIONS, kill

from newsletter.delivery.clerk import Clerk
from newsletter.providers import sendgrid_transport, smtp_wire
from newsletter.providers.sendgrid import SendgridProvider
from newsletter.providers.smtp import SmtpProvider
from newsletter.store import journal
from newsletter.store.batch_ledger import SqlBatchLedger
from newsletter.store.ledger import SqlLedger
from newsletter.store.run_ledger import SqlRunLedger

#: Before and after each of these: what is called, and what it is called here.
_AROUND: Mapping[str, tuple[type, str]] = {
    "plan": (SqlLedger, "plan"),
    "take": (SqlLedger, "take"),
    "exchange": (SqlRunLedger, "exchange"),
    "close": (SqlRunLedger, "close"),
    "take-batch": (SqlLedger, "take_batch"),
    "close-batch": (SqlBatchLedger, "close"),
    "settle": (SqlLedger, "settle"),
    # every transaction of the process; and those of exchanges, which write outcomes and claims
    "commit": (DefaultDialect, "do_commit"),
    "exchange-commit": (DefaultDialect, "do_commit"),
}
#: How much of what is written to the provider goes out: of an envelope (or an HTTP head), then of the content. `dot-3`
#: stops before the last three octets of the message (SMTP: before the final dot), `dot-0` after the last one.
BYTE_RANGES = ("envelope", "head", "body", "dot-3", "dot-2", "dot-1", "dot-0", "ahead")
#: Every step, in the order in which a process comes to them first.
STEPS = (
    *("plan-before", "plan-after", "take-before", "take-after"),
    *("exchange-before", "commit-before", "exchange-commit-before", "exchange-commit-after", "commit-after"),
    *("journal-before", "journal-within", "journal-after"),
    *("exchange-after", "submit-before", *(f"bytes-{name}" for name in BYTE_RANGES)),
    *("answer-before", "answer-after", "submit-after", "report-before", "report-after"),
    *("close-before", "close-after", "settle-before", "settle-after"),
)
#: Those that a worker comes to besides.
WORKERS_STEPS = ("take-batch-before", "take-batch-after", "close-batch-before", "close-batch-after")


@dataclass(frozen=True)
class Order:
    """The `number`-th time at `step`: `action`."""

    step: str
    number: int
    action: str = "kill"

    def __str__(self) -> str:
        return f"{self.step}:{self.number}={self.action}"

    @classmethod
    def parse(cls, text: str) -> Order:
        """`STEP`, `STEP:N` or `STEP:N=ACTION`."""
        place, _, action = text.partition("=")
        step, _, number = place.partition(":")
        order = cls(step, int(number or 1), action or "kill")
        if order.step not in (*STEPS, *WORKERS_STEPS, "at-byte") or order.action not in ACTIONS:
            raise ValueError(f"no such order: {text}")
        return order


class Steps:
    """Counts the steps of this process and carries out the orders."""

    def __init__(self, orders: Sequence[Order]) -> None:
        self._orders = {(one.step, one.number): ACTIONS[one.action] for one in orders}
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._within = threading.local()
        #: how many bytes were written to the provider, and at which the process is killed
        self._written = 0
        self._last_byte = next((one.number for one in orders if one.step == "at-byte"), None)

    def reached(self, step: str) -> None:
        """This thread is at `step`."""
        if (action := self.due(step)) is not None:
            action(step)

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        """This thread is between the steps before and after `name`."""
        setattr(self._within, name, True)
        try:
            yield
        finally:
            setattr(self._within, name, False)

    def is_within(self, name: str) -> bool:
        """Whether this thread is."""
        return getattr(self._within, name, False)

    def due(self, step: str) -> Callable[[str], object] | None:
        """What is ordered for this time at `step`."""
        with self._lock:
            self._counts[step] += 1
            return self._orders.get((step, self._counts[step]))

    def room(self, size: int) -> int | None:
        """How many of the next `size` bytes may still be written, where the process dies among them."""
        with self._lock:
            before, self._written = self._written, self._written + size
        if self._last_byte is None or self._written < self._last_byte:
            return None
        return max(0, self._last_byte - before)


def install(steps: Steps, began: Callable[[], None]) -> None:
    """Wraps what a send is made of. `began` is called when it begins to plan a run, or to take one in hand."""
    for name, (owner, method) in _AROUND.items():
        _around(owner, method, name, steps, began if name in ("plan", "take") else None)
    for provider in (SmtpProvider, SendgridProvider):
        _around(provider, "submit", "submit", steps)
    _wrap_reports(steps)
    _wrap_journal(steps)
    _wrap_writes(steps)
    _wrap_answers(steps)


def _around(owner: type, method: str, name: str, steps: Steps, began: Callable[[], None] | None = None) -> None:
    inner = getattr(owner, method)

    @functools.wraps(inner)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        if name == "exchange-commit" and not steps.is_within("exchange"):
            return inner(*arguments, **named)
        if began is not None:
            began()
        steps.reached(f"{name}-before")
        with steps.within(name):
            result = inner(*arguments, **named)
        steps.reached(f"{name}-after")
        return result

    setattr(owner, method, wrapped)


def _wrap_reports(steps: Steps) -> None:
    """When a thread hands the end of a call in, and when it learns that it is written down."""
    inner = Clerk.ask

    def ask(self: Clerk, ended: Any, wish: Any) -> Any:
        if ended is not None:
            steps.reached("report-before")
        answer = inner(self, ended, wish)
        if ended is not None:
            steps.reached("report-after")
        return answer

    Clerk.ask = ask  # type: ignore[method-assign]


class _JournalsOs:
    """`os` as the journal has it."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, file: int, data: bytes) -> int:
        self._steps.reached("journal-before")
        if (action := self._steps.due("journal-within")) is not None:
            os.write(file, data[: len(data) // 2])
            action("journal-within")
        return os.write(file, data)

    def fsync(self, file: int) -> None:
        os.fsync(file)
        self._steps.reached("journal-after")


def _wrap_journal(steps: Steps) -> None:
    journal.os = _JournalsOs(steps)  # type: ignore[assignment, attr-defined]


def _wrap_writes(steps: Steps) -> None:
    write, write_message, sendall = smtp_wire.Wire.write, smtp_wire.Wire.write_message, sendgrid_transport._Wire.sendall

    def smtp_write(self: smtp_wire.Wire, octets: bytes) -> None:
        _cut(steps, self._sock, octets, {"envelope": len(octets) // 2} if octets.startswith(b"MAIL") else {})
        write(self, octets)

    def smtp_write_message(self: smtp_wire.Wire, content: Sequence[bytes], size: int, tail: bytes) -> str:
        cuts = {"head": 200, "body": size // 2, "ahead": size + (len(tail) + len(smtp_wire.DOT)) // 2}
        cuts |= {f"dot-{left}": size + len(smtp_wire.DOT) - left for left in range(4)}
        _cut(steps, self._sock, b"".join([*content, tail]), cuts)
        return write_message(self, content, size, tail)

    def sendgrid_sendall(self: sendgrid_transport._Wire, data: bytes) -> None:
        size = len(data)
        if data.startswith(b"POST "):
            cuts = {"envelope": size // 2}
        else:
            cuts = {"head": 200, "body": size // 2, "ahead": size} | {f"dot-{left}": size - left for left in range(4)}
        _cut(steps, self._socket, data, cuts)
        sendall(self, data)

    smtp_wire.Wire.write = smtp_write  # type: ignore[method-assign]
    smtp_wire.Wire.write_message = smtp_write_message  # type: ignore[method-assign]
    sendgrid_transport._Wire.sendall = sendgrid_sendall  # type: ignore[method-assign]


def _cut(steps: Steps, sock: socket.socket, data: bytes, cuts: Mapping[str, int]) -> None:
    """Where it is ordered, writes a part of `data` and dies."""
    place = steps.room(len(data))
    for name, cut in cuts.items():
        if steps.due(f"bytes-{name}") is not None:
            place = cut
    if place is not None:
        sock.settimeout(10)
        sock.sendall(data[:place])
        kill()


def _wrap_answers(steps: Steps) -> None:
    """`answer-before`: the answer has come, and was not read; `answer-after`: it was, and nobody acted on it."""

    def wrap(inner: Callable[..., Any]) -> Callable[..., Any]:
        def receive(self: socket.socket, *arguments: Any) -> Any:
            if self.gettimeout() != 0:  # else it is only looked at
                select.select([self], [], [], self.gettimeout())
                steps.reached("answer-before")
            received = inner(self, *arguments)
            if self.gettimeout() != 0:
                steps.reached("answer-after")
            return received

        return receive

    socket.socket.recv = wrap(socket.socket.recv)  # type: ignore[method-assign]
    socket.socket.recv_into = wrap(socket.socket.recv_into)  # type: ignore[method-assign]
