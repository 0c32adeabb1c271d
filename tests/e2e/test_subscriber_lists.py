"""`subscribers list` and `stats`, and what a dry run says of the audience, as a user meets them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from projects import SLOT, Project

PEOPLE = "email,name,list,tags,city,consent_at\n" + "".join(
    f"p{number:02}@example.com,P {number},{'weekly' if number % 5 == 0 else 'daily-buzz'},"
    f"{'press' if number % 2 else ''},{'Porto' if number % 3 == 0 else 'Paris'},{'2025-11-03' if number % 4 else ''}\n"
    for number in range(20)
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with twenty people in its database."""
    made = Project(tmp_path_factory.mktemp("lists") / "project")
    (made.folder / "subscribers" / "daily-buzz.csv").write_text(PEOPLE)
    ended = made.call("send", SLOT, "--dry-run")
    assert ended.code == 0, ended.err
    return made


def addresses(out: str) -> list[str]:
    return [line.split("@")[0] for line in out.splitlines()]


def test_people_are_listed_by_address_with_their_state_and_tags(project: Project) -> None:
    ended = project.run("subscribers", "list")
    assert ended.code == 0, ended.err
    assert addresses(ended.out) == [f"p{number:02}" for number in range(20)]
    assert ended.out.splitlines()[1] == "p01@example.com  P 1  daily-buzz: subscribed  press"
    assert ended.err == ""


def test_selections_narrow_and_pages_go_on_where_the_last_one_ended(project: Project) -> None:
    chosen = project.call("subscribers", "list", "--list", "weekly", "--tag", "press", "--attribute", "city=Porto")
    assert addresses(chosen.out) == ["p15"]
    assert addresses(project.call("subscribers", "list", "--list", "weekly", "--without-tag", "press").out) == [
        "p00",
        "p10",
    ]
    first = project.call("subscribers", "list", "--limit", "8")
    assert addresses(first.out) == [f"p{number:02}" for number in range(8)]
    assert "--after p07@example.com" in first.err
    rest = project.call("subscribers", "list", "--after", "p07@example.com", "--limit", "all")
    assert addresses(rest.out) == [f"p{number:02}" for number in range(8, 20)]


def test_json_streams_a_person_a_line_and_the_result_last(project: Project) -> None:
    *people, result = map(json.loads, project.call("subscribers", "list", "--limit", "3", "--json").out.splitlines())
    assert [one["email"] for one in people] == ["p00@example.com", "p01@example.com", "p02@example.com"]
    assert people[0]["state"] == "pending"
    assert result == {"count": 3, "next_after": "p02@example.com"}
    *_, end = project.call("subscribers", "list", "--json").out.splitlines()
    assert json.loads(end) == {"count": 20, "next_after": None}


def test_nobody_is_no_error_and_a_list_that_is_none_is_one(project: Project) -> None:
    nobody = project.call("subscribers", "list", "--tag", "nothing")
    assert (nobody.code, nobody.out, nobody.err) == (0, "", "nobody\n")
    for arguments in (["--list", "dialy"], ["--limit", "0"], ["--attribute", "city"], ["--after", "no address"]):
        assert project.call("subscribers", "list", *arguments).code == 2


def test_stats_are_a_line_a_list_and_the_same_as_json(project: Project) -> None:
    ended = project.call("subscribers", "stats")
    assert ended.code == 0, ended.err
    assert [line.split()[:3] for line in ended.out.splitlines()[1:]] == [
        ["daily-buzz", "12", "4"],
        ["weekly", "3", "1"],
    ]
    numbers = project.call("subscribers", "stats", "--json").json
    assert [(one["list"], one["subscribed"], one["pending"]) for one in numbers] == [
        ("daily-buzz", 12, 4),
        ("weekly", 3, 1),
    ]


def test_a_command_about_people_loads_no_templates_and_no_other_database(project: Project) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "newsletter", "subscribers", "stats"]
    done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=True)
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert {"sqlalchemy", "newsletter"} <= loaded
    assert loaded.isdisjoint({"jinja2", "mjml", "premailer", "cssutils", "psycopg", "alembic", "rich"})


def test_a_dry_run_warns_of_an_audience_that_changed_too_much_and_records_no_run(project: Project) -> None:
    engine = sa.create_engine(f"sqlite:///{project.folder / 'var' / 'newsletter.db'}")
    with engine.begin() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM run")) == 0
        connection.execute(
            sa.text(
                "INSERT INTO run (uid, newsletter, issue_date, state, batch_size, selection, planned, created_at,"
                " deadline) VALUES ('u', 'daily-buzz', '2026-01-06', 'finished', 100, '{}', 20, 0, 0)"
            )
        )
    engine.dispose()
    said = project.call("send", SLOT, "--dry-run")
    assert said.code == 0, said.err
    assert "warn  a live send would be refused: the audience changed from 20 in the last run to 12 (-40.0%)" in said.out
    summary = json.loads(Path(project.out / "summary.json").read_text("utf-8"))
    assert "max_audience_change allows 20.0%" in summary["refusals"][0]
