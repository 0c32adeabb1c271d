"""Files that a user names for a command to write: which of them it may take, and how they are written."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from newsletter.errors import OutputError, Place, UsageError
from newsletter.settings.loaded import Loaded

#: Names of the descriptors that a process was started with.
_STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
#: What SQLite keeps beside a database (https://www.sqlite.org/tempfiles.html).
_BESIDE_DATABASE = ("", "-wal", "-shm", "-journal")
_PARTIAL = ".partial"
#: Bytes of a file that are looked at to know it again.
_HEAD = 200


def descriptor_of(path: Path) -> int | None:
    """`/dev/stdout` → 1, `/dev/fd/7` → 7; None of every other path."""
    if (known := _STREAMS.get(str(path))) is not None:
        return known
    match = _DESCRIPTOR.fullmatch(str(path))
    return int(match[1]) if match else None


def refuse_taken(target: Path, loaded: Loaded, *, ours: Sequence[str], another: str = "Name another.") -> None:
    """Raises UsageError where `target` must not be written: a file of the project, or any other that is there
    and does not begin with one of `ours`, the headers by which our own files are known.

    Devices and pipes may be written; what is there must not be replaced by a file.
    """
    if descriptor_of(target) is not None:
        return
    real = Path(os.path.realpath(target))
    if what := _of_the_project(real, loaded):
        raise UsageError(f"{target} is {what}", hint=another)
    try:
        mode = real.stat().st_mode
    except OSError:  # there is none; or none that could be written, which is told when it is tried
        return
    if stat.S_ISDIR(mode):
        raise UsageError(f"{target} is a folder", hint=another)
    if stat.S_ISREG(mode) and not _begins_with(real, ours):
        raise UsageError(
            f"{target} exists, and was not written by an earlier call", hint=f"Remove it if it may go. {another}"
        )


@contextmanager
def private_file(target: Path) -> Iterator[Callable[[bytes], object]]:
    """Yields what writes to `target`: whole or not at all, readable by its owner alone (0600). Raises OutputError.

    A device or a pipe is written as it is, and stays one. What a killed process left half written is removed.
    """
    try:
        with ExitStack() as stack:
            descriptor = descriptor_of(target)
            if descriptor is not None:
                yield stack.enter_context(os.fdopen(os.dup(descriptor), "wb")).write
            elif is_special(target):
                yield stack.enter_context(target.open("wb")).write
            else:
                yield stack.enter_context(_replacing(Path(os.path.realpath(target))))
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not target.parent.is_dir():
            message, hint = f"there is no folder {target.parent}", "Make it, or name another file."
            raise OutputError(message, place=Place(target), hint=hint) from None
        hint = "check its permissions and the free space"
        raise OutputError(f"cannot be written: {error.strerror or error}", place=Place(target), hint=hint) from None


@contextmanager
def _replacing(target: Path) -> Iterator[Callable[[bytes], object]]:
    descriptor, staged = open_partial(target)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file.write
            file.flush()
            os.fsync(descriptor)
            # before it is closed: from then on anybody may take it for one that a killed process left
            staged.replace(target)
    finally:
        staged.unlink(missing_ok=True)


def open_partial(target: Path) -> tuple[int, Path]:
    """A new file beside `target`, mode 0600, locked as long as its descriptor is open; and its path.

    Raises OSError.
    """
    remove_partials(target)
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=_PARTIAL)
    with contextlib.suppress(OSError):  # a file system without locks: nobody takes it away there, either
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor, Path(name)


def remove_partials(target: Path) -> None:
    """Removes what was to become `target` when its process was killed: it names people. What is written now stays."""
    for partial in partials_of(target):
        _remove_if_left(partial)


def partials_of(target: Path) -> list[Path]:
    """The files beside `target` that were to become it."""
    name = re.compile(re.escape(f".{target.name}.") + r"[^.]+" + re.escape(_PARTIAL))
    try:
        return sorted(file for file in target.parent.iterdir() if name.fullmatch(file.name))
    except OSError:  # told when the folder is written to
        return []


def _remove_if_left(partial: Path) -> None:
    try:
        descriptor = os.open(partial, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # one that is new and empty may be about to be locked
        if os.fstat(descriptor).st_size:
            partial.unlink(missing_ok=True)
    except OSError:  # somebody writes it
        pass
    finally:
        os.close(descriptor)


def _of_the_project(real: Path, loaded: Loaded) -> str:
    """What this path is to the project; empty where it is nothing."""
    paths = loaded.settings.paths
    kind, _, rest = loaded.settings.database.url.partition(":///")
    if kind.startswith("sqlite"):
        database = loaded.resolve(rest.partition("?")[0])
        if any(_same(real, database.with_name(database.name + ending)) for ending in _BESIDE_DATABASE):
            return "the database" if real.name == database.name else "a file of the database"
    if _same(real, loaded.folder / loaded.path.name):
        return "the configuration"
    for folder, endings, what in (
        (paths.issues, {".txt", ".md"}, "an issue"),
        (paths.templates, {".j2", ".css"}, "a template"),
        (paths.subscribers, {".csv"}, "a list that every sync would import"),
    ):
        if real.suffix in endings and real.is_relative_to(os.path.realpath(loaded.resolve(folder))):
            rejected = real.name.endswith(".rejects.csv") and what.startswith("a list")
            if not rejected:
                return what
    return ""


def _same(real: Path, other: Path) -> bool:
    """By name, links followed; or, of files that are there, by what is under the name."""
    try:
        return str(real) == os.path.realpath(other) or real.samefile(other)
    except OSError:
        return False


def _begins_with(file: Path, heads: Sequence[str]) -> bool:
    """Whether it does, or is empty."""
    try:
        with file.open("rb") as opened:
            start = opened.read(_HEAD)
    except OSError:
        return False
    return not start or any(start.startswith(head.encode()) for head in heads)


def is_special(path: Path) -> bool:
    """Whether it is a device, a pipe or a socket."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
