"""`suppress export`: the suppressions that stand, as CSV that `suppress import` takes back with lists and times."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass

from newsletter.audience.spreadsheets import guarded
from newsletter.audience.store import AudienceStore
from newsletter.pipeline.export_subscribers import written
from newsletter.pipeline.suppress_file import COLUMNS

#: How such a file begins.
HEADS = (",".join(COLUMNS),)
#: Before the hash of an erased person.
_ERASED = "hmac:"


@dataclass(frozen=True, slots=True)
class ExportedSuppressions:
    """How many were written; and those of erased people, whose hashes mean nothing without this database's key."""

    rows: int
    erased: int


def export_suppressions(store: AudienceStore, write: Callable[[bytes], object]) -> ExportedSuppressions:
    """Writes what stands, the oldest first. `list` is empty where it holds for all lists, also of one that was lifted
    for some of them: elsewhere it keeps the address out of those, too."""
    rows = erased = 0
    write((HEADS[0] + "\n").encode())
    for one in store.suppressions():
        if one.key.startswith(_ERASED):
            erased += 1
            continue
        rows += 1
        text = io.StringIO(newline="")
        cells = (one.key, one.reason.value, one.list or "", written(one.at), one.source, one.note)
        csv.writer(text, lineterminator="\n").writerow(guarded(cell) for cell in cells)
        write(text.getvalue().encode("utf-8", "replace"))
    return ExportedSuppressions(rows, erased)
