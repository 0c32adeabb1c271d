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

_PARTIAL = ".partial"
#: The old folder, in the moment between the two renames.
_ASIDE = ".aside"
_HINT = "check its permissions and the free space, or set paths.output to another folder"


@contextmanager
def staged_folder(target: Path, shown: str, made_of: str = "") -> Iterator[Path]:
    """A new folder to write into, which takes the place of `target` when the block ends well.

    On an error `target` stays as it was, and nothing of the new one is left. Everything in it becomes readable by its
    owner alone (0600, folders 0700), for it names people. Of two processes that write the same target, the second is
    told to come again. What a killed process left is tidied up by the next one, which also puts the old folder back if
    it was killed between the two renames. Raises OutputError where the disk or its permissions do not allow it;
    `shown` is the target as a user knows it. A target that is no folder, or lacks the file `made_of` that every folder
    of this kind has, was not made by us and is refused.
    """
    _make_folder(target.parent, shown)
    try:
        with _alone(target.parent / f".{target.name}.lock", shown):
            _refuse_strangers(target, shown, made_of)
            _tidy(target)
            # a tilde cannot stand in a slot: 2026-01-07 does not take 2026-01-07.evening for its own
            staged = Path(tempfile.mkdtemp(prefix=f".{target.name}~", suffix=_PARTIAL, dir=target.parent))
            try:
                yield staged
                _make_private(staged)
                _swap(staged, target)
            finally:
                shutil.rmtree(staged, ignore_errors=True)
    except OSError as error:
        if error.filename and not Path(os.fsdecode(error.filename)).is_relative_to(target.parent):
            raise  # something else went wrong while the folder was being filled
        raise OutputError(f"cannot be written: {error.strerror or error}", place=Place(shown), hint=_HINT) from None


def _make_folder(folder: Path, shown: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"cannot be written: {error.strerror or error} ({error.filename})"
        raise OutputError(message, place=Place(shown), hint=_HINT) from None


def _refuse_strangers(target: Path, shown: str, made_of: str) -> None:
    try:
        ours = not os.path.lexists(target) or (target.is_dir() and not target.is_symlink())
        if ours and made_of and target.is_dir() and any(target.iterdir()):
            ours = (target / made_of).exists()
    except OSError:  # not ours to read, either
        ours = False
    if not ours:
        raise OutputError(
            "it is there, and is not the output of an earlier run", place=Place(shown), hint="move it out of the way"
        )


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


def _tidy(target: Path) -> None:
    """Removes what a killed process left; whoever holds the lock is the only one who writes here."""
    for aside in target.parent.glob(f".{target.name}~*{_ASIDE}"):
        if target.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            aside.rename(target)
    for left in target.parent.glob(f".{target.name}~*{_PARTIAL}"):
        shutil.rmtree(left, ignore_errors=True)


def _make_private(folder: Path) -> None:
    for path, _, files in os.walk(folder):
        Path(path).chmod(0o700)
        for file in files:
            (Path(path) / file).chmod(0o600)


def _swap(staged: Path, target: Path) -> None:
    """Puts `staged` where `target` is. A folder cannot replace a full one in one step, so the old one steps aside."""
    aside = staged.with_suffix(_ASIDE)
    if target.exists():
        target.rename(aside)
    try:
        staged.rename(target)
    except OSError:
        if aside.exists():
            aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)
