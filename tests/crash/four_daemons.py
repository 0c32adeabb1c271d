"""Four daemons at once on one database: one run each time; and one killed in mid-send: how soon another goes on.

    python tests/crash/four_daemons.py --trials 200
    python tests/crash/four_daemons.py --trials 50 --kill

On both databases in turn. Prints a table; exit code 0 only where nobody was lost or doubled and there was one run each.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from crash_table import say, tools_in, work_folder
from crash_trials import Tools
from crashing_send import Request
from fresh_databases import PostgresServer
from recorders import Mail, Recorder
from sender_processes import STUCK, SenderProcess
from trial_projects import SLOT, Kind, TrialProject, address

from newsletter.delivery.names import RunName
from newsletter.delivery.states import DeliveryState
from newsletter.schedule.model import SlotState
from newsletter.store.schedule_records import SqlScheduleRecords

DAEMONS = 4
PEOPLE = 60
#: Seconds from the start of the daemons to the slot.
AHEAD = 1.5
#: With a kill the send takes some seconds, and so many are in one claim.
RATE, WINDOW = 30, 2
_SCHEDULE = "newsletters.daily-buzz.schedule"


@dataclass
class Tried:
    """What came of a trial; `failover` is seconds from the kill to the first message of another daemon."""

    faults: list[str] = field(default_factory=list)
    failover: float | None = None

    def check(self, holds: bool, fault: str) -> None:
        """Notes a fault unless it holds."""
        if not holds:
            self.faults.append(fault)


def one_trial(tools: Tools, kind: Kind, *, kill: bool) -> Tried:
    """Four daemons, a slot, and a look at what they did."""
    tried, recorder = Tried(), tools.recorders[Mail.SMTP]
    with tools.projects.project(kind, PEOPLE) as project:
        name = prepare(project, recorder.port, kill=kill)
        recorder.forget()
        daemons = tools.senders(DAEMONS)
        for number, one in enumerate(daemons):
            output = str(project.folder / f"daemon-{number}.log")
            one.start(Request(str(project.folder), ["run"], environment=project.environment, output=output))
        try:
            if kill:
                tried.failover = killed_in_mid_send(project, name, daemons, recorder, tried)
            wait_until(lambda: slot_state(project, name) is SlotState.DONE, tried, "the slot was never done")
        finally:
            end(daemons, tried)
        compare(project, name, recorder, tried, unknown=WINDOW if kill else 0)
        if tried.faults:
            tried.faults += [file.read_text("utf-8")[-2000:] for file in sorted(project.folder.glob("daemon-*.log"))]
    return tried


def outage_trial(tools: Tools, postgres: PostgresServer) -> Tried:
    """Two daemons, and the database's server is away for some seconds while one of them sends."""
    tried, recorder = Tried(), tools.recorders[Mail.SMTP]
    with tools.projects.project(Kind.POSTGRESQL, PEOPLE) as project:
        name = prepare(project, recorder.port, kill=True)
        recorder.forget()
        daemons = tools.senders(2)
        for number, one in enumerate(daemons):
            output = str(project.folder / f"daemon-{number}.log")
            one.start(Request(str(project.folder), ["run"], environment=project.environment, output=output))
        try:
            wait_until(lambda: recorder.count() >= PEOPLE // 6, tried, "nothing was sent")
            with postgres.away():
                time.sleep(3)
            wait_until(lambda: slot_state(project, name) is SlotState.DONE, tried, "the slot was never done")
        finally:
            end(daemons, tried)
        compare(project, name, recorder, tried, unknown=0)
        said = "".join(file.read_text("utf-8") for file in project.folder.glob("daemon-*.log"))
        tried.check("database_trouble" in said, "nobody noticed")
        tried.faults += [said[-4000:]] if tried.faults else []
    return tried


def prepare(project: TrialProject, port: int, *, kill: bool) -> RunName:
    """The day's slot is a moment ahead; in the newsletter's zone it is about noon."""
    now = dt.datetime.now(dt.UTC)
    hours = 12 - now.hour
    at = now.astimezone(dt.timezone(dt.timedelta(hours=hours))) + dt.timedelta(seconds=AHEAD)
    values = {
        "enabled": "true",
        "timezone": f'"Etc/GMT{-hours:+d}"' if hours else '"Etc/GMT"',
        "time": f'"{at:%H:%M:%S}"',
        "deadline": '"23:00"',
        "days": '["mon", "tue", "wed", "thu", "fri", "sat", "sun"]',
    }
    for key, value in values.items():
        project.set(key, value, _SCHEDULE)
    project.set("provider", '"smtp"')
    project.set("port", str(port), "providers.smtp")
    if kill:
        project.set("rate", f'"{RATE}/s"', "providers.smtp")
        project.set("window", str(WINDOW))
        project.set("concurrency", "1")
    issue = project.folder / "issues" / f"{SLOT}.txt"
    text = issue.read_text("utf-8").replace("7 January 2026", f"{at.day} {at:%B} {at.year}")
    issue.unlink()
    issue = issue.with_name(f"{at.date()}.txt")
    issue.write_text(text, "utf-8")
    os.utime(issue, (0, 0))  # a daemon gives an editor a moment to finish
    return RunName("daily-buzz", str(at.date()))


def killed_in_mid_send(
    project: TrialProject, name: RunName, daemons: Sequence[SenderProcess], recorder: Recorder, tried: Tried
) -> float | None:
    """Kills the daemon that sends; seconds until another one does."""
    wait_until(lambda: recorder.count() >= PEOPLE // 6, tried, "nothing was sent")
    with project.engine() as engine:
        run = project.ledger(engine).run(name)
    sender = run.sender.rpartition(" ")[2] if run is not None else ""
    found = [one for one in daemons if str(one.pid) == sender]
    tried.check(len(found) == 1, f"the run is in the hands of {sender or 'nobody'}, which is none of the daemons")
    return time_to_go_on(found[0], recorder, tried) if found else None


def time_to_go_on(sender: SenderProcess, recorder: Recorder, tried: Tried) -> float | None:
    """Seconds from the sender's death by SIGKILL to the next message that the server accepts."""
    killed = time.monotonic()
    sender.signal(signal.SIGKILL)
    sender.wait()
    recorder.wait_until_quiet()
    before = recorder.count()
    went_on = wait_until(lambda: recorder.count() > before, tried, "nobody went on")
    return time.monotonic() - killed if went_on else None


def end(daemons: Sequence[SenderProcess], tried: Tried) -> None:
    """As a service manager does."""
    for one in daemons:
        if not one.ends_within(0):
            one.signal(signal.SIGTERM)
    for one in daemons:
        code = one.wait()
        tried.check(code in (0, -signal.SIGKILL), f"a daemon ended with {code}")


def compare(project: TrialProject, name: RunName, recorder: Recorder, tried: Tried, *, unknown: int) -> None:
    """The ledger with what the server accepted."""
    recorded = Counter(recorder.addresses())
    with project.engine() as engine:
        ledger = project.ledger(engine)
        runs = ledger.runs()
        tried.check([run.name for run in runs] == [name], f"the runs are {[str(run.name) for run in runs]}")
        states = {one.address: one.state for run in runs for one in ledger.deliveries(run.id, list(DeliveryState))}
    for person in map(address, range(PEOPLE)):
        state = states.get(person)
        good = recorded[person] == 1 and state in (DeliveryState.ACCEPTED, DeliveryState.UNKNOWN)
        good = good or (recorded[person] == 0 and state is DeliveryState.UNKNOWN)
        tried.check(good, f"{person} got it {recorded[person]} times, and is {state.name if state else 'nobody'}")
    number = sum(state is DeliveryState.UNKNOWN for state in states.values())
    tried.check(number <= unknown, f"{number} are unknown")


def slot_state(project: TrialProject, name: RunName) -> SlotState | None:
    """What is recorded of the slot."""
    with project.engine() as engine:
        record = SqlScheduleRecords(engine).slot(name)
    return record.state if record else None


def wait_until(true: Callable[[], bool], tried: Tried, fault: str, seconds: float = STUCK) -> bool:
    """Waits; notes the fault where it never comes true."""
    end_at = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end_at:
            tried.check(False, fault)
            return False
        time.sleep(0.01)
    return True


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Starts four daemons at once, again and again.")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--kill", action="store_true", help="kill the one that sends, and time the others")
    options = parser.parse_args(arguments)
    faults, failovers = 0, {kind: list[float]() for kind in Kind}
    with ExitStack() as stack:
        postgres = PostgresServer()
        stack.callback(postgres.stop)
        tools = stack.enter_context(tools_in(stack.enter_context(work_folder()), postgres))
        for number in range(options.trials):
            kind = list(Kind)[number % len(Kind)]
            tried = one_trial(tools, kind, kill=options.kill)
            faults += bool(tried.faults)
            for fault in tried.faults:
                say(f"trial {number} on {kind}: {fault}")
            if tried.failover is not None:
                failovers[kind].append(tried.failover)
    say(f"{options.trials} trials of {DAEMONS} daemons at once, {PEOPLE} recipients: {faults} with faults")
    for kind, seconds in failovers.items():
        if seconds:
            say(
                f"  {kind:<11} another goes on after {statistics.median(seconds):.1f} s in the median, "
                f"{max(seconds):.1f} s at worst, of {len(seconds)} kills"
            )
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
