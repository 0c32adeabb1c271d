"""What the log and the counters make of a run."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from newsletter import logs
from newsletter.audience.model import Member
from newsletter.audience.people import Selection
from newsletter.delivery.names import RunName
from newsletter.delivery.observing import EndedCall
from newsletter.delivery.run_values import Balance, Claim, Report, RunRecord
from newsletter.delivery.states import DeliveryState, RunState
from newsletter.errors import OutputError, TemporaryError
from newsletter.metrics import Metrics, RunMetrics

NOW = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
NAME = RunName("daily-buzz", "2026-01-07")
_S = DeliveryState


def call(counts: dict[DeliveryState, int], words: dict[tuple[DeliveryState, str], int] | None = None) -> EndedCall:
    claim = Claim(3, 1, (Member(1, "anna@example.com", "anna@example.com"),), "call", NOW)
    return EndedCall(Report(claim, {}), counts, words or {}, seconds=0.25)


def run(state: RunState, ended: dt.datetime | None = None) -> RunRecord:
    return RunRecord(
        1,
        NAME,
        dt.date(2026, 1, 7),
        "",
        state,
        "hash",
        "Subject",
        "smtp",
        100,
        Selection(("a",)),
        NOW,
        NOW,
        ended_at=ended,
    )


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[logs.RunLog]:
    monkeypatch.setattr(logs, "_state", {"on": False})
    monkeypatch.setattr(logs, "_secrets", set())
    logs.configure(terminal=False)
    yield logs.RunLog(NAME, "smtp")
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def test_a_run_is_told_from_its_beginning_to_its_end(log: logs.RunLog, capsys: pytest.CaptureFixture[str]) -> None:
    log.began()
    log.ended(call({_S.ACCEPTED: 100}))
    log.ended(call({_S.ACCEPTED: 99, _S.REJECTED: 1}, {(_S.REJECTED, "550 no such user"): 1}))
    log.waiting(NOW)
    log.paused("too many")
    log.database_trouble(TemporaryError("the database is away"), 0.5)
    log.database_back()
    log.over(run(RunState.PAUSED), Balance(200, {_S.ACCEPTED: 199, _S.REJECTED: 1}))
    log.failed(RuntimeError("x"))
    written = lines(capsys)
    assert [one["event"] for one in written] == [
        *("run_began", "call_ended", "run_waits", "run_paused", "database_trouble", "database_back", "run_left"),
        "run_failed",
    ]
    assert {one["run"] for one in written} == {"daily-buzz/2026-01-07"}
    assert (written[1]["rejected"], written[1]["said"], written[1]["batch"]) == (1, "550 no such user", 3)
    assert (written[6]["state"], written[6]["accepted"]) == ("paused", 199)
    assert {one["level"] for one in written} == {"info", "warning", "error"}


def test_no_address_and_no_secret_is_in_a_line(log: logs.RunLog, capsys: pytest.CaptureFixture[str]) -> None:
    logs.never("s3cret-word")
    log.paused("535 <anna@example.com> s3cret-word: anna@example.com,ben@example.com")
    log.failed(RuntimeError("login of ben@example.com with s3cret-word"))
    text = capsys.readouterr().err
    assert "example.com" not in text
    assert "s3cret" not in text
    assert text.count("<address>") == 4


def test_on_a_terminal_lines_are_key_and_value(log: logs.RunLog, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(terminal=True)
    log.paused("too many")
    assert "level='warning' event='run_paused' run='daily-buzz/2026-01-07'" in capsys.readouterr().err


def test_it_is_silent_until_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logs, "_state", {"on": False})
    logs.RunLog(NAME, "smtp").paused("too many")
    assert capsys.readouterr() == ("", "")


def test_recipients_calls_and_states_are_counted(tmp_path: Path) -> None:
    metrics = Metrics()
    counters = RunMetrics(metrics, "daily-buzz", "smtp")
    counters.ended(call({_S.ACCEPTED: 100}))
    counters.ended(call({_S.ACCEPTED: 90, _S.REJECTED: 10}))
    counters.ended(call({_S.UNKNOWN: 5}))
    counters.ended(EndedCall(call({}).report, {_S.RETRY_WAIT: 7}, made=False))
    counters.paused("whatever")
    metrics.run_over(run(RunState.HELD, NOW), Balance(205, {_S.ACCEPTED: 190, _S.REJECTED: 10, _S.UNKNOWN: 5}))
    file = tmp_path / "newsletter.prom"
    metrics.write(file)
    values = dict(line.rsplit(" ", 1) for line in file.read_text().splitlines() if not line.startswith("#"))
    whose = 'newsletter="daily-buzz",{}provider="smtp"'
    assert values["newsletter_recipients_total{" + whose.format('outcome="accepted",') + "}"] == "190.0"
    assert values["newsletter_recipients_total{" + whose.format('outcome="rejected",') + "}"] == "10.0"
    for result in ("accepted", "partial", "failed"):
        assert values[f'newsletter_calls_total{{newsletter="daily-buzz",provider="smtp",result="{result}"}}'] == "1.0"
    assert values["newsletter_call_seconds_count{" + whose.format("") + "}"] == "3.0"
    assert values['newsletter_run_state{newsletter="daily-buzz",state="held"}'] == "1.0"
    assert values['newsletter_run_state{newsletter="daily-buzz",state="finished"}'] == "0.0"
    assert values['newsletter_run_recipients{newsletter="daily-buzz",state="unknown"}'] == "5.0"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="metrics cannot be written"):
        Metrics().write(tmp_path / "none" / "newsletter.prom")
