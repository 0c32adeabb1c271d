"""A run's ledger in memory, for a dry run: the same steps as in a real one, and nothing of them is kept."""

from __future__ import annotations

import datetime as dt
import heapq
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count

from newsletter.audience.model import Member
from newsletter.audience.people import Selection
from newsletter.delivery.model import Accepted, Busy, Outcome, Refused
from newsletter.delivery.names import RunName
from newsletter.delivery.run_values import Balance, Claim, Exchange, Halt, Report, RunRecord, Wish
from newsletter.delivery.states import Change, DeliveryState, RunState, changed, settled_state, state_of

#: How many people are read at a time: asking for each call's own costs a tenth of a dry run's time.
READ_AHEAD = 2_000


@dataclass(frozen=True, slots=True)
class _Group:
    """Members of one batch, by their places in the audience, that one call may carry. `due`: None at once, in the order
    of the audience."""

    batch: int
    places: Sequence[int]
    due: dt.datetime | None = None

    def first(self, size: int) -> tuple[_Group, _Group]:
        """The first `size` of them, and the others."""
        return replace(self, places=self.places[:size]), replace(self, places=self.places[size:])


def dry_record(name: RunName, batch_size: int, now: dt.datetime) -> RunRecord:
    """The record of a run that is in no database."""
    day = dt.date.fromisoformat(name.slot.partition(".")[0])
    return RunRecord(
        id=0,
        name=name,
        issue_date=day,
        edition=name.slot.partition(".")[2],
        state=RunState.SENDING,
        content_hash="",
        subject="",
        provider="",
        batch_size=batch_size,
        selection=Selection(()),
        planned_at=now,
        deadline=dt.datetime.max.replace(tzinfo=dt.UTC),
        started_at=now,
    )


