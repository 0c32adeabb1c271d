"""Writes a folder whole or not at all: under a temporary name first, then renamed into place."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from newsletter.errors import OutputError, Place, TemporaryError


@contextmanager
def staged_folder(target: Path, shown: str) -> Iterator[Path]:
    """A new folder to write into, which takes the place of `target` when the block ends well.

    Until then `target` stays as it was; on an error nothing of the new one is left. Everything in it becomes readable
    by its owner alone (0600, folders 0700), for it names people. Two processes that write the same target take turns.
    Raises OutputError where the disk or its permissions do not allow it; `shown` is the target as a user knows it.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target.parent / f".{target.name}.lock", shown):
            _sweep(target)
            staged = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
            try:
                yield staged
                _make_private(staged)
                _swap(staged, target)
            finally:
                shutil.rmtree(staged, ignore_errors=True)
    except OSError as error:
        hint = "check its permissions and the free space, or set paths.output to another folder"
        raise OutputError(f"cannot be written: {error.strerror or error}", place=Place(shown), hint=hint) from None


@contextmanager
def _alone(lock: Path, shown: str) -> Iterator[None]:
    """Holds the lock file; the kernel lets go of it when the process dies."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TemporaryError(
                "another process is writing it at this moment", place=Place(shown), hint="run the command again"
            ) from None
        yield
    finally:
        os.close(descriptor)


def _sweep(target: Path) -> None:
    """Removes what a killed process left; whoever holds the lock is the only one who writes here."""
    for left in target.parent.glob(f".{target.name}.*.partial"):
        shutil.rmtree(left, ignore_errors=True)


def _make_private(folder: Path) -> None:
    for path, _, files in os.walk(folder):
        Path(path).chmod(0o700)
        for file in files:
            (Path(path) / file).chmod(0o600)


def _swap(staged: Path, target: Path) -> None:
    """Puts `staged` where `target` is. A folder cannot replace a full one in one step, so the old one steps aside."""
    aside = staged.with_suffix(".old.partial")
    if target.exists():
        target.rename(aside)
    try:
        staged.rename(target)
    except OSError:
        if aside.exists():
            aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)
