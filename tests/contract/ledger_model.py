"""What a ledger must do, in plain Python: a dictionary of states, and what each step does to it."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass, field, replace

from newsletter.delivery.model import Accepted, Busy, Refused, Unknown
from newsletter.delivery.run_values import Claim, Report, Settlement, Window
from newsletter.delivery.states import DeliveryState as S
from newsletter.delivery.states import Mark, RunState

OVER = {RunState.FINISHED, RunState.CANCELLED, RunState.EXPIRED}
WAITING = {S.PLANNED, S.RETRY_WAIT}


@dataclass
class Held:
    """A process that has the run: `out` are its claims that were handed out and not reported, each with how often its
    members had been claimed then. `phantoms` are in flight in a claim that was kept, and given to nobody."""

    out: list[tuple[Claim, dict[int, int]]] = field(default_factory=list)
    phantoms: set[int] = field(default_factory=set)


@dataclass
class Model:
    """One run. `taken` is how often the provider took somebody's message, whatever we were told of it."""

    members: list[int]
    deadline: dt.datetime
    states: dict[int, S] = field(default_factory=dict)
    marks: dict[int, Mark] = field(default_factory=dict)
    claimed: Counter[int] = field(default_factory=Counter)
    taken: Counter[int] = field(default_factory=Counter)
    may_be_mailed: set[int] = field(default_factory=set)
    state: RunState = RunState.PLANNED
    holder: Held | None = None
    #: member → the number of their window in `windows`, where the run has any: from when until when they may be claimed
    window: dict[int, int] = field(default_factory=dict)
    windows: list[Window] = field(default_factory=list)
    #: somebody asked that what is unknown be sent again: then a second copy is no fault
    resent: bool = False

    def __post_init__(self) -> None:
        self.states = dict.fromkeys(self.members, S.PLANNED)
        self.marks = dict.fromkeys(self.members, Mark(0))
        self.may_be_mailed = set(self.members)

    @property
    def counts(self) -> dict[S, int]:
        return dict(Counter(self.states.values()))

    def those(self, *wanted: S) -> list[int]:
        return [one for one, state in self.states.items() if state in wanted]

    def change(self, before: S, after: S) -> int:
        found = self.those(before)
        self.states.update(dict.fromkeys(found, after))
        return len(found)

    def die(self) -> None:
        """What is found of a dead holder: calls under way are unknown."""
        if self.holder:
            self.change(S.IN_FLIGHT, S.UNKNOWN)
        self.holder = None

    def take(self, *, resend: bool) -> Held:
        self.die()
        if resend and self.change(S.UNKNOWN, S.RETRY_WAIT):
            self.resent = True
        self.state = RunState.SENDING
        self.holder = Held()
        return self.holder

    def claim(self, claim: Claim, now: dt.datetime) -> None:
        assert self.holder is not None
        for member in claim.members:
            assert self.is_open(member.id, now), "its window was not open"
            assert claim.deadline == (self.windows[self.window[member.id]].deadline if self.windows else None)
            assert self.states[member.id] in WAITING, "it was not to be claimed"
            assert member.id in self.may_be_mailed, "they had left before"
            self.states[member.id] = S.IN_FLIGHT
            self.claimed[member.id] += 1
        self.holder.out.append((claim, {member.id: self.claimed[member.id] for member in claim.members}))

    def is_open(self, one: int, now: dt.datetime) -> bool:
        return not self.windows or (self.windows[self.window[one]].opens_at <= now and not self.is_over(one, now))

    def is_over(self, one: int, now: dt.datetime) -> bool:
        return bool(self.windows) and now >= self.windows[self.window[one]].deadline

    def found_way_back(self) -> None:
        """The holder asks the database again: calls that were never made are made later."""
        assert self.holder is not None
        for one in self.holder.phantoms:
            cancelled = self.state is RunState.CANCELLED
            if self.states[one] is S.IN_FLIGHT:
                self.states[one] = S.CANCELLED if cancelled else S.RETRY_WAIT
        self.holder.phantoms.clear()

    def report(self, report: Report, times: dict[int, int]) -> None:
        for one, outcome in report.outcomes.items():
            before = self.states[one]
            if isinstance(outcome, Accepted):
                if before in {S.IN_FLIGHT, S.UNKNOWN, S.RETRY_WAIT, S.ABANDONED}:
                    self.states[one] = S.ACCEPTED
                continue
            if self.claimed[one] != times[one] or before not in {S.IN_FLIGHT, S.UNKNOWN}:
                continue
            match outcome:
                case Refused():
                    after = S.REJECTED if before is S.IN_FLIGHT else S.RETRY_WAIT
                case Busy():
                    after = S.RETRY_WAIT if report.retry_at else S.EXPIRED
                case Unknown():
                    after = S.UNKNOWN
            if self.state is RunState.CANCELLED and after is S.RETRY_WAIT:
                after = S.CANCELLED
            self.states[one] = after

    def event(self, one: int, mark: Mark) -> bool:
        news = mark not in self.marks[one]
        self.marks[one] |= mark
        settles = self.states[one] in {S.UNKNOWN, S.IN_FLIGHT, S.RETRY_WAIT, S.ABANDONED}
        if settles:
            self.states[one] = S.ACCEPTED
            if self.holder is None and self.state not in OVER:
                self.settle()
        return news or settles

    def cancel(self) -> None:
        for state in WAITING:
            self.change(state, S.CANCELLED)
        self.state = RunState.CANCELLED
        if self.holder is None:
            self.settle()

    def close(self, now: dt.datetime) -> None:
        assert self.holder is not None
        self.found_way_back()
        self.change(S.IN_FLIGHT, S.UNKNOWN)
        self.holder = None
        if now >= self.deadline and self.state is not RunState.CANCELLED:
            for state in WAITING:
                self.change(state, S.EXPIRED)
        self.settle()

    def resolve(self, settlement: Settlement) -> int:
        if self.holder is None:
            self.settle()
        after = {
            Settlement.ACCEPTED: S.ACCEPTED,
            Settlement.RESEND: S.RETRY_WAIT,
            Settlement.ABANDON: S.ABANDONED,
        }[settlement]
        settled = self.change(S.UNKNOWN, after)
        self.resent = self.resent or (settlement is Settlement.RESEND and settled > 0)
        if self.holder is None:
            self.settle()
        return settled

    def retry(self, deadline: dt.datetime) -> int:
        if self.windows:
            for number in {self.window[one] for one in self.those(S.REJECTED, S.EXPIRED)}:
                self.windows[number] = replace(self.windows[number], deadline=deadline)
        opened = self.change(S.REJECTED, S.RETRY_WAIT) + self.change(S.EXPIRED, S.RETRY_WAIT)
        if opened:
            self.state, self.deadline = RunState.PAUSED, deadline
        return opened

    def settle(self) -> None:
        """The state of a run that nobody has."""
        there = set(self.states.values())
        if there & WAITING:
            self.state = RunState.PAUSED if self.state is RunState.HELD else self.state
        elif S.UNKNOWN in there:
            self.state = RunState.HELD
        elif self.state is not RunState.CANCELLED:
            ends = [(S.CANCELLED, RunState.CANCELLED), (S.EXPIRED, RunState.EXPIRED)]
            self.state = next((run for state, run in ends if state in there), RunState.FINISHED)
