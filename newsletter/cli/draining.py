"""Ctrl-C and signals while mail goes out: the first one finishes the calls that are out, the second one leaves."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from newsletter.cli.exit_codes import ExitCode

#: From the keyboard, from a service manager, from a terminal that was closed.
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
FIRST = "Finishing the calls that are out; nothing more is begun. Once more leaves at once."
SECOND = "Left at once: what was out is unknown until the run is resumed."
#: A progress bar has hidden it.
_SHOW_CURSOR = "\x1b[?25h"


@contextmanager
def draining(stop: threading.Event, *, first: str = FIRST, second: str = SECOND) -> Iterator[None]:
    """Within the block the first signal sets `stop`, and the second ends the process with 130; each says its words.

    The second is as safe as a power cut: what was in flight becomes unknown. A signal that is ignored (nohup) stays so.
    """

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            _write(second, show_cursor=os.isatty(2))
            os._exit(ExitCode.INTERRUPTED)
        stop.set()
        _write(first)

    before: dict[int, Any] = {}
    try:
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, handle)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write(words: str, *, show_cursor: bool = False) -> None:
    """Past Python's buffers, which the interrupted code may be in the middle of; and to nobody where nobody is left."""
    with contextlib.suppress(OSError):
        os.write(2, f"{_SHOW_CURSOR if show_cursor else ''}\n  {words}\n".encode())
