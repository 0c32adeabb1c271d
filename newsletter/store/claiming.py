"""Granting claims: whoever is left of a batch, may be mailed at this moment and is admitted becomes in flight."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

from newsletter.audience.model import Member
from newsletter.delivery.run_values import Claim, Wish
from newsletter.delivery.states import Change, DeliveryState
from newsletter.store.eligible import Eligible
from newsletter.store.in_hand import InHand
from newsletter.store.journal import Claimed
from newsletter.store.person_rows import moment, seconds
from newsletter.store.turn import Turn

#: Batches in which a wish looks for somebody whom the limits of recipient domains admit.
_BATCHES_A_WISH = 8
#: How often it asks within one batch.
_QUESTIONS_A_BATCH = 5
#: Batches that a wish looks at in any case: everybody may have left.
_LOOKS_A_WISH = 32

#: What a wish may see: (batch, attempt, first member) → the call's own name.
CallId = Callable[[int, int, int], str]


class Claiming:
    """The wishes of one exchange. `known` are members who may be mailed, by id; `allowance` is how many may be claimed
    yet (None: all)."""

    def __init__(
        self,
        turn: Turn,
        eligible: Eligible,
        known: Mapping[int, Member],
        call_id: CallId,
        allowance: int | None,
        wishes: Sequence[Wish],
    ) -> None:
        self.allowance = allowance
        #: when somebody may be admitted who was not
        self.others_at: list[dt.datetime] = []
        self._turn = turn
        self._eligible = eligible
        self._call_id = call_id
        # how many the wishes behind the one at hand are for: they are looked up along with its own
        self._ahead = sum(wish.size for wish in wishes)
        self._looked_up: dict[int, Member | None] = {**known}
        self._asking = any(wish.admit for wish in wishes)
        self._most_batches = len(wishes) * (_BATCHES_A_WISH if self._asking else 1)
        self._wished = 0
        self._batch_size = turn.batch_size()
        self._due: Iterator[InHand] = iter(())

    def grant(self, wish: Wish) -> Claim | None:
        """The claim, or None where nothing can be claimed now."""
        waiting = 0
        self._wished = wish.size
        self._ahead -= wish.size
        for _ in range(_LOOKS_A_WISH):
            if waiting == _BATCHES_A_WISH or (one := self._ready() or self._next_due()) is None:
                return None
            if claim := self._claim(one, wish):
                return claim
            waiting += one.next_at() is not None
        return None

    def _next_due(self) -> InHand | None:
        one = next(self._due, None)
        if one is None:
            self._due = self._turn.due(self._so_many())
            one = next(self._due, None)
            if one is not None:
                self._batch_size = len(one.row.ids)
        return one

    def _so_many(self) -> int:
        """How many due batches the wishes may need, as far as can be told: each that is read has its members."""
        if not self._batch_size or self._asking:
            return self._most_batches
        return min(self._most_batches, 1 + (self._wished + self._ahead) // self._batch_size)

    def _ready(self) -> InHand | None:
        """A batch in hand of which something may be claimed now, the first one first."""
        for number in self._turn.numbers():
            one = self._turn.look(number)
            if one is not None and (at := one.next_at()) is not None and at <= self._turn.now:
                return self._turn.batch(number)
        return None

    def _claim(self, one: InHand, wish: Wish) -> Claim | None:
        if one.closed(self._turn.now):
            return None
        another, places = one.candidates(self._turn.now)
        taken, passed_over, rest = self._take(one, places, self._most(one, wish), wish)
        if not taken:
            # nobody of it may be called for now; of those who were not asked about some may
            later = max(self.others_at[-1:], default=self._turn.now) if not rest else self._turn.now
            one.schedule.admit_at = later
            if another:
                one.schedule.retry_at = max(one.schedule.retry_at, later)
                one.schedule.behind = passed_over
            else:
                one.schedule.pending = rest + passed_over
            return None
        if another:
            self._turn.close(one.row.number, one.row.attempts)
            left = sorted(place for members in (taken, passed_over, rest) for place in members)
            self._turn.attempts.append(one.begin_attempt(left, self._turn.now))
            one.schedule.behind = []
        one.schedule.pending = rest + passed_over
        one.schedule.admit_at = self.others_at[-1] if passed_over and not rest else self._turn.now
        if not one.row.number_in(DeliveryState.RETRY_WAIT):
            one.row.first_at = seconds(self._turn.now)  # the time of retries counts from the first who may need them
        one.row.change_all(taken, Change.CLAIM)
        return self._handed(one, sorted(taken))

    def _most(self, one: InHand, wish: Wish) -> int:
        limits = (wish.size, one.row.call_size, self.allowance)
        return min(limit for limit in limits if limit is not None)

    def _take(
        self, one: InHand, places: Sequence[int], most: int, wish: Wish
    ) -> tuple[list[int], list[int], list[int]]:
        """Of these places: those to claim now, those who are not admitted, and those not asked about."""
        taken: list[int] = []
        passed_over: list[int] = []
        start = questions = 0
        while len(taken) < most and start < len(places) and questions < _QUESTIONS_A_BATCH:
            some = places[start : start + most - len(taken)]
            start += len(some)
            here = self._may_be_mailed(one, some, places[start : start + self._ahead])
            if wish.admit is None or not here:
                taken += here
                continue
            questions += 1
            answer = wish.admit([self._member(one, place) for place in here])
            admitted = {here[number] for number in answer.places}
            taken += [place for place in here if place in admitted]
            if len(admitted) < len(here):
                passed_over += [place for place in here if place not in admitted]
                self.others_at.append(answer.others_at)
        return taken, passed_over, list(places[start:])

    def _may_be_mailed(self, one: InHand, places: Sequence[int], following: Sequence[int]) -> list[int]:
        """Those of `places` who still may be mailed; the others count as suppressed from here on, also who pauses."""
        ids, found = one.row.ids, self._looked_up
        asked = [ids[place] for place in places]
        if not found.keys() >= set(asked):
            self._look_up([*asked, *(ids[place] for place in following)])
        if None not in map(found.get, asked):  # as it is nearly always
            return list(places)
        good = [place for place, number in zip(places, asked, strict=True) if found[number] is not None]
        if len(good) < len(places):
            one.row.change_all([place for place in places if found[ids[place]] is None], Change.SUPPRESS)
        return good

    def _look_up(self, ids: Sequence[int]) -> None:
        """Whoever left, was suppressed, was erased or paused before this transaction is seen here."""
        wanted = [one for one in ids if one not in self._looked_up] if self._looked_up else ids
        self._looked_up |= dict.fromkeys(wanted)
        self._looked_up |= self._eligible.among(self._turn.connection, wanted, seconds(self._turn.now))

    def _member(self, one: InHand, place: int) -> Member:
        member = self._looked_up[one.row.ids[place]]
        assert member is not None
        return member

    def _handed(self, one: InHand, places: Sequence[int]) -> Claim:
        row = one.row
        claimed = cast("tuple[Member, ...]", tuple(map(self._looked_up.__getitem__, map(row.ids.__getitem__, places))))
        if self.allowance is not None:
            self.allowance -= len(claimed)
        assert row.first_at is not None
        row.claims += 1
        self._turn.claimed.append(Claimed(row.number, row.attempts, row.claims, places))
        claim = Claim(
            batch=row.number,
            attempt=row.attempts,
            members=claimed,
            call_id=self._call_id(row.number, row.attempts, claimed[0].id),
            first_at=moment(row.first_at),
            deadline=one.window.deadline if one.window else None,
        )
        self._turn.claims.append(claim)
        return claim
