"""The journal: appended to by several processes, and read whole or not at all."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from newsletter.errors import OutputError
from newsletter.store.journal import Claimed, Entry, Event, Journal

NOW = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
RUN = "buzz/2026-01-07"


def claimed(number: int, run: str = RUN) -> Entry:
    return Entry(run, "c0ffee", Event.CLAIMED, NOW, (Claimed(number, 1, 3, [0, 1, 2, 5, 7, 8]), Claimed(9, 2, 1, [4])))


def batches(entries: Iterable[Entry]) -> list[int]:
    return [entry.claims[0].batch for entry in entries]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "var" / "journal.ndjson")


def test_what_is_written_is_read_back_for_the_run_it_is_about(journal: Journal) -> None:
    assert list(journal.entries(RUN)) == []
    mine = [Entry(RUN, "c0ffee", Event.PLANNED, NOW), claimed(1), claimed(2)]
    journal.append(mine)
    journal.append([claimed(9, "buzz/2026-01-07.evening"), claimed(9, 'odd "name"/2026-01-07')])
    journal.append([Entry(RUN, "c0ffee", Event.ENDED, NOW)])
    assert list(journal.entries(RUN)) == [*mine, Entry(RUN, "c0ffee", Event.ENDED, NOW)]
    assert list(journal.entries('odd "name"/2026-01-07')) == [claimed(9, 'odd "name"/2026-01-07')]
    assert journal.path.stat().st_mode & 0o777 == 0o600
    assert journal.path.read_text().splitlines()[1] == (
        '{"run": "buzz/2026-01-07", "uid": "c0ffee", "event": "claimed", '
        '"claims": [[1, 1, 3, "0-2,5,7-8"], [9, 2, 1, "4"]], "at": "2026-01-07T06:30:00Z"}'
    )


@pytest.mark.parametrize("torn", ['{"run": "buzz/2026-01-07", "uid": "c0f', "{", "x" * 10_000])
def test_what_a_crash_left_of_the_last_line_is_passed_over_and_then_cut_off(journal: Journal, torn: str) -> None:
    journal.append([claimed(1)])
    with journal.path.open("a") as file:
        file.write(torn)
    assert list(journal.entries(RUN)) == [claimed(1)]
    journal.append([claimed(2)])
    assert list(journal.entries(RUN)) == [claimed(1), claimed(2)]


@pytest.mark.parametrize(
    "bad",
    [
        "rubbish",
        "",
        '{"run": "other/2026-01-07", "uid": "c0ff',
        f'{{"run": "{RUN}", "uid": 5}}',
        f'{{"run": "{RUN}", "uid": "a", "event": "eaten", "at": "2026-01-07T06:30:00Z"}}',
        f'{{"run": "{RUN}", "uid": "a", "event": "claimed", "claims": [[1, 1]], "at": "2026-01-07T06:30:00Z"}}',
        f'{{"run": "{RUN}", "uid": "a", "event": "claimed", "claims": [[1, 1, 1, "0-"]], "at": "2026-01-07"}}',
        f'{{"run": "{RUN}", "uid": "a", "event": "claimed", "claims": [[1, 1, 1, "x"]], "at": "2026-01-07"}}',
        f'{{"run": "{RUN}", "uid": "a", "event": "claimed", "claims": 5, "at": "2026-01-07T06:30:00Z"}}',
    ],
)
def test_any_other_line_that_cannot_be_read_is_an_error_with_its_number(journal: Journal, bad: str) -> None:
    journal.append([claimed(number) for number in range(1, 5)])
    with journal.path.open("a") as file:
        file.write(bad + "\n")
    journal.append([claimed(6)])
    with pytest.raises(OutputError, match="cannot be read") as raised:
        list(journal.entries(RUN))
    assert str(raised.value).startswith(f"{journal.path}:5: ")
    assert raised.value.hint


def test_lines_at_the_seams_of_blocks_are_read(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.append([claimed(number) for number in range(100)])
    for size in (1, 7, 128, 129, 1000):
        monkeypatch.setattr("newsletter.store.journal._BLOCK", size)
        assert batches(journal.entries(RUN)) == list(range(100))


_APPEND = """
import datetime as dt, sys
from pathlib import Path
from newsletter.store.journal import Claimed, Entry, Event, Journal
journal = Journal(Path(sys.argv[1]))
for number in range(50):
    entry = Entry("buzz/2026-01-07", sys.argv[2], Event.CLAIMED, dt.datetime.now(dt.UTC), (Claimed(number, 1, 1, [0]),))
    journal.append([entry] * 3, sync=number % 10 == 0)
"""


def test_processes_that_append_at_once_lose_and_mix_nothing(journal: Journal) -> None:
    commands = [[sys.executable, "-c", _APPEND, str(journal.path), str(number)] for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda command: subprocess.run(command, check=True, timeout=120), commands))
    assert len(done) == 4
    entries = list(journal.entries(RUN))
    for number in range(4):
        mine = [entry for entry in entries if entry.uid == str(number)]
        assert batches(mine) == [n for n in range(50) for _ in range(3)]


def test_a_full_disk_is_told_and_leaves_no_piece_of_a_line() -> None:
    full = Journal(Path("/dev/full"))
    with pytest.raises(OutputError, match="the journal cannot be kept: No space left on device") as raised:
        full.append([claimed(1)])
    assert "Nothing is sent without it" in raised.value.hint


def test_a_write_that_stops_half_way_is_taken_back(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.append([claimed(1)])
    before = journal.path.read_bytes()
    real, calls = os.write, []

    def stops(file: int, data: bytes) -> int:
        calls.append(data)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return real(file, data[:20])

    with monkeypatch.context() as patch:
        patch.setattr("newsletter.store.journal.os.write", stops)
        with pytest.raises(OutputError):
            journal.append([claimed(2)])
    assert journal.path.read_bytes() == before


def test_a_journal_that_cannot_be_written_is_an_error_of_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="the journal cannot be kept") as raised:
        Journal(tmp_path / "file" / "journal.ndjson").append([claimed(1)])
    assert raised.value.place is not None


def test_a_run_is_found_among_a_million_lines_of_others(journal: Journal) -> None:
    others = b"".join(claimed(number, "other/2026-01-06").line() for number in range(1_000))
    journal.append([claimed(1)])
    with journal.path.open("ab") as file:
        for _ in range(1_000):
            file.write(others)
    journal.append([claimed(2)])
    assert list(journal.entries(RUN)) == [claimed(1), claimed(2)]
