"""Many numbers sealed at once are what the library makes of each."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from hypothesis import given
from hypothesis import strategies as st

from newsletter.delivery.links import LinkMaker, Purpose
from newsletter.delivery.sealing import NumberSealer

NUMBERS = st.integers(0, 2**64 - 1)


@given(st.binary(min_size=64, max_size=64), st.binary(max_size=100), st.lists(NUMBERS, max_size=40))
def test_it_is_aes_siv_octet_for_octet(key: bytes, bound_to: bytes, numbers: list[int]) -> None:
    sealer, library = NumberSealer(key, bound_to), AESSIV(key)
    sealed = b"".join([library.encrypt(number.to_bytes(8, "big"), [bound_to]) for number in numbers])
    assert sealer.seal(numbers) == sealed
    assert len(sealed) == sealer.sealed_octets * len(numbers)


@given(st.binary(min_size=64, max_size=64), st.lists(st.integers(0, 2**40 - 1), max_size=40), st.binary(max_size=10))
def test_so_it_is_with_a_text_behind_the_number(key: bytes, numbers: list[int], rest: bytes) -> None:
    sealer, library = NumberSealer(key, b"x", octets=5, rest=rest), AESSIV(key)
    assert sealer.seal(numbers) == b"".join([library.encrypt(one.to_bytes(5, "big") + rest, [b"x"]) for one in numbers])


def test_a_number_without_room_is_refused() -> None:
    with pytest.raises(OverflowError):
        NumberSealer(bytes(64), b"").seal([1, 2**64])


@given(st.lists(NUMBERS, min_size=1, max_size=20), st.sampled_from(Purpose))
def test_tokens_made_together_are_those_made_alone_and_are_read_again(numbers: list[int], purpose: Purpose) -> None:
    links = LinkMaker("https://news.example.com", "daily-buzz", ["secret", "old"])
    tokens = links.tokens(purpose, numbers)
    assert tokens == [links.token(purpose, number) for number in numbers]
    assert [links.subscriber_id(purpose, token) for token in tokens] == numbers
