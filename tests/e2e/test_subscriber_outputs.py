"""Where `export` and `import --rejects` write, and what they leave alone."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from projects import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    (made.folder / "people.csv").write_text("email\nana@example.com\nbad\n", encoding="utf-8")
    (made.folder / "precious.txt").write_text("a letter\n", encoding="utf-8")
    assert made.call("subscribers", "import", "people.csv").code == 0
    return made


@pytest.mark.parametrize(
    "command", [("subscribers", "export"), ("subscribers", "import", "people.csv", "--rejects")], ids=" ".join
)
@pytest.mark.parametrize("name", ["var/newsletter.db", "config.toml", "precious.txt", "subscribers/all.csv"])
def test_nothing_of_the_users_is_replaced(project: Project, command: tuple[str, ...], name: str) -> None:
    file = project.folder / name
    before = file.read_bytes() if file.exists() and file.suffix != ".db" else None
    done = project.call(*command, name)
    assert done.code == 2, done.out
    assert name in done.err
    assert "Name another" in done.err
    assert (file.read_bytes() if before is not None else None) == before
    assert project.call("subscribers", "show", "ana@example.com").code == 0


def test_an_export_takes_the_place_of_an_earlier_one(project: Project) -> None:
    for _ in range(2):
        assert project.call("subscribers", "export", "all.csv", "--json").json["rows"] == 1
    missing = project.call("subscribers", "export", "no/all.csv")
    assert missing.code == 3
    assert "there is no folder no" in missing.err


def test_devices_are_written_and_stay_devices(project: Project) -> None:
    exported = project.run("subscribers", "export", "/dev/stdout")
    assert exported.out.startswith("email,name,list,state,since")
    assert project.run("subscribers", "import", "people.csv", "--rejects", "/dev/stderr").err.startswith("row,reason")
    full = project.run("subscribers", "export", "/dev/full")
    assert (full.code, "No space left" in full.err) == (3, True)
    assert project.run("subscribers", "export", "/dev/null").code == 0
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize("name", ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"])
def test_standard_input_has_other_names(project: Project, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "newsletter", "subscribers", "import", name],
        cwd=project.folder,
        input=b"email\nbo@example.com\nbad\n",
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.decode().startswith("  rows 2 · new 1 (1 pending) · invalid 1 → stdin.rejects.csv"), done.stderr
    assert (project.folder / "stdin.rejects.csv").exists()


def test_a_backup_makes_no_folders(project: Project) -> None:
    done = project.call("db", "backup", "no/such/copy.db")
    assert (done.code, "There is no folder no/such: make it" in done.err) == (3, True)
    assert not (project.folder / "no").exists()
    assert project.call("db", "backup").code == 0


def test_a_pipe_in_the_folder_of_lists_is_named_and_nobody_waits_for_it(project: Project) -> None:
    os.mkfifo(project.folder / "subscribers" / "f.csv")
    done = project.run("subscribers", "sync")
    assert (done.code, "subscribers/f.csv: is a pipe or a device" in done.err) == (3, True)


def test_an_import_out_of_a_pipe_says_on_a_terminal_that_it_waits(project: Project) -> None:
    pipe = project.folder / "pipe"
    os.mkfifo(pipe)
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "newsletter", "subscribers", "import", "pipe", "--json"]
    with subprocess.Popen(command, cwd=project.folder, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        while b"waiting for what is written into pipe" not in said:
            said += os.read(ours, 1_000)
        pipe.write_bytes(b"email\nbo@example.com\n")
        assert process.stdout is not None
        assert json.loads(process.stdout.read())["new"] == 1
    os.close(ours)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_an_import_that_is_asked_to_end_says_so_and_changes_nothing(project: Project, end: signal.Signals) -> None:
    command = [sys.executable, "-m", "newsletter", "subscribers", "import", "-"]
    with subprocess.Popen(
        command, cwd=project.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        # as long as that is not read, and more is expected, it is at work
        process.stdin.write(b"email\n" + b"cleo@example.com\n" * 50_000)
        process.stdin.flush()
        process.send_signal(end)
        _, said = process.communicate()
    assert (process.returncode, said.decode().strip()) == (130, "interrupted")
    assert project.call("subscribers", "show", "cleo@example.com").code == 4


def test_a_limit_on_file_sizes_is_told_and_changes_nothing(project: Project) -> None:
    rows = "".join(f"person{number}@example.com\n" for number in range(30_000))
    (project.folder / "many.csv").write_text(f"email\n{rows}", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "newsletter", "subscribers", "import", "many.csv"],
        cwd=project.folder,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert project.call("subscribers", "show", "person1@example.com").code == 4
