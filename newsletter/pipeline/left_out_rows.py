"""Rows of subscriber files that came to nothing, kept on disk: a file may have a million of them."""

from __future__ import annotations

import csv
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping

from newsletter.audience.model import Excluded, Exclusion


class LeftOutRows:
    """The rows that are for any of `lists`, in the order they were added, to be gone through as often as wanted.

    They stand in a temporary file without a name; it goes away with the object.
    """

    def __init__(self, lists: Collection[str]) -> None:
        self._lists = frozenset(lists)
        self._counts: Counter[Exclusion] = Counter()
        self._named: set[str] = set()
        # closed with the object
        self._file = tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogatepass", newline="")  # noqa: SIM115
        self._writer = csv.writer(self._file)

    def add(self, row: Excluded) -> None:
        """One more, if it is for one of the lists."""
        if self._lists.isdisjoint(row.lists):
            return
        self._counts[row.reason] += 1
        self._named.update(self._lists.intersection(row.lists))
        self._file.seek(0, 2)  # reading moves the one position that the descriptor has
        self._writer.writerow((row.address, row.reason.value, row.detail, row.place, *row.lists))

    @property
    def counts(self) -> Mapping[Exclusion, int]:
        """How many there are for each reason that occurs."""
        return self._counts

    @property
    def named(self) -> frozenset[str]:
        """Those of the lists that the rows are for."""
        return frozenset(self._named)

    def __iter__(self) -> Iterator[Excluded]:
        self._file.flush()
        with open(self._file.fileno(), encoding="utf-8", errors="surrogatepass", newline="", closefd=False) as file:
            file.seek(0)
            for address, reason, detail, place, *lists in csv.reader(file):
                yield Excluded(address, Exclusion(reason), detail, place, tuple(lists))

    def close(self) -> None:
        """Gives the room on disk back."""
        self._file.close()
