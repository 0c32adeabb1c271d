"""What the machine gives: the database, room on the disk, and the folder of issues."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from newsletter.doctor.model import Finding, Result, Status, Surroundings
from newsletter.errors import ConfigError, NewsletterError, shown

_DATABASE, _WORKERS, _SPACE, _ISSUES = "database", "workers", "disk-space", "issues"
_MB = 1024 * 1024
#: A run writes some 20 MB a million recipients, its journal as much, and the log of the database a little.
LEAST = 100 * _MB
GOOD = 1024 * _MB


def check_database(around: Surroundings) -> Iterator[Result]:
    """It is reached, and its tables are what this program needs. A database that is not there yet is not made."""
    file = sqlite_file(around)
    if file is not None and not file.exists():
        folder = nearest_folder(file)
        if os.access(folder, os.W_OK | os.X_OK):
            yield Finding(_DATABASE, Status.PASS, f"none yet: {shown(file)} is made when it is first needed")
        else:
            do = "Let the user that runs newsletter write there, or name another file in [database] url."
            yield Finding(_DATABASE, Status.FAIL, f"{shown(file)} cannot be made: {shown(folder)} is not writable", do)
        return
    try:
        facts = around.database()
    except NewsletterError as error:
        yield Finding(_DATABASE, Status.FAIL, str(error), error.hint or "Look at [database] url.")
        return
    kind = "PostgreSQL" if file is None else shown(file)
    if facts.current == facts.head:
        yield Finding(_DATABASE, Status.PASS, f"{kind}, step {facts.current}")
    elif facts.empty or (facts.current is not None and facts.current < facts.head):
        step = "it is empty" if facts.empty else f"it is at step {facts.current}, and {facts.head} is needed"
        if file is None:
            do = (
                "Run `newsletter db upgrade`."
                if facts.empty
                else "`newsletter db backup`, then `newsletter db upgrade`."
            )
            yield Finding(_DATABASE, Status.FAIL, f"{kind}: {step}", do)
        else:
            yield Finding(_DATABASE, Status.PASS, f"{kind}: {step}; the next command upgrades it")
    elif facts.current is None:
        do = "Give the newsletter a database of its own in [database] url."
        yield Finding(_DATABASE, Status.FAIL, f"{kind} holds tables of another program", do)
    else:
        do = "Install that version again, or put back a backup from before the upgrade."
        yield Finding(_DATABASE, Status.FAIL, f"{kind} was made by a newer version (step {facts.current})", do)


def check_workers(around: Surroundings) -> Iterator[Result]:
    """Newsletters that workers send can be handed to them, or sent, by this installation."""
    mine = [name for name, one in around.loaded.settings.newsletters.items() if one.delivery.engine == "procrastinate"]
    for name in mine:
        try:
            around.refuse_unfit(name)
        except ConfigError as error:
            [problem, *_] = error.problems
            yield Finding(_WORKERS, Status.FAIL, problem.message, problem.suggestion or error.hint, name)
        except NewsletterError as error:
            yield Finding(_WORKERS, Status.FAIL, str(error), error.hint, name)
        else:
            said = "sent by `newsletter worker`, on as many machines as you like"
            yield Finding(_WORKERS, Status.PASS, said, about=name)
    if not mine:
        yield Finding(_WORKERS, Status.PASS, 'not needed: delivery.engine is "threads" for all newsletters')


def sqlite_file(around: Surroundings) -> Path | None:
    """The database's file; None on PostgreSQL."""
    kind, _, path = around.loaded.settings.database.url.partition(":///")
    return around.loaded.resolve(path.partition("?")[0]) if kind == "sqlite" else None


def nearest_folder(path: Path) -> Path:
    """The folder that a path would be made in: the first above it that exists."""
    return next((one for one in path.parents if one.is_dir()), Path("/"))


def check_disk_space(around: Surroundings) -> Iterator[Result]:
    """There is room where newsletter writes: beside the database, in var/, and for dry runs. A disk is named once."""
    loaded, file = around.loaded, sqlite_file(around)
    places = [file or loaded.resolve("var/x"), loaded.resolve("var/x"), loaded.resolve(loaded.settings.paths.output)]
    seen = set()
    for folder in map(nearest_folder, places):
        try:
            disk, free, files = folder.stat().st_dev, shutil.disk_usage(folder).free, os.statvfs(folder)
        except OSError as error:
            yield Finding(
                _SPACE, Status.FAIL, f"cannot be looked at: {error.strerror}", "Is it mounted?", shown(folder)
            )
            continue
        if disk in seen:
            continue
        seen.add(disk)
        size = file.stat().st_size if file is not None and file.exists() and file.stat().st_dev == disk else 0
        # file systems without a fixed number of files say 0 of 0
        no_files = files.f_files > 0 and files.f_favail < 100
        yield _space(folder, free, size, no_files=no_files)


def _space(folder: Path, free: int, database: int, *, no_files: bool) -> Finding:
    """`database` bytes lie there: a backup, an upgrade and erasing people take that much again."""
    said, do = f"{free / _MB:,.0f} MB are free", f"Make room on the disk of {shown(folder)}."
    if free < LEAST or no_files:
        said = "no more files can be made" if no_files else said
        return Finding(_SPACE, Status.FAIL, said, do, shown(folder))
    if free < max(GOOD, 2 * database):
        return Finding(_SPACE, Status.WARN, said, do, shown(folder))
    return Finding(_SPACE, Status.PASS, said, about=shown(folder))


def check_issue_folder(around: Surroundings) -> Iterator[Result]:
    """The folder of issue files is there and can be read."""
    folder = around.loaded.resolve(around.loaded.settings.paths.issues)
    if not folder.is_dir():
        do = "Make it, or name another in `paths.issues`; `newsletter new` writes an issue to fill."
        yield Finding(_ISSUES, Status.FAIL, "there is no such folder", do, shown(folder))
        return
    try:
        number = sum(1 for path in folder.rglob("*") if path.suffix in (".txt", ".md") and path.is_file())
        os.scandir(folder).close()
    except OSError as error:
        do = "Let the user that runs newsletter read it."
        yield Finding(_ISSUES, Status.FAIL, f"it cannot be read: {error.strerror}", do, shown(folder))
        return
    if number:
        yield Finding(_ISSUES, Status.PASS, f"{number:,} issue file{'' if number == 1 else 's'}", about=shown(folder))
    else:
        yield Finding(
            _ISSUES, Status.WARN, "there is no issue file", "`newsletter new` writes one to fill.", shown(folder)
        )
