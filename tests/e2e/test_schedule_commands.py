"""`schedule list`, `skip` and `unskip`: when a newsletter goes out by itself, and the word that it does not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import time_machine
from projects import SLOT, Project

from newsletter.schedule.model import SlotRecord, SlotState
from newsletter.schedule.slots import slot_of
from newsletter.settings.load import load_settings
from newsletter.wiring.schedules import schedule_records

#: The day before the shipped issue's, 10:00 in Hong Kong.
NOW = dt.datetime(2026, 1, 6, 2, tzinfo=dt.UTC)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """The shipped project, goes out by itself at 06:30 in Hong Kong, from Monday to Friday."""
    made = Project(tmp_path / "project")
    made.edit(made.config, "enabled = false", "enabled = true")
    with time_machine.travel(NOW, tick=False):
        yield made


def listed(project: Project, *arguments: str) -> list[dict[str, Any]]:
    ended = project.call("schedule", "list", *arguments, "--json")
    assert ended.code == 0, ended.err
    slots = ended.json
    assert isinstance(slots, list)
    return slots


def becomes(project: Project, state: SlotState, reason: str = "") -> None:
    """What a daemon would have recorded of the shipped issue's slot."""
    loaded = load_settings(project.config, {})
    schedule = loaded.settings.newsletters["daily-buzz"].schedule
    slot = slot_of("daily-buzz", schedule, dt.date.fromisoformat(SLOT), "")
    assert slot is not None
    assert schedule_records(loaded).record(SlotRecord(slot.name, slot.at, state, reason), now=NOW)


class TestList:
    def test_each_slot_has_its_time_its_offset_and_how_far_its_issue_is(self, project: Project) -> None:
        first, second = listed(project, "--count", "2")
        assert first | {"deadline": "", "why": ""} == {
            "newsletter": "daily-buzz",
            "date": SLOT,
            "edition": "",
            "local": "2026-01-07T06:30:00+08:00",
            "utc": "2026-01-06T22:30:00+00:00",
            "deadline": "",
            "state": "ready",
            "why": "",
            "enabled": True,
            "record": None,
        }
        assert (second["local"], second["state"]) == ("2026-01-08T06:30:00+08:00", "missing")

    def test_for_people_it_is_a_line_a_slot(self, project: Project) -> None:
        project.edit(project.config, 'skip_holidays = ""', 'skip_holidays = "HK"')
        ended = project.call("schedule", "list", "--from", "2026-02-16", "--count", "2")
        assert ended.out == (
            "Mon 2026-02-16 06:30 HKT (UTC+8)  no issue file yet\n"
            "Tue 2026-02-17                    skipped: Chinese New Year\n"
        )
        assert ended.err == ""

    def test_an_issue_that_fails_its_checks_is_invalid_and_says_where(self, project: Project) -> None:
        project.issue.write_bytes(b"\xff\xfe no text")
        [slot] = listed(project, "--count", "1")
        assert slot["state"] == "invalid"
        assert "issues/2026-01-07.txt" in slot["why"]

    def test_the_days_on_which_the_clocks_change(self, project: Project) -> None:
        project.edit(project.config, 'timezone = "Asia/Hong_Kong"', 'timezone = "Europe/London"')
        project.edit(project.config, 'time = "06:30"', 'time = "01:30"')
        project.edit(project.config, 'days = ["mon", "tue", "wed", "thu", "fri"]', 'days = ["sun"]')
        assert [slot["local"] for slot in listed(project, "--from", "2026-03-29", "--count", "1")] == [
            "2026-03-29T02:00:00+01:00"
        ]
        assert [slot["utc"] for slot in listed(project, "--from", "2026-10-25", "--count", "1")] == [
            "2026-10-25T00:30:00+00:00"
        ]

    def test_a_date_that_the_calendar_left_out_is_not_listed(self, project: Project) -> None:
        project.edit(project.config, 'timezone = "Asia/Hong_Kong"', 'timezone = "Pacific/Apia"')
        project.edit(project.config, 'days = ["mon", "tue", "wed", "thu", "fri"]\n', "")
        slots = listed(project, "--from", "2011-12-29", "--count", "3")
        assert [slot["local"] for slot in slots] == [
            "2011-12-29T06:30:00-10:00",
            "2011-12-31T06:30:00+14:00",
            "2012-01-01T06:30:00+14:00",
        ]

    def test_several_newsletters_and_editions_stand_in_the_order_of_their_times(self, project: Project) -> None:
        project.edit(project.config, "editions = {}", 'editions = { evening = "18:00" }')
        with project.config.open("a", encoding="utf-8") as file:
            file.write(
                '\n[newsletters.weekly]\ntitle = "Weekly"\nfrom = "w@example.com"\n'
                '[newsletters.weekly.schedule]\nenabled = true\ncron = "0 11 * * wed"\ntimezone = "Asia/Dubai"\n'
            )
        ended = project.call("schedule", "list", "--count", "4")
        assert [" ".join(line.split()[:6]) for line in ended.out.splitlines()] == [
            "Tue 2026-01-06 18:00 HKT (UTC+8) daily-buzz.evening",
            "Wed 2026-01-07 06:30 HKT (UTC+8) daily-buzz",
            "Wed 2026-01-07 11:00 (UTC+4) weekly ready",
            "Wed 2026-01-07 18:00 HKT (UTC+8) daily-buzz.evening",
        ]
        assert {slot["newsletter"] for slot in listed(project, "-n", "weekly")} == {"weekly"}

    def test_a_newsletter_that_does_not_go_out_by_itself_says_so(self, project: Project) -> None:
        project.edit(project.config, "enabled = true", "enabled = false")
        ended = project.call("schedule", "list", "--count", "1", "--json")
        assert ended.json[0]["enabled"] is False
        assert "schedule.enabled is false" in ended.err

    def test_what_became_of_a_slot_stands_in_place_of_its_issue(self, project: Project) -> None:
        becomes(project, SlotState.MISSED, "there was no issue")
        ended = project.call("schedule", "list", "--from", SLOT, "--count", "1")
        assert ended.out == "Wed 2026-01-07 06:30 HKT (UTC+8)  missed: there was no issue\n"
        [slot] = listed(project, "--from", SLOT, "--count", "1")
        assert slot["record"] == {"state": "missed", "reason": "there was no issue"}

    @pytest.mark.parametrize(
        "arguments", [["--from", "soon"], ["--from", "issues/2026-01-07.txt"], ["--count", "0"], ["-n", "weekly"]]
    )
    def test_what_makes_no_sense_is_refused(self, project: Project, arguments: list[str]) -> None:
        assert project.call("schedule", "list", *arguments).code == 2


