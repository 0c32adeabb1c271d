"""States of a batch in few bytes: what goes in comes out, and is counted as it is."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.delivery.states import CLAIMABLE, DeliveryState, Mark, state_of
from newsletter.store.state_bytes import (
    alike,
    count_bytes,
    marks_of,
    number_in,
    pack_states,
    places_in,
    states_of,
    unpack_states,
)

one_byte = st.builds(
    lambda state, marks: int(state) | marks, st.sampled_from(DeliveryState), st.integers(0, 7).map(lambda n: n << 4)
)
batches = st.lists(one_byte, min_size=1, max_size=40).map(bytes) | st.builds(
    lambda byte, size: bytes([byte]) * size, one_byte, st.integers(1, 40)
)


@given(batches)
def test_states_come_back_as_they_were_in_one_byte_where_they_are_alike(states: bytes) -> None:
    kept = pack_states(bytearray(states))
    assert unpack_states(kept, len(states)) == states
    assert len(kept) == (1 if len(set(states)) == 1 else len(states))


@given(batches)
def test_members_are_counted_and_found_by_state_and_mark(states: bytes) -> None:
    counted = count_bytes(pack_states(states), len(states))
    assert states_of(counted) == Counter(map(state_of, states))
    for mark in Mark:
        assert marks_of(counted).get(mark, 0) == sum(bool(byte & mark) for byte in states)
    assert places_in(states, CLAIMABLE) == [n for n, byte in enumerate(states) if state_of(byte) in CLAIMABLE]
    for state in DeliveryState:
        assert number_in(states, state) == sum(state_of(byte) is state for byte in states)


def test_states_for_another_number_of_members_are_damage() -> None:
    assert unpack_states(alike(DeliveryState.ACCEPTED), 3) == bytes([2, 2, 2])
    with pytest.raises(ValueError, match="a batch of 3 has 2 states"):
        unpack_states(b"\x00\x01", 3)
