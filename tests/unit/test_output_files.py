"""Files that a user names for a command to write: which may be taken, and what becomes of those that may not."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import threading
from pathlib import Path

import pytest

from newsletter.errors import OutputError, UsageError
from newsletter.pipeline.output_files import (
    descriptor_of,
    open_partial,
    partials_of,
    private_file,
    refuse_taken,
    remove_partials,
)
from newsletter.pipeline.rejects_file import RejectsFile
from newsletter.project_files import copy_project
from newsletter.settings.load import load_settings
from newsletter.settings.loaded import Loaded

HEADS = ("email,name,list,state,since",)


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    copy_project(tmp_path)
    (tmp_path / "var").mkdir(exist_ok=True)
    (tmp_path / "var/newsletter.db").write_bytes(b"SQLite format 3\0")
    return load_settings(tmp_path / "config.toml", {})


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("var/newsletter.db", "the database"),
        ("var/newsletter.db-wal", "a file of the database"),
        ("var/newsletter.db-shm", "a file of the database"),
        ("linked.db", "the database"),
        ("hard.db", "database"),
        ("config.toml", "the configuration"),
        ("issues/2026-01-08.txt", "an issue"),
        ("templates/digest/issue.mjml.j2", "a template"),
        ("subscribers/new.csv", "every sync would import"),
        ("subscribers", "is a folder"),
        ("precious.txt", "was not written by an earlier call"),
    ],
)
def test_what_belongs_to_the_project_or_to_somebody_else_is_not_taken(loaded: Loaded, name: str, says: str) -> None:
    folder = loaded.folder
    (folder / "linked.db").symlink_to("var/newsletter.db")
    (folder / "hard.db").hardlink_to(folder / "var/newsletter.db")
    (folder / "precious.txt").write_text("a letter\n", encoding="utf-8")
    with pytest.raises(UsageError, match=says) as caught:
        refuse_taken(folder / name, loaded, ours=HEADS)
    assert "Name another" in caught.value.hint


def test_what_is_new_empty_an_earlier_one_or_a_device_may_be_written(loaded: Loaded) -> None:
    folder = loaded.folder
    (folder / "earlier.csv").write_text("email,name,list,state,since,more\nann@example.com\n", encoding="utf-8")
    (folder / "empty.csv").touch()
    os.mkfifo(folder / "pipe")
    for name in ("new.csv", "earlier.csv", "empty.csv", "pipe", "subscribers/people.rejects.csv", "no/such/folder.csv"):
        refuse_taken(folder / name, loaded, ours=HEADS)
    for name in ("/dev/null", "/dev/stdout", "/dev/fd/7"):
        refuse_taken(Path(name), loaded, ours=HEADS)


def test_a_pipe_is_written_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append(pipe.read_bytes()))
    reader.start()
    with private_file(pipe) as write:
        write(b"people")
    reader.join(timeout=10)
    assert heard == [b"people"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_descriptor_is_written_where_it_stands(tmp_path: Path) -> None:
    assert [descriptor_of(Path(name)) for name in ("/dev/stdin", "/dev/stdout", "/proc/self/fd/9", "x")] == [
        0,
        1,
        9,
        None,
    ]
    with (tmp_path / "log").open("wb") as file:
        file.write(b"before ")
        file.flush()
        with private_file(Path(f"/dev/fd/{file.fileno()}")) as write:
            write(b"people ")
        file.write(b"after")
    assert (tmp_path / "log").read_bytes() == b"before people after"


def test_a_full_device_is_told() -> None:
    with pytest.raises(OutputError, match="No space left on device"), private_file(Path("/dev/full")) as write:
        write(b"people")


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("there.csv")
    with private_file(tmp_path / "link") as write:
        write(b"people")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there.csv").read_bytes() == b"people"


def test_what_a_killed_process_left_is_removed_and_what_another_writes_is_not(tmp_path: Path) -> None:
    target = tmp_path / "people.rejects.csv"
    left = tmp_path / ".people.rejects.csv.abc123.partial"
    left.write_text("row,reason,email\n2,bad,ann@\n", encoding="utf-8")
    other = tmp_path / ".more.people.rejects.csv.abc123.partial"
    shutil.copy(left, other)
    with RejectsFile(target) as rejects:  # there are none
        rejects.columns(["email"])
    assert not left.exists()
    descriptor, living = open_partial(target)
    os.write(descriptor, b"of somebody else")
    remove_partials(target)
    with private_file(target) as write:
        write(b"x")
    assert partials_of(target) == [living]
    assert other.exists()
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
    with private_file(target) as write:
        write(b"x")
    assert partials_of(target) == []
