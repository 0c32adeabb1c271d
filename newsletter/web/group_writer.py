"""One thread that writes for all requests: what comes in while it writes is written together (group commit)."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from newsletter.errors import TemporaryError

#: Seconds: longer than a writer waits for another one's lock, so that nothing is left behind for that.
_FAREWELL = 35.0

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[_Item, _Answer]):
    """An item, and who waits for its answer."""

    item: _Item
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[_Answer]


@dataclass(frozen=True, slots=True)
class _Written(Generic[_Answer]):
    """What became of one item: one of the two."""

    answer: _Answer | None = None
    error: BaseException | None = None


class GroupWriter(Generic[_Item, _Answer]):
    """`write` is called with up to `most` items in one thread of its own, and answers each in its place; it is durable
    when it returns. An item is answered when it was written, or with the error that kept it from being written.

    `gather`: seconds that the first of a group waits for company. A transaction costs the same for one as for several,
    and while it runs it takes the interpreter from those who answer. `most_waiting`: so many items may wait; a database
    that does not answer leaves them there when those who asked have gone.
    """

    def __init__(
        self,
        write: Callable[[Sequence[_Item]], Sequence[_Answer]],
        *,
        most: int = 200,
        gather: float = 0.0,
        most_waiting: int = 20_000,
        name: str = "writer",
    ) -> None:
        self._write = write
        self._most = most
        self._gather = gather
        self._most_waiting = most_waiting
        self._waiting: queue.SimpleQueue[_Waiting[_Item, _Answer] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def put(self, item: _Item) -> _Answer:
        """Writes one item, together with those of others. Raises what `write` raised for it alone, and TemporaryError
        where the writer is closed or too many wait. Whoever stops waiting takes nothing back."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Answer] = loop.create_future()
        with self._lock:  # nothing may come behind the end of the queue: nobody would answer it
            if self._closed:
                raise TemporaryError("the program is ending")
            if self._waiting.qsize() >= self._most_waiting:
                raise TemporaryError("too many wait for the database")
            self._waiting.put(_Waiting(item, loop, future))
        return await future

    def close(self, patience: float = _FAREWELL) -> None:
        """Writes what is waiting and ends the thread, within `patience` seconds: a database that does not answer keeps
        no process from ending. May be called twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._waiting.put(None)
        self._thread.join(patience)

    def _run(self) -> None:
        last = False
        while not last:
            group, last = self._next()
            if group:
                self._answer(group, self._written([one.item for one in group]))

    def _next(self) -> tuple[list[_Waiting[_Item, _Answer]], bool]:
        """Waits for one, takes what came with it; and whether that is all for ever."""
        first = self._waiting.get()
        if first is None:
            return [], True
        if self._gather:
            time.sleep(self._gather)
        group = [first]
        while len(group) < self._most:
            try:
                one = self._waiting.get_nowait()
            except queue.Empty:
                break
            if one is None:
                return group, True
            group.append(one)
        return group, False

    def _written(self, items: Sequence[_Item]) -> Sequence[_Written[_Answer]]:
        try:
            return [_Written(answer) for _, answer in zip(items, self._write(items), strict=True)]
        except BaseException as error:  # noqa: BLE001 - told to whom it concerns; the thread must live
            if len(items) == 1 or isinstance(error, TemporaryError):  # the database is away: for all of them
                return [_Written(error=error)] * len(items)
            # one of them is bad, and must harm no other
            return [written for item in items for written in self._written([item])]

    @staticmethod
    def _answer(group: Sequence[_Waiting[_Item, _Answer]], written: Sequence[_Written[_Answer]]) -> None:
        """Wakes each loop once, whatever the number of its items: waking is a system call."""
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[_Answer], _Written[_Answer]]]] = {}
        for one, result in zip(group, written, strict=True):
            by_loop.setdefault(one.loop, []).append((one.future, result))
        for loop, results in by_loop.items():
            try:
                loop.call_soon_threadsafe(_resolve, results)
            except RuntimeError:
                continue  # the loop is closed: nobody waits any more


def _resolve(results: Sequence[tuple[asyncio.Future[_Answer], _Written[_Answer]]]) -> None:
    for future, written in results:
        if future.done():  # whoever asked has gone
            continue
        if written.error is not None:
            future.set_exception(written.error)
        else:
            future.set_result(written.answer)  # type: ignore[arg-type]  # None only where that is the answer
