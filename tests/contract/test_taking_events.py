"""What comes of events: deliveries marked, people suppressed; on both databases, and after a crash at any step."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from audience_tables import contents
from fresh_databases import ERASURE_KEY
from ledger_runs import NOW, S, claims, ids, ledger_of, load, people, plan, report, states

from newsletter.audience.people import Consent, LiftedBy, SuppressionReason
from newsletter.delivery.model import Unknown
from newsletter.delivery.names import RunName
from newsletter.delivery.states import Mark, RunState
from newsletter.errors import TemporaryError
from newsletter.events.deciding import Dropped, SoftLimit
from newsletter.events.model import Event, EventKind
from newsletter.pipeline.take_events import EventTools, Taken, prune_events, take_events
from newsletter.store.audience import SqlAudience
from newsletter.store.events import SqlEvents
from newsletter.store.ledger import SqlLedger

K, R = EventKind, SuppressionReason
RUN = RunName("buzz", "2026-01-07")
DAY = dt.timedelta(days=1)
RUN_DAY = dt.date(2026, 1, 7)
_numbers = itertools.count(1)


@dataclass
class Office:
    """A run of five whose answers were lost, and what takes its events."""

    tools: EventTools
    ledger: SqlLedger
    store: SqlAudience
    inbox: SqlEvents
    run_id: int
    members: list[int]

    def tell(self, *events: Event) -> Taken:
        self.inbox.keep(events, now=NOW)
        return self.take()

    def take(self) -> Taken:
        return take_events(self.tools, now=lambda: NOW)

    def suppressions(self) -> set[tuple[str, str, str | None]]:
        return {(one.key, one.reason.value, one.list) for one in self.store.suppressions()}

    def key(self, number: int) -> str:
        person = self.store.person_of(number)
        assert person is not None
        return person.key


@pytest.fixture
def office(database: sa.Engine, tmp_path: Path) -> Office:
    ledger, store, inbox = ledger_of(database, tmp_path), SqlAudience(database, ERASURE_KEY), SqlEvents(database)
    load(store, people(["ana", "ben", "cid", "dan", "eve"]))
    run_id = plan(ledger, size=2).run_id
    handle = ledger.take(run_id, now=NOW)
    given = claims(handle, 2, 2, 2)
    handle.exchange([report(claim, Unknown("reset")) for claim in given], [], now=NOW)
    handle.close(now=NOW)
    load(store, people(["out"]))
    tools = EventTools(inbox, ledger, store, SoftLimit(3, 14 * DAY), {"buzz": ("daily", "weekly")})
    numbers = sorted(one for claim in given for one in ids(claim))
    assert numbers == [1, 2, 3, 4, 5]
    by_key = {member.key: member.id for member in store.members(numbers)}
    return Office(tools, ledger, store, inbox, run_id, [by_key[key] for key in sorted(by_key)])


def event(kind: EventKind, subscriber_id: int | None, at: dt.datetime = NOW, **rest: Any) -> Event:
    one = Event(kind, at, "sendgrid", next(_numbers).to_bytes(16, "big"), RUN, subscriber_id, "", "5.1.1", "said so")
    return replace(one, **rest)


def test_unknown_outcomes_settle_themselves(office: Office) -> None:
    ana, ben, cid, dan, eve = office.members
    told = [
        event(K.SENT, ana),
        event(K.DEFERRED, ben),
        event(K.DELIVERED, cid),
        event(K.BLOCKED, dan),
        event(K.COMPLAINED, eve),
    ]
    assert office.tell(*told[:4]) == Taken(settled=4, news=4)
    run = office.ledger.run(RUN)
    assert run is not None
    assert run.state is RunState.HELD
    assert office.tell(told[4]) == Taken(settled=1, news=1, suppressions=1)
    run = office.ledger.run(RUN)
    assert run is not None
    assert run.state is RunState.FINISHED
    assert states(office.ledger, office.run_id) == {S.ACCEPTED: 5}
    assert office.ledger.balance(office.run_id).marks == {Mark.DELIVERED: 1, Mark.BOUNCED: 1, Mark.COMPLAINED: 1}
    assert office.suppressions() == {("eve@example.com", "complaint", None)}
    [suppression] = office.store.suppressions()
    assert (suppression.source, suppression.note) == ("sendgrid", "5.1.1 said so (buzz/2026-01-07)")


@pytest.mark.parametrize(
    ("kind", "code", "expected"),
    [
        (K.HARD_BOUNCE, "5.1.1", {("hard_bounce", None)}),
        (K.COMPLAINED, "", {("complaint", None)}),
        (K.UNSUBSCRIBED, "", {("unsubscribe", "daily"), ("unsubscribe", "weekly")}),
        (K.DROPPED, Dropped.BOUNCED, {("hard_bounce", None)}),
        (K.DROPPED, Dropped.SPAM, {("complaint", None)}),
        (K.DROPPED, Dropped.OTHER, set()),
        (K.BLOCKED, "5.7.1", set()),
        (K.SOFT_BOUNCE, "4.2.2", set()),
        (K.DELIVERED, "", set()),
        (K.OTHER, "group_resubscribe", set()),
    ],
)
def test_what_each_kind_comes_to(
    office: Office, kind: EventKind, code: str, expected: set[tuple[str, str | None]]
) -> None:
    office.tell(event(kind, office.members[0], code=code))
    key = office.key(office.members[0])
    assert office.suppressions() == {(key, reason, scope) for reason, scope in expected}
    assert office.inbox.waiting() == []
    first = office.ledger.delivery(office.run_id, key)
    assert first is not None
    assert first.state is (S.UNKNOWN if kind is K.OTHER else S.ACCEPTED)


def test_the_third_run_that_bounces_softly_counts_as_a_hard_bounce(office: Office) -> None:
    ana = office.members[0]
    for day, edition in enumerate(("a", "b"), start=1):
        plan(office.ledger, RUN_DAY + day * DAY, edition)
    names = [RUN, RunName("buzz", "2026-01-08.a"), RunName("buzz", "2026-01-09.b")]
    assert office.tell(event(K.SOFT_BOUNCE, ana), event(K.SOFT_BOUNCE, ana)).suppressions == 0
    assert office.tell(event(K.SOFT_BOUNCE, ana, run=names[1])).suppressions == 0
    assert office.tell(event(K.SOFT_BOUNCE, ana, run=names[2], at=NOW - 15 * DAY)).suppressions == 0, "too long ago"
    assert office.tell(event(K.SOFT_BOUNCE, ana, run=names[2])).suppressions == 1
    [one] = office.store.suppressions()
    assert (one.reason, one.list) == (R.HARD_BOUNCE, None)
    assert one.note.startswith("3 soft bounces within 14 days")
    assert office.tell(event(K.SOFT_BOUNCE, ana, run=names[2])).suppressions == 0
    # an operator lifts it: what was before says nothing any more
    office.store.lift(one.key, None, by=LiftedBy.OPERATOR, note="mended", now=NOW + dt.timedelta(hours=1))
    assert office.tell(event(K.SOFT_BOUNCE, ana, at=NOW + dt.timedelta(hours=2))).suppressions == 0


class TestWhoIsMeant:
    @pytest.mark.parametrize(
        "strange",
        [
            {"run": RunName("buzz", "2020-01-01")},
            {"run": RunName("test of buzz", "2026-01-07"), "subscriber_id": None},
            {"subscriber_id": 999},
            {"subscriber_id": 6},
            {"subscriber_id": None},
            {"run": None, "subscriber_id": None},
            {"run": None, "subscriber_id": None, "key": "nobody@example.com"},
        ],
        ids=str,
    )
    def test_what_is_about_nobody_of_ours_is_kept_without_consequence(
        self, office: Office, strange: dict[str, Any]
    ) -> None:
        for kind in (K.HARD_BOUNCE, K.COMPLAINED, K.UNSUBSCRIBED, K.SOFT_BOUNCE):
            assert office.tell(replace(event(kind, office.members[0]), **strange)) == Taken(settled=1)
        assert office.suppressions() == set()
        assert states(office.ledger, office.run_id) == {S.UNKNOWN: 5}

    def test_without_a_run_the_address_says_whom(self, office: Office) -> None:
        bounced = event(K.HARD_BOUNCE, None, run=None, key="out@example.com")
        office.tell(bounced, event(K.UNSUBSCRIBED, None, run=None, key="ana@example.com"))
        assert office.suppressions() == {
            ("out@example.com", "hard_bounce", None),
            ("ana@example.com", "unsubscribe", None),
        }

    def test_an_erased_person_is_nobody(self, office: Office) -> None:
        office.store.erase("ana@example.com", source="cli", now=NOW)
        before = office.suppressions()
        assert office.tell(event(K.HARD_BOUNCE, office.members[0])).suppressions == 0
        assert office.suppressions() == before

    def test_what_is_told_of_an_erased_person_later_is_not_kept(self, office: Office, database: sa.Engine) -> None:
        office.store.erase("ana@example.com", source="cli", now=NOW)
        words = "550 <ana@example.com> unknown"
        office.tell(
            event(K.HARD_BOUNCE, office.members[0], reason=words),
            event(K.BLOCKED, office.members[0], reason=words),
            event(K.HARD_BOUNCE, None, run=None, key="ana@example.com", reason=words),
            event(K.OTHER, None, run=None, key="ana@example.com", reason=words),
            event(K.SOFT_BOUNCE, office.members[0], run=RunName("gone", "2026-01-01"), reason=words),
            event(K.HARD_BOUNCE, office.members[1], reason="550 <ben@example.com> unknown"),
            event(K.OTHER, None, run=None, key="stranger@example.com"),
        )
        kept = [one for rows in contents(database).values() for one in rows]
        assert "ana@" not in repr(kept)
        assert len(office.inbox.of_person(office.members[1], "stranger@example.com")) == 2

    def test_a_newsletter_that_is_no_longer_in_the_settings_has_the_lists_of_its_run(self, office: Office) -> None:
        office.tools = replace(office.tools, lists_of={})
        office.tell(event(K.UNSUBSCRIBED, office.members[0]))
        assert office.suppressions() == {("ana@example.com", "unsubscribe", "daily")}

    def test_whoever_has_come_back_since_stays(self, office: Office) -> None:
        [ana] = people(["ana"])
        later = NOW + DAY
        office.store.unsubscribe(ana.key, "daily", source="page", now=NOW)
        office.store.confirm(ana, "daily", consent=Consent("daily", later), now=later)
        office.tell(event(K.UNSUBSCRIBED, office.members[0]))
        assert ("ana@example.com", "unsubscribe", "daily") not in office.suppressions()


def story(office: Office) -> list[Event]:
    ana, ben, cid, dan, _ = office.members
    return [
        event(K.SENT, ana),
        event(K.HARD_BOUNCE, ana),
        event(K.DELIVERED, ben),
        event(K.COMPLAINED, ben),
        event(K.UNSUBSCRIBED, cid),
        event(K.SOFT_BOUNCE, dan),
        event(K.DROPPED, dan, code=Dropped.INVALID),
        event(K.HARD_BOUNCE, 999),
        event(K.COMPLAINED, ana, run=RunName("gone", "2026-01-01")),
    ]


@dataclass(frozen=True)
class Outcome:
    """What a crash must not change."""

    deliveries: dict[int, tuple[S, Mark]]
    suppressed: set[tuple[str, str, str | None]]
    state: RunState
    waiting: int


def outcome(office: Office) -> Outcome:
    deliveries = {one.subscriber_id: (one.state, one.marks) for one in office.ledger.deliveries(office.run_id, list(S))}
    run = office.ledger.run(RUN)
    assert run is not None
    return Outcome(deliveries, office.suppressions(), run.state, len(office.inbox.waiting()))


def test_a_crash_between_any_two_steps_changes_nothing_in_the_end(
    database: sa.Engine, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write of every store fails once, before it and after it was made; then all is taken again."""
    events = story(office)
    office.inbox.keep(events, now=NOW)
    crashes = 0
    for step in itertools.count():
        with monkeypatch.context() as patched:
            calls = _crashing(patched, step)
            try:
                office.take()
            except _Crash:
                crashes += 1
                continue
            assert calls() <= step
            break
    assert crashes > 10
    found = outcome(office)
    assert office.inbox.keep(events, now=NOW) >= 0
    assert office.take().suppressions == 0
    assert outcome(office) == found
    assert (found.state, found.waiting) == (RunState.HELD, 0)
    ana, ben, cid, dan, eve = office.members
    assert found.deliveries == {
        ana: (S.ACCEPTED, Mark.BOUNCED),
        ben: (S.ACCEPTED, Mark.DELIVERED | Mark.COMPLAINED),
        cid: (S.ACCEPTED, Mark(0)),
        dan: (S.ACCEPTED, Mark.BOUNCED),
        eve: (S.UNKNOWN, Mark(0)),
    }
    assert found.suppressed == {
        ("ana@example.com", "hard_bounce", None),
        ("ben@example.com", "complaint", None),
        ("cid@example.com", "unsubscribe", "daily"),
        ("cid@example.com", "unsubscribe", "weekly"),
        ("dan@example.com", "hard_bounce", None),
    }


