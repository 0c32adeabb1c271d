"""What an operator has to say in words, and what stays as it was where they say nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    (made.folder / "ben.csv").write_text("email\nben@example.com\n", encoding="utf-8")
    made.call("suppress", "add", "ben@example.com", "--reason", "complaint")
    return made


@pytest.mark.parametrize("blank", ["", " \t\u200b"])
@pytest.mark.parametrize(
    "command",
    [
        ("subscribers", "import", "ben.csv", "--reconsent"),
        ("subscribers", "import", "ben.csv", "--confirmed-by"),
        ("subscribers", "add", "ben@example.com", "--reconsent"),
        ("subscribers", "add", "cleo@example.com", "--consent-source"),
        ("subscribers", "add", "cleo@example.com", "--wording"),
        ("suppress", "remove", "ben@example.com", "--why"),
    ],
)
def test_no_reason_is_no_reason(project: Project, command: tuple[str, ...], blank: str) -> None:
    done = project.call(*command, blank)
    assert done.code == 2, done.out
    assert f"{command[-1]} was given without words" in done.err
    (one,) = project.call("subscribers", "show", "ben@example.com", "--json").json["suppressions"]
    assert (one["reason"], one["lift"]) == ("complaint", None)
    assert project.call("subscribers", "show", "cleo@example.com").code == 4


@pytest.mark.parametrize("command", [("subscribers", "import", "ben.csv"), ("subscribers", "add", "cleo@example.com")])
@pytest.mark.parametrize(
    ("name", "says"),
    [("", "without a name"), (" ", "without a name"), ("a\x1bb", "control"), ("x" * 101, "at most 100")],
)
def test_a_lists_name_can_be_read(project: Project, command: tuple[str, ...], name: str, says: str) -> None:
    done = project.call(*command, "--list", name)
    assert done.code == 2
    assert says in done.err


def test_the_spaces_around_a_lists_name_are_no_part_of_it(project: Project) -> None:
    project.call("subscribers", "import", "ben.csv", "--list", " daily-buzz ")
    assert [one["list"] for one in project.call("subscribers", "stats", "--json").json] == ["daily-buzz"]


def test_a_list_that_an_import_makes_is_named(project: Project) -> None:
    (project.folder / "cleo.csv").write_text("email\ncleo@example.com\n", encoding="utf-8")
    tried = project.call("subscribers", "import", "cleo.csv", "--list", "Weird List!", "--dry-run")
    assert "new list: Weird List!" in tried.err
    done = project.call("subscribers", "import", "cleo.csv", "--list", "Weird List!", "--json")
    assert (done.json["new_lists"], "new list: Weird List!" in done.err) == (["Weird List!"], True)
    assert project.call("subscribers", "import", "cleo.csv", "--list", "Weird List!", "--json").json["new_lists"] == []
    assert project.call("subscribers", "import", "cleo.csv", "--json").json["new_lists"] == []


def test_what_a_column_is_said_to_mean_is_a_meaning_or_told_to_be_an_attribute(project: Project) -> None:
    (project.folder / "cleo.csv").write_text("email,X\ncleo@example.com,Cleo\n", encoding="utf-8")
    mistyped = project.call("subscribers", "import", "cleo.csv", "--map", "X=nmae")
    assert (mistyped.code, 'Did you mean --map "X=name"' in mistyped.err) == (2, True)
    done = project.call("subscribers", "import", "cleo.csv", "--map", "X=pet")
    assert (done.code, "kept as the attribute pet" in done.err) == (0, True)
    assert project.call("subscribers", "show", "cleo@example.com", "--json").json["attributes"] == {"pet": "Cleo"}


@pytest.mark.parametrize("language", ["!!", "e", "pt_BR ", "x" * 40])
def test_a_language_is_one(project: Project, language: str) -> None:
    done = project.call("subscribers", "add", "cleo@example.com", "--language", language)
    assert (done.code, "no language tag" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("email,name\na@example.com,A\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        (b"PK\x03\x04\x14\0\6\0\x08\0\0\0!\0\xdf\xa4", "an Excel workbook, or another ZIP archive"),
        (b"GIF89a\1\0\1\0\x80 and so on", "there are NUL bytes in its first line"),
        ("email,name\na@example.com,A\n".encode("utf-32"), "UTF-16 without a byte order mark, or UTF-32"),
        (bytes(3_000), "there are NUL bytes in its first line"),
        (b"email,email\na@example.com,b@example.com\n", "columns 1 and 2: give one of them another name"),
        (b"email,E-Mail\na@example.com,b@example.com\n", '--map "E-Mail="'),
    ],
)
def test_what_cannot_be_read_is_told_with_what_to_do(project: Project, data: bytes, says: str) -> None:
    (project.folder / "odd.csv").write_bytes(data)
    done = project.call("subscribers", "import", "odd.csv")
    assert (done.code, says in done.err) == (3, True), done.err
    assert done.err.replace("\n", "").isprintable()
