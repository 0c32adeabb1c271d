"""The journal made shorter: what guards stays, whoever appends meanwhile, and whenever the process dies."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.errors import OutputError
from newsletter.store import journal_folding
from newsletter.store.journal import Claimed, Entry, Event, Journal
from newsletter.store.journal_folding import fold_journal
from newsletter.store.recovery import forgotten

NOW = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
LATER = NOW + dt.timedelta(days=1)
OLD, NEW = "buzz/2025-01-07", "buzz/2026-01-07"


def entry(run: str, event: Event, *claims: Claimed, uid: str = "c0ffee", at: dt.datetime = NOW) -> Entry:
    return Entry(run, uid, event, at, claims)


def sent(run: str, batches: int, *, over: bool = True, uid: str = "c0ffee") -> list[Entry]:
    """A run in windows of 10, each batch in ten claims."""
    claims = [
        entry(run, Event.CLAIMED, Claimed(batch, 1, number + 1, range(10 * number, 10 * number + 10)), uid=uid)
        for batch in range(1, batches + 1)
        for number in range(10)
    ]
    return [entry(run, Event.PLANNED, uid=uid), *claims, *([entry(run, Event.ENDED, uid=uid)] if over else [])]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "var/journal.ndjson")


def lost(journal: Journal, run: str, known: Mapping[int, int], uid: str = "c0ffee") -> dict[int, set[int]]:
    """Which places of which batches a database that knows so many claims of each would take for unknown."""
    found = forgotten(journal.entries(run), uid, known)
    return {batch: {place for claim in claims for place in claim.places} for batch, claims in found.items()}


def test_what_is_left_names_everybody_who_was_claimed_in_a_line_or_few(journal: Journal) -> None:
    journal.append([*sent(OLD, 2_500), *sent(NEW, 3, over=False)])
    before, whole = journal.path.stat().st_size, list(journal.entries(NEW))
    saved = fold_journal(journal.path, before=LATER)
    assert saved == before - journal.path.stat().st_size > 0.8 * before
    assert list(journal.entries(NEW)) == whole
    left = list(journal.entries(OLD))
    assert [one.event for one in left] == [Event.PLANNED, *[Event.CLAIMED] * 3, Event.ENDED]
    assert lost(journal, OLD, {}) == {batch: set(range(100)) for batch in range(1, 2_501)}
    assert lost(journal, OLD, dict.fromkeys(range(1, 2_501), 10)) == {}
    # of a database that knows half of it, no place is missing
    assert all(places >= set(range(50, 100)) for places in lost(journal, OLD, {7: 5}).values())
    assert journal.path.stat().st_mode & 0o777 == 0o600
    assert fold_journal(journal.path, before=LATER) == 0
    assert list(journal.path.parent.iterdir()) == [journal.path]


@pytest.mark.parametrize(
    "lines",
    [
        sent(OLD, 20, over=False),
        [*sent(OLD, 20), entry(OLD, Event.REOPENED)],
        [*sent(OLD, 20), entry(OLD, Event.ENDED, at=LATER)],
        [*sent(OLD, 1), *sent(NEW, 100, over=False)],  # not worth it
        [],
    ],
)
def test_a_run_that_is_not_over_or_not_for_long_stays_as_it_is(journal: Journal, lines: list[Entry]) -> None:
    journal.append(lines)
    before = journal.path.read_bytes() if lines else b""
    assert fold_journal(journal.path, before=LATER) == 0
    assert (journal.path.read_bytes() if lines else b"") == before


@given(
    st.lists(
        st.tuples(
            st.sampled_from([OLD, NEW, "other/2024-02-29.evening"]),
            st.sampled_from(["a", "b"]),
            st.one_of(
                st.sampled_from([Event.PLANNED, Event.SHARED, Event.ENDED, Event.REOPENED]),
                st.tuples(st.integers(1, 4), st.integers(1, 3), st.sets(st.integers(0, 30), min_size=1)),
            ),
        ),
        max_size=60,
    )
)
def test_whatever_stands_in_it_no_claim_is_forgotten(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[str, str, Event | tuple[int, int, set[int]]]]
) -> None:
    journal = Journal(tmp_path_factory.mktemp("folding") / "journal.ndjson")
    numbers: defaultdict[tuple[str, str, int], int] = defaultdict(int)
    for run, uid, what in lines:
        if isinstance(what, Event):
            journal.append([entry(run, what, uid=uid)], sync=False)
        else:
            batch, attempt, places = what
            numbers[run, uid, batch] += 1
            claim = Claimed(batch, attempt, numbers[run, uid, batch], sorted(places))
            journal.append([entry(run, Event.CLAIMED, claim, uid=uid)], sync=False)
    runs = {(run, uid) for run, uid, _ in lines}

    def all_of() -> dict[tuple[str, str], object]:
        return {
            (run, uid): (
                lost(journal, run, {}, uid),
                [one.event for one in journal.entries(run) if one.uid == uid and one.event is not Event.CLAIMED],
                {batch: number for (*which, batch), number in numbers.items() if which == [run, uid]},
                _highest(one for one in journal.entries(run) if one.uid == uid),
            )
            for run, uid in runs
        }

    before = all_of()
    with mock.patch.object(journal_folding, "_LEAST", 0):
        fold_journal(journal.path, before=LATER)
        assert all_of() == before
        fold_journal(journal.path, before=LATER)
    assert all_of() == before


def _highest(entries: Iterable[Entry]) -> dict[int, int]:
    found: dict[int, int] = {}
    for one in entries:
        for claim in one.claims:
            found[claim.batch] = max(found.get(claim.batch, 0), claim.number)
    return found


def test_a_line_that_cannot_be_read_leaves_it_as_it_is(journal: Journal) -> None:
    journal.append(sent(OLD, 20))
    with journal.path.open("a") as file:
        file.write("rubbish\n")
    before = journal.path.read_bytes()
    with pytest.raises(OutputError, match=r"journal\.ndjson:203: this line"):
        fold_journal(journal.path, before=LATER)
    assert journal.path.read_bytes() == before


def test_a_torn_last_line_is_no_hindrance(journal: Journal) -> None:
    journal.append(sent(OLD, 20))
    with journal.path.open("a") as file:
        file.write('{"run": "buzz/20')
    assert fold_journal(journal.path, before=LATER) > 0
    journal.append([entry(NEW, Event.PLANNED)])
    assert [one.event for one in journal.entries(NEW)] == [Event.PLANNED]


_APPENDS = """
import datetime as dt, sys
from pathlib import Path
from newsletter.store.journal import Claimed, Entry, Event, Journal
journal, name = Journal(Path(sys.argv[1])), sys.argv[2]
now = dt.datetime(2026, 1, 7, tzinfo=dt.UTC)
for number in range(1, 2001):
    journal.append([Entry(f"buzz/{name}", name, Event.CLAIMED, now, (Claimed(number, 1, 1, [0]),))], sync=False)
    if number % 20 == 0:
        old = f"old-{number}"
        lines = [Entry(f"{name}/{old}", old, Event.CLAIMED, now, (Claimed(1, 1, n, [n]),)) for n in range(1, 200)]
        journal.append([*lines, Entry(f"{name}/{old}", old, Event.ENDED, now)], sync=False)
