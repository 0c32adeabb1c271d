"""A project of the shipped files in a folder of its own, and the command run in it as a user runs it."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from newsletter.cli.app import main
from newsletter.project_files import copy_project
from newsletter.store.engine import close_all

SLOT = "2026-01-07"


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on stdout, which must be one line."""
        assert self.out.count("\n") == 1, self.out
        return json.loads(self.out)


class Project:
    """A folder with the shipped configuration, templates, issue and list."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        copy_project(folder)

    @property
    def issue(self) -> Path:
        return self.folder / "issues" / f"{SLOT}.txt"

    @property
    def out(self) -> Path:
        return self.folder / "out" / "daily-buzz" / SLOT

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    def edit(self, file: Path, old: str, new: str) -> None:
        """Replace `old`, which must be there, once."""
        text = file.read_text("utf-8")
        assert old in text
        file.write_text(text.replace(old, new, 1), "utf-8")

    def call(self, *arguments: str, **environment: str) -> Ended:
        """The same as `run` within this process, for tests of many short commands: starting one takes the longest."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with (
            contextlib.chdir(self.folder),
            mock.patch.dict(os.environ, {**_kept(), **environment}, clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            connections_closed(),
        ):
            code: object = 0
            try:
                main(list(arguments))
            except SystemExit as ended:
                code = ended.code
        assert isinstance(code, int)
        return Ended(code, _text(out), _text(err))

    def run(self, *arguments: str, **environment: str) -> Ended:
        """`newsletter ARGUMENTS` in the folder; the machine's own settings do not reach it."""
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "newsletter", *arguments],
            cwd=self.folder,
            env=_kept() | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def connections_closed() -> Iterator[None]:
    """Closes those to databases that were opened within, as the end of a process does."""
    gc.disable()  # an engine that is collected before would leave its own open
    try:
        yield
    finally:
        close_all()
        gc.enable()


def _kept() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("NEWSLETTER")}


def _text(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()
