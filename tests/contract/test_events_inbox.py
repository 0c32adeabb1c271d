"""Where events are kept, on both databases."""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import replace

import pytest
import sqlalchemy as sa
from fresh_databases import ERASURE_KEY
from ledger_runs import NOW, load, people

from newsletter.delivery.names import RunName
from newsletter.events.model import Event, EventKind
from newsletter.store.audience import SqlAudience
from newsletter.store.engine import reading
from newsletter.store.events import SqlEvents
from newsletter.store.tables import event as event_table

K = EventKind
RUN = RunName("buzz", "2026-01-07")
DAY = dt.timedelta(days=1)


@pytest.fixture
def inbox(database: sa.Engine) -> SqlEvents:
    return SqlEvents(database)


def event(number: int, kind: EventKind = K.HARD_BOUNCE, at: dt.datetime = NOW, **rest: object) -> Event:
    one = Event(kind, at, "sendgrid", number.to_bytes(16, "big"), RUN, 7, "", "5.1.1", "no such user", "m.1")
    return replace(one, **rest)  # type: ignore[arg-type]  # fields by name


def rows(database: sa.Engine) -> int:
    with reading(database) as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(event_table)) or 0


def test_what_is_kept_comes_back_as_it_was_in_the_order_in_which_it_came(inbox: SqlEvents) -> None:
    events = [event(3), event(1, run=None, subscriber_id=None, key="ana@example.com"), event(2, K.DELIVERED, reason="")]
    assert inbox.keep(events, now=NOW) == 3
    kept = inbox.waiting()
    assert [one.event for one in kept] == events
    assert [one.id for one in kept] == sorted(one.id for one in kept)
    assert [one.event for one in inbox.waiting(limit=1)] == events[:1]
    assert [one.event for one in inbox.waiting(after=kept[0].id)] == events[1:]


def test_the_same_told_again_is_left_out_within_a_post_and_from_before(inbox: SqlEvents) -> None:
    assert inbox.keep([event(1), event(2), event(1)], now=NOW) == 2
    assert inbox.keep([event(2), event(3), event(3), event(1)], now=NOW) == 1
    assert len(inbox.waiting()) == 3
    assert inbox.keep([], now=NOW) == 0


def test_more_than_one_statement_holds(inbox: SqlEvents) -> None:
    many = [event(number) for number in range(1, 1_751)]
    assert inbox.keep([*many, *many], now=NOW) == 1_750
    assert len(inbox.waiting(limit=5_000)) == 1_750
    inbox.settled([one.id for one in inbox.waiting(limit=5_000)], now=NOW)
    assert inbox.waiting() == []


def test_poisoned_values_are_cleaned_and_cut_and_spoil_no_others(inbox: SqlEvents) -> None:
    poison = "\x00\ud800\u202e<script>" + "x" * 10_000_000
    bad = event(
        1,
        code=poison,
        reason=poison,
        reference=poison,
        key=poison,
        run=RunName(poison, "2026-01-07"),
        subscriber_id=2**70,
    )
    assert inbox.keep([bad, event(2)], now=NOW) == 2
    first, second = (one.event for one in inbox.waiting())
    assert second == event(2)
    assert first.subscriber_id is None
    for text in (first.code, first.reason, first.reference, first.key):
        assert text.startswith("<script>x")
        assert len(text) <= 500


def test_settled_events_wait_no_more_and_those_that_the_ledger_tells_of_go(
    inbox: SqlEvents, database: sa.Engine
) -> None:
    inbox.keep([event(n, kind) for n, kind in enumerate(K)], now=NOW)
    ids = [one.id for one in inbox.waiting()]
    inbox.settled(ids[:2], now=NOW)
    inbox.settled(ids, now=NOW)
    inbox.settled(ids, now=NOW)
    inbox.settled([], now=NOW)
    assert inbox.waiting() == []
    assert {one.kind for one in inbox.of_person(7, "")} == set(K) - {K.SENT, K.DEFERRED, K.DELIVERED}
    assert rows(database) == len(K) - 3
    assert inbox.keep([event(n, kind) for n, kind in enumerate(K)], now=NOW) == 3, "of those nothing is known any more"


class TestSoftBounces:
    def test_a_run_counts_once_and_without_a_run_a_day_does(self, inbox: SqlEvents) -> None:
        evening = RunName("buzz", "2026-01-07.evening")
        soft = [
            event(1, K.SOFT_BOUNCE),
            event(2, K.SOFT_BOUNCE, at=NOW + DAY),
            event(3, K.SOFT_BOUNCE, run=evening),
            event(4, K.SOFT_BOUNCE, run=None, at=NOW),
            event(5, K.SOFT_BOUNCE, run=None, at=NOW + dt.timedelta(hours=1)),
            event(6, K.SOFT_BOUNCE, run=None, at=NOW + DAY),
        ]
        others = [
            event(7, K.HARD_BOUNCE, run=RunName("buzz", "2026-01-09")),
            event(8, K.SOFT_BOUNCE, run=RunName("buzz", "2026-01-10"), subscriber_id=8),
        ]
        inbox.keep([*soft, *others], now=NOW)
        assert inbox.soft_bounces(7, since=NOW) == 4
        assert inbox.soft_bounces(7, since=NOW + dt.timedelta(hours=2)) == 2
        assert inbox.soft_bounces(7, since=NOW + 2 * DAY) == 0
        assert inbox.soft_bounces(9, since=NOW) == 0

    def test_those_that_name_the_address_are_the_persons_too(self, inbox: SqlEvents, database: sa.Engine) -> None:
        store = SqlAudience(database, ERASURE_KEY)
        load(store, people(["ana"]))
        ana = store.person("ana@example.com")
        assert ana is not None
        assert ana.id is not None
        by_key = event(1, K.SOFT_BOUNCE, run=None, subscriber_id=None, key="ana@example.com")
        inbox.keep([by_key, event(2, K.SOFT_BOUNCE, subscriber_id=ana.id)], now=NOW)
        assert inbox.soft_bounces(ana.id, since=NOW) == 2


def test_all_about_a_person_is_found_by_number_and_address(inbox: SqlEvents) -> None:
    mine = [event(1), event(2, subscriber_id=None, key="ana@example.com")]
    inbox.keep([*mine, event(3, subscriber_id=8), event(4, subscriber_id=None, key="ben@example.com")], now=NOW)
    assert inbox.of_person(7, "ana@example.com") == mine
    assert inbox.of_person(7, "") == mine[:1]


def test_old_ones_are_removed_and_never_one_that_waits(inbox: SqlEvents) -> None:
    inbox.keep([event(number) for number in range(5)], now=NOW)
    inbox.keep([event(number) for number in range(5, 8)], now=NOW + 10 * DAY)
    inbox.settled([one.id for one in inbox.waiting()][1:], now=NOW)
    assert inbox.prune(before=NOW, limit=100) == 0
    assert inbox.prune(before=NOW + DAY, limit=3) == 3
    assert inbox.prune(before=NOW + DAY) == 1
    assert inbox.prune(before=NOW + DAY) == 0
    assert len(inbox.of_person(7, "")) == 4
    assert len(inbox.waiting()) == 1


def test_two_who_keep_the_same_posts_at_once_keep_them_once(inbox: SqlEvents) -> None:
    posts = [[event(number) for number in range(start, start + 50)] for start in range(0, 1_000, 50)]
    new: list[int] = []

    def keep() -> None:
        new.extend(inbox.keep(post, now=NOW) for post in posts)

    threads = [threading.Thread(target=keep) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(new) == 1_000
    assert len(inbox.waiting(limit=5_000)) == 1_000
