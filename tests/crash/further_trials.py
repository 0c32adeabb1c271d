"""Trials of other kinds than a killed process. Each returns its faults: none, where the product holds its promise."""

from __future__ import annotations

import datetime as dt
import json
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from crash_trials import Finding, Tools, Trial, one_trial
from kill_plans import Cell, Kill
from mutations import without_unique_run
from recorders import Mail, Recorder
from sender_processes import STUCK, SenderProcess
from step_actions import MEETING
from trial_projects import SLOT, Kind, Terms, address

from newsletter.audience.addresses import parse_address
from newsletter.delivery.states import DeliveryState
from newsletter.store.audience import SqlAudience
from newsletter.store.erasure_key import erasure_key

_S = DeliveryState
LIST = "daily-buzz"


def killed_at(tools: Tools, cell: Cell, kill: Kill, mutate: Sequence[str] = ()) -> list[str]:
    """One kill at a step, and recovery."""
    return one_trial(tools, cell, Terms(people=120, threads=cell.threads), [kill], mutate).faults


def faulty_provider(
    tools: Tools, cell: Cell, options: Sequence[str], people: int, mutate: Sequence[str] = ()
) -> Finding:
    """A provider that loses answers, asks to come again later and breaks off; nobody is killed."""
    recorder = Recorder(cell.mail, tools.projects.folder / f"faulty-{time.monotonic_ns()}", options)
    try:
        aimed = replace(tools, recorders={cell.mail: recorder})
        terms = Terms(people, batch_size=25 if people < 1000 else 100, window=10, threads=cell.threads)
        return one_trial(aimed, cell, terms, [], mutate, faulty=True)
    finally:
        recorder.close()


#: What providers do on bad days, and how often.
SENDGRID_FAULTS = {"429": 0.005, "500-before": 0.01, "500-after": 0.01, "503": 0.01, "reset-before": 0.01,
                   "reset-after": 0.01, "truncated": 0.005, "cut-head": 0.005}  # fmt: skip
SMTP_FAULTS = {"421": 0.0005, "451": 0.002, "drop-at-rcpt": 0.0005, "drop-in-content": 0.0005, "drop-after": 0.0005,
               "reset-after": 0.0002}  # fmt: skip


def soak(tools: Tools, mail: Mail, people: int) -> Finding:
    """Many recipients, and a provider with every fault."""
    faults = SENDGRID_FAULTS if mail is Mail.SENDGRID else SMTP_FAULTS
    options = [text for name, often in faults.items() for text in ("--fault", f"{name}={often}")]
    return faulty_provider(tools, Cell(mail, Kind.SQLITE, 4, random=False), options, people)


@dataclass
class Race:
    """What unsubscribing against a send came to."""

    faults: list[str]
    left_before: int = 0
    left_after: int = 0


def unsubscribes_race(tools: Tools, kind: Kind, people: int, leavers: int, mutate: Sequence[str] = ()) -> Race:
    """People leave while the issue goes out. Whoever's leave was committed before the transaction that claimed them
    began must not get it."""
    with tools.projects.project(kind, people) as project:
        trial = Trial(tools, project, Mail.SMTP, Terms(people, window=10), mutate)
        claims = project.folder / "claims"
        request = replace(trial.request(["send", SLOT, "--confirm", str(people)]), claims_file=str(claims))
        tools.sender.start(request)
        tools.sender.wait_until_it_begins()
        left: dict[str, float] = {}
        with project.engine() as engine:
            store = SqlAudience(engine, erasure_key(engine))
            while project.run() is None and tools.sender.ended is None:
                tools.sender.ends_within(0.01)
            for number in random.Random(7).sample(range(people), leavers):
                key = parse_address(address(number)).key
                store.unsubscribe(key, LIST, source="link", now=dt.datetime.now(dt.UTC))
                left[address(number)] = time.monotonic()
        code = tools.sender.wait(600)
        mailed = Counter(tools.recorders[Mail.SMTP].addresses())
        claimed: dict[str, float] = {}
        for line in claims.read_text().splitlines():
            said = json.loads(line)
            claimed |= dict.fromkeys(said["claimed"], said["began"])
        late = [one for one in mailed if one in left and left[one] < claimed[one]]
        states = project.states()
        suppressed = {one for one, state in states.items() if state is _S.SUPPRESSED}
        faults = [f"mailed after they had left: {len(late)}"] if late else []
        if code not in (0, 6):
            faults.append(f"it ended with {code}")
        if doubled := [one for one, number in mailed.items() if number > 1]:
            faults.append(f"doubled: {len(doubled)}")
        if wrong := [one for one, state in states.items() if (state is _S.ACCEPTED) != (one in mailed)]:
            faults.append(f"the ledger is wrong about {len(wrong)}")
        if strangers := suppressed - left.keys():
            faults.append(f"suppressed, and never left: {len(strangers)}")
        return Race(faults, len(suppressed), len(left) - len(suppressed))


