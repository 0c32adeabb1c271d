"""No order of claims, outcomes, crashes, events, operators and departures breaks the ledger.

Everything is done to the database and to a model of plain Python, and they are compared after each step. More examples:
LEDGER_EXAMPLES=500.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import sqlalchemy as sa
from fresh_databases import ERASURE_KEY, empty_tables
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from ledger_model import OVER, WAITING, Held, Model
from ledger_runs import DAILY, NOW, S, die, in_zones, ledger_of, load, people, plan, readers

from newsletter.audience.model import Member
from newsletter.audience.people import SuppressionReason
from newsletter.delivery.ledger import RunLost
from newsletter.delivery.model import Accepted, Busy, Outcome, Refused, Unknown
from newsletter.delivery.run_values import Admission, Claim, Halt, Report, Settlement, Window, Wish
from newsletter.delivery.states import Mark, RunState
from newsletter.errors import GuardRefused, TemporaryError
from newsletter.store import foresight
from newsletter.store.audience import SqlAudience
from newsletter.store.engine import writing
from newsletter.store.ledger import SqlLedger
from newsletter.store.run_ledger import SqlRunLedger

HOURS = dt.timedelta(hours=1)
_FOLDERS = itertools.count()

#: What is told of each member of a call; whatever else happened is told as unknown.
ANSWERS: dict[str, Outcome] = {
    "accepted": Accepted(),
    "refused": Refused("no such user", "550"),
    "busy": Busy("later"),
    "no more": Busy("too late"),
}
#: What a provider does with a call, to each of its members in turn.
answers = st.lists(st.sampled_from(["accepted", "refused", "busy", "no more", "lost", "taken and lost"]), min_size=1)
sizes = st.integers(1, 5)
wishes = st.lists(sizes, min_size=1, max_size=3)


#: Zone → from when until when it may have the run, in seconds after the run was planned; the last ends with the run.
ZONES = {"late": (-3_600, 20), "home": (0, 4 * 3_600), "": (90.5, 4 * 3_600), "far": (2 * 3_600, 6 * 3_600)}


def whole(moment: dt.datetime) -> dt.datetime:
    """The first whole second that is not before it."""
    return moment if moment.microsecond == 0 else moment.replace(microsecond=0) + dt.timedelta(seconds=1)


class Ways(RuleBasedStateMachine):
    """The steps."""

    def __init__(self, database: sa.Engine, folder: Path) -> None:
        super().__init__()
        self.database = database
        self.ledger: SqlLedger = ledger_of(database, folder)
        self.store = SqlAudience(database, ERASURE_KEY)
        self.now = NOW
        self.joined = self.editions = 0
        self.handle: SqlRunLedger | None = None
        #: processes that lost the run, with the calls that they have under way
        self.gone: list[tuple[SqlRunLedger, Held, list[tuple[Report, dict[int, int]]]]] = []
        self.reported: list[tuple[Report, dict[int, int]]] = []
        #: reports of an exchange whose answer was lost: they come again with the next one
        self.unwritten: list[tuple[Report, dict[int, int]]] = []
        #: others wrote since this process took the run, or an answer was lost: it knows when it closes it
        self.outside = False

    @initialize(size=sizes, count=st.integers(2, 12), windowed=st.booleans())
    def plan(self, size: int, count: int, windowed: bool) -> None:
        load(self.store, [*in_zones(readers(count), *ZONES), *people(["pending"], agreed=False)])
        self._plan(size, windowed=windowed)
        assert len(self.model.members) == count

    @precondition(lambda self: self.model.state in OVER and self.model.holder is None)
    @rule(size=sizes, windowed=st.booleans())
    def plan_another(self, size: int, windowed: bool) -> None:
        """For whoever is left, and whoever joined."""
        self.gone.clear()
        self.now = NOW + self.editions * 24 * HOURS
        self._plan(size, windowed=windowed)

    # one process after the other

    @precondition(lambda self: self.handle is None)
    @rule(resend=st.sampled_from([False, False, True]))
    def take(self, resend: bool) -> None:
        if self.model.state in OVER:
            with pytest.raises(GuardRefused, match="over"):
                self.ledger.take(self.run_id, now=self.now)
            return
        self.handle = self.ledger.take(self.run_id, resend_unknown=resend, now=self.now)
        self.model.take(resend=resend)
        self.reported, self.outside = [], False

    @precondition(lambda self: self.handle)
    @rule()
    def take_twice(self) -> None:
        with pytest.raises(GuardRefused, match="over" if self.model.state in OVER else "is being sent by"):
            self.ledger.take(self.run_id, now=self.now)

    @precondition(lambda self: self.handle or self.model.state not in OVER)
    @rule(wanted=wishes, answer=answers, which=st.integers(0, 3), admits=st.sampled_from([None, None, 1, 2]))
    def exchange(self, wanted: list[int], answer: list[str], which: int, admits: int | None) -> None:
        """Reports one of the calls under way, and wishes for others."""
        if not self._may_go_on():
            return
        reports = self._some_reports(answer, which)
        asked = [Wish(size, self._admitting(admits)) for size in wanted]
        assert self.handle
        exchange = self.handle.exchange([report for report, _ in reports], asked, now=self.now)
        self._exchanged(reports, exchange.claims)
        self._check_halt(exchange.halt, exchange.claims)

    @precondition(lambda self: self.handle or self.model.state not in OVER)
    @rule(wanted=wishes)
    def wish(self, wanted: list[int]) -> None:
        """Many calls at a time."""
        if not self._may_go_on():
            return
        assert self.handle
        reports, self.unwritten = self.unwritten, []
        exchange = self.handle.exchange([one for one, _ in reports], [Wish(size) for size in wanted], now=self.now)
        self._exchanged(reports, exchange.claims)
        self._check_halt(exchange.halt, exchange.claims)

    @precondition(lambda self: self.handle and self.reported and not self.unwritten)
    @rule(which=st.integers(0, 30))
    def report_again(self, which: int) -> None:
        """The same report once more, at any time later."""
        assert self.handle
        report, times = self.reported[which % len(self.reported)]
        self.handle.exchange([report], [], now=self.now)
        self._exchanged([(report, times)], ())

    @precondition(lambda self: self.handle)
    @rule(wanted=wishes, answer=answers, which=st.integers(0, 3), kept=st.booleans())
    def lose_the_answer(self, wanted: list[int], answer: list[str], which: int, kept: bool) -> None:
        """The transaction is kept or not; whoever asked does not learn it, and comes again with the same reports."""
        reports = self._some_reports(answer, which)
        assert self.handle
        with _answers_lost(kept=kept), pytest.raises(TemporaryError):
            self.handle.exchange([report for report, _ in reports], [Wish(size) for size in wanted], now=self.now)
        self._exchanged(reports if kept else [], (), put_back=kept)
        # what was granted went to nobody
        self.unwritten, self.outside = reports, True
        assert self.model.holder
        for one, state in self._found().items():
            if state is S.IN_FLIGHT and self.model.states[one] in WAITING:
                assert self.model.is_open(one, self.now)
                self.model.states[one] = S.IN_FLIGHT
                self.model.claimed[one] += 1
                self.model.holder.phantoms.add(one)

    @precondition(lambda self: self.handle)
    @rule()
    def look_ahead(self) -> None:
        """What the next exchange needs is read before; whatever comes between the two, it changes nothing."""
        assert self.handle
        self.handle.look_ahead(now=self.now)

    @precondition(lambda self: self.handle)
    @rule(answer=answers)
    def crash(self, answer: list[str]) -> None:
        """The process dies; what it called for may have been taken."""
        assert self.handle
        assert self.model.holder
        die(self.handle)
        late = [(Report(claim, self._outcomes(claim, answer)), times) for claim, times in self.model.holder.out]
        self.gone.append((self.handle, self.model.holder, [*self.unwritten, *late]))
        self.handle, self.unwritten = None, []

    @precondition(lambda self: self.handle)
    @rule()
    def close(self) -> None:
        assert self.handle
        handle, self.unwritten = self.handle, []
        self.model.close(self.now)
        assert handle.close(now=self.now).state is self.model.state
        assert handle.balance == self.ledger.balance(self.run_id)
        self.handle = None

    @precondition(lambda self: self.gone and self.model.holder is not self.gone[-1][1])
    @rule(which=st.integers(0, 9))
    def report_late(self, which: int) -> None:
        """A process that was thought dead wakes up and tells what became of its calls, perhaps more than once."""
        handle, _held, reports = self.gone[which % len(self.gone)]
        with pytest.raises(RunLost):
            handle.exchange([report for report, _ in reports], [Wish(1)], now=self.now)
        for report, times in sorted(reports, key=lambda one: one[0].claim.batch):
            self.model.report(report, times)
        if self.model.holder is None:
            self.model.settle()
        self.outside = True

    # others

    @precondition(lambda self: any(self.model.taken.values()))
    @rule(which=st.integers(0, 11), mark=st.sampled_from(Mark))
    def event(self, which: int, mark: Mark) -> None:
        """The provider tells of somebody whose message it took."""
        taken = [one for one, copies in self.model.taken.items() if copies]
        one = taken[which % len(taken)]
        assert self.ledger.evidence(self.run_id, one, mark, now=self.now) is self.model.event(one, mark)
        self.outside = True

    @precondition(lambda self: any(self.model.taken.values()))
    @rule(told=st.lists(st.tuples(st.integers(0, 11), st.sampled_from([Mark(0), *Mark])), min_size=1, max_size=12))
    def events(self, told: list[tuple[int, Mark]]) -> None:
        """The provider tells of many at once: it is as if it told of one after the other."""
        taken = [one for one, copies in self.model.taken.items() if copies]
        marks: dict[int, Mark] = {}
        for which, mark in told:
            one = taken[which % len(taken)]
            marks[one] = marks.get(one, Mark(0)) | mark
        news = sum(self.model.event(one, mark) for one, mark in marks.items())
        strangers = dict.fromkeys([0, 999_999], Mark.BOUNCED)
        assert self.ledger.witness(self.ledger.runs()[0].name, marks | strangers, now=self.now) == news
        self.outside = True

    @rule(sure=st.integers(0, 3))
    def pause(self, sure: int) -> None:
        if sure:
            return
        if self.model.state in OVER or self.model.state is RunState.HELD:
            with pytest.raises(GuardRefused):
                self.ledger.pause(self.run_id, "a pause", now=self.now)
            return
        assert self.ledger.pause(self.run_id, "a pause", now=self.now) is (self.model.state is not RunState.PAUSED)
        self.model.state = RunState.PAUSED

    @rule(sure=st.integers(0, 5))
    def cancel(self, sure: int) -> None:
        if self.model.state in OVER:
            with pytest.raises(GuardRefused):
                self.ledger.cancel(self.run_id, now=self.now)
        elif sure == 0:
            self._found_dead()
            self.model.cancel()
            self.ledger.cancel(self.run_id, now=self.now)
            self.outside = True

    @precondition(lambda self: self.model.those(S.UNKNOWN, S.IN_FLIGHT))
    @rule(settlement=st.sampled_from(Settlement))
    def settle(self, settlement: Settlement) -> None:
        self._found_dead()
        if settlement is Settlement.RESEND and self.model.holder and self.model.state is RunState.CANCELLED:
            with pytest.raises(GuardRefused, match="was cancelled"):
                self.ledger.settle(self.run_id, settlement, now=self.now)
            return
        assert self.ledger.settle(self.run_id, settlement, now=self.now) == self.model.resolve(settlement)
        self.outside = True

    @precondition(lambda self: self.handle is None and self.model.those(S.REJECTED, S.EXPIRED))
    @rule()
    def retry(self) -> None:
        deadline = self.now + 6 * HOURS
        if self.model.state is RunState.CANCELLED:
            with pytest.raises(GuardRefused):
                self.ledger.retry(self.run_id, [S.REJECTED, S.EXPIRED], deadline, now=self.now)
            return
        self._found_dead()
        opened = self.ledger.retry(self.run_id, [S.REJECTED, S.EXPIRED], deadline, now=self.now)
        assert opened == self.model.retry(deadline)

    @precondition(lambda self: self.model.those(*WAITING))
    @rule(which=st.integers(0, 11), how=st.sampled_from(["unsubscribe", "bounce", "erase"]))
    def leave(self, which: int, how: str) -> None:
        waiting = self.model.those(*WAITING)
        one = waiting[which % len(waiting)]
        if one not in self.model.may_be_mailed:
            return
        [member] = self.store.members([one])
        if how == "unsubscribe":
            self.store.unsubscribe(member.key, "daily", source="link", now=self.now)
        elif how == "bounce":
            self.store.suppress(member.key, SuppressionReason.HARD_BOUNCE, None, source="event", now=self.now)
        else:
            self.store.erase(member.key, source="cli", now=self.now)
        self.model.may_be_mailed.remove(one)

    @precondition(lambda self: self.joined < 3)
    @rule()
    def join(self) -> None:
        self.joined += 1
        load(self.store, people([f"late{self.joined}"]))

    @rule(seconds=st.sampled_from([1, 10, 29, 120, 3 * 3600]))
    def wait(self, seconds: int) -> None:
        self.now += dt.timedelta(seconds=seconds)

    # what always holds

    @invariant()
    def everybody_is_in_the_one_state_that_they_should_be_in(self) -> None:
        deliveries = list(self.ledger.deliveries(self.run_id, list(S)))
        found = {one.subscriber_id: one.state for one in deliveries}
        assert list(found) == self.model.members, "the members of a run never change"
        assert found == self.model.states
        assert {one.subscriber_id: one.marks for one in deliveries} == self.model.marks
        balance = self.ledger.balance(self.run_id)
        assert balance.counts == self.model.counts
        assert balance.balances
        run = self.ledger.runs()[0]
        assert (run.id, run.state) == (self.run_id, self.model.state)
        if run.state in OVER and self.model.holder is None:
            assert not set(found.values()) - {S.ACCEPTED, S.REJECTED, S.SUPPRESSED, S.EXPIRED, S.CANCELLED, S.ABANDONED}
        if self.handle and not self.outside:
            assert self.model.holder
            assert self.handle.balance == balance or self.model.holder.phantoms

    @invariant()
    def nobody_gets_two_copies_unless_somebody_wanted_it(self) -> None:
        if not self.model.resent:
            assert max(self.model.taken.values(), default=0) <= 1

    def teardown(self) -> None:
        """Whatever happened, the run comes to an end, with everybody accounted for."""
        if not hasattr(self, "model"):
            return  # it could not even be planned
        if self.handle:
            self.close()
        if self.model.state not in OVER:
            self._send_the_rest()
        self.settle(Settlement.ABANDON)
        self.everybody_is_in_the_one_state_that_they_should_be_in()
        assert self.model.state in OVER

    def _send_the_rest(self) -> None:
        self.now += 3 * HOURS
        self.take(resend=False)
        for _ in range(200):
            assert self.handle
            assert self.model.holder
            if self.model.holder.out or self.unwritten:
                self.exchange([3], ["accepted"], 0, None)
            else:
                exchange = self.handle.exchange([], [Wish(2)], now=self.now)
                self._exchanged([], exchange.claims)
                if exchange.halt:
                    self.close()
                    return
                if exchange.next_due and not any(exchange.claims):
                    self.now = max(self.now, exchange.next_due)
        raise AssertionError("it does not come to an end")

    # the model's share

    def _plan(self, size: int, *, windowed: bool) -> None:
        edition = f"no{self.editions}"
        self.editions += 1
        deadline = self.now + 6 * HOURS
        windows = {
            zone: Window(self.now + dt.timedelta(seconds=opens), self.now + dt.timedelta(seconds=ends))
            for zone, (opens, ends) in ZONES.items()
        }
        window_of = windows.__getitem__ if windowed else None
        self.run_id = plan(self.ledger, edition=edition, size=size, deadline=deadline, window_of=window_of).run_id
        members = list(self.store.members(self.store.plan(DAILY).members))
        self.model = Model([member.id for member in members], deadline)
        if windowed:
            kept = {zone: number for number, zone in enumerate(windows)}
            self.model.window = {member.id: kept[member.timezone] for member in members}
            # whole seconds: neither early nor late
            self.model.windows = [replace(one, opens_at=whole(one.opens_at)) for one in windows.values()]

    def _may_go_on(self) -> bool:
        """A process has the run, or what is to be done with one that has it no more; False where it is over then."""
        idle = self.handle and not self.unwritten and self.model.holder and not self.model.holder.out
        if idle and self.model.state is not RunState.SENDING:
            self.close()
        if self.handle is None and self.model.state not in OVER:
            self.take(resend=False)
        return self.handle is not None

    def _found(self) -> dict[int, S]:
        return {one.subscriber_id: one.state for one in self.ledger.deliveries(self.run_id, list(S))}

    def _found_dead(self) -> None:
        if self.handle is None:
            self.model.die()

    def _some_reports(self, answer: list[str], which: int) -> list[tuple[Report, dict[int, int]]]:
        assert self.model.holder
        if self.unwritten:
            unwritten, self.unwritten = self.unwritten, []
            return unwritten
        out = self.model.holder.out
        if not out:
            return []
        claim, times = out.pop(which % len(out))
        outcomes = self._outcomes(claim, answer)
        again = self.now + dt.timedelta(seconds=5)
        split = len(outcomes) > 1 and all(isinstance(one, Busy) for one in outcomes.values())
        report = Report(claim, outcomes, retry_at=None if "no more" in answer else again, split=split)
        self.reported.append((report, times))
        return [(report, times)]

    def _outcomes(self, claim: Claim, answer: list[str]) -> dict[int, Outcome]:
        """What we are told; the model knows whose message was taken."""
        told: dict[int, Outcome] = {}
        for member, word in zip(claim.members, itertools.cycle(answer), strict=False):
            self.model.taken[member.id] += word in {"accepted", "taken and lost"}
            told[member.id] = ANSWERS.get(word, Unknown("no answer"))
        return told

    def _admitting(self, number: int | None) -> Callable[[Sequence[Member]], Admission] | None:
        if number is None:
            return None

        def admit(members: Sequence[Member]) -> Admission:
            return Admission(range(len(members))[::number][:number], self.now + dt.timedelta(seconds=2))

        return admit

    def _exchanged(
        self,
        reports: list[tuple[Report, dict[int, int]]],
        claims: Sequence[Claim | None],
        *,
        put_back: bool = True,
    ) -> None:
        """Does the same to the model, and follows the ledger in whom it claimed and whom it found to have left."""
        if put_back:
            self.model.found_way_back()
        for report, times in reports:
            self.model.report(report, times)
        left = {one for one in self.model.those(*WAITING) if one not in self.model.may_be_mailed}
        for one, state in self._found().items():
            if one in left and state is S.SUPPRESSED:
                self.model.states[one] = S.SUPPRESSED
            elif state is S.EXPIRED and self.model.states[one] in WAITING and self.model.is_over(one, self.now):
                self.model.states[one] = S.EXPIRED
        for claim in claims:
            if claim is not None:
                self.model.claim(claim, self.now)

    def _check_halt(self, halt: Halt | None, claims: Sequence[Claim | None]) -> None:
        if self.model.state is RunState.SENDING:
            expected = {Halt.DEADLINE} if self.now >= self.model.deadline else {None, Halt.DONE}
        else:
            expected = {Halt.CANCELLED if self.model.state is RunState.CANCELLED else Halt.PAUSED}
        assert halt in expected
        if halt is not None and halt is not Halt.DONE:
            assert not any(claims)
        if halt is Halt.DONE:
            assert not self.model.those(*WAITING, S.IN_FLIGHT)


@contextlib.contextmanager
def _answers_lost(*, kept: bool) -> Iterator[None]:
    @contextlib.contextmanager
    def lost(engine: sa.Engine) -> Iterator[sa.Connection]:
        with writing(engine) as connection:
            yield connection
            if not kept:
                raise TemporaryError("the server went away")
        raise TemporaryError("the answer did not come")

    with mock.patch("newsletter.store.run_ledger.writing", lost):
        yield


def test_who_was_granted_in_an_answer_that_was_lost_waits_for_no_cancelled_run(
    database: sa.Engine, tmp_path: Path
) -> None:
    """Steps that the test below once found."""
    steps = Ways(database, tmp_path)
    steps.plan(size=4, count=6, windowed=False)
    steps.wish(wanted=[5])
    steps.lose_the_answer(answer=["refused", "taken and lost"], kept=True, wanted=[2], which=0)
    steps.cancel(sure=0)
    steps.wish(wanted=[4])
    steps.everybody_is_in_the_one_state_that_they_should_be_in()
    assert steps.model.those(S.CANCELLED)


def test_no_order_of_steps_breaks_the_ledger(
    database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foresight, "_WORTH_IT", 1)

    def begin() -> Ways:
        empty_tables(database)
        return Ways(database, tmp_path / str(next(_FOLDERS)))

    few = 30 if database.dialect.name == "sqlite" else 12
    examples = int(os.environ.get("LEDGER_EXAMPLES", few))
    run_state_machine_as_test(begin, settings=settings(max_examples=examples, stateful_step_count=40))  # type: ignore[arg-type]  # a function that makes one will do
