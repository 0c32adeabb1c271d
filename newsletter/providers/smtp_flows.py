"""Waiting for many connections in one thread.

What is done on a connection is a `Flow`: a generator that yields what it waits for and until when, and goes on when
that is there. A thread for each connection would do, and would spend more time on handing the interpreter around than
on mail: with one for all of them a message costs half.
"""

from __future__ import annotations

import os
import select
import selectors
import socket
import threading
import time
from collections.abc import Generator
from typing import Any, TypeVar

Result = TypeVar("Result")

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
#: READ or WRITE, and until when (monotonic seconds).
Want = tuple[int, float]
#: It gets a TimeoutError thrown in where what it wants does not come in time.
Flow = Generator[Want, None, Result]

#: Seconds between two looks at who has waited for too long.
_LOOK_EVERY = 0.05
_POLL_FOR = {READ: select.POLLIN, WRITE: select.POLLOUT}


def run_here(flow: Flow[Result], sock: socket.socket) -> Result:
    """Runs a flow on `sock` to its end, in this thread. Raises what it raises."""
    try:
        events, until = next(flow)
        while True:
            poll = select.poll()
            poll.register(sock, _POLL_FOR[events])
            if poll.poll(max(0.0, until - time.monotonic()) * 1_000):
                events, until = next(flow)
            else:
                events, until = flow.throw(TimeoutError())
    except StopIteration as end:
        result: Result = end.value
        return result


class _Task:
    """A flow under way."""

    __slots__ = ("done", "error", "events", "flow", "result", "sock", "until")

    def __init__(self, flow: Flow[Any], sock: socket.socket) -> None:
        self.flow = flow
        self.sock = sock
        self.events = 0
        self.until = 0.0
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = threading.Event()


class FlowRunner:
    """One thread that runs the flows of all connections, from the first one on until it is closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._new: list[_Task] = []
        self._closing = False
        self._wake, self._waker = -1, -1

    def run(self, flow: Flow[Result], sock: socket.socket) -> Result:
        """Runs a flow on `sock` to its end, and waits for that. Raises what it raises.

        In the main thread, where somebody may interrupt the waiting, the flow runs in the thread itself.
        """
        if threading.current_thread() is threading.main_thread():
            return run_here(flow, sock)
        task = _Task(flow, sock)
        with self._lock:
            if self._thread is None:
                self._closing = False
                self._wake, self._waker = os.pipe()
                thread = threading.Thread(target=self._serve, name="smtp", daemon=True)
                thread.start()  # where the system has no more of them, nobody waits for one that never ran
                self._thread = thread
            self._new.append(task)
            os.write(self._waker, b".")
        task.done.wait()
        if task.error is not None:
            raise task.error
        result: Result = task.result
        return result

    def close(self) -> None:
        """Ends the thread; no flow is under way. May be called twice."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is None:
                return
            self._closing = True
            os.write(self._waker, b".")
        thread.join()
        os.close(self._wake)
        os.close(self._waker)

    def _serve(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, READ)
            waiting: set[_Task] = set()
            look_at = 0.0
            while not self._closing or waiting:
                for key, _ in selector.select(_LOOK_EVERY if waiting else None):
                    if key.data is None:
                        os.read(self._wake, 4096)
                        with self._lock:
                            begun, self._new = self._new, []
                        for task in begun:
                            waiting.add(task)
                            self._go_on(selector, waiting, task)
                    else:
                        self._go_on(selector, waiting, key.data)
                now = time.monotonic()
                if now >= look_at:
                    look_at = now + _LOOK_EVERY
                    for task in [one for one in waiting if one.until <= now]:
                        self._go_on(selector, waiting, task, TimeoutError())

    def _go_on(
        self,
        selector: selectors.BaseSelector,
        waiting: set[_Task],
        task: _Task,
        error: BaseException | None = None,
    ) -> None:
        """One step of a task: to its next wait, or to its end."""
        try:
            events, task.until = next(task.flow) if error is None else task.flow.throw(error)
            if task.events and events != task.events:
                selector.modify(task.sock, events, task)
            elif not task.events:
                selector.register(task.sock, events, task)
            task.events = events
        except StopIteration as end:
            task.result = end.value
        except BaseException as failure:  # noqa: BLE001 - it is raised by the thread that waits for it
            task.error = failure
        else:
            return
        if task.events:
            selector.unregister(task.sock)
        waiting.discard(task)
        task.done.set()