def ten_thousand_unsubscribes(tools: Tools, kind: Kind) -> list[str]:
    """Of twelve thousand people ten thousand leave meanwhile."""
    return unsubscribes_race(tools, kind, 12_000, 10_000).faults


def left_while_it_was_stopped(tools: Tools, kind: Kind, mutate: Sequence[str] = ()) -> list[str]:
    """A process that has read ahead is stopped; everybody leaves who was not claimed yet; it goes on, and mails none of
    them."""
    people = 60
    with tools.projects.project(kind, people) as project:
        trial = Trial(tools, project, Mail.SMTP, Terms(people, window=10, threads=1), mutate)
        tools.sender.start(trial.request(["send", SLOT, "--confirm", str(people)], ["report-before:2=stop"]))
        wait_until(lambda: _is_stopped(tools.sender.pid) or tools.sender.ended is not None, tools.sender)
        faults = [] if tools.sender.ended is None else ["it was never stopped"]
        left = {one for one, state in project.states().items() if state is _S.PLANNED}
        if not left:
            faults.append("all were claimed")
        with project.engine() as engine:
            store = SqlAudience(engine, erasure_key(engine))
            for one in left:
                store.unsubscribe(parse_address(one).key, LIST, source="link", now=dt.datetime.now(dt.UTC))
        tools.sender.signal(signal.SIGCONT)
        if (code := tools.sender.wait()) != 0:
            faults.append(f"it ended with {code}")
        if late := left.intersection(tools.recorders[Mail.SMTP].addresses()):
            faults.append(f"mailed after they had left: {len(late)}")
        return faults


def four_at_once(tools: Tools, kind: Kind, *, meet: bool, unique: bool = True) -> list[str]:
    """Four processes are told to send the same issue at the same moment. `meet`: they wait for each other after the
    guards; else as it happens. `unique`: with the unique key."""
    people = 120
    with tools.projects.project(kind, people) as project:
        trial = Trial(tools, project, Mail.SMTP, Terms(people))
        if not unique:
            with project.engine() as engine:
                without_unique_run(engine)
        senders = tools.senders(MEETING)
        orders = ["plan-before:1=meet", "plan-after:1=meet"] if meet else []
        request = trial.request(["send", SLOT, "--confirm", str(people)], orders)
        for number, sender in enumerate(senders):
            sender.start(replace(request, output=f"{request.output}-{number}"))
        codes = sorted(sender.wait() for sender in senders)
        mailed = Counter(tools.recorders[Mail.SMTP].addresses())
        faults = [] if codes == [0, 5, 5, 5] else [f"they ended with {codes}"]
        if doubled := [one for one, number in mailed.items() if number > 1]:
            faults.append(f"doubled: {len(doubled)}")
        if len(mailed) != people:
            faults.append(f"lost: {people - len(mailed)}")
        return faults


def restored(tools: Tools, kind: Kind, mutate: Sequence[str] = ()) -> list[str]:
    """In mid-run the database is lost, and a backup from before is put back."""
    people = 200
    with tools.projects.project(kind, people) as project:
        trial = Trial(tools, project, Mail.SMTP, Terms(people), mutate)
        sender = tools.sender
        assert sender.run(trial.request(["send", SLOT, "--confirm", str(people), "--limit", "60"])) == 0
        with tools.projects.backed_up(project) as put_back:
            assert sender.run(trial.request(["send", SLOT, "--resume", "--limit", "80"])) == 0
            put_back()
            faults = []
            if (code := sender.run(trial.request(["send", SLOT, "--resume"]))) not in (0, 6):
                faults.append(f"it ended with {code}")
            states, mailed = project.states(), Counter(tools.recorders[Mail.SMTP].addresses())
            if doubled := [one for one, number in mailed.items() if number > 1]:
                faults.append(f"doubled: {len(doubled)}")
            for one, state in states.items():
                if state is _S.ACCEPTED and not mailed[one]:
                    faults.append(f"{one} is accepted, and got nothing")
            return faults


