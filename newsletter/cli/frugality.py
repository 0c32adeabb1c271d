"""How much memory the system's allocator keeps for a process of many threads."""

from __future__ import annotations

import ctypes
from contextlib import suppress

#: `M_ARENA_MAX` and `M_MMAP_THRESHOLD` of mallopt(3), in glibc.
_MOST_ARENAS, _OWN_PAGES_FROM = -8, -3
_LARGE = 256 * 1024


def keep_little() -> None:
    """Threads share one heap, and what is large goes back to the system when it is freed.

    glibc gives each thread a heap of its own, and keeps there what the thread has freed: with requests of a megabyte in
    four threads, 20 MB that nobody uses. Other C libraries do not know these settings, and need none.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MOST_ARENAS, 1)
        mallopt(_OWN_PAGES_FROM, _LARGE)
