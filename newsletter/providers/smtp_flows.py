"""Waiting for many connections in one thread.

What is done on a connection is a `Flow`: a generator that yields what it waits for and until when, and goes on when
that is there. A thread for each connection would do, and would spend more time on handing the interpreter around than
on mail: with one for all of them a message costs half.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, suppress
from typing import Any, Protocol, TypeVar

Result = TypeVar("Result")

READ, WRITE = select.POLLIN, select.POLLOUT
#: READ or WRITE, and until when (monotonic seconds).
Want = tuple[int, float]
#: It gets a TimeoutError thrown in where what it wants does not come in time.
Flow = Generator[Want, None, Result]

#: Seconds between two looks at who has waited for too long.
_LOOK_EVERY = 0.05
#: Seconds; poll(2) takes no more than 24 days.
_LONGEST_POLL = 86_400.0


def run_here(flow: Flow[Result], sock: socket.socket) -> Result:
    """Runs a flow on `sock` to its end, in this thread. Raises what it raises."""
    try:
        events, until = next(flow)
        while True:
            poll = select.poll()
            poll.register(sock, events)
            left = until - time.monotonic()
            if poll.poll(min(max(0.0, left), _LONGEST_POLL) * 1_000):
                events, until = next(flow)
            elif left <= _LONGEST_POLL:
                events, until = flow.throw(TimeoutError())
    except StopIteration as end:
        result: Result = end.value
        return result


class _Task:
    """A flow under way."""

    __slots__ = ("done", "error", "events", "fd", "flow", "result", "until")

    def __init__(self, flow: Flow[Any], sock: socket.socket) -> None:
        self.flow = flow
        self.fd = sock.fileno()
        self.events = 0
        self.until = 0.0
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = threading.Event()


class _Poll(Protocol):
    """epoll(7), or poll(2)."""

    def register(self, fd: int, eventmask: int, /) -> None: ...
    def modify(self, fd: int, eventmask: int, /) -> None: ...
    def unregister(self, fd: int, /) -> None: ...


#: Waits so many seconds (None: for ever), and says for which files there is something.
_Waiting = Callable[[float | None], list[tuple[int, int]]]


def _opened_poll(opened: ExitStack) -> tuple[_Poll, _Waiting]:
    """Not by `selectors`: what they do besides takes as long as to send a message."""
    if hasattr(select, "epoll"):
        epoll = select.epoll()
        opened.callback(epoll.close)
        return epoll, epoll.poll
    poll = select.poll()
    return poll, lambda seconds: poll.poll(None if seconds is None else seconds * 1_000)


class FlowRunner:
    """One thread that runs the flows of all connections, from the first one on until it is closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._new: list[_Task] = []
        self._closing = False
        self._waker = -1

    def run(self, flow: Flow[Result], sock: socket.socket) -> Result:
        """Runs a flow on `sock` to its end, and waits for that. Raises what it raises.

        In the main thread, where somebody may interrupt the waiting, the flow runs in the thread itself; and where the
        system has no more threads or files.
        """
        if threading.current_thread() is threading.main_thread():
            return run_here(flow, sock)
        task = _Task(flow, sock)
        with self._lock:
            served = self._thread is not None or self._begun()
            if served:
                self._new.append(task)
                os.write(self._waker, b".")
        if not served:
            return run_here(flow, sock)
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

    def _begun(self) -> bool:
        """Begins the thread, with all that it needs."""
        opened = ExitStack()
        try:
            poll, wait = _opened_poll(opened)
            wake, waker = os.pipe()
            opened.callback(os.close, wake)
            opened.callback(os.close, waker)
            poll.register(wake, READ)
            thread = threading.Thread(target=self._served, args=(poll, wait, wake, opened), name="smtp", daemon=True)
            self._closing, self._waker = False, waker
            thread.start()
        except (OSError, RuntimeError):
            opened.close()
            return False
        self._thread = thread
        return True

    def _served(self, poll: _Poll, wait: _Waiting, wake: int, opened: ExitStack) -> None:
        waiting: dict[int, _Task] = {}
        try:
            self._serve(poll, wait, wake, waiting)
        except BaseException as error:  # noqa: BLE001 - nobody may wait for ever; the next flow begins another thread
            with self._lock:
                self._thread = None
                left, self._new = [*waiting.values(), *self._new], []
            for task in left:
                task.error = error
                task.done.set()
        finally:
            opened.close()

    def _serve(self, poll: _Poll, wait: _Waiting, wake: int, waiting: dict[int, _Task]) -> None:
        look_at = 0.0
        while not self._closing or waiting:
            for fd, _ in wait(_LOOK_EVERY if waiting else None):
                if (task := waiting.get(fd)) is not None:
                    self._go_on(poll, waiting, task)
                elif fd == wake:
                    os.read(wake, 4096)
                    with self._lock:
                        begun, self._new = self._new, []
                    for task in begun:
                        if (before := waiting.get(task.fd)) is not None:  # its file was closed, and has another's now
                            self._end(poll, waiting, before, OSError(errno.EBADF, os.strerror(errno.EBADF)))
                        waiting[task.fd] = task
                        self._go_on(poll, waiting, task)
            now = time.monotonic()
            if now >= look_at:
                look_at = now + _LOOK_EVERY
                if late := [one for one in waiting.values() if one.until <= now]:
                    # what they want may have come meanwhile: the steps of others take their time
                    ready = {fd for fd, _ in wait(0)}
                    for task in late:
                        self._go_on(poll, waiting, task, None if task.fd in ready else TimeoutError())

    def _go_on(self, poll: _Poll, waiting: dict[int, _Task], task: _Task, error: BaseException | None = None) -> None:
        """One step of a task: to its next wait, or to its end."""
        try:
            events, task.until = next(task.flow) if error is None else task.flow.throw(error)
            if events != task.events:
                if task.events:
                    poll.modify(task.fd, events)
                else:
                    poll.register(task.fd, events)
                task.events = events
        except StopIteration as end:
            task.result = end.value
            self._end(poll, waiting, task)
        except BaseException as failure:  # noqa: BLE001 - it is raised by the thread that waits for it
            self._end(poll, waiting, task, failure)

    def _end(self, poll: _Poll, waiting: dict[int, _Task], task: _Task, error: BaseException | None = None) -> None:
        if task.events:
            with suppress(KeyError, ValueError, OSError):  # what failed may have taken it out already
                poll.unregister(task.fd)
        del waiting[task.fd]
        task.error = error
        task.done.set()
