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
_FIRST = b"\n  Finishing the calls that are out; nothing more is begun. Once more leaves at once.\n"
_SECOND = b"\n  Left at once: what was out is unknown until the run is resumed.\n"
#: A progress bar has hidden it.
_SHOW_CURSOR = b"\x1b[?25h"


@contextmanager
def draining(stop: threading.Event) -> Iterator[None]:
    """Within the block the first signal sets `stop`, and the second ends the process with 130.

    The second is as safe as a power cut: what was in flight becomes unknown. A signal that is ignored (nohup) stays so.
    """

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            _write(_SHOW_CURSOR + _SECOND if os.isatty(2) else _SECOND)
            os._exit(ExitCode.INTERRUPTED)
        stop.set()
        _write(_FIRST)

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


def _write(text: bytes) -> None:
    """Past Python's buffers, which the interrupted code may be in the middle of; and to nobody where nobody is left."""
    with contextlib.suppress(OSError):
        os.write(2, text)
