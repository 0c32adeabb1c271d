"""Trials: a send that is killed, resumed, killed again and resumed, until it is over; then the recorder is compared.

What must hold is in `Finding.faults`: nobody lost, nobody doubled, everybody whose outcome is unknown listed by address
and no more of them than the batch size (SMTP: the window) times the threads for each kill, and the sum balances.
"""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from crashing_send import Request
from kill_plans import Cell, Kill
from recorders import Mail, Recorder
from sender_processes import STUCK, SenderProcess
from trial_projects import NAME, SLOT, Projects, Terms, TrialProject, address

from newsletter.delivery.states import CLAIMABLE, DeliveryState, RunState

#: How a command that sends may end: well, with nothing left to do, with somebody unknown.
_ENDS = (0, 4, 6)
#: And where something befell it: it could not write, or not reach the database.
_ENDS_IN_TROUBLE = (*_ENDS, 3, 75)
#: A run that is not over after so many commands is not going to be.
_MOST_COMMANDS = 15
_S = DeliveryState


@dataclass
class Finding:
    """What a trial came to. `faults` are what must never be."""

    planned: int = 0
    kills: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    unknown: int = 0
    bound: int = 0
    finished: bool = False
    faults: list[str] = field(default_factory=list)
    commands: int = 0

    def check(self, holds: bool, fault: str) -> None:
        """Notes a fault unless it holds."""
        if not holds:
            self.faults.append(fault)


@dataclass
class Tools:
    """What trials are made with, one after the other."""

    projects: Projects
    recorders: dict[Mail, Recorder]
    sender: SenderProcess
    #: Further ones, for those trials that need several at once.
    others: list[SenderProcess] = field(default_factory=list)

    def senders(self, number: int) -> list[SenderProcess]:
        """So many, everything loaded."""
        while len(self.others) < number - 1:
            self.others.append(SenderProcess())
        senders = [self.sender, *self.others[: number - 1]]
        for one in senders:
            one.load()
        return senders

    def close(self) -> None:
        """Ends everything."""
        for sender in (self.sender, *self.others):
            sender.close()
        for recorder in self.recorders.values():
            recorder.close()


