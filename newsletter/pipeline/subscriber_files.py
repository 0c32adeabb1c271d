"""What a send makes of the files in `subscribers/`: they are synced first, and their idle rows are told."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

from newsletter.audience.csv_file import Reject, SubscriberCsv
from newsletter.audience.model import Subscriber, SubscriberColumns
from newsletter.audience.store import AudienceStore
from newsletter.pipeline.import_subscribers import Progress, open_list
from newsletter.pipeline.left_out_rows import LeftOutRows
from newsletter.pipeline.repeated_rows import repeated_rows
from newsletter.pipeline.sync_subscribers import subscriber_files, sync_subscribers
from newsletter.settings.loaded import Loaded


def sync_before_sending(
    store: AudienceStore,
    loaded: Loaded,
    left_out: LeftOutRows,
    *,
    now: dt.datetime,
    progress: Progress = lambda _done, _total: None,
) -> None:
    """Syncs the files and adds to `left_out` the rows without a good address and those that repeat an earlier one.

    Raises AudienceError where a file cannot be read.
    """
    done = sync_subscribers(store, loaded, now=now, write_rejects=False, progress=progress, left_out=left_out.add)
    for file in subscriber_files(loaded):
        if file.name in done and done[file.name].summary.duplicate:
            shown = str(loaded.settings.paths.subscribers / file.name)
            for row in repeated_rows(lambda file=file, shown=shown: _good_rows(file, shown)):  # type: ignore[misc]  # bound now
                left_out.add(row)


def _good_rows(file: Path, shown: str) -> Iterator[Subscriber | SubscriberColumns]:
    with open_list(file, shown) as opened:
        rows = SubscriberCsv(opened, shown, own_list=file.stem).columns_of_rows()
        yield from (row for row in rows if not isinstance(row, Reject))
