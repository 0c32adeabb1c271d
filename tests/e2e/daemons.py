"""A project with a slot a few seconds ahead, and daemons in processes of their own."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from live_projects import LiveProject, eventually
from projects import SLOT
from servers.smtp_server import SmtpServer

_TABLE = "[newsletters.daily-buzz.schedule]"


class ScheduledProject(LiveProject):
    """Its newsletter goes out by itself, `seconds` from now, and may be caught up for hours: a machine under load takes
    its time to start a process. In its zone it is about noon, whatever the clock says here."""

    def __init__(self, folder: Path, port: int, seconds: float = 3.0, *, people: int = 12) -> None:
        super().__init__(folder, port)
        self.people(people)
        now = dt.datetime.now(dt.UTC)
        # signs are the other way round in these names: Etc/GMT-3 is three hours ahead
        hours = 12 - now.hour
        self.zone = f"Etc/GMT{'-' if hours >= 0 else '+'}{abs(hours)}" if hours else "Etc/GMT"
        self.hours_west = -hours
        self.offset = dt.timezone(dt.timedelta(hours=hours))
        self.schedule("timezone", self.zone)
        self.schedule("deadline", "23:00")
        self.schedule("days", None)
        self.schedule("enabled", True)
        self.slot_in(seconds)

    def slot_in(self, seconds: float) -> None:
        """The day's slot is so many seconds from now."""
        self.at = (dt.datetime.now(self.offset) + dt.timedelta(seconds=seconds)).replace(microsecond=0)
        self.schedule("time", f"{self.at:%H:%M:%S}")
        self.slot = self.at.date().isoformat()
        self.run_name = f"daily-buzz/{self.slot}"

    def schedule(self, key: str, value: object) -> None:
        """Sets a key of the schedule; None takes it out."""
        head, table, rest = self.config.read_text("utf-8").partition(_TABLE)
        kept = rest.splitlines(keepends=True)
        number = next(n for n, line in enumerate(kept) if line.startswith(f"{key} = "))  # other tables have it, too
        kept[number] = "" if value is None else f"{key} = {json.dumps(value)}\n"
        self.config.write_text(head + table + "".join(kept), "utf-8")

    def write_issue(self, more: str = "") -> Path:
        """Today's issue; older than the moment that a daemon gives an editor to finish."""
        source = self.folder / "issues" / f"{SLOT}.txt"
        text = (source if source.exists() else self.folder / "kept.txt").read_text("utf-8")
        if source.exists():
            source.rename(self.folder / "kept.txt")  # it would be the same as the issue of an earlier day
        text = text.replace("7 January 2026", f"{self.at.day} {self.at:%B} {self.at.year}")
        file = self.folder / "issues" / f"{self.slot}.txt"
        file.write_text(text + more, "utf-8")
        long_ago = file.stat().st_mtime - 60
        os.utime(file, (long_ago, long_ago))
        return file

    def run_status(self) -> dict[str, Any]:
        """As `status RUN --json` says; {} where there is no run yet."""
        ended = self.call("status", self.run_name, "--json")
        return dict(ended.json) if ended.code == 0 else {}

    def resolve_by(self, server: SmtpServer) -> int:
        """What an operator does with unknown outcomes: looks into the server's log, and says what it says. How many."""
        ended = self.call("resolve", self.run_name, "--json")
        unknown = [json.loads(line).get("email") for line in ended.out.splitlines()]
        unknown = [address for address in unknown if address]
        taken = set(server.addresses())
        for flag, some in (
            ("--assume-accepted", [one for one in unknown if one in taken]),
            ("--resend", [one for one in unknown if one not in taken]),
        ):
            only = [word for address in some for word in ("--only", address)]
            if some:
                done = self.call("resolve", self.run_name, flag, *only, "--confirm", str(len(some)))
                assert done.code == 0, done.err
        return len(unknown)


@contextmanager
def daemon(project: ScheduledProject, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`newsletter run` in a process; killed at the end, if it is not over."""
    with (project.folder / "daemon.log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "newsletter", "run", *arguments],
            cwd=project.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(30)


def log_of(project: ScheduledProject) -> list[dict[str, Any]]:
    """What the daemons said, line by line."""
    lines = (project.folder / "daemon.log").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def said(project: ScheduledProject, event: str, **fields: object) -> bool:
    """Whether a daemon said so."""
    return any(
        line["event"] == event and all(line.get(name) == value for name, value in fields.items())
        for line in log_of(project)
    )


def end(process: subprocess.Popen[str], code: int = 0) -> None:
    """As a service manager does."""
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == code


def until_said(project: ScheduledProject, event: str, **fields: object) -> None:
    eventually(lambda: said(project, event, **fields))