class Trial:
    """One project, one run. `mutate`: with safeties taken out; `faulty`: the recorder is, and answers get lost."""

    def __init__(
        self,
        tools: Tools,
        project: TrialProject,
        mail: Mail,
        terms: Terms,
        mutate: Sequence[str] = (),
        *,
        faulty: bool = False,
    ) -> None:
        self.project = project
        self.finding = Finding(planned=terms.people)
        self._sender = tools.sender
        self.recorder = tools.recorders[mail]
        self.recorder.forget()
        self._faulty = faulty
        self._mail = mail
        self._terms = terms
        self._mutate = list(mutate)
        project.aim_at(mail, self.recorder.port, terms)

    def send(self, kills: Sequence[Kill]) -> None:
        """Sends; each kill ends one of the commands; until the run is held or over."""
        left = list(kills)
        states = list(self.project.states().values())
        for _ in range(self._most_commands):
            kill = left.pop(0) if left else None
            arguments = ["send", SLOT, "--resume"] if states else ["send", SLOT, "--confirm", str(self._terms.people)]
            unsent = sum(state in CLAIMABLE for state in states) if states else self._terms.people
            self._one_command(arguments, kill and kill.of_what_is_left(unsent / self._terms.people))
            states = list(self.project.states().values())
            flying, most = states.count(_S.IN_FLIGHT), self._terms.in_flight(self._mail)
            self.finding.check(flying <= most, f"one command left {flying} of at most {most} in flight")
            self._check_balance()
            run = self.project.run()
            if run is not None and (run.state is RunState.HELD or run.ended_at):
                return
        self.finding.faults.append(f"it is {run.state if run else 'not there'} after {self._most_commands} commands")

    @property
    def _most_commands(self) -> int:
        return 40 * _MOST_COMMANDS if self._faulty else _MOST_COMMANDS

    def compare(self, crashes: int = 0) -> None:
        """The ledger with the record, before anybody settled anything. `crashes`: besides the kills."""
        finding, states = self.finding, self.project.states()
        recorded = Counter(self.recorder.addresses())
        everybody = {address(number) for number in range(self._terms.people)}
        finding.check(states.keys() == everybody, f"{len(states)} of {len(everybody)} were planned")
        for one in sorted(everybody):
            state = states.get(one)
            if not recorded[one] and state not in (_S.UNKNOWN, _S.SUPPRESSED, _S.REJECTED, _S.EXPIRED):
                finding.lost.append(one)
            if recorded[one] and state not in (_S.ACCEPTED, _S.UNKNOWN):
                finding.faults.append(f"{one} got it, and is {state.name if state is not None else 'nobody'}")
        finding.doubled += sorted(one for one, number in recorded.items() if number > 1)
        finding.check(not finding.lost, f"lost: {len(finding.lost)}")
        finding.check(not finding.doubled, f"doubled: {len(finding.doubled)}")
        finding.unknown = sum(state is _S.UNKNOWN for state in states.values())
        finding.bound = self._terms.in_flight(self._mail) * (len(finding.kills) + crashes)
        finding.check(
            self._faulty or finding.unknown <= finding.bound, f"unknown: {finding.unknown} of at most {finding.bound}"
        )
        self._check_listing({one for one, state in states.items() if state is _S.UNKNOWN})

    def settle(self, kill: Kill | None = None) -> None:
        """An operator who can look into the provider's own log settles what is unknown, and the run is finished.

        `kill` ends the first of these commands.
        """
        for _ in range(self._most_commands):
            unknown = [one for one, state in self.project.states().items() if state is _S.UNKNOWN]
            if not unknown:
                break
            # each time anew: a faulty provider loses the answer to what is sent again, too
            recorded = set(self.recorder.addresses())
            got, missed = [o for o in unknown if o in recorded], [o for o in unknown if o not in recorded]
            for option, who in (("--assume-accepted", got), ("--resend", missed)):
                if who:
                    only = [text for one in who for text in ("--only", one)]
                    self._one_command(["resolve", str(NAME), option, "--confirm", str(len(who)), *only], kill)
                    kill = None
            self._one_command(["send", SLOT, "--resume"], None)
        recorded_now = Counter(self.recorder.addresses())
        run, states = self.project.run(), Counter(self.project.states().values())
        finding = self.finding
        finding.finished = run is not None and run.state is RunState.FINISHED
        finding.check(finding.finished, f"it ended as {run.state if run else 'nothing'}")
        finding.check(states == {_S.ACCEPTED: self._terms.people}, f"in the end: {dict(states)}")
        finding.check(recorded_now.total() == len(recorded_now) == self._terms.people, "not everybody got it once")
        self._check_balance()
        finding.lost += [a for n in range(self._terms.people) if not recorded_now[a := address(n)]]
        finding.doubled += [one for one, number in recorded_now.items() if number > 1]

    def request(self, arguments: list[str], at: Sequence[str] = ()) -> Request:
        """A command in this project."""
        return Request(
            str(self.project.folder),
            ["-q", *arguments],
            at=list(at),
            mutate=self._mutate,
            environment=self.project.environment,
            output=str(self.project.folder / "output"),
        )

    def _one_command(self, arguments: list[str], kill: Kill | None) -> None:
        self._sender.start(self.request(arguments, kill.orders if kill else []))
        self.finding.commands += 1
        self._sender.wait_until_it_begins()
        if kill and not kill.step and not self._sender.ends_within(kill.seconds):
            self._sender.signal(signal.SIGKILL)
        code = self._sender.wait(600 if self._faulty else STUCK)
        if code == -signal.SIGKILL and kill:
            self.finding.kills.append(str(kill))
        elif code not in (_ENDS_IN_TROUBLE if kill and kill.action != "kill" else _ENDS):
            said = (self.project.folder / "output").read_text("utf-8", "replace")[-2000:]
            self.finding.faults.append(f"{' '.join(arguments[:3])} ended with {code}: {said}")

    def _check_balance(self) -> None:
        """Everybody who was planned is in exactly one state."""
        balance = self.project.balance()
        if balance is not None:
            well = balance.balances and balance.planned == self._terms.people
            self.finding.check(well, f"{balance} does not balance")

    def _check_listing(self, unknown: set[str]) -> None:
        """`resolve --json` lists exactly these."""
        code = self._sender.run(self.request(["resolve", str(NAME), "--json"]))
        text = (self.project.folder / "output").read_text("utf-8")
        if not unknown:
            self.finding.check(code == 4, f"resolve ended with {code} where nothing is unknown")
            return
        *listed, last = map(json.loads, text.splitlines())
        self.finding.check(
            {one["email"] for one in listed} == unknown and last["count"] == len(listed) == len(unknown),
            f"resolve lists {len(listed)} of {len(unknown)}",
        )


def one_trial(
    tools: Tools,
    cell: Cell,
    terms: Terms,
    kills: Sequence[Kill],
    mutate: Sequence[str] = (),
    *,
    faulty: bool = False,
    settling: Kill | None = None,
) -> Finding:
    """A whole trial. `settling`: the kill of the command that settles what is unknown."""
    with tools.projects.project(cell.kind, terms.people) as project:
        trial = Trial(tools, project, cell.mail, terms, mutate, faulty=faulty)
        trial.send(kills)
        trial.compare()
        trial.settle(settling)
        return trial.finding
