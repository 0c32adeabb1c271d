"""Where counted links lead, and how often they were requested. On both databases."""

from __future__ import annotations

import datetime as dt
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest
import sqlalchemy as sa
from fresh_databases import empty_tables
from hypothesis import given
from hypothesis import strategies as st

from newsletter.delivery.names import RunName
from newsletter.errors import GuardRefused
from newsletter.events.tracking import Hit, HitKind, TrackingStore, Verdict
from newsletter.store.tracking import SqlTracking

NOW = dt.datetime(2026, 1, 7, 6, 30, tzinfo=dt.UTC)
RUN = RunName("buzz", "2026-01-07")
EVENING = RunName("buzz", "2026-01-07.evening")
OTHER = RunName("weekly", "2026-01-07")
URLS = ["https://example.com/a?b=1&c=2", "https://example.org/", "http://example.net/x#y"]
CLICK, OPEN = HitKind.CLICK, HitKind.OPEN
HUMAN, MACHINE, UNKNOWN = Verdict


@pytest.fixture
def store(database: sa.Engine) -> TrackingStore:
    return SqlTracking(database)


def hit(
    run: RunName = RUN,
    kind: HitKind = CLICK,
    number: int = 1,
    verdict: Verdict = HUMAN,
    who: int | None = None,
    at: dt.datetime = NOW,
) -> Hit:
    return Hit(run, kind, number, verdict, at, who)


def test_links_are_numbered_from_one_for_each_run_by_itself(store: TrackingStore) -> None:
    store.keep_links(RUN, URLS)
    store.keep_links(EVENING, URLS[::-1])
    assert [store.target(RUN, number) for number in (1, 2, 3)] == URLS
    assert store.target(EVENING, 1) == URLS[2]
    assert store.target(OTHER, 1) is None
    for nothing in (0, -1, 4, 2**31, 10**30):
        assert store.target(RUN, nothing) is None


def test_the_same_links_may_be_stored_again_and_no_others(store: TrackingStore) -> None:
    """A resumed run stores them again; a link that was mailed must never lead elsewhere."""
    store.keep_links(RUN, URLS)
    store.keep_links(RUN, tuple(URLS))
    for others in (URLS[:2], [*URLS, "https://example.com/new"], URLS[::-1], ["https://example.com/new", *URLS], []):
        with pytest.raises(GuardRefused, match="stored already"):
            store.keep_links(RUN, others)
    assert [count.url for count in store.counts(RUN)] == URLS


def test_of_two_processes_that_store_at_once_both_find_the_same_or_one_is_refused(database: sa.Engine) -> None:
    barrier = threading.Barrier(4)

    def keep(urls: list[str]) -> bool:
        store = SqlTracking(database)
        barrier.wait()
        try:
            store.keep_links(RUN, urls)
        except GuardRefused:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(keep, [URLS, URLS[::-1], URLS, URLS[::-1]]))
    assert done in ([True, False, True, False], [False, True, False, True])
    kept = [one.url for one in SqlTracking(database).counts(RUN)]
    assert kept == (URLS if done[0] else URLS[::-1])


def test_counts_stand_beside_each_other_by_verdict_and_kind(store: TrackingStore) -> None:
    store.keep_links(RUN, URLS[:2])
    store.record([hit(), hit(), hit(verdict=MACHINE), hit(number=2, verdict=UNKNOWN), hit(kind=OPEN, number=0)])
    store.record([hit(), hit(run=EVENING)])
    store.record([])
    first, second, opens = store.counts(RUN)
    assert (first.kind, first.number, first.url, first.counts, first.raw) == (
        CLICK,
        1,
        URLS[0],
        {HUMAN: 3, MACHINE: 1},
        4,
    )
    assert (second.url, second.counts) == (URLS[1], {UNKNOWN: 1})
    assert (opens.kind, opens.number, opens.url, opens.counts) == (OPEN, 0, "", {HUMAN: 1})
    assert [count.raw for count in store.counts(EVENING)] == [1]
    assert store.counts(OTHER) == []


def test_a_link_that_nobody_followed_is_counted_with_nothing(store: TrackingStore) -> None:
    store.keep_links(RUN, URLS[:1])
    [count] = store.counts(RUN)
    assert (count.counts, count.raw) == ({}, 0)


def test_who_it_was_is_kept_only_where_it_is_said_and_goes_by_its_age(store: TrackingStore) -> None:
    early = NOW - dt.timedelta(days=200)
    store.record([hit(), hit(who=7), hit(who=7, kind=OPEN, number=0, at=early, verdict=MACHINE), hit(who=8)])
    assert store.of_person(7) == [hit(who=7, kind=OPEN, number=0, at=early, verdict=MACHINE), hit(who=7)]
    assert store.of_person(9) == []
    assert store.prune(before=NOW) == 1
    assert store.of_person(7) == [hit(who=7)]
    assert sum(count.raw for count in store.counts(RUN)) == 4, "the counts stay"
    assert store.prune(before=NOW + dt.timedelta(seconds=1), limit=1) == 1
    assert store.prune(before=NOW + dt.timedelta(seconds=1), limit=1) == 1
    assert store.prune(before=NOW + dt.timedelta(seconds=1), limit=1) == 0


def test_no_count_is_lost_where_many_write_at_once(database: sa.Engine) -> None:
    """Each thread in an order of its own: writers that waited for each other in a circle would fail."""
    kinds = list(product((RUN, EVENING, OTHER), (1, 2, 3), Verdict))
    barrier = threading.Barrier(6)

    def write(thread: int) -> None:
        store = SqlTracking(database)
        barrier.wait()
        for turn in range(10):
            at = (thread * 7 + turn) % len(kinds)
            some = kinds[at:] + kinds[:at]
            store.record([hit(run, CLICK, number, verdict) for run, number, verdict in some])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    store = SqlTracking(database)
    for run in (RUN, EVENING, OTHER):
        assert [dict(count.counts) for count in store.counts(run)] == [dict.fromkeys(Verdict, 60)] * 3


hits = st.builds(
    hit,
    run=st.sampled_from([RUN, EVENING, OTHER]),
    kind=st.sampled_from(HitKind),
    number=st.integers(0, 3),
    verdict=st.sampled_from(Verdict),
    who=st.none() | st.integers(1, 3),
)


def test_the_counts_are_those_of_a_list_that_is_counted(database: sa.Engine) -> None:
    @given(st.lists(st.lists(hits, max_size=20), max_size=4))
    def law(written: list[list[Hit]]) -> None:
        empty_tables(database)
        store = SqlTracking(database)
        for some in written:
            store.record(some)
        flat = [one for some in written for one in some]
        wanted = Counter((one.run, one.kind, one.number, one.verdict) for one in flat)
        found = {
            (run, count.kind, count.number, verdict): number
            for run in (RUN, EVENING, OTHER)
            for count in store.counts(run)
            for verdict, number in count.counts.items()
        }
        assert found == wanted
        for person in (1, 2, 3):
            assert store.of_person(person) == [one for one in flat if one.subscriber_id == person]

    law()
