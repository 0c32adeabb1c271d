"""How much memory the system's allocator keeps for a process of many threads."""

from __future__ import annotations

import ctypes
from contextlib import suppress

#: `M_ARENA_MAX`, `M_MMAP_THRESHOLD` and `M_TRIM_THRESHOLD` of mallopt(3), in glibc.
_MOST_ARENAS, _OWN_PAGES_FROM, _KEPT_AT_MOST = -8, -3, -1
_LARGE, _KEPT = 4 * 1024 * 1024, 8 * 1024 * 1024


def keep_little() -> None:
    """Threads share one heap. It keeps the room of some requests of a megabyte, which come and go all the time: to ask
    the system for each anew costs as much as to write it. What is larger goes back when it is freed.

    glibc gives each thread a heap of its own, and keeps there what the thread has freed: with four threads, 20 MB that
    nobody uses. Other C libraries do not know these settings, and need none.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MOST_ARENAS, 1)
        mallopt(_OWN_PAGES_FROM, _LARGE)
        mallopt(_KEPT_AT_MOST, _KEPT)
