"""Where mail comes back to: a Maildir, an mbox file, or a folder of an IMAP server.

A message is taken once. It is marked as done when what it says is kept: a crash in between means that it is read again,
and its events are known by then. Nothing is deleted, whatever the message says.
"""

from __future__ import annotations

import fcntl
import mailbox
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from newsletter.errors import NothingToDo, OutputError, TemporaryError
from newsletter.events.bounce_message import MOST_BYTES

_SEEN = "S"


class WrongMailbox(ValueError):
    """The settings name no mailbox that can be opened; the message says why, without the password."""


class Mailbox(Protocol):
    """Used by one thread. Messages are called by names that mean something to the mailbox alone."""

    def waiting(self) -> Iterator[str]:
        """The messages that are not done, the oldest first."""
        ...

    def read(self, name: str) -> bytes:
        """The message's first `MOST_BYTES`. Raises OSError where this one cannot be read."""
        ...

    def done(self, name: str) -> None:
        """The message needs no more attention; may be called again, also by another process."""
        ...

    def close(self) -> None:
        """Lets go of the mailbox. May be called twice."""
        ...


def open_mailbox(url: str, folder: Path, password: str = "", *, tls: ssl.SSLContext | None = None) -> Mailbox:
    """The mailbox of `bounces.mailbox`; paths are relative to `folder`. `tls` is for a server whose certificate this
    machine does not trust by itself.

    Raises WrongMailbox, NothingToDo where no file is there yet, and TemporaryError where it is locked or away.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "maildir":
        return Maildir(folder / rest)
    if scheme == "mbox":
        return Mbox(folder / rest)
    # its libraries take time to load
    from newsletter.events.imap_mailbox import ImapMailbox, ImapServer

    parts = urlsplit(url)
    server = ImapServer(
        parts.hostname or "",
        parts.port or (993 if parts.scheme == "imaps" else 143),
        user=unquote(parts.username or ""),
        folder=unquote(parts.path.strip("/")) or "INBOX",
        encrypted=parts.scheme == "imaps",
    )
    return ImapMailbox(server, password, tls or ssl.create_default_context())


class Maildir:
    """A folder with a file for each message (https://cr.yp.to/proto/maildir.html). One that is done has the flag S
    (seen) and stands in `cur`, as a mail reader leaves it."""

    def __init__(self, path: Path) -> None:
        if not ((path / "new").is_dir() and (path / "cur").is_dir()):
            raise WrongMailbox(f"{path} is no Maildir: it has no folders `new` and `cur`")
        self._path = path

    def waiting(self) -> Iterator[str]:
        """See `Mailbox`."""
        names: list[tuple[str, str]] = []
        for part in ("new", "cur"):
            with os.scandir(self._path / part) as found:
                names += [
                    (one.name, f"{part}/{one.name}")
                    for one in found
                    if not one.name.startswith(".")
                    and one.is_file(follow_symlinks=False)
                    and _SEEN not in _flags(one.name)
                ]
        yield from (name for _, name in sorted(names))  # names begin with the time

    def read(self, name: str) -> bytes:
        """See `Mailbox`."""
        with (self._path / name).open("rb") as file:
            return file.read(MOST_BYTES)

    def done(self, name: str) -> None:
        """See `Mailbox`. Raises OutputError where it cannot be renamed."""
        stem = name.rpartition("/")[2]
        flags = "".join(sorted({*_flags(stem), _SEEN}))
        try:
            (self._path / name).rename(self._path / "cur" / f"{stem.partition(':2,')[0]}:2,{flags}")
        except FileNotFoundError:
            pass  # another process was quicker
        except OSError as error:
            message = f"{self._path / name} cannot be marked as seen: {error.strerror}"
            hint = "let this user write into the Maildir; until then the message is read each time"
            raise OutputError(message, hint=hint) from None

    def close(self) -> None:
        """See `Mailbox`."""


def _flags(name: str) -> str:
    return name.partition(":2,")[2]


class Mbox:
    """One file with all messages (RFC 4155), locked until it is closed.

    Once all of it is done, its messages are moved behind those in the file of the same name with `.read`, as mail(1)
    moves what was read out of the spool. The file stays the same one, for a server that waits for its lock.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise NothingToDo(f"{path} does not exist: no mail has come yet")
        self._path = path
        try:
            self._box = mailbox.mbox(path, create=False)
        except (OSError, mailbox.Error) as error:
            raise WrongMailbox(f"{path} cannot be opened: {error}") from None
        try:
            self._box.lock()
        except mailbox.ExternalClashError:
            self._box.close()
            hint = f"wait until it is done; if no program has it, remove {path}.lock"
            raise TemporaryError(f"{path} is locked by another program", hint=hint) from None
        # before it is read: what is added from now on, by a program that does not lock, makes it larger than this
        self._size = path.stat().st_size
        # numbers, whatever its type says
        self._keys = {str(key): key for key in self._box.keys()}  # noqa: SIM118 - iterating over it gives messages
        self._left = set(self._keys)
        self._open = True

    def waiting(self) -> Iterator[str]:
        """See `Mailbox`."""
        yield from sorted(self._left, key=int)

    def read(self, name: str) -> bytes:
        """See `Mailbox`."""
        file = self._box.get_file(self._keys[name])
        try:
            return file.read(MOST_BYTES)
        finally:
            file.close()

    def done(self, name: str) -> None:
        """See `Mailbox`."""
        self._left.discard(name)

    def close(self) -> None:
        """See `Mailbox`. Raises OutputError where what is done cannot be moved away: then all of it stays."""
        if not self._open:
            return
        self._open = False
        try:
            if len(self._box) and not self._left:
                self._move_away()
        finally:
            self._box.unlock()
            self._box.close()

    def _move_away(self) -> None:
        beside = self._path.with_name(f"{self._path.name}.read")
        try:
            with self._path.open("rb+") as source, open(beside, "ab", opener=_privately) as target:
                fcntl.flock(target, fcntl.LOCK_EX)
                before = os.fstat(target.fileno()).st_size
                while block := source.read(1 << 20):
                    target.write(block)
                target.flush()
                if os.fstat(source.fileno()).st_size != self._size:
                    os.ftruncate(target.fileno(), before)
                    return  # a program that does not lock added to it: the next time
                os.fsync(target.fileno())
                source.truncate(0)
                os.fsync(source.fileno())
        except OSError as error:
            hint = "let this user write there, or take a Maildir; until then the same messages are read each time"
            raise OutputError(f"{self._path} cannot be moved to {beside}: {error.strerror}", hint=hint) from None


def _privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
