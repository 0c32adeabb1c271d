"""`subscribers import`, `sync` and `export`, run as an operator runs them."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from projects import Project

PEOPLE = "Mail,Name,Town\nana@example.com,Ana,Porto\nbad,x,y\nBO@example.com,=Bo,\nbo@example.com,,\n"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    (made.folder / "people.csv").write_text(PEOPLE, encoding="utf-8")
    return made


def test_an_import_says_what_it_would_do_does_it_and_does_nothing_more(project: Project) -> None:
    tried = project.run("subscribers", "import", "people.csv", "--dry-run")
    assert (tried.code, tried.err) == (0, "")
    assert tried.out.splitlines()[0] == ("  rows 4 · new 2 (2 pending) · duplicate 1 · invalid 1 → people.rejects.csv")
    assert "No consent column: those stay pending" in tried.out
    assert "--confirmed-by" in tried.out
    assert "nothing was changed" in tried.out

    done = project.call("subscribers", "import", "people.csv", "--json")
    assert (done.code, done.err) == (0, "")
    sums = {"rows": 4, "new": 2, "updated": 0, "unchanged": 0, "suppressed": 0, "invalid": 1, "duplicate": 1}
    told = {"pending": 2, "rejects": "people.rejects.csv", "notes": [], "new_lists": [], "dry_run": False}
    assert done.json == sums | told
    rejects = project.folder / "people.rejects.csv"
    assert rejects.stat().st_mode & 0o777 == 0o600
    with rejects.open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["row"], row["Mail"]) == ("3", "bad")
    assert "@-sign" in row["reason"]

    claimed = project.call("subscribers", "import", "people.csv", "--confirmed-by", "the fair")
    assert claimed.out.startswith("  rows 4 · updated 2 · duplicate 1 · invalid 1")
    again = project.call("subscribers", "import", "people.csv", "--confirmed-by", "the fair", "--json").json
    assert (again["unchanged"], again["new"], again["updated"]) == (2, 0, 0)


def test_strict_makes_rejected_rows_a_failure_and_keeps_the_good_ones(project: Project) -> None:
    done = project.call("subscribers", "import", "people.csv", "--strict", "--rejects", "bad.csv", "--json")
    assert done.code == 3
    assert (done.json["new"], done.json["rejects"]) == (2, "bad.csv")
    assert "1 row was rejected (--strict)" in done.err
    assert (project.folder / "bad.csv").exists()


def test_columns_are_mapped_and_people_come_through_a_pipe(project: Project) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "newsletter", "subscribers", "import", "-", "--map", "Wer=name", "--list", "weekly"],
        cwd=project.folder,
        input="Mail;Wer\r\nzoë@example.com;Zoë\r\njörg@bücher.example;J\r\nj@bücher.example;Jörg\r\n".encode("cp1252"),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().startswith("  rows 3 · new 1 (1 pending) · invalid 2 → stdin.rejects.csv")
    assert "read as Windows-1252" in done.stderr.decode()
    document = project.call("subscribers", "show", "j@xn--bcher-kva.example", "--json").json
    assert (document["name"], document["lists"]) == ("Jörg", ["weekly"])


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["import", "missing.csv"], 3, "missing.csv: cannot be read: No such file"),
        (["import", "."], 3, "is a folder"),
        (["import", "people.csv", "--rejects", "./people.csv"], 2, "would take the place of the file itself"),
        (["import", "people.csv", "--map", "Mail"], 2, "--map takes COLUMN=MEANING"),
        (["import", "people.csv", "--map", "Nope=email"], 3, "no column 'Nope'; found Mail, Name, Town"),
        (["import", "people.csv", "--map", "Mail=mail_address"], 3, "no column `email`"),
        (["export", "--json"], 2, "--json needs a file"),
        (["export", "nowhere/people.csv"], 3, "there is no folder nowhere"),
        (["export", "--list", "dialy-buzz"], 2, "there is no list 'dialy-buzz'"),
    ],
)
def test_what_cannot_be_done_is_one_clear_error(project: Project, arguments: list[str], code: int, says: str) -> None:
    done = project.call("subscribers", *arguments)
    assert done.code == code
    assert says in (done.out + done.err)
    assert "Traceback" not in done.err
    assert (project.folder / "people.csv").read_text("utf-8") == PEOPLE


def test_a_sync_adds_what_the_files_say_and_removes_nobody(project: Project) -> None:
    first = project.call("subscribers", "sync", "--json").json
    assert [one["file"] for one in first["files"]] == ["daily-buzz.csv"]
    assert (first["files"][0]["new"], first["files"][0]["invalid"]) == (13, 1)
    assert first["files"][0]["rejects"] == "subscribers/daily-buzz.rejects.csv"
    (project.folder / "subscribers" / "weekly.csv").write_text("email,consent_at\nana@example.com,2025-01-01\n")
    (project.folder / "subscribers" / "daily-buzz.csv").write_text("email\nnew@example.com\n")
    second = project.call("subscribers", "sync", "--json").json
    assert [(one["file"], one["rows"], one["new"]) for one in second["files"]] == [
        ("daily-buzz.csv", 1, 1),
        ("weekly.csv", 1, 1),
    ]
    document = project.call("subscribers", "show", "ana@example.com", "--json").json
    assert (document["lists"], document["state"]) == (["weekly"], "subscribed")
    assert project.call("subscribers", "show", "amelia.hart@example.com", "--json").json["lists"] == ["daily-buzz"]


def test_an_export_goes_to_standard_output_or_into_a_private_file_and_comes_back(project: Project) -> None:
    project.call("subscribers", "import", "people.csv", "--confirmed-by", "the fair")
    shown = project.call("subscribers", "export")
    assert (shown.code, shown.err) == (0, "2 rows\n")
    written = project.call("subscribers", "export", "out.csv", "--json")
    assert written.json == {"rows": 2, "file": "out.csv"}
    file = project.folder / "out.csv"
    assert file.read_text("utf-8") == shown.out
    assert file.stat().st_mode & 0o777 == 0o600
    assert "'=Bo" in shown.out
    assert "'=Bo" not in project.call("subscribers", "export", "--raw").out
    back = project.call("subscribers", "import", "out.csv", "--json").json
    assert (back["rows"], back["unchanged"], back["invalid"]) == (2, 2, 0)
