"""Imports of files whose rows or names are out of all bounds, and what becomes of their rejected rows."""

from __future__ import annotations

import io
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from audience_tables import LATER, NOW, import_text

from newsletter import wiring
from newsletter.audience.model import Exclusion, Subscriber
from newsletter.audience.people import ImportTerms, Selection
from newsletter.errors import AudienceError, OutputError
from newsletter.pipeline.import_subscribers import import_subscribers
from newsletter.pipeline.sync_subscribers import sync_subscribers
from newsletter.project_files import copy_project
from newsletter.store.audience import SqlAudience

BUZZ = Selection(("buzz",))


def test_a_departure_at_the_end_of_time_stops_no_command_and_no_run(audience_store: SqlAudience) -> None:
    import_text(audience_store, "email,consent_at\nann@example.com,2025-01-01\nbo@example.com,2025-01-01\n")
    import_text(audience_store, "email,state,left_at\nann@example.com,complaint,9999-12-31T23:59:59-12:00\n", now=LATER)
    plan = audience_store.plan(BUZZ)
    left_out = list(audience_store.left_out(Exclusion.SUPPRESSED, plan.excluded[Exclusion.SUPPRESSED], BUZZ))
    assert [(one.address, one.detail) for one in left_out] == [
        ("ann@example.com", "complaint on 2026-01-08 (import of people.csv)")
    ]
    assert len(list(audience_store.people(BUZZ))) == 2


def test_rows_with_long_texts_are_imported_at_little_memory(audience_store: SqlAudience) -> None:
    """80 MB of attributes, 40 KB a row."""

    def rows() -> Iterator[Subscriber]:
        for number in range(2_000):
            texts = {f"c{column}": f"{number}{column}" + "x" * 1_990 for column in range(20)}
            yield Subscriber(f"r{number}@example.com", f"r{number}@example.com", attributes=texts)

    tracemalloc.start()
    try:
        summary = audience_store.import_rows(rows(), ImportTerms("buzz", "wide.csv"), now=NOW)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert summary.new == 2_000
    assert peak < 40_000_000


def test_a_line_that_is_too_long_is_a_reject_and_the_others_are_imported(
    audience_store: SqlAudience, tmp_path: Path
) -> None:
    text = "email,name\na@example.com,A\nb@example.com," + "y" * 150_000 + "\nc@example.com,C\n"
    done = import_text(audience_store, text, tmp_path / "bad.csv")
    assert (done.summary.new, done.summary.invalid) == (2, 1)
    written = (tmp_path / "bad.csv").read_text().splitlines()[1]
    assert written.startswith('3,"the line has more than 100,000 characters",b@example.com,yyy')
    assert len(written) < 1_100


def test_rejected_rows_that_somebody_may_have_mended_are_kept(audience_store: SqlAudience, tmp_path: Path) -> None:
    rejects = tmp_path / "people.rejects.csv"
    assert import_text(audience_store, "email\nbad\n", rejects).notes == []
    assert import_text(audience_store, "email\nbad\n", rejects).notes == []  # they say the same
    first = rejects.read_text()
    rejects.write_text(first.replace("bad", "mended@example.com"))
    [note] = import_text(audience_store, "email\nworse\n", rejects, dry_run=True).notes
    assert note.endswith("people.rejects.csv.1")
    assert "mended@example.com" in (tmp_path / "people.rejects.csv.1").read_text()
    import_text(audience_store, "email\nbad\n", rejects)
    assert "worse" in (tmp_path / "people.rejects.csv.2").read_text()
    assert rejects.read_text() == first
    [note] = import_text(audience_store, "email\ngood@example.com\n", rejects).notes
    assert note.endswith("people.rejects.csv is of an earlier import; no row was rejected now")
    assert rejects.read_text() == first
    assert len(list(tmp_path.glob("*rejects*"))) == 3


def test_rejects_cannot_take_the_place_of_a_folder(audience_store: SqlAudience, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        import_text(audience_store, "email\nbad\n", tmp_path / "bad.csv")


def test_a_file_whose_name_is_no_text_can_be_imported_and_names_no_list(
    audience_store: SqlAudience, tmp_path: Path
) -> None:
    shown = os.fsdecode(b"p\xff.csv")
    done = import_subscribers(
        audience_store,
        io.BytesIO(b"email,consent_at,state\na@example.com,2025-01-01,\nb@example.com,,bounced\n"),
        shown,
        None,
        choose_list=lambda: "buzz",
        now=NOW,
    )
    assert (done.summary.new, done.summary.suppressed) == (1, 1)
    assert [one.source for one in audience_store.suppressions()] == [r"import of p\udcff.csv"]

    copy_project(tmp_path)
    loaded = wiring.settings(tmp_path / "config.toml")
    before = audience_store.lists()
    for name in (b"p\xff.csv", b"two\nlines.csv"):
        file = tmp_path / "subscribers" / os.fsdecode(name)
        file.write_text("email\na@example.com\n")
        (tmp_path / "subscribers" / "daily-buzz.csv").unlink(missing_ok=True)
        with pytest.raises(AudienceError, match="cannot name a list"):
            sync_subscribers(audience_store, loaded, now=NOW)
        file.unlink()
    assert audience_store.lists() == before
