"""What is said of a run, and what to do next."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from unittest import mock

import pytest

from newsletter.cli import run_words
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import Balance, RunRecord
from newsletter.delivery.states import DeliveryState, RunState
from newsletter.pipeline.run_report import RunReport, latest_run
from newsletter.settings.load import load_settings

NAME = RunName("a", "2026-01-08")
BEFORE = dt.datetime(2026, 1, 7, 22, 0, tzinfo=dt.UTC)


def planned(state: RunState = RunState.PLANNED) -> RunRecord:
    issue, deadline = dt.date(2026, 1, 8), BEFORE + dt.timedelta(hours=9)
    return RunRecord(1, NAME, issue, "", state, "hash", "Subject", "smtp", 1, cast("Any", None), BEFORE, deadline)


def steps(tmp_path: Path, run: RunRecord, now: dt.datetime, *, enabled: bool = True, more: str = "") -> list[str]:
    config = tmp_path / "config.toml"
    config.write_text(
        '[newsletters.a]\ntitle = "A"\nfrom = "a@news.example"\n[newsletters.a.schedule]\n'
        f'time = "06:30"\ntimezone = "Asia/Hong_Kong"\nenabled = {str(enabled).lower()}\n{more}'
    )
    due = run_words.due_moment(load_settings(config, {}), run, now)
    return list(run_words.next_steps(RunReport(run, Balance(1, {DeliveryState.PLANNED: 1}), {}, {}), due))


def test_a_run_that_a_daemon_planned_goes_out_by_itself_and_when(tmp_path: Path) -> None:
    [said] = steps(tmp_path, planned(), BEFORE)
    assert said.startswith("It goes out by itself at 2026-01-08 06:30 HKT, by `newsletter run`. To send it before:")
    [said] = steps(tmp_path, planned(), BEFORE, more="recipient_timezone = true\n")
    assert "in each recipient's own time zone" in said


@pytest.mark.parametrize(
    ("run", "now", "enabled"),
    [
        (planned(), BEFORE + dt.timedelta(hours=1), True),
        (planned(), BEFORE, False),
        (planned(RunState.SENDING), BEFORE, True),
    ],
    ids=["its time is over", "no schedule", "interrupted"],
)
def test_else_an_operator_goes_on_with_it(tmp_path: Path, run: RunRecord, now: dt.datetime, enabled: bool) -> None:
    assert steps(tmp_path, run, now, enabled=enabled) == [f"To go on: newsletter resume {NAME}"]


@pytest.mark.parametrize("waiting", [RunState.PAUSED, RunState.HELD])
def test_who_names_no_run_sees_the_one_being_sent_else_one_that_waits_for_them(waiting: RunState) -> None:
    later = replace(planned(), planned_at=BEFORE + dt.timedelta(hours=1))
    ledger = mock.Mock(unfinished=lambda: [planned(waiting), later])
    assert latest_run(ledger, None).state is waiting
    ledger = mock.Mock(unfinished=lambda: [planned(RunState.SENDING), replace(later, state=waiting)])
    assert latest_run(ledger, None).state is RunState.SENDING
