"""`subscribers sync`: what the files of `subscribers/` add to the database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import Path

from newsletter.audience.model import Excluded
from newsletter.audience.store import AudienceStore
from newsletter.errors import AudienceError, Place
from newsletter.pipeline.import_subscribers import Imported, Progress, import_subscribers, open_list
from newsletter.pipeline.output_files import is_special
from newsletter.pipeline.rejects_file import rejects_beside
from newsletter.settings.loaded import Loaded


def sync_subscribers(
    store: AudienceStore,
    loaded: Loaded,
    *,
    now: dt.datetime,
    dry_run: bool = False,
    write_rejects: bool = True,
    progress: Progress = lambda _done, _total: None,
    left_out: Callable[[Excluded], None] = lambda _: None,
) -> Mapping[str, Imported]:
    """Imports every `*.csv` of the folder, in the order of their names; by file name, what each did.

    A file without a `list` column feeds the list of its own name. People and values are added and updated, never
    removed: the database is the truth (docs/reference/subscribers.md). Each file is a transaction. Raises AudienceError
    at the first file that cannot be read; those before it are synced. Rejected rows are written beside their file,
    unless `write_rejects` is off: a send must not fail because a folder cannot be written.
    """
    done = {}
    for file in subscriber_files(loaded):
        shown = str(loaded.settings.paths.subscribers / file.name)
        with open_list(file, shown) as opened:
            done[file.name] = import_subscribers(
                store,
                opened,
                shown,
                rejects_beside(file) if write_rejects else None,
                named=True,
                choose_list=lambda own=file.stem: own,  # type: ignore[misc]  # bound now, not when it is called
                now=now,
                dry_run=dry_run,
                progress=progress,
                left_out=left_out,
            )
    return done


def subscriber_files(loaded: Loaded) -> list[Path]:
    """The lists in `[paths] subscribers`, by name; not the rejects of earlier imports.

    Where nobody set the folder there need be none. Raises AudienceError where it cannot be read.
    """
    folder = loaded.settings.paths.subscribers
    try:
        # not glob: it says nothing about a folder that it may not read
        files = sorted(loaded.resolve(folder).iterdir())
    except FileNotFoundError:
        if "paths.subscribers" not in loaded.origins:
            return []
        raise AudienceError(
            "the folder is missing",
            place=Place(folder),
            hint="make it; or take `subscribers` out of [paths], if everybody is in the database",
        ) from None
    except OSError as error:
        message = f"the folder cannot be read: {error.strerror}"
        raise AudienceError(message, place=Place(folder), hint="look at its owner and mode, or at [paths]") from None
    found = [file for file in files if file.suffix == ".csv" and not file.name.endswith(".rejects.csv")]
    for file in found:
        if is_special(file):  # a pipe would keep every send waiting
            message, hint = "is a pipe or a device, and no file", "Take it out of the folder."
            raise AudienceError(message, place=Place(folder / file.name), hint=hint)
    return found
