"""Daemons on hosts of their own (no shared lock files), on one PostgreSQL: one leads, and another after its end.

    PYTHONPATH=tests python tests/crash/daemons_on_hosts.py

measures how long it takes, with the product's own times: the leader killed, and stopped; with workers, who go on
meanwhile, and without, where the other daemon goes on with the run.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from crash_table import say, tools_in, work_folder
from crash_trials import Tools
from crashing_send import Request
from four_daemons import PEOPLE, Tried, compare, end, prepare, slot_state, wait_until
from fresh_databases import PostgresServer
from recorders import Mail
from sender_processes import SenderProcess
from trial_projects import Kind, TrialProject

from newsletter.schedule.model import SlotState


@dataclass
class Led(Tried):
    """`seconds` from the leader's end until another led; `to_go_on` until the next message, where no worker sends."""

    seconds: float = 0.0
    to_go_on: float = 0.0


def leader_ends(tools: Tools, how: signal.Signals, *, workers: int) -> Led:
    """Two daemons; the leading one is killed or stopped in mid-run. With `workers` they send, else it did."""
    led, recorder = Led(), tools.recorders[Mail.SMTP]
    with tools.projects.project(Kind.POSTGRESQL, PEOPLE) as project, ExitStack() as folders:
        name = prepare(project, recorder.port, kill=True)
        if workers:
            project.set("engine", '"procrastinate"')
            project.set("batch_size", "10")
            project.set("rate", '"4/s"', "providers.smtp")
        recorder.forget()
        processes = tools.senders(2 + workers)
        for number, one in enumerate(processes):
            folder = project.folder.with_name(f"{project.folder.name}-host-{number}")
            shutil.copytree(project.folder, folder)
            folders.callback(shutil.rmtree, folder)
            command = ["-v", "run"] if number < 2 else ["-v", "worker"]
            output, host = str(folder / "log"), f"host-{number}"
            one.start(Request(str(folder), command, environment=project.environment, host=host, output=output))
        logs = [project.folder.with_name(f"{project.folder.name}-host-{number}") / "log" for number in range(2)]
        try:
            wait_until(lambda: recorder.count() >= PEOPLE // 6, led, "nothing was sent")
            leading = [number for number, log in enumerate(logs) if _leads_at(log)]
            led.check(len(leading) == 1, f"{len(leading)} lead")
            _end_leader(processes, logs, leading[0], how, led)
            before = recorder.count()
            ended = time.monotonic()
            if not workers and wait_until(lambda: recorder.count() > before, led, "nobody went on"):
                led.to_go_on = time.monotonic() - ended + led.seconds
            wait_until(lambda: slot_state(project, name) is SlotState.DONE, led, "the slot was never done")
        finally:
            for one in processes:
                if one.ended is None:
                    one.signal(signal.SIGCONT)
            end(processes, led)
        if how is signal.SIGKILL or workers:
            compare(project, name, recorder, led, unknown=0 if workers else 2)
        else:  # what the stopped one did not call for waits to be sent: told, and an operator's to resume
            told_once = max(Counter(recorder.addresses()).values()) == 1
            led.check(told_once and recorder.count() >= PEOPLE - 2, "somebody was lost or doubled")
        told = sum(log.read_text().count('"slot_ended"') for log in logs)
        led.check(told == 1, f"the end was told {told} times")
        _say_more(led, project, logs)
    return led


def _end_leader(
    processes: Sequence[SenderProcess], logs: Sequence[Path], leader: int, how: signal.Signals, led: Led
) -> None:
    at = dt.datetime.now(dt.UTC)
    processes[leader].signal(how)
    if how is signal.SIGKILL:
        processes[leader].wait()
    other = logs[1 - leader]
    if wait_until(lambda: _leads_at(other) is not None, led, "nobody else led"):
        led.seconds = ((_leads_at(other) or at) - at).total_seconds()


def _leads_at(log: Path) -> dt.datetime | None:
    """When this daemon began to lead, by its log."""
    for line in log.read_text("utf-8", "replace").splitlines():
        if line.startswith("{") and '"event": "leads"' in line:
            return dt.datetime.fromisoformat(json.loads(line)["timestamp"])
    return None


def _say_more(led: Led, project: TrialProject, logs: Sequence[Path]) -> None:
    if led.faults:
        led.faults += [f"{project.folder.name}: {log.read_text('utf-8', 'replace')[-2500:]}" for log in logs]


def main() -> int:
    """See the module."""
    faults: list[str] = []
    postgres = PostgresServer()
    try:
        with work_folder() as folder, tools_in(folder, postgres) as tools:
            for how in (signal.SIGKILL, signal.SIGSTOP):
                for workers in (2, 0):
                    led = leader_ends(tools, how, workers=workers)
                    faults += led.faults
                    what = f"leader {how.name}, {workers or 'no'} workers"
                    going_on = f"; the run goes on after {led.to_go_on:.1f} s" if led.to_go_on else ""
                    say(f"{what:<32} another leads after {led.seconds:.1f} s{going_on}   {led.faults or 'ok'}")
    finally:
        postgres.stop()
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
