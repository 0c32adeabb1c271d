"""The writer of many requests: each gets its own answer, and what goes wrong for one is no other's affair."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
from event_loops import in_a_loop
from hypothesis import given, settings
from hypothesis import strategies as st

from newsletter.errors import TemporaryError
from newsletter.web.group_writer import GroupWriter


class Kept:
    """A store of numbers that refuses some of them, and the whole group with it, as a transaction does."""

    def __init__(self, refused: frozenset[int] = frozenset(), away: bool = False) -> None:
        self.refused, self.away = refused, away
        self.groups: list[list[int]] = []
        self.kept: list[int] = []
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Event()

    def write(self, items: Sequence[int]) -> list[str]:
        self.begun.set()
        self.go.wait(20)
        self.groups.append(list(items))
        if self.away:
            raise TemporaryError("the database is away")
        if bad := sorted(self.refused & set(items)):
            raise ValueError(bad[0])
        self.kept += items
        return [f"kept {item}" for item in items]


async def answers(writer: GroupWriter[int, str], items: Sequence[int]) -> list[object]:
    return list(await asyncio.gather(*(writer.put(item) for item in items), return_exceptions=True))


@settings(deadline=None, max_examples=60)
@given(st.sets(st.integers(0, 40)), st.frozensets(st.integers(0, 40)), st.integers(1, 50))
def test_each_is_written_once_and_answered_for_itself(items: set[int], refused: frozenset[int], most: int) -> None:
    store = Kept(refused)
    writer = GroupWriter(store.write, most=most)
    try:
        given_back = in_a_loop(answers(writer, sorted(items)))
    finally:
        writer.close()
    for item, answer in zip(sorted(items), given_back, strict=True):
        if item in refused:
            assert isinstance(answer, ValueError)
            assert answer.args == (item,)
        else:
            assert answer == f"kept {item}"
    assert sorted(store.kept) == sorted(items - refused)
    assert max((len(group) for group in store.groups), default=0) <= most


def test_what_comes_while_it_writes_is_written_together() -> None:
    store = Kept()
    store.go.clear()
    writer = GroupWriter(store.write, most=30)

    async def ask() -> list[object]:
        asking = asyncio.create_task(answers(writer, range(100)))
        await asyncio.sleep(0.05)
        store.go.set()
        return await asking

    assert in_a_loop(ask()) == [f"kept {item}" for item in range(100)]
    writer.close()
    assert len(store.groups) <= 5
    assert sorted(store.kept) == list(range(100))


def test_requests_of_several_loops_in_several_threads_share_it() -> None:
    store = Kept()
    writer = GroupWriter(store.write, gather=0.001)
    found: dict[int, list[object]] = {}

    def one(number: int) -> None:
        found[number] = in_a_loop(answers(writer, range(number * 100, number * 100 + 100)))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    writer.close()
    assert found == {
        number: [f"kept {item}" for item in range(number * 100, number * 100 + 100)] for number in range(5)
    }


def test_a_database_that_is_away_is_asked_once_for_a_group_and_then_again() -> None:
    store = Kept(away=True)
    store.go.clear()
    writer = GroupWriter(store.write)

    async def ask() -> list[object]:
        asking = asyncio.create_task(answers(writer, range(50)))
        await asyncio.sleep(0.05)
        store.go.set()
        return await asking

    assert all(isinstance(one, TemporaryError) for one in in_a_loop(ask()))
    assert len(store.groups) <= 2  # the first, alone perhaps, and the rest
    store.away = False
    assert in_a_loop(answers(writer, [7])) == ["kept 7"]
    writer.close()


def test_who_stops_waiting_takes_nothing_back_and_holds_up_nobody() -> None:
    store = Kept()
    store.go.clear()
    writer = GroupWriter(store.write)

    async def ask() -> str:
        leaving = asyncio.create_task(writer.put(1))
        staying = asyncio.create_task(writer.put(2))
        await asyncio.sleep(0.05)
        leaving.cancel()
        store.go.set()
        return await staying

    assert in_a_loop(ask()) == "kept 2"
    writer.close()
    assert sorted(store.kept) == [1, 2]


def test_while_the_database_does_not_answer_what_waits_is_bounded_and_the_end_comes() -> None:
    store = Kept()
    store.go.clear()
    writer = GroupWriter(store.write, most=5, most_waiting=10)

    async def ask() -> list[object]:
        first = asyncio.create_task(answers(writer, [0]))
        await asyncio.to_thread(store.begun.wait, 20)
        asked = [asyncio.create_task(writer.put(item)) for item in range(1, 100)]
        _, gone = await asyncio.wait(asked, timeout=0.1)
        for one in gone:  # nobody waits any more: what they asked for is kept nonetheless
            one.cancel()
        refused: list[object] = list(await asyncio.gather(*asked, return_exceptions=True))
        await asyncio.to_thread(writer.close, 0.05)
        store.go.set()
        assert await first == ["kept 0"]
        return refused

    refused = in_a_loop(ask())
    assert [type(one) for one in refused] == [asyncio.CancelledError] * 10 + [TemporaryError] * 89
    writer.close()
    assert sorted(store.kept) == list(range(11))


def test_closing_writes_what_waits_and_takes_nothing_more() -> None:
    store = Kept()
    store.go.clear()
    writer = GroupWriter(store.write, most=10)

    async def ask() -> None:
        waiting = asyncio.create_task(answers(writer, range(35)))
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(asyncio.to_thread(writer.close))
        await asyncio.sleep(0.05)
        assert not closing.done()
        with pytest.raises(TemporaryError, match="ending"):
            await writer.put(99)
        store.go.set()
        await closing
        assert await waiting == [f"kept {item}" for item in range(35)]

    in_a_loop(ask())
    writer.close()
    assert sorted(store.kept) == list(range(35))


def test_a_loop_that_ended_meanwhile_breaks_nothing() -> None:
    store = Kept()
    store.go.clear()
    writer = GroupWriter(store.write)

    async def leave() -> None:
        waiting = asyncio.create_task(writer.put(1))
        await asyncio.sleep(0.05)
        waiting.cancel()

    in_a_loop(leave())
    store.go.set()
    assert in_a_loop(answers(writer, [2])) == ["kept 2"]
    writer.close()
    assert sorted(store.kept) == [1, 2]


def test_a_writer_that_answers_too_few_is_found_out() -> None:
    writer: GroupWriter[int, str] = GroupWriter(lambda _: [])
    with pytest.raises(ValueError, match="zip"):
        in_a_loop(writer.put(1))
    writer.close()