class TestSkip:
    def test_a_date_is_left_out_with_the_reason_and_taken_back(self, project: Project) -> None:
        ended = project.call("schedule", "skip", "tomorrow", "--reason", "office closed")
        assert (ended.code, ended.out) == (0, "daily-buzz of Wed 2026-01-07 does not go out: office closed\n")
        [slot] = listed(project, "--count", "1")
        assert (slot["state"], slot["why"]) == ("skipped", "office closed")

        again = project.call("schedule", "skip", SLOT)
        assert again.code == 4
        assert "newsletter -n daily-buzz schedule unskip 2026-01-07" in again.err

        assert project.call("schedule", "skip", SLOT, "--reason", "holiday of the editor", "--json").json == {
            "newsletter": "daily-buzz",
            "date": SLOT,
            "edition": None,
            "skipped": True,
            "reason": "holiday of the editor",
        }
        assert listed(project, "--count", "1")[0]["why"] == "holiday of the editor"

        assert project.call("schedule", "unskip", SLOT).code == 0
        assert listed(project, "--count", "1")[0]["state"] == "ready"
        assert project.call("schedule", "unskip", SLOT).code == 4

    def test_one_edition_alone(self, project: Project) -> None:
        project.edit(project.config, "editions = {}", 'editions = { evening = "18:00" }')
        assert project.call("schedule", "skip", f"{SLOT}.evening").code == 0
        states = {slot["edition"]: slot["state"] for slot in listed(project, "--from", SLOT, "--count", "2")}
        assert states == {"": "ready", "evening": "skipped"}
        whole = project.call("schedule", "unskip", SLOT)
        assert whole.code == 4
        assert "unskip 2026-01-07.evening" in whole.err
        assert project.call("schedule", "skip", f"{SLOT}.noon").code == 2

    def test_what_goes_out_on_no_account_cannot_be_skipped(self, project: Project) -> None:
        project.edit(project.config, "skip_dates = []", 'skip_dates = ["2026-01-08"]')
        for date, said in (
            ("2026-01-10", "nothing of daily-buzz goes out on Sat 2026-01-10"),
            ("2026-01-08", "skipped already: in skip_dates"),
            ("2026-01-05", "2026-01-05 is over"),
        ):
            ended = project.call("schedule", "skip", date)
            assert ended.code == 4, date
            assert said in ended.err
        assert "by the settings (in skip_dates)" in project.call("schedule", "unskip", "2026-01-08").err

    @pytest.mark.parametrize(("state", "code"), [(SlotState.BEGUN, 5), (SlotState.DONE, 4), (SlotState.MISSED, 0)])
    def test_what_has_begun_cannot_be_skipped(self, project: Project, state: SlotState, code: int) -> None:
        becomes(project, state)
        assert project.call("schedule", "skip", SLOT).code == code
