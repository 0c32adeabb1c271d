"""Who sends: a row for each sending process, and a lock on a file that proves that it is alive.

On one host the lock decides: it is held as long as the process exists, stopped or not, and no longer. Where the lock's
file cannot be seen (another host, a folder that was emptied) a lease in the row decides, which the process renews.
A forked child does not hold its parent's lock.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import socket
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from newsletter.delivery.clock import boot_time
from newsletter.errors import OutputError, Place
from newsletter.store.person_rows import seconds
from newsletter.store.tables import run, sender

#: How long a lease holds, in seconds, from the moment it is written.
LEASE = 25
#: So much before its end no more calls are made: clocks differ, and a call takes its time to begin.
MARGIN = 10
#: A lease this old is renewed with the next exchange.
_RENEW_AFTER = 5
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_LOCKS: weakref.WeakSet[SenderLock] = weakref.WeakSet()


def this_host() -> str:
    """This machine as long as it runs: its name, and the boot's number where the system has one (random(4))."""
    try:
        boot = _BOOT_ID.read_text().strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()} {boot}".strip()


class SenderLock:
    """An exclusive flock(2) on a file, held until `release`, or until the process ends however it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        # without O_CLOEXEC (Python sets it) a program that is started would hold the lock on
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        # an object that nobody has any more lets go too
        self._closing = weakref.finalize(self, os.close, self._file)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            self._closing()
            raise
        _LOCKS.add(self)

    @property
    def proves(self) -> bool:
        """Whether others can see it: it is held, and its file still has its name."""
        return self._closing.alive and os.fstat(self._file).st_nlink > 0

    def release(self) -> None:
        """Lets go, and takes the file away; may be called twice."""
        if self._closing.alive:
            self.path.unlink(missing_ok=True)
            self._closing()

    def drop(self) -> None:
        """Lets go as a process does that dies."""
        self._closing()


def _drop_all() -> None:
    """In a forked child: its copies of the files are closed, and the parent's death lets go of the locks."""
    for lock in list(_LOCKS):
        lock.drop()


os.register_at_fork(after_in_child=_drop_all)