def stopped_beyond_its_lease(tools: Tools, step: str, threads: int) -> list[str]:
    """A process is stopped at `step` until its lease is over, another machine takes the run over; then it wakes up."""
    people = 120
    with tools.projects.project(Kind.POSTGRESQL, people) as project:
        trial = Trial(tools, project, Mail.SMTP, Terms(people, threads=threads))
        first, second = tools.senders(2)
        lease: dict[str, float] = {f"newsletter.store.{name}": value for name, value in _SOONER.items()}
        request = replace(trial.request(["send", SLOT, "--confirm", str(people)], [f"{step}=stop"]), change=lease)
        # the other machine has files of its own: no lock, no journal
        elsewhere = project.folder / "elsewhere"
        shutil.copytree(project.folder, elsewhere)
        first.start(replace(request, host="first"))
        wait_until(lambda: _is_stopped(first.pid) or first.ended is not None, first)
        stopped = time.monotonic()
        faults = [] if first.ended is None else ["it was never stopped"]
        resume = replace(trial.request(["send", SLOT, "--resume"]), change=lease, host="second")
        resume = replace(resume, folder=str(elsewhere), output=str(elsewhere / "output"))
        while (code := second.run(resume)) in (_REFUSED, _TEMPORARY) and time.monotonic() < stopped + _LONGEST_WAIT:
            time.sleep(0.2)
        if time.monotonic() < stopped + _LEAST_WAIT:
            faults.append("the second did not wait for the lease")
        if code not in (0, 6):
            faults.append(f"the second ended with {code}")
        first.signal(signal.SIGCONT)
        if (code := first.wait()) != _TEMPORARY:
            faults.append(f"the first ended with {code}")
        # what the first certainly did not send may be sent now
        trial.send([])
        trial.compare(crashes=1)
        trial.settle()
        return faults + trial.finding.faults


def stopped_with_its_lock(tools: Tools, step: str) -> list[str]:
    """On one machine it is the lock that proves life: a process that is stopped for however long keeps its run."""
    people = 120
    with tools.projects.project(Kind.SQLITE, people) as project:
        trial = Trial(tools, project, Mail.SMTP, Terms(people))
        first, second = tools.senders(2)
        short: dict[str, float] = {f"newsletter.store.{name}": 0 for name in ("senders:LEASE", "senders:MARGIN")}
        short["newsletter.store.engine:LOCK_WAIT"] = 0.2
        request = replace(trial.request(["send", SLOT, "--confirm", str(people)], [f"{step}=stop"]), change=short)
        first.start(request)
        wait_until(lambda: _is_stopped(first.pid) or first.ended is not None, first)
        faults = [] if first.ended is None else ["it was never stopped"]
        time.sleep(1.1)  # leases are in whole seconds
        resume = replace(trial.request(["send", SLOT, "--resume"]), change=short, output=f"{request.output}-2")
        if (code := second.run(resume)) not in (_REFUSED, _TEMPORARY):
            faults.append(f"the second ended with {code}")
        first.signal(signal.SIGCONT)
        if (code := first.wait()) != 0:
            faults.append(f"the first ended with {code}")
        trial.compare()
        trial.settle()
        return faults + trial.finding.faults


#: Where a process falls asleep, and how many threads it has. A commit holds what the other one needs.
SLEEPS = (("journal-after:3", 4), ("submit-before:3", 1), ("report-before:3", 4), ("exchange-commit-before:3", 4))
#: Seconds; in place of 30, 10, 5 and 20.
_SOONER = {"senders:LEASE": 3, "senders:MARGIN": 1, "senders:_RENEW_AFTER": 1, "engine:SILENCE": 2}
#: What is left of the lease at least, when the process is stopped; and what the other one waits at most.
_LEAST_WAIT, _LONGEST_WAIT = 1.5, 25.0
_REFUSED, _TEMPORARY = 5, 75


def _is_stopped(pid: int) -> bool:
    """By proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def wait_until(true: Callable[[], bool], sender: SenderProcess) -> None:
    """Waits, and notices when the sender ends meanwhile."""
    end = time.monotonic() + STUCK
    while not true():
        assert time.monotonic() < end, "it never came true"
        sender.ends_within(0.02)


#: By what befalls a send: trials that `make crash` prints.
FURTHER: Mapping[str, Callable[[Tools], list[str]]] = {
    **{
        f"stopped beyond its lease, at {step}, {threads} threads": partial(
            stopped_beyond_its_lease, step=step, threads=threads
        )
        for step, threads in SLEEPS
    },
    **{
        f"stopped for long at {step}, and nobody takes its run over, sqlite": partial(stopped_with_its_lock, step=step)
        for step, _ in SLEEPS
    },
    **{f"all others left while it was stopped, {kind}": partial(left_while_it_was_stopped, kind=kind) for kind in Kind},
    **{
        f"four started at once, {'all past the guards' if meet else 'as it happens'}, {kind}": partial(
            four_at_once, kind=kind, meet=meet
        )
        for kind in Kind
        for meet in (False, True)
    },
    **{f"restored from a backup in mid-run, {kind}": partial(restored, kind=kind) for kind in Kind},
    **{
        f"10,000 unsubscribes against 12,000 claims, {kind}": partial(ten_thousand_unsubscribes, kind=kind)
        for kind in Kind
    },
}
