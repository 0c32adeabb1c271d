"""A folder is written whole or not at all."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from newsletter.errors import OutputError, TemporaryError
from newsletter.pipeline.staging import staged_folder


def write(target: Path, text: str) -> None:
    with staged_folder(target, "out/x") as staged:
        (staged / "file").write_text(text)


def left_over(target: Path) -> list[str]:
    return [path.name for path in target.parent.iterdir() if path.name not in {target.name, f".{target.name}.lock"}]


def test_a_second_run_replaces_the_first_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "x"
    write(target, "one")
    (target / "of the first run").write_text("")
    write(target, "two")
    assert [path.name for path in target.iterdir()] == ["file"]
    assert (target / "file").read_text() == "two"
    assert left_over(target) == []


def test_after_an_error_the_old_folder_stands_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "x"
    write(target, "one")

    def fail_half_way() -> None:
        with staged_folder(target, "out/x") as staged:
            (staged / "file").write_text("two")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert (target / "file").read_text() == "one"
    assert left_over(target) == []


def test_a_slot_and_its_edition_leave_each_other_alone(tmp_path: Path) -> None:
    with staged_folder(tmp_path / "2026-01-07.evening", "x") as evening:
        write(tmp_path / "2026-01-07", "morning")
        (evening / "file").write_text("evening")
    assert (tmp_path / "2026-01-07.evening" / "file").read_text() == "evening"


def test_killed_between_the_two_renames_the_old_folder_comes_back(tmp_path: Path) -> None:
    target = tmp_path / "x"
    write(target, "one")
    target.rename(tmp_path / ".x~abc.aside")
    with pytest.raises(ZeroDivisionError):
        raise_inside(target)
    assert (target / "file").read_text() == "one"


def raise_inside(target: Path) -> None:
    with staged_folder(target, "x"):
        raise ZeroDivisionError


def test_what_it_holds_is_for_its_owner_alone(tmp_path: Path) -> None:
    with staged_folder(tmp_path / "x", "out/x") as staged:
        (staged / "messages").mkdir(mode=0o755)
        (staged / "messages" / "1.eml").write_text("")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "x", *(tmp_path / "x").rglob("*"))]
    assert modes == [0o700, 0o700, 0o600]


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError) as caught:
        write(tmp_path / "file" / "x", "one")
    assert str(caught.value).startswith("out/x: cannot be written")
    assert caught.value.hint


@pytest.mark.parametrize("name", ["file/2026-01-07", "file/news/2026-01-07", "/proc/no/2026-01-07"])
def test_nor_can_it_be_made_where_there_can_be_no_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match="cannot be written: ") as caught,
        staged_folder(tmp_path / name, "out/2026-01-07"),
    ):
        pass
    assert "paths.output" in caught.value.hint


def test_what_a_killed_process_left_is_swept_up_by_the_next(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom newsletter.pipeline.staging import staged_folder\n"
        "with staged_folder(Path(sys.argv[1]), 'x') as staged:\n"
        "    (staged / 'half').write_text('')\n    print('ready', flush=True)\n    time.sleep(60)\n"
    )
    target = tmp_path / "x"
    write(target, "one")
    with subprocess.Popen([sys.executable, "-c", program, str(target)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(TemporaryError, match="another process"):
            write(target, "too early")
        process.send_signal(signal.SIGKILL)
    assert len(left_over(target)) == 1
    assert (target / "file").read_text() == "one"
    write(target, "two")
    assert left_over(target) == []


def _write_many(target: Path, text: str, until: float) -> None:
    while time.monotonic() < until:
        try:
            with staged_folder(target, "x") as staged:
                for name in ("a", "b"):
                    (staged / name).write_text(text)
        except TemporaryError:
            os.sched_yield()


def test_two_writers_take_turns_and_never_mix(tmp_path: Path) -> None:
    target = tmp_path / "x"
    until = time.monotonic() + 1.0
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(target, text, until)) for text in ("one", "two")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    if not target.exists():  # both started too late on a busy machine
        _write_many(target, "one", time.monotonic() + 0.2)
    assert len({(target / name).read_text() for name in ("a", "b")}) == 1
