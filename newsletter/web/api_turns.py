"""Work that takes a processor for a while, a few at a time: the others wait without holding a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from fastapi.concurrency import run_in_threadpool

_Answer = TypeVar("_Answer")
#: Issues that are rendered at the same time.
AT_ONCE = 2


class Turns:
    """For the event loop that first uses it."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._free = asyncio.Semaphore(at_once)

    async def take(self, work: Callable[[], _Answer]) -> _Answer:
        """Does it in a thread when it is its turn."""
        async with self._free:
            return await run_in_threadpool(work)