class DryLedger:
    """A `RunLedger` over a frozen list of member ids; one byte a member is all that is held of them.

    `members` reads people by their ids, in ascending order, and leaves out those who are gone. Batches are cut from
    the list in its order. `limit` pauses the run after so many members were claimed.
    """

    def __init__(
        self,
        ids: Sequence[int],
        members: Callable[[Sequence[int]], Iterable[Member]],
        run: RunRecord,
        *,
        limit: int | None = None,
    ) -> None:
        self._ids = ids
        self._members = members
        self._run = run
        self._left = limit
        self._read: tuple[int, int, dict[int, Member]] = (0, 0, {})
        self._states = bytearray(len(ids))
        self._counts = Counter({DeliveryState.PLANNED: len(ids)})
        batches = range(0, len(ids), run.batch_size)
        self._new = deque(
            _Group(number, range(start, min(start + run.batch_size, len(ids))))
            for number, start in enumerate(batches, start=1)
        )
        self._waiting: list[tuple[dt.datetime, int, _Group]] = []
        self._order = count()
        #: batch → attempts so far, and when the first one began
        self._attempts: dict[int, tuple[int, dt.datetime]] = {}
        #: call id → the places of the claim
        self._in_flight: dict[str, Sequence[int]] = {}

    @property
    def run(self) -> RunRecord:
        """See `RunLedger`."""
        return self._run

    @property
    def balance(self) -> Balance:
        """See `RunLedger`."""
        return Balance(len(self._ids), {state: number for state, number in self._counts.items() if number})

    def exchange(self, reports: Sequence[Report], wishes: Sequence[Wish], *, now: dt.datetime) -> Exchange:
        """See `RunLedger`."""
        for report in reports:
            self._write_down(report)
        claims = tuple(self._granted(wish, now) for wish in wishes)
        next_due = self._waiting[0][0] if self._waiting else None
        return Exchange(claims, self._halt(now), next_due)

    def look_ahead(self, *, now: dt.datetime) -> None:
        """See `RunLedger`. Nothing is gained by it in memory."""

    def may_call(self) -> bool:
        """See `RunLedger`."""
        return True

    def keep(self, *, now: dt.datetime) -> None:
        """Nobody else knows of this run."""

    def pause(self, reason: str, *, now: dt.datetime) -> None:  # noqa: ARG002 - the moment is not kept
        """See `RunLedger`."""
        self._run = replace(self._run, state=RunState.PAUSED, reason=reason)

    def close(self, *, now: dt.datetime) -> RunRecord:
        """See `RunLedger`."""
        if now >= self._run.deadline:
            self._drop(Change.EXPIRE)
        if not self.balance.remaining and self._run.state is not RunState.CANCELLED:
            self._run = replace(self._run, state=settled_state(self._counts), ended_at=now)
        return self._run

    def _granted(self, wish: Wish, now: dt.datetime) -> Claim | None:
        while self._halt(now) is None and (group := self._next_group(now)) is not None:
            size = wish.size if self._left is None else min(wish.size, self._left)
            group, others = group.first(size)
            self._put_back(others)
            claim = self._claimed(group, wish, now)
            if claim is not None:
                return claim
        return None

    def _next_group(self, now: dt.datetime) -> _Group | None:
        if self._waiting and self._waiting[0][0] <= now:
            return heapq.heappop(self._waiting)[2]
        return self._new.popleft() if self._new else None

    def _put_back(self, group: _Group) -> None:
        if not group.places:
            return
        if group.due is None:
            self._new.appendleft(group)
        else:
            heapq.heappush(self._waiting, (group.due, next(self._order), group))

    def _claimed(self, group: _Group, wish: Wish, now: dt.datetime) -> Claim | None:
        """The claim of those of the group who are still there and may go now; None where that is nobody."""
        people = self._people(group.places)
        gone = [place for place in group.places if self._ids[place] not in people]
        if gone:
            self._change(gone, Change.SUPPRESS)
            group = replace(group, places=[place for place in group.places if self._ids[place] in people])
        if wish.admit is not None and group.places:
            admission = wish.admit([people[self._ids[place]] for place in group.places])
            admitted = set(admission.places)
            held = [place for at, place in enumerate(group.places) if at not in admitted]
            self._put_back(_Group(group.batch, held, admission.others_at))
            group = replace(group, places=[group.places[at] for at in admission.places])
        if not group.places:
            return None
        self._change(group.places, Change.CLAIM)
        if self._left is not None:
            self._left -= len(group.places)
        attempts, first_at = self._attempts.get(group.batch, (0, now))
        self._attempts[group.batch] = (attempts + 1, first_at)
        call_id = f"{self._run.name}/{group.batch}/{attempts + 1}"
        self._in_flight[call_id] = group.places
        members = tuple(people[self._ids[place]] for place in group.places)
        return Claim(group.batch, attempts + 1, members, call_id, first_at)

    def _people(self, places: Sequence[int]) -> dict[int, Member]:
        """The people at these places, among others, by id."""
        start, end, people = self._read
        if not start <= places[0] <= places[-1] < end:
            start, end = places[0], max(places[-1] + 1, places[0] + READ_AHEAD)
            people = {member.id: member for member in self._members(self._ids[start:end])}
            self._read = (start, end, people)
        return people

    def _write_down(self, report: Report) -> None:
        places = self._in_flight.pop(report.claim.call_id, None)
        if places is None:  # written down already
            return
        kinds: dict[Change, list[int]] = {}
        for place in places:
            kinds.setdefault(_change_of(report.outcomes[self._ids[place]]), []).append(place)
        for change, changed_places in kinds.items():
            self._change(changed_places, change)
        again = kinds.get(Change.POSTPONE, [])
        if self._run.state is RunState.CANCELLED:
            self._change(again, Change.CANCEL)
        elif report.retry_at is None:
            self._change(again, Change.EXPIRE)
        else:
            half = (len(again) + 1) // 2 if report.split else len(again)
            for start in range(0, len(again), max(1, half)):
                self._put_back(_Group(report.claim.batch, again[start : start + half], report.retry_at))

    def _halt(self, now: dt.datetime) -> Halt | None:
        match self._run.state:
            case RunState.PAUSED:
                return Halt.PAUSED
            case RunState.CANCELLED:
                return Halt.CANCELLED
        if now >= self._run.deadline:
            return Halt.DEADLINE
        if not (self._new or self._waiting or self._in_flight):
            return Halt.DONE
        if self._left == 0:
            self._run = replace(self._run, state=RunState.PAUSED, reason="the limit is reached")
            return Halt.PAUSED
        return None

    def _drop(self, change: Change) -> None:
        """What waits for a call gets none."""
        for group in (*self._new, *(group for _, _, group in self._waiting)):
            self._change(group.places, change)
        self._new.clear()
        self._waiting.clear()

    def _change(self, places: Sequence[int], change: Change) -> None:
        states = self._states
        before = Counter(states[place] for place in places)
        after = {byte: changed(byte, change) for byte in before}
        for place in places:
            states[place] = after[states[place]]
        for byte, number in before.items():
            self._counts[state_of(byte)] -= number
            self._counts[state_of(after[byte])] += number


def _change_of(outcome: Outcome) -> Change:
    if isinstance(outcome, Accepted):
        return Change.ACCEPT
    if isinstance(outcome, Refused):
        return Change.REJECT
    return Change.POSTPONE if isinstance(outcome, Busy) else Change.LOSE