class _Crash(BaseException):
    """The process ends here."""


def _crashing(patched: pytest.MonkeyPatch, step: int) -> Callable[[], int]:
    """The call number `step // 2` crashes: before it where the step is even, after it where it is odd."""
    made = 0

    def around(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal made
            number, made = made, made + 1
            if (number, step % 2) == (step // 2, 0):
                raise _Crash
            answer = method(*arguments, **named)
            if (number, step % 2) == (step // 2, 1):
                raise _Crash
            return answer

        return call

    for whose, names in (
        (SqlLedger, ["witness"]),
        (SqlAudience, ["suppress", "unsubscribe"]),
        (SqlEvents, ["settled"]),
    ):
        for name in names:
            patched.setattr(whose, name, around(getattr(whose, name)))
    return lambda: made


def test_one_that_cannot_be_settled_waits_and_holds_up_no_other(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    ana, ben, *_ = office.members
    suppress = SqlAudience.suppress

    def poisoned(self: SqlAudience, key: str, *arguments: Any, **named: Any) -> bool:
        if key == "ana@example.com":
            raise ValueError("what nobody thought of")
        return suppress(self, key, *arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(SqlAudience, "suppress", poisoned)
        taken = office.tell(event(K.HARD_BOUNCE, ana), event(K.HARD_BOUNCE, ben))
    assert (taken.settled, dict(taken.failures)) == (1, {"ValueError: what nobody thought of": 1})
    assert office.suppressions() == {("ben@example.com", "hard_bounce", None)}
    assert len(office.inbox.waiting()) == 1
    assert office.take() == Taken(settled=1, suppressions=1)


def test_a_run_that_cannot_be_written_holds_up_no_other_and_a_locked_database_everybody(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan(office.ledger, edition="evening")
    evening = RunName("buzz", "2026-01-07.evening")
    witness = SqlLedger.witness
    error: Exception = RuntimeError("damaged")

    def failing(self: SqlLedger, name: RunName, *arguments: Any, **named: Any) -> int | None:
        if name == evening:
            raise error
        return witness(self, name, *arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(SqlLedger, "witness", failing)
        told = [event(K.DELIVERED, office.members[0], run=evening), event(K.DELIVERED, office.members[0])]
        assert office.tell(*told) == Taken(settled=1, news=1, failures={"RuntimeError: damaged": 1})
        error = TemporaryError("locked")
        with pytest.raises(TemporaryError):
            office.take()
    assert office.take() == Taken(settled=1, news=1)


def test_it_ends_between_two_steps_when_it_is_told_to(office: Office) -> None:
    office.inbox.keep([event(K.DELIVERED, office.members[0]) for _ in range(1_200)], now=NOW)
    answers: Iterator[bool] = iter([False, True])
    assert take_events(office.tools, now=lambda: NOW, stop=lambda: next(answers)).settled == 500
    assert office.take().settled == 700


def test_old_events_go_and_what_they_came_to_stays(office: Office) -> None:
    office.tell(event(K.HARD_BOUNCE, office.members[0]), event(K.DELIVERED, office.members[1]))
    assert prune_events(office.tools, keep=180 * DAY, now=NOW + 179 * DAY) == 0
    assert prune_events(office.tools, keep=180 * DAY, now=NOW + 181 * DAY) == 1
    assert office.suppressions() == {("ana@example.com", "hard_bounce", None)}
