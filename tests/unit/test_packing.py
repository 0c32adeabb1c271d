"""Ids packed into bytes: every ascending row of them comes back as it was, and nothing else is taken."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.store.packing import LARGEST_ID, pack, unpack

ids = st.integers(0, LARGEST_ID)
#: Rows whose steps need every width, and dense ones.
ascending = st.one_of(
    st.sets(ids, max_size=60).map(sorted),
    st.sets(st.integers(0, 400), max_size=300).map(sorted),
    st.builds(lambda first, count: list(range(first, first + count)), st.integers(0, LARGEST_ID - 500), st.just(500)),
)


@given(ascending)
def test_what_was_packed_comes_back(numbers: list[int]) -> None:
    assert unpack(pack(numbers)) == numbers


@given(st.lists(st.integers(-5, 20), min_size=1, max_size=8))
def test_what_does_not_ascend_or_is_no_id_is_refused(numbers: list[int]) -> None:
    if numbers == sorted(set(numbers)) and numbers[0] >= 0:
        assert unpack(pack(numbers)) == numbers
    else:
        with pytest.raises(ValueError, match="must ascend"):
            pack(numbers)


def test_an_id_beyond_the_databases_range_is_refused() -> None:
    assert unpack(pack([0, LARGEST_ID])) == [0, LARGEST_ID]
    with pytest.raises(ValueError, match="must ascend"):
        pack([1, LARGEST_ID + 1])


@given(ascending, st.data())
def test_damaged_bytes_are_never_taken_for_other_ids(numbers: list[int], data: st.DataObject) -> None:
    packed = bytearray(pack(numbers or [1]))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    try:
        found = unpack(bytes(packed))
    except ValueError:
        return
    # zlib can say the same in other bytes
    assert found == (numbers or [1])


@pytest.mark.parametrize("wrong", [b"\x03", pack([1, 2, 3])[:-1], pack([5])[:3], zlib.compress(b"\x03" + bytes(11))])
def test_bytes_that_are_cut_short_are_refused(wrong: bytes) -> None:
    with pytest.raises(ValueError, match="packed ids"):
        unpack(wrong)


def test_a_million_ids_without_large_gaps_take_little_room() -> None:
    assert len(pack(range(1, 1_000_001))) < 10_000
    holes = [number for number in range(1, 1_100_001) if number * 7919 % 11]
    assert len(pack(holes)) < 300_000
