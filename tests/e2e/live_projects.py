"""A project that sends for real, to servers of this machine; the command in a process of its own, or in this one."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from projects import SLOT, Ended, Project
from servers.smtp_server import Moment, Reaction, Script, SmtpServer

from newsletter import logs
from newsletter.cli.app import main

RUN = f"daily-buzz/{SLOT}"
#: What `status RUN --json` prints at least: other programs read it.
STATUS_KEYS = (
    *("run", "newsletter", "issue_date", "edition", "state", "content_hash", "planned", "accepted", "rejected"),
    *("suppressed", "expired", "abandoned", "unknown", "in_flight", "retry_wait", "remaining", "delivered"),
    *("bounced", "complained", "cancelled"),
)
#: Members of the shipped list.
SHIPPED = 12


class LiveProject(Project):
    """The shipped project with its mail going to an SMTP server of this machine."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder)
        self.edit(self.config, "port = 1025", f"port = {port}")
        self.provider("smtp")

    def provider(self, name: str) -> None:
        """The newsletter goes out through this one."""
        self.edit(self.config, 'provider = "disk"', f'provider = "{name}"')

    def delivery(self, key: str, value: str) -> None:
        """Sets a key that the shipped file has, whatever its value."""
        lines = self.config.read_text("utf-8").splitlines(keepends=True)
        [number] = [number for number, line in enumerate(lines) if line.startswith(f"{key} = ")]
        lines[number] = f"{key} = {value}\n"
        self.config.write_text("".join(lines), "utf-8")

    def people(self, number: int) -> None:
        """The list is these people, all of whom asked for it."""
        rows = "".join(f"p{one:05}@example.com,2025-01-01\n" for one in range(number))
        (self.folder / "subscribers" / "daily-buzz.csv").write_text(f"email,consent_at\n{rows}")

    def call(self, *arguments: str, said: str = "", **environment: str) -> Ended:
        """As `run`, in this process: without a terminal, in the project's folder, `said` on standard input."""
        out, err, before = io.StringIO(), io.StringIO(), Path.cwd()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NEWSLETTER")}
        os.chdir(self.folder)
        try:
            with (
                mock.patch.dict(logs._state),  # -v holds for one command
                mock.patch.dict(os.environ, kept | environment, clear=True),
                mock.patch.object(sys, "stdin", io.StringIO(said)),
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
            ):
                try:
                    main(list(arguments))
                except SystemExit as ended:
                    code = int(ended.code or 0)
        finally:
            os.chdir(before)
        return Ended(code, out.getvalue(), err.getvalue())

    def send(self, *arguments: str, confirm: int = SHIPPED, **environment: str) -> Ended:
        """The live send, confirmed."""
        return self.call("send", SLOT, "--confirm", str(confirm), *arguments, **environment)

    def status(self) -> dict[str, Any]:
        """The run of the issue, as programs read it."""
        ended = self.call("status", RUN, "--json")
        assert ended.code == 0, ended.err
        document: dict[str, Any] = ended.json
        assert document.keys() >= set(STATUS_KEYS)
        return document

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """The command in a process of its own, running."""
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "newsletter", *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )


def last_line(ended: Ended) -> dict[str, Any]:
    """The result of a stream of JSON lines."""
    document: dict[str, Any] = json.loads(ended.out.splitlines()[-1])
    return document


@contextlib.contextmanager
def smtp_server(script: Script | None = None) -> Iterator[SmtpServer]:
    with SmtpServer(script or Script()) as server:
        yield server


class Gate:
    """Lets so many messages through, and keeps the next one waiting for its answer until `open`."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.reached = threading.Event()
        self._open = threading.Event()

    def __call__(self, moment: Moment) -> Reaction | None:
        if moment.step == "content" and moment.before >= self.after and not self._open.is_set():
            self.reached.set()
            self._open.wait(60)
        return None

    def open(self) -> None:
        self._open.set()


def eventually(true: Callable[[], bool], seconds: float = 60) -> None:
    """Waits for something that another process does."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)
