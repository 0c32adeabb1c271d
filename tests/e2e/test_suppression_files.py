"""Files of addresses that must not be mailed: read in the words of many programs, and moved elsewhere."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from projects import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "here")


def suppressed(project: Project) -> list[dict[str, Any]]:
    """What stands, without who told it."""
    lines = project.call("suppress", "list", "--json").out.splitlines()[:-1]
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("Unsubscribed", "unsubscribe"),
        ("UNSUB", "unsubscribe"),
        ("Hard-Bounced", "hard_bounce"),
        ("ABUSE (spam complaint)", "complaint"),
        ("asked by letter", "manual"),
    ],
)
def test_reasons_are_read_in_the_words_that_an_import_of_people_reads(project: Project, said: str, reason: str) -> None:
    (project.folder / "gone.csv").write_text(f"Email Address,Reason,List\nann@example.com,{said},x\n", encoding="utf-8")
    assert project.call("suppress", "import", "gone.csv").code == 0
    (one,) = suppressed(project)
    # somebody else's `List` narrows nothing
    assert (one["reason"], one["list"]) == (reason, None)
    assert one["note"] == ("asked by letter" if reason == "manual" else "")


def test_mailchimps_file_of_those_who_left_says_since_when_and_who_complained(project: Project) -> None:
    text = "Email Address,UNSUB_TIME,UNSUB_REASON\nann@example.com,2019-05-06 07:08:09,NORMAL\n"
    (project.folder / "left.csv").write_text(f"{text}ben@example.com,2019-05-07 07:08:09,abuse\n", encoding="utf-8")
    assert project.call("suppress", "import", "left.csv", "--json").json["new"] == 2
    assert [(one["reason"], one["at"][:10]) for one in suppressed(project)] == [
        ("unsubscribe", "2019-05-06"),
        ("complaint", "2019-05-07"),
    ]


@pytest.mark.parametrize(("text", "says"), [("", "is empty"), ("name,town\nAnn,Porto\n", "no column `email`")])
def test_a_file_of_something_else_is_an_error(project: Project, text: str, says: str) -> None:
    (project.folder / "other.csv").write_text(text, encoding="utf-8")
    done = project.call("suppress", "import", "other.csv")
    assert done.code == 3, done.out
    assert says in done.err


def test_what_stands_moves_elsewhere_with_its_lists_and_times_and_erased_people_stay(
    project: Project, tmp_path: Path
) -> None:
    call = project.call
    call("subscribers", "add", "ann@example.com", "--consent-source", "fair")
    call("subscribers", "remove", "ann@example.com", "--list", "daily-buzz", "--note", "=by phone")
    call("suppress", "add", "unknown@example.com", "--reason", "complaint")
    call("subscribers", "erase", "cleo@example.com", "--confirm", "cleo@example.com")
    done = call("suppress", "export", "gone.csv", "--json")
    assert (done.json["rows"], done.json["erased"]) == (2, 1)
    file = project.folder / "gone.csv"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "hmac:" not in file.read_text("utf-8")
    with file.open(newline="", encoding="utf-8") as opened:
        assert [row["email"] for row in csv.DictReader(opened)] == ["ann@example.com", "unknown@example.com"]
    assert call("suppress", "export", "gone.csv").code == 0  # in place of the earlier one
    there = Project(tmp_path / "there")
    for new in (2, 0):
        assert there.call("suppress", "import", str(file), "--json").json["new"] == new
    keys = ("key", "reason", "list", "at", "source", "note")
    moved = [{name: one[name] for name in keys} for one in suppressed(there)]
    assert moved == [{name: one[name] for name in keys} for one in suppressed(project)][:2]


def test_a_mistaken_target_is_refused_and_standard_output_is_not(project: Project) -> None:
    before = project.config.read_bytes()
    assert project.call("suppress", "export", "config.toml").code == 2
    assert project.config.read_bytes() == before
    assert project.call("suppress", "export").out == "email,reason,list,at,source,note\n"
