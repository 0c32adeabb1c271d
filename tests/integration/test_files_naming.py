"""What erasing cannot reach: the files that name somebody, in any encoding and spelling."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from newsletter import wiring
from newsletter.audience.addresses import parse_address
from newsletter.errors import Place
from newsletter.pipeline.files_naming import Named, files_naming
from newsletter.project_files import copy_project

JO = parse_address("jo@bücher.example")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of subscribers of a project."""
    copy_project(tmp_path)
    return tmp_path / "subscribers"


def named(folder: Path) -> Named:
    return files_naming(wiring.settings(folder.parent / "config.toml"), JO)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize(
    "cell", ["jo@bücher.example", "JO@xn--bcher-kva.example", "Jo <jo@BÜCHER.example>", "'jo@bücher.example"]
)
def test_every_encoding_and_spelling_is_found(folder: Path, encoding: str, cell: str) -> None:
    text = f'email;note\njo@books.example;x\nmojo@bücher.example;"two\nlines"\nann@example.com;"write to {cell}."\n'
    (folder / "people.csv").write_bytes(text.encode(encoding))
    assert named(folder) == Named((Place(folder / "people.csv", 5),), ())


def test_the_pages_of_a_dry_run_and_earlier_rejects_are_searched(folder: Path) -> None:
    run = folder.parent / "out" / "daily-buzz" / "2026-01-07"
    run.mkdir(parents=True)
    (run / "index.html").write_text("<p>x</p>\n<bdi>o&#39;neill@xn--bcher-kva.example</bdi>\n", "utf-8")
    (run / "issue.html").write_text('<a href="mailto:o%27neill@x.example">o&#x27;neill@bücher.example</a>\n', "utf-8")
    (run / "issue.txt").write_text("For o'neill@bücher.example.\n", "utf-8")
    (folder / "people.rejects.csv.1").write_text("email\no'neill@bücher.example\n", "utf-8")
    found = files_naming(wiring.settings(folder.parent / "config.toml"), parse_address("o'neill@bücher.example"))
    assert [(Path(place.path).name, place.line) for place in found.places] == [
        ("people.rejects.csv.1", 2),
        ("index.html", 2),
        ("issue.html", 1),
        ("issue.txt", 1),
    ]


def test_what_a_killed_process_left_is_searched_and_a_pipe_is_not(folder: Path) -> None:
    left = folder / ".people.rejects.csv.x1.partial", folder.parent / ".export.csv.x1.partial"
    for file in left:
        file.write_text(f"email\n{JO.address}\n", "utf-8")
    os.mkfifo(folder / "pipe.csv")
    assert {place.path for place in named(folder).places} == set(left)


def test_rejects_and_dry_runs_are_searched_and_a_file_that_cannot_be_is_told(folder: Path) -> None:
    run = folder.parent / "out" / "daily-buzz" / "2026-01-07"
    run.mkdir(parents=True)
    rejects, recipients, excluded = (
        folder / "people.rejects.csv",
        run / "recipients.csv",
        run / "excluded.csv",
    )
    for file in (rejects, recipients, excluded):
        file.write_text(f"email\n{JO.address}\n", "utf-8")
    endless = folder / "endless.csv"
    endless.write_text(f"email\n{JO.address}\n" + "x" * 300_000, "utf-8")
    (folder / "a folder.csv").mkdir()
    found = named(folder)
    assert [place.path for place in found.places] == [endless, rejects, recipients, excluded]
    assert found.unsearched == (Place(folder / "a folder.csv"), Place(endless))