"""


def test_nothing_that_others_append_meanwhile_is_lost(journal: Journal) -> None:
    journal.append([entry(NEW, Event.PLANNED)])
    running = [subprocess.Popen([sys.executable, "-c", _APPENDS, str(journal.path), name]) for name in ("one", "two")]
    saved: list[int] = []
    ends = threading.Event()

    def fold() -> None:
        while not ends.is_set():
            saved.append(fold_journal(journal.path, before=LATER))

    folders = [threading.Thread(target=fold) for _ in range(2)]
    for folder in folders:
        folder.start()
    codes = [process.wait(120) for process in running]
    ends.set()
    for folder in folders:
        folder.join()
    assert (codes, max(saved) > 0) == ([0, 0], True)
    for name in ("one", "two"):
        mine = list(journal.entries(f"buzz/{name}"))
        assert [one.claims[0].batch for one in mine] == list(range(1, 2_001))
        assert lost(journal, f"{name}/old-2000", {}, "old-2000") == {1: set(range(1, 200))}


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_whenever_it_dies_the_file_is_the_one_or_the_other(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    journal.append(sent(OLD, 20))
    before = journal.path.read_bytes()

    def die(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os if step == "fsync" else Path, step, die)
    with pytest.raises(OutputError, match="cannot be made shorter: No space left"):
        fold_journal(journal.path, before=LATER)
    monkeypatch.undo()
    assert journal.path.read_bytes() == before
    assert list(journal.path.parent.iterdir()) == [journal.path]
