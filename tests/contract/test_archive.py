"""Issues as they went out: shown once their run has begun to send, the latest first. On both databases."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from ledger_runs import NOW, later, ledger_of, plan

from newsletter.delivery.archive import PublishedIssue
from newsletter.delivery.names import RunName
from newsletter.store.archive import SqlArchive
from newsletter.store.ledger import SqlLedger

TODAY = dt.date(2026, 1, 7)


@pytest.fixture
def archive(database: sa.Engine) -> SqlArchive:
    return SqlArchive(database)


@pytest.fixture
def ledger(database: sa.Engine, tmp_path: Path) -> SqlLedger:
    return ledger_of(database, tmp_path)


def issue(day: dt.date = TODAY, edition: str = "", newsletter: str = "buzz") -> PublishedIssue:
    return PublishedIssue(
        run=RunName(newsletter, f"{day}.{edition}" if edition else str(day)),
        issue_date=day,
        title=f"The Buzz of {day}",
        subject="Grüße “aus” Köln",
        preheader="One more",
        html="<p>Grüße</p>",
        text="Grüße",
        content_hash="c0ffee",
        image_origins=("https://images.example.com", "https://bücher.example"),
    )


def send(ledger: SqlLedger, day: dt.date = TODAY, edition: str = "", seconds: float = 0) -> None:
    ledger.take(plan(ledger, day, edition).run_id, now=later(seconds)).close(now=later(seconds))


def test_an_issue_shows_whole_once_its_run_has_begun_to_send(archive: SqlArchive, ledger: SqlLedger) -> None:
    kept = issue()
    archive.keep(kept)
    run_id = plan(ledger).run_id
    assert archive.issue(kept.run) is None
    assert archive.issues("buzz") == []
    ledger.take(run_id, now=later(60))
    assert archive.issue(kept.run) == replace(kept, published_at=later(60))
    assert archive.issues("buzz") == [replace(kept, published_at=later(60), html="", text="")]
    assert archive.issues("weekly") == []
    for stranger in (RunName("weekly", "2026-01-07"), RunName("buzz", "2026-01-08"), RunName("buzz", "../2026-01-07")):
        assert archive.issue(stranger) is None


def test_a_later_version_takes_the_place_of_an_earlier_one(archive: SqlArchive, ledger: SqlLedger) -> None:
    archive.keep(issue())
    corrected = replace(issue(), title="Corrected", html="<p>1</p>", text="1", content_hash="2", image_origins=())
    archive.keep(corrected)
    send(ledger)
    assert archive.issue(corrected.run) == replace(corrected, published_at=NOW)


def test_a_run_that_was_withdrawn_before_it_sent_shows_nothing(archive: SqlArchive, ledger: SqlLedger) -> None:
    archive.keep(issue())
    assert ledger.withdraw(plan(ledger).run_id)
    assert archive.issues("buzz") == []


def test_the_latest_come_first_page_after_page(archive: SqlArchive, ledger: SqlLedger) -> None:
    days = [TODAY - dt.timedelta(days=back) for back in range(5)]
    slots = [(days[2], ""), (days[0], ""), (days[0], "evening"), (days[1], "a"), (days[4], ""), (days[3], "")]
    for seconds, (day, edition) in enumerate(slots):
        archive.keep(issue(day, edition))
        send(ledger, day, edition, seconds)
    archive.keep(issue(TODAY + dt.timedelta(days=1)))  # not sent yet
    order = ["2026-01-07.evening", "2026-01-07", "2026-01-06.a", "2026-01-05", "2026-01-04", "2026-01-03"]
    assert [one.run.slot for one in archive.issues("buzz")] == order
    assert [one.run.slot for one in archive.issues("buzz", limit=2)] == order[:2]
    for number, slot in enumerate(order):
        after = archive.issues("buzz", before=RunName("buzz", slot))
        assert [one.run.slot for one in after] == order[number + 1 :]
    # behind an issue that never was: from the day before on
    unknown = archive.issues("buzz", before=RunName("buzz", "2026-01-06.b"), limit=1)
    assert [one.run.slot for one in unknown] == ["2026-01-05"]