def is_held(path: Path) -> bool | None:
    """Whether a process holds the lock; None where there is no file. Shared, so that two who ask see no third."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(file)


@dataclass(slots=True, eq=False, weakref_slot=True)
class Sender:
    """This process as a sender. `proof_by_lock`: everybody who may take the run over sees the lock (SQLite)."""

    id: int
    lock: SenderLock
    proof_by_lock: bool
    #: When the lease that was kept last was written, by the clock that also counts while the machine sleeps
    #: (clock_gettime(2)); and the same of one that stands in a transaction yet.
    leased: float = 0.0
    written: float | None = None

    def believe(self) -> None:
        """The transaction in which the lease was written, if it was, is kept."""
        if self.written is not None:
            self.leased, self.written = self.written, None

    def may_call(self) -> bool:
        """Whether nobody can have taken this sender for dead."""
        if not self.lock.proves:
            return False
        return self.proof_by_lock or boot_time() < self.leased + LEASE - MARGIN

    def needs_renewal(self) -> bool:
        """Whether the lease should be written again with the next transaction."""
        return boot_time() > self.leased + _RENEW_AFTER


def passing(now: dt.datetime) -> Callable[[], dt.datetime]:
    """The time of day as it goes on from `now`: whoever waited for a lock writes a lease from the time after it."""
    began = boot_time()
    return lambda: now + dt.timedelta(seconds=boot_time() - began)


class Senders:
    """The senders of one database, as seen from this process; `locks` is the folder of their lock files."""

    def __init__(self, locks: Path, *, one_host: bool) -> None:
        self._locks = locks
        self._one_host = one_host
        self._host = this_host()

    def begin(self, connection: sa.Connection, now: dt.datetime) -> Sender:
        """Makes this process a sender, alive from `now` on, which is this very moment, as soon as the transaction is
        kept. Raises OutputError where no lock can be made."""
        while True:
            started = boot_time()
            row = sa.insert(sender).values(
                host=self._host, pid=os.getpid(), started_at=seconds(now), lease_until=seconds(now) + LEASE
            )
            number = int(connection.scalars(row.returning(sender.c.id)).one())
            try:
                return Sender(number, SenderLock(self._path(number)), self._one_host, started)
            except BlockingIOError:
                # a process that goes by a database from before this one was restored has the number: take another
                self.end(connection, number, now)
            except OSError as error:
                raise OutputError(
                    f"the lock of a sending process cannot be made: {error.strerror}",
                    place=Place(error.filename or self._locks),
                    hint="Look at the owner and mode of the folder.",
                ) from None

    def renew(self, connection: sa.Connection, one: Sender, run_id: int | None, now: dt.datetime) -> bool:
        """Writes the lease again; False, and nothing written, where the run is in other hands; None: of no run as a
        whole, and then where somebody took this sender for dead. `now` is this very moment. It counts from when the
        transaction is kept, and `Sender.believe` is called."""
        began = boot_time()
        ours = [] if run_id is None else [sa.exists().where(run.c.id == run_id, run.c.sender_id == one.id)]
        written = connection.execute(
            sa.update(sender)
            .where(sender.c.id == one.id, sender.c.ended_at.is_(None), *ours)
            .values(lease_until=seconds(now) + LEASE)
        )
        if written.rowcount:
            one.written = began
        return bool(written.rowcount)

    def end(self, connection: sa.Connection, number: int, now: dt.datetime) -> None:
        """Records that this sender sends no more."""
        connection.execute(
            sa.update(sender).where(sender.c.id == number, sender.c.ended_at.is_(None)).values(ended_at=seconds(now))
        )

    def clear(self, numbers: Iterable[int]) -> None:
        """Takes the lock files of dead senders away."""
        for number in numbers:
            self._path(number).unlink(missing_ok=True)

    def living(
        self,
        connection: sa.Connection,
        number: int | None,
        now: dt.datetime,
        *,
        hold: bool = False,
        by_lease: bool = False,
    ) -> str:
        """Who the sender of this number is, if it lives: `host pid 123`; else ''. `hold`: nobody renews its lease
        until this transaction ends. `by_lease`: one that stands still for longer than its lease is dead, too."""
        if number is None:
            return ""
        wanted = sa.select(sender).where(sender.c.id == number)
        row = connection.execute(wanted.with_for_update() if hold else wanted).one_or_none()
        return f"{_name(row.host)} pid {row.pid}" if row is not None and self._lives(row, now, by_lease) else ""

    def living_among(
        self, connection: sa.Connection, numbers: Sequence[int], now: dt.datetime, *, hold: bool = False
    ) -> list[str]:
        """The same of several at once, by lease: who of them lives."""
        wanted = sa.select(sender).where(sender.c.id.in_(numbers)).order_by(sender.c.id)
        rows = connection.execute(wanted.with_for_update() if hold else wanted).all() if numbers else []
        return [f"{_name(row.host)} pid {row.pid}" for row in rows if self._lives(row, now, by_lease=True)]

    def lease_until(self, connection: sa.Connection, number: int) -> int:
        """Until when this sender counts as alive, whatever becomes of it. Seconds since 1970."""
        return int(connection.scalar(sa.select(sender.c.lease_until).where(sender.c.id == number)) or 0)

    def name(self, connection: sa.Connection, number: int) -> str:
        """Who the sender of this number is or was."""
        row = connection.execute(sa.select(sender).where(sender.c.id == number)).one_or_none()
        return f"{_name(row.host)} pid {row.pid}" if row is not None else "another process"

    def _lives(self, row: sa.Row[Any], now: dt.datetime, by_lease: bool) -> bool:
        if row.ended_at is not None:
            return False
        if self._one_host or row.host == self._host:
            held = is_held(self._path(row.id))
            # who is stopped holds its lock; but past its lease it makes no call, so what it has may go to another
            if held is not None and not (held and by_lease and not self._one_host):
                return held
        return seconds(now) <= int(row.lease_until)

    def _path(self, number: int) -> Path:
        return self._locks / f"sender-{number}.lock"


def _name(host: str) -> str:
    return host.partition(" ")[0]
