"""Coroutines run to their end, also where the thread has an event loop: the browser's synchronous API has one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_Answer = TypeVar("_Answer")


def in_a_loop(coroutine: Coroutine[Any, Any, _Answer]) -> _Answer:
    """What the coroutine returns, run in a loop and thread of its own."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()


def in_a_thread(act: Callable[..., _Answer], *given: Any) -> _Answer:
    """What it returns in a thread of its own, where it may begin a loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(act, *given).result()
