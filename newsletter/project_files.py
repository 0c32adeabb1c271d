"""The files a new project starts with: configuration, templates, a sample issue and a sample list.

They stand once, at the top level of the repository, where operators and developers edit them. A wheel carries copies
under `newsletter/_project/`, put there by `setup.py` when the wheel is built; in a checkout that folder does not exist
and the originals are read. `shipped` finds whichever there is.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from enum import StrEnum
from pathlib import Path

from newsletter.errors import GuardRefused, OutputError, Place

#: The folder inside the installed package that holds the copies.
CARRIED_IN = "_project"

_PACKAGE = Path(__file__).resolve().parent

_GITIGNORE = """\
# what a run makes
/out/
/var/
# real lists stay out of git; the sample one may be kept
/subscribers/*
!/subscribers/daily-buzz.csv
*.rejects.csv*
.*.partial
"""


_OWN_PAGES = Path("templates", "preview")


class Shipped(StrEnum):
    """One part of a new project. The value is its path in the repository, in the wheel and in the project."""

    #: The configuration, every key commented.
    CONFIG = "config.toml"
    #: The folder of templates, one folder a template.
    TEMPLATES = "templates"
    #: One real issue, so that the first dry run has something to show.
    ISSUE = "issues/2026-01-07.txt"
    #: A list of people at example domains.
    SUBSCRIBERS = "subscribers/daily-buzz.csv"


def shipped(part: Shipped) -> Path:
    """Where `part` stands on this machine: in the installed package, or in the checkout it is imported from.

    Raises `OutputError` if it is in neither, which means a broken installation.
    """
    return _root_of(part) / part.value


def _root_of(part: Shipped) -> Path:
    for root in (_PACKAGE / CARRIED_IN, _PACKAGE.parent):
        if (root / part.value).exists():
            return root
    raise OutputError(
        f"the installed package lacks its own {part.value}",
        place=Place(_PACKAGE),
        hint="Install the package again; a complete wheel carries its templates and sample files.",
    )


def files_of(part: Shipped) -> list[Path]:
    """Every file of `part`, relative to the project's root, sorted. Editors' backups and hidden files do not count."""
    path = shipped(part)
    if path.is_file():
        return [Path(part.value)]
    found = (file.relative_to(path) for file in path.rglob("*") if file.is_file())
    return sorted(Path(part.value) / file for file in found if not _is_litter(file))


def _is_litter(file: Path) -> bool:
    return file.name.endswith("~") or any(name.startswith((".", "__pycache__")) for name in file.parts)


def copy_project(into: Path) -> list[Path]:
    """Write a new project into the folder `into`, which need not exist. Returns the files written, in a stable order.

    Everything is written to a temporary folder first and moved into place at the end. Raises `GuardRefused`, naming
    them, if files stand in the way, and `OutputError` if the folder cannot be written; then nothing was changed.
    """
    # the page of a dry run is the program's own: a copy in the project would hide later versions of it
    sources = {
        file: _root_of(part) / file
        for part in Shipped
        for file in files_of(part)
        if not file.is_relative_to(_OWN_PAGES)
    }
    files = [*sources, Path(".gitignore")]
    _refuse_to_overwrite(into, files)
    try:
        ours = _missing_folders(into)
        into.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".newsletter-init-", dir=into))
        try:
            for file, source in sources.items():
                (staging / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, staging / file)
            (staging / ".gitignore").write_text(_GITIGNORE, encoding="utf-8")
            _move_into_place(staging, into, files)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            _remove_empty(ours)
            raise
        shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"cannot write a new project: {error.strerror or error}",
            place=Place(error.filename or into),
            hint="Check the folder's owner and the space left, or give another folder. Nothing was changed.",
        ) from error
    return [into / file for file in files]


def _refuse_to_overwrite(into: Path, files: list[Path]) -> None:
    if os.path.lexists(into) and not into.is_dir():
        raise GuardRefused("this is not a folder", place=Place(into), hint="Give a folder that is new or empty.")
    in_the_way: list[Path] = []
    for file in files:
        parents = [parent for parent in file.parents if parent.parts]
        blocked = [parent for parent in parents if os.path.lexists(into / parent) and not (into / parent).is_dir()]
        in_the_way += [one for one in [*blocked, file] if os.path.lexists(into / one) and one not in in_the_way]
    if in_the_way:
        named = ", ".join(str(file) for file in in_the_way[:8])
        more = f" and {len(in_the_way) - 8} more" if len(in_the_way) > 8 else ""
        raise GuardRefused(
            f"would overwrite {named}{more}",
            place=Place(into),
            hint="Move them away, or give a folder that is new or empty. Nothing was changed.",
        )


def _missing_folders(folder: Path) -> list[Path]:
    """`folder` and its parents that do not exist yet, the innermost first."""
    return [one for one in (folder, *folder.parents) if not one.exists()]


def _move_into_place(staging: Path, into: Path, files: list[Path]) -> None:
    """Move all `files` or none."""
    made: list[Path] = []
    placed: list[Path] = []
    try:
        for file in files:
            made = _missing_folders((into / file).parent) + made
            (into / file).parent.mkdir(parents=True, exist_ok=True)
            (staging / file).rename(into / file)
            placed.append(into / file)
    except BaseException:
        for file in placed:
            file.unlink(missing_ok=True)
        _remove_empty(made)
        raise


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        # One that somebody else has put something into meanwhile stays.
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
