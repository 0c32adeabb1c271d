"""The states of a batch's members as bytes: one a member, or one for all where they are alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from functools import cache
from itertools import compress

from newsletter.delivery.states import STATE_BITS, DeliveryState, Mark

States = bytes | bytearray
#: The state within each byte; None where there is none.
STATES = tuple(
    DeliveryState(byte & STATE_BITS) if byte & STATE_BITS in set(DeliveryState) else None for byte in range(256)
)
_LOW_HALF = bytes(byte & STATE_BITS for byte in range(256))


def pack_states(states: States) -> bytes:
    """As the database keeps them."""
    first = states[:1]
    return bytes(first) if states.count(first) == len(states) else bytes(states)


def unpack_states(kept: bytes, size: int) -> bytearray:
    """One byte for each of `size` members. Raises ValueError where the bytes are for another number."""
    if len(kept) == 1:
        return bytearray(kept * size)
    if len(kept) != size:
        raise ValueError(f"a batch of {size} has {len(kept)} states")
    return bytearray(kept)


def alike(state: DeliveryState) -> bytes:
    """What is kept where all are in `state` and nothing was reported of anybody."""
    return bytes((state,))


def places_in(states: States, wanted: Collection[DeliveryState]) -> list[int]:
    """The places (from 0) of the members in one of these states."""
    return list(compress(range(len(states)), states.translate(_ones_for(frozenset(wanted)))))


def number_in(states: States, state: DeliveryState) -> int:
    """How many are in `state`."""
    return states.translate(_LOW_HALF).count(state)


def count_bytes(kept: bytes, size: int) -> Mapping[int, int]:
    """How many members have each byte."""
    return {kept[0]: size} if len(kept) == 1 else Counter(kept)


def states_of(bytes_counted: Mapping[int, int]) -> dict[DeliveryState, int]:
    """How many are in each state that occurs, whatever was reported of them."""
    counts: Counter[DeliveryState] = Counter()
    for byte, number in bytes_counted.items():
        counts[DeliveryState(byte & STATE_BITS)] += number
    return {state: counts[state] for state in DeliveryState if counts[state]}


def marks_of(bytes_counted: Mapping[int, int]) -> dict[Mark, int]:
    """How many have each mark that occurs."""
    counts = {mark: sum(n for byte, n in bytes_counted.items() if byte & mark) for mark in Mark}
    return {mark: number for mark, number in counts.items() if number}


@cache
def _ones_for(wanted: frozenset[DeliveryState]) -> bytes:
    return bytes(int(byte & STATE_BITS in wanted) for byte in range(256))
